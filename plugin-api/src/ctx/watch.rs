//! Finds out when a call waits for its client and for nothing else.
//!
//! The gateway may then end the call with its questions, drop its future, and run it again when the client has
//! answered (DESIGN.md section 5). Doing that while a call still works would cut it off, so the SDK has to know
//! what a pending future waits for. It does, from who holds the future's waker: whatever is to continue the call
//! must keep a clone of the waker it was polled with. Requests keep theirs in [`Call`], where they can be counted.
//! If there are no other clones, nothing but an answer can wake the call: it is parked. If there are others (a
//! timer, a channel, a task's handle) the call may go on without an answer, but may also just be waiting in
//! more ways than one, like a request raced with a long time limit: it is parked once it has not been woken for
//! [`QUIET`].

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering, fence},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use tokio::time::Sleep;

use super::Call;

/// How long a call that waits for an answer and for something else is left alone.
const QUIET: Duration = Duration::from_millis(250);

/// A call's future, which says `parked` when it is.
pub(crate) struct Watched<F> {
    call: Arc<Call>,
    future: F,
    /// Made when the call first waits for an answer: calls that ask nothing pay nothing.
    counted: Option<Counted>,
    quiet: Option<Pin<Box<Sleep>>>,
    /// At which revision of its requests the call was parked: being polled once more is no news.
    parked_at: Option<u64>,
}

/// A waker whose clones can be counted.
struct Counted {
    relay: Arc<Relay>,
    waker: Waker,
}

/// What `Counted` itself holds of the relay: the field, and the waker.
const OWN_CLONES: usize = 2;

/// Passes a wake-up on to the task.
#[derive(Default)]
struct Relay {
    woken: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl<F> Watched<F> {
    pub(crate) fn new(call: Arc<Call>, future: F) -> Self {
        Self { call, future, counted: None, quiet: None, parked_at: None }
    }
}

impl<F: Future + Unpin> Future for Watched<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        if this.counted.is_none() {
            if let Poll::Ready(output) = Pin::new(&mut this.future).poll(cx) {
                return Poll::Ready(output);
            }
            if !this.call.waits(cx.waker()) {
                return Poll::Pending;
            }
            // Its first question: polled again below, so that everything it waits for has the counted waker.
        }
        let counted = this.counted.get_or_insert_with(Counted::new);
        let now_quiet = this.quiet.as_mut().is_some_and(|quiet| quiet.as_mut().poll(cx).is_ready());
        // Polled for that alone: nothing has happened in the call.
        let idle = now_quiet && !counted.relay.woken.load(Ordering::Acquire);
        if !idle {
            counted.relay.listen(cx.waker());
            let polled = Pin::new(&mut this.future).poll(&mut Context::from_waker(&counted.waker));
            if polled.is_ready() {
                return polled;
            }
        }
        let (waits_for, revision) = counted.waits_for(&this.call);
        match waits_for {
            _ if this.parked_at == Some(revision) => this.quiet = None,
            WaitsFor::AnswersAndMore if !idle => {
                let mut quiet = Box::pin(tokio::time::sleep(QUIET));
                // It cannot be over yet; this is to be woken when it is.
                let _ = quiet.as_mut().poll(cx);
                this.quiet = Some(quiet);
            }
            WaitsFor::Answers | WaitsFor::AnswersAndMore => {
                this.quiet = None;
                this.parked_at = Some(revision);
                this.call.link.parked(this.call.id);
            }
            WaitsFor::More => {
                this.quiet = None;
                this.call.waits(cx.waker());
            }
        }
        Poll::Pending
    }
}

enum WaitsFor {
    Answers,
    AnswersAndMore,
    /// Or it has been woken meanwhile and is about to be polled again.
    More,
}

impl Counted {
    fn new() -> Self {
        let relay = Arc::new(Relay::default());
        Self { waker: relay.clone().into(), relay }
    }

    fn waits_for(&self, call: &Call) -> (WaitsFor, u64) {
        let waiting = call.waiting(&self.waker);
        let clones = Arc::strong_count(&self.relay);
        // Who wakes the call sets `woken` before it lets go of its clone. In this order, then, a clone that was
        // not counted because it has just been used has left its mark.
        fence(Ordering::Acquire);
        let waits_for = if self.relay.woken.load(Ordering::Acquire) || !waiting.for_answers {
            WaitsFor::More
        } else if clones == OWN_CLONES + waiting.held {
            WaitsFor::Answers
        } else {
            WaitsFor::AnswersAndMore
        };
        (waits_for, waiting.revision)
    }
}

impl Relay {
    /// Before a poll by the task with this waker.
    fn listen(&self, task: &Waker) {
        let mut own = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *own {
            Some(own) => own.clone_from(task),
            none => *none = Some(task.clone()),
        }
        // Under the lock: a wake-up from here on reaches this very task.
        self.woken.store(false, Ordering::Release);
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

#[cfg(test)]
mod tests;
