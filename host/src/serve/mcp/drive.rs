//! Runs a call to the point at which its client gets an answer.
//!
//! In:   a running call, the client it is for.
//! Out:  its result, or the questions that a 2026 client has to answer first, or the call itself as a task.
//! Never: asks what the client did not declare; leaves a call behind: it is dropped on every way out, which
//!        cancels it.
//!
//! `request` of a plugin is one verb. A client in a session is asked by a request of the server, while the call
//! waits. A 2026 client is asked by the answer to its own request: once the call waits for nothing else it is
//! suspended, and run again with the answers. A task's client finds the questions when it polls (`tasks`).

use std::collections::BTreeMap;

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use rmcp::{
    ErrorData, RoleServer,
    model::{ClientCapabilities, InputRequest},
    service::RequestContext,
};
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use super::{
    question::{self, PATIENCE},
    relay::{self, Client, Relay},
};
use crate::{
    load::{AnswerStatus, ClientAnswer},
    serve::call::{CallError, RunningCall, Step, ToolReply},
};

/// What becomes of a call.
pub(super) enum Ended {
    /// It has ended.
    Done(Result<ToolReply, CallError>),
    /// It was suspended: the client has to answer these first.
    Waits {
        questions: BTreeMap<String, InputRequest>,
        /// What the plugin keeps for the replay.
        state: Option<Value>,
    },
    /// It goes on as a task.
    Task {
        call: RunningCall,
        options: Vec<u8>,
        /// Not answered yet.
        questions: BTreeMap<String, InputRequest>,
    },
}

/// A call on its way to an answer.
pub(super) struct Driver<'a> {
    cx: &'a RequestContext<RoleServer>,
    relay: &'a Relay,
    client: Client,
    declared: ClientCapabilities,
    /// Questions without an answer.
    open: BTreeMap<String, InputRequest>,
    /// Until when they may be answered.
    limit: Instant,
    /// Requests to a client in a session.
    asking: FuturesUnordered<BoxFuture<'static, (String, ClientAnswer)>>,
}

/// What happens next.
enum Event {
    Cancelled,
    Answered(String, ClientAnswer),
    OutOfPatience,
    Said(Step),
}

impl<'a> Driver<'a> {
    pub(super) fn new(cx: &'a RequestContext<RoleServer>, relay: &'a Relay) -> Self {
        Self {
            cx,
            relay,
            client: relay::client(cx),
            declared: relay::declared(cx),
            open: BTreeMap::new(),
            limit: Instant::now(),
            asking: FuturesUnordered::new(),
        }
    }

    /// For methods that MCP does not let wait for input: every question is answered by `Unsupported`.
    pub(super) fn mute(self) -> Self {
        Self { client: Client::Alone, ..self }
    }

    /// To be awaited in the handler's own task: rmcp finds the stream of what is sent by a task-local.
    pub(super) async fn run(mut self, mut call: RunningCall) -> Result<Ended, ErrorData> {
        loop {
            match self.next(&mut call).await {
                Event::Cancelled => return Err(cancelled()),
                Event::Answered(key, answer) => {
                    self.open.remove(&key);
                    call.answer(&key, &answer);
                }
                Event::OutOfPatience => {
                    for key in std::mem::take(&mut self.open).into_keys() {
                        call.answer(&key, &question::without_value(AnswerStatus::TimedOut));
                    }
                }
                Event::Said(Step::Notification { method, params }) => self.pass_on(&method, &params).await?,
                Event::Said(Step::Asked { key, method, params }) => {
                    if let Err(answer) = self.ask(&key, method, &params) {
                        call.answer(&key, &answer);
                    }
                }
                Event::Said(Step::Parked) if self.client == Client::Modern && !self.open.is_empty() => {
                    let (questions, state) = (self.open, call.state());
                    call.suspend();
                    return Ok(Ended::Waits { questions, state });
                }
                // Its answers are on their way.
                Event::Said(Step::Parked) => {}
                Event::Said(Step::BecameTask { options }) => {
                    return Ok(Ended::Task { call, options, questions: self.open });
                }
                Event::Said(Step::Done(result)) => return Ok(Ended::Done(result)),
            }
        }
    }

    async fn next(&mut self, call: &mut RunningCall) -> Event {
        let waits_to_park = self.client == Client::Modern && !self.open.is_empty();
        tokio::select! {
            biased;
            () = self.cx.ct.cancelled() => Event::Cancelled,
            Some((key, answer)) = self.asking.next(), if !self.asking.is_empty() => Event::Answered(key, answer),
            step = call.next() => Event::Said(step),
            // A call that asks and then waits for something else as well is not suspended, but neither does it
            // wait for ever: a client in a session has the same time.
            () = sleep_until(self.limit), if waits_to_park => Event::OutOfPatience,
        }
    }

    /// rmcp sends from a task of its own: only awaiting keeps the order, and a slow client slows the tool down
    /// instead of filling memory.
    async fn pass_on(&mut self, method: &str, params: &[u8]) -> Result<(), ErrorData> {
        let Some(notification) = self.relay.admit(method, params) else { return Ok(()) };
        tokio::select! {
            biased;
            () = self.cx.ct.cancelled() => Err(cancelled()),
            sent = self.cx.peer.send_notification(notification) => {
                if let Err(error) = sent {
                    tracing::debug!(%error, "notification not delivered");
                }
                Ok(())
            }
        }
    }

    /// Puts a question to the client, or answers it if that cannot be done.
    fn ask(&mut self, key: &str, method: String, params: &[u8]) -> Result<(), ClientAnswer> {
        let unsupported = || question::without_value(AnswerStatus::Unsupported);
        let params: Value = serde_json::from_slice(params).unwrap_or_default();
        if self.client == Client::Alone || !question::is_declared(&self.declared, &method, &params) {
            return Err(unsupported());
        }
        let Some(request) = question::to_input(&method, &params) else {
            tracing::warn!(method, key, "question does not fit MCP");
            return Err(unsupported());
        };
        if self.open.is_empty() {
            self.limit = Instant::now() + PATIENCE;
        }
        self.open.insert(key.to_owned(), request);
        if self.client == Client::InSession {
            let (peer, key) = (self.cx.peer.clone(), key.to_owned());
            self.asking.push(Box::pin(async move { (key, question::ask(peer, method, params).await) }));
        }
        Ok(())
    }
}

fn cancelled() -> ErrorData {
    ErrorData::internal_error("the call was cancelled", None)
}
