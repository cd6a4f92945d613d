//! Going on in the background, and noticing that nobody waits.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use serde_json::{Map, Value};

use super::{Call, CallEnd, Ctx, call::Ticket};

/// How a call goes on as a task; anything not said is the gateway's choice.
#[derive(Debug, Clone, Default)]
pub struct TaskOptions(Map<String, Value>);

impl TaskOptions {
    /// Everything as the gateway likes it.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long the result is kept for the client to fetch.
    pub fn ttl(self, ttl: Duration) -> Self {
        self.with("ttlMs", millis(ttl))
    }

    /// How often the client should ask whether it is done.
    pub fn poll_interval(self, interval: Duration) -> Self {
        self.with("pollIntervalMs", millis(interval))
    }

    /// What the task is doing, for people. Later [`Ctx::progress`] messages replace it.
    pub fn status_message(self, message: &str) -> Self {
        self.with("statusMessage", message.into())
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.0.insert(name.into(), value);
        self
    }
}

fn millis(duration: Duration) -> Value {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).into()
}

impl Ctx {
    /// Goes on in the background: the client gets a task to ask about instead of waiting for this call. `false`:
    /// this client does not know tasks, so it waits; a tool that cannot do with that should be declared
    /// [`task_required`](crate::Tool::task_required).
    ///
    /// A task is not run again: what comes after this happens once, questions included.
    pub fn into_task(&self, options: TaskOptions) -> bool {
        self.call.link.become_task(self.call.id, &Value::Object(options.0))
    }

    /// Waits until nobody waits for the call any more.
    ///
    /// The call's own future is dropped when it is cancelled and needs no such test. This is for what goes on
    /// beside it: spawned tasks, other threads.
    ///
    /// ```
    /// # use plugin_api::{prelude::*, tokio};
    /// # async fn work() {}
    /// # fn tool(ctx: Ctx) {
    /// tokio::spawn(async move {
    ///     tokio::select! {
    ///         () = work() => {}
    ///         _ = ctx.cancelled() => {}
    ///     }
    /// });
    /// # }
    /// ```
    pub async fn cancelled(&self) -> CallEnd {
        Ending { call: &self.call, ticket: None }.await
    }
}

/// Waits for the end of a call. Counted as the requests are: a call that waits for an answer and for its own end
/// waits for the answer.
struct Ending<'a> {
    call: &'a Call,
    ticket: Option<Ticket>,
}

impl Future for Ending<'_> {
    type Output = CallEnd;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CallEnd> {
        let this = &mut *self;
        this.call.end(&mut this.ticket, cx.waker()).map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.call.forget(ticket);
        }
    }
}
