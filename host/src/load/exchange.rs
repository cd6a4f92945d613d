//! What passes between one call and whoever waits for it: a queue the plugin's side fills and the host's empties.
//!
//! In:   what the plugin says of a call: notifications, questions, its end.
//! Out:  the same, in order, through [`Exchange::next`].
//! Never: grows without bound, whatever a plugin does.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use serde_json::Value;

use super::call::{Answer, CallEvent};

/// Notifications that wait to be passed on; beyond, progress replaces progress and the rest is dropped.
const NOTIFICATIONS_MAX: usize = 64;
/// Questions that wait to be passed on.
const QUESTIONS_MAX: usize = 64;

/// Largest state, in bytes: it travels to the client and back with each round.
const STATE_MAX: usize = 16 << 10;

const PROGRESS: &str = "notifications/progress";

/// The queue of one call. One side puts, from any thread; one side takes.
#[derive(Debug, Default)]
pub(super) struct Exchange(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    said: VecDeque<CallEvent>,
    notifications: usize,
    questions: usize,
    /// What the plugin keeps for a replay.
    state: Option<Value>,
    is_task: bool,
    /// Nothing follows.
    ended: bool,
    waiting: Option<Waker>,
}

/// What became of something put into an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    /// It will be taken.
    Taken,
    /// There was no room.
    Full,
    /// The call has ended.
    Ended,
}

impl Exchange {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a notification. When there is no room, progress takes the place of the progress before it: only the
    /// latest matters.
    pub(super) fn notify(&self, method: &str, params: &[u8]) -> Put {
        let mut state = self.lock();
        if state.ended {
            return Put::Ended;
        }
        if state.notifications >= NOTIFICATIONS_MAX {
            let is_progress = |event: &CallEvent| matches!(event, CallEvent::Notification { method, .. } if method == PROGRESS);
            let last = state.said.iter().rposition(is_progress).filter(|_| method == PROGRESS);
            // Removed and put at the end, so that it stays behind what was said before it.
            if last.and_then(|last| state.said.remove(last)).is_none() {
                return Put::Full;
            }
            state.notifications -= 1;
        }
        state.notifications += 1;
        let event = CallEvent::Notification { method: method.to_owned(), params: params.to_vec() };
        self.put(state, event)
    }

    /// Adds a question to the client.
    pub(super) fn ask(&self, key: &str, method: &str, params: &[u8]) -> Put {
        let mut state = self.lock();
        if state.ended {
            return Put::Ended;
        }
        if state.questions >= QUESTIONS_MAX {
            return Put::Full;
        }
        state.questions += 1;
        let (key, method, params) = (key.to_owned(), method.to_owned(), params.to_vec());
        self.put(state, CallEvent::Asked { key, method, params })
    }

    /// Keeps what a replay of the call is to find.
    pub(super) fn keep(&self, bytes: &[u8]) -> Put {
        let mut state = self.lock();
        if state.ended {
            return Put::Ended;
        }
        if bytes.len() > STATE_MAX {
            return Put::Full;
        }
        match serde_json::from_slice(bytes) {
            Ok(value) => state.state = Some(value),
            Err(_) => return Put::Full,
        }
        Put::Taken
    }

    pub(super) fn state(&self) -> Option<Value> {
        self.lock().state.clone()
    }

    /// The call waits for answers and for nothing else. Said again before it was taken, it is said once.
    pub(super) fn parked(&self) {
        let state = self.lock();
        if !state.ended && !matches!(state.said.back(), Some(CallEvent::Parked)) {
            self.put(state, CallEvent::Parked);
        }
    }

    /// The call got an answer: that it waited for nothing else is no longer so. It says so again.
    pub(super) fn unpark(&self) {
        self.lock().said.retain(|event| !matches!(event, CallEvent::Parked));
    }

    /// The call goes on as a task.
    pub(super) fn became_task(&self, options: &[u8]) {
        let mut state = self.lock();
        if !state.ended {
            state.is_task = true;
            self.put(state, CallEvent::BecameTask { options: options.to_vec() });
        }
    }

    pub(super) fn is_task(&self) -> bool {
        self.lock().is_task
    }

    /// Adds the answer: the last event.
    pub(super) fn end(&self, answer: Answer) {
        let mut state = self.lock();
        if !state.ended {
            state.ended = true;
            self.put(state, CallEvent::Done(answer));
        }
    }

    fn put(&self, mut state: MutexGuard<'_, State>, event: CallEvent) -> Put {
        state.said.push_back(event);
        let waiting = state.waiting.take();
        // Waking runs the host's scheduler, which has no business inside of this lock.
        drop(state);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
        Put::Taken
    }

    /// The next event. After `Done`, `Done(Answer::Gone)`.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<CallEvent> {
        let mut state = self.lock();
        match state.said.pop_front() {
            Some(event) => {
                match &event {
                    CallEvent::Notification { .. } => state.notifications -= 1,
                    CallEvent::Asked { .. } => state.questions -= 1,
                    _ => {}
                }
                Poll::Ready(event)
            }
            None if state.ended => Poll::Ready(CallEvent::Done(Answer::Gone)),
            None => {
                state.waiting = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(exchange: &Exchange) -> Vec<String> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut said = Vec::new();
        while let Poll::Ready(event) = exchange.poll_next(&mut cx) {
            match event {
                CallEvent::Notification { method, params } => {
                    said.push(format!("{method} {}", String::from_utf8_lossy(&params)));
                }
                CallEvent::Asked { key, .. } => said.push(format!("asked {key}")),
                CallEvent::Parked => said.push("parked".into()),
                CallEvent::BecameTask { .. } => said.push("task".into()),
                CallEvent::Done(_) => {
                    said.push("done".into());
                    break;
                }
            }
        }
        said
    }

    #[test]
    fn what_was_said_comes_out_in_order_and_the_answer_last() {
        let exchange = Exchange::default();
        exchange.notify("a", b"1");
        exchange.ask("key", "elicitation/create", b"{}");
        exchange.parked();
        exchange.parked();
        exchange.end(Answer::Gone);
        assert_eq!(exchange.notify("a", b"2"), Put::Ended);
        assert_eq!(all(&exchange), ["a 1", "asked key", "parked", "done"]);
    }

    #[test]
    fn a_flood_is_bounded_and_of_progress_the_latest_stays() {
        let exchange = Exchange::default();
        for number in 0..1000 {
            exchange.notify(PROGRESS, number.to_string().as_bytes());
        }
        assert_eq!(exchange.notify("notifications/message", b""), Put::Full);
        let said = all(&exchange);
        assert_eq!((said.len(), said.last().map(String::as_str)), (64, Some("notifications/progress 999")));
        assert!(
            (0..1000).filter(|n| exchange.ask(&n.to_string(), "roots/list", b"") == Put::Taken).count() == 64
        );
    }
}
