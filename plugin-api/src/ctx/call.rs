//! What one call has asked its client and been answered, shared by every clone of its context.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use serde_json::Value;

use super::{CallEnd, link::Link};
use crate::{Error, Result, abi, error};

/// A call: its place in the host's table, and its requests.
pub(crate) struct Call {
    pub(crate) id: u64,
    pub(crate) link: Link,
    asked: Mutex<Asked>,
}

#[derive(Default)]
struct Asked {
    requests: Vec<Request>,
    /// Futures that wait for the end of the call.
    watching: Vec<(Ticket, Waker)>,
    end: Option<CallEnd>,
    /// The call itself, to be looked at when a task of its own asks something.
    watcher: Option<Waker>,
    state: Option<Vec<u8>>,
    tickets: Ticket,
    /// Grows with every request and every answer.
    revision: u64,
}

/// Tells one waiting future from another.
pub(super) type Ticket = u64;

struct Request {
    key: String,
    /// Method and parameters, to tell a repetition from a mistake.
    said: (String, String),
    given: Option<Given>,
    waiting: Vec<(Ticket, Waker)>,
}

/// An answer as it came.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) status: u32,
    pub(super) value: Value,
}

/// What is known of the wakers that wait for a call's requests, or for its end.
pub(crate) struct Waiting {
    /// Whether a future waits for an answer.
    pub(crate) for_answers: bool,
    /// How many clones of the waker in question are held here.
    pub(crate) held: usize,
    /// Grows with every request and every answer.
    pub(crate) revision: u64,
}

/// Whether a request is new to the call.
#[derive(PartialEq, Eq)]
pub(super) enum Novelty {
    New,
    Repeated,
}

impl Call {
    pub(crate) fn new(id: u64, link: Link) -> Self {
        Self { id, link, asked: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request before it is sent: its answer may come from another thread while it still is.
    pub(super) fn note(&self, key: &str, method: &str, params: &str) -> Result<Novelty> {
        let mut asked = self.lock();
        let Some(known) = asked.requests.iter().find(|request| request.key == key) else {
            let said = (method.to_owned(), params.to_owned());
            asked.revision += 1;
            asked.requests.push(Request { key: key.into(), said, given: None, waiting: Vec::new() });
            return Ok(Novelty::New);
        };
        if (known.said.0.as_str(), known.said.1.as_str()) == (method, params) {
            return Ok(Novelty::Repeated);
        }
        let text = format!("the key `{key}` is used for two different requests of one call");
        Err(Error::protocol(error::INTERNAL_ERROR, text))
    }

    /// The answer to a request, or a promise to wake when it comes.
    pub(super) fn given(&self, key: &str, ticket: &mut Option<Ticket>, waker: &Waker) -> Option<Given> {
        let mut lock = self.lock();
        let asked = &mut *lock;
        let request = asked.requests.iter_mut().find(|request| request.key == key)?;
        if request.given.is_some() {
            return request.given.clone();
        }
        let ticket = *ticket.get_or_insert_with(|| next(&mut asked.tickets));
        wait(&mut request.waiting, ticket, waker);
        let watcher = asked.watcher.take();
        drop(lock);
        if let Some(watcher) = watcher {
            watcher.wake();
        }
        None
    }

    /// Like [`given`](Self::given), for the end of the call.
    pub(super) fn end(&self, ticket: &mut Option<Ticket>, waker: &Waker) -> Option<CallEnd> {
        let asked = &mut *self.lock();
        if asked.end.is_none() {
            let ticket = *ticket.get_or_insert_with(|| next(&mut asked.tickets));
            wait(&mut asked.watching, ticket, waker);
        }
        asked.end
    }

    /// The future with this ticket waits no more.
    pub(super) fn forget(&self, ticket: Ticket) {
        let asked = &mut *self.lock();
        let lists = asked.requests.iter_mut().map(|request| &mut request.waiting);
        // Dropped after the lock: dropping a waker may drop a task, and with it a future that locks.
        let mut gone = Vec::new();
        for list in lists.chain([&mut asked.watching]) {
            gone.extend(list.extract_if(.., |(of, _)| *of == ticket));
        }
        drop(gone);
    }

    /// The client's answer to one of the requests.
    pub(crate) fn answer(&self, key: &str, status: u32, value: &[u8]) {
        let value = serde_json::from_slice(value).unwrap_or(Value::Null);
        let mut lock = self.lock();
        let asked = &mut *lock;
        let Some(request) = asked.requests.iter_mut().find(|request| request.key == key) else { return };
        if request.given.is_some() {
            return;
        }
        request.given = Some(Given { status, value });
        let waiting = std::mem::take(&mut request.waiting);
        asked.revision += 1;
        drop(lock);
        waiting.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Nobody waits for the call any more. The first reason counts.
    pub(crate) fn ended(&self, end: CallEnd) {
        let mut asked = self.lock();
        asked.end.get_or_insert(end);
        let watching = std::mem::take(&mut asked.watching);
        drop(asked);
        watching.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Who waits for what, and how many clones of `waker` they hold.
    pub(crate) fn waiting(&self, waker: &Waker) -> Waiting {
        let asked = self.lock();
        let requests = asked.requests.iter().flat_map(|request| &request.waiting);
        Waiting {
            for_answers: requests.clone().next().is_some(),
            revision: asked.revision,
            held: requests.chain(&asked.watching).filter(|(_, held)| held.will_wake(waker)).count(),
        }
    }

    /// Whether a future waits for an answer. If not, `watcher` is woken when one does: it may be one that the
    /// call's own future does not poll.
    pub(crate) fn waits(&self, watcher: &Waker) -> bool {
        let asked = &mut *self.lock();
        let waits = asked.requests.iter().any(|request| !request.waiting.is_empty());
        if !waits {
            match &mut asked.watcher {
                Some(held) => held.clone_from(watcher),
                none => *none = Some(watcher.clone()),
            }
        }
        waits
    }

    /// What [`keep`](Self::keep) kept in this run of the call.
    pub(super) fn kept(&self) -> Option<Vec<u8>> {
        self.lock().state.clone()
    }

    pub(super) fn keep(&self, state: Vec<u8>) {
        self.lock().state = Some(state);
    }
}

impl CallEnd {
    /// From the reason of a CANCEL event.
    pub(crate) fn from_reason(reason: u32) -> Self {
        match reason {
            abi::BY_TIMEOUT => Self::Timeout,
            abi::SUSPENDED => Self::Suspended,
            abi::DRAINING => Self::Draining,
            _ => Self::Client,
        }
    }
}

fn next(tickets: &mut Ticket) -> Ticket {
    *tickets += 1;
    *tickets
}

fn wait(list: &mut Vec<(Ticket, Waker)>, ticket: Ticket, waker: &Waker) {
    match list.iter_mut().find(|(of, _)| *of == ticket) {
        Some((_, held)) => held.clone_from(waker),
        None => list.push((ticket, waker.clone())),
    }
}
