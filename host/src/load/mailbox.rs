//! The host's half of the contract: a queue into the plugin, the calls it has, and (in `table`) what it calls.
//!
//! | unsafe | why it holds | test that pins it |
//! |---|---|---|
//! | `new`, `post`: the eventfd | a descriptor of our own, open as long as the mailbox | `a_plugin_serves_many_calls_at_once` |

#![expect(unsafe_code, reason = "an eventfd")]

mod table;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc::Sender,
    },
    time::Instant,
};

use plugin_api::abi::{self, Host};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{
    call::{
        About, Answer, AnswerStatus, CallOptions, CancelReason, ClientAnswer, Closed, OpenCall, Request,
        Taken,
    },
    census::Census,
    exchange::Exchange,
    flood::Flood,
    heap::Heap,
};
use crate::config::{ServerEntry, ServerName};

/// What is about no call and waits to be passed on; what comes beyond is dropped.
const NOTICES_MAX: usize = 256;

/// What a plugin says that is about no call.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// Something clients may have subscribed to, e.g. `notifications/resources/updated`.
    Notification {
        /// The method.
        method: String,
        /// A JSON object.
        params: Value,
    },
    /// What it offers has changed: [`Instance::take_manifest`](super::Instance::take_manifest) has the latest.
    Manifest,
}

/// What a starting plugin tells the one who waits for it.
#[derive(Debug)]
pub(super) enum Stage {
    /// It serves; its manifest.
    Ready(Vec<u8>),
    /// Its thread is about to end.
    Ended,
}

/// One plugin's mailbox.
#[derive(Debug)]
pub(super) struct Mailbox {
    server: ServerName,
    queue: Mutex<Queue>,
    posted: Condvar,
    wake: OwnedFd,
    calls: Mutex<HashMap<u64, Call>>,
    next_call: AtomicU64,
    /// Whether new calls are taken. Changes with `calls` locked only.
    open: AtomicBool,
    stages: Mutex<Sender<Stage>>,
    /// Whether the plugin has said that it serves.
    ready: AtomicBool,
    ended_by_itself: AtomicBool,
    notices: (mpsc::Sender<Notice>, Mutex<Option<mpsc::Receiver<Notice>>>),
    /// What the plugin offers by now, if nobody has taken it yet. Only the latest matters, and it may be large.
    announced: Mutex<Option<Vec<u8>>>,
    census: Mutex<Census>,
    heap: Heap,
    flood: Flood,
}

#[derive(Default)]
struct Queue {
    events: VecDeque<Message>,
    /// The plugin saw an empty queue and waits for the wake fd.
    armed: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} events", self.events.len())
    }
}

/// An event on its way.
struct Message {
    posted: Instant,
    kind: u32,
    call: u64,
    code: u32,
    name_len: u32,
    data: Vec<u8>,
}

impl Message {
    fn bare(kind: u32, call: u64, code: u32) -> Self {
        Self { posted: Instant::now(), kind, call, code, name_len: 0, data: Vec::new() }
    }

    fn named(kind: u32, call: u64, code: u32, name: &str, body: &Value) -> Self {
        let mut data = name.as_bytes().to_vec();
        // Memory: writing cannot fail.
        let _ = serde_json::to_writer(&mut data, body);
        Self { name_len: name.len() as u32, data, ..Self::bare(kind, call, code) }
    }
}

/// A call the plugin has not answered.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are awaited, and a box would cost each an allocation"
)]
enum Call {
    Awaited {
        options: CallOptions,
        exchange: Arc<Exchange>,
    },
    /// Nobody waits any more, but its future may still exist, and log something.
    Cancelled(About),
}

impl Call {
    /// From now on nobody waits for it; who did, if somebody did.
    fn cancel(&mut self) -> Option<Arc<Exchange>> {
        let Self::Awaited { options, exchange } = self else { return None };
        let (about, exchange) = (About::of(options), exchange.clone());
        *self = Self::Cancelled(about);
        Some(exchange)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mailbox {
    pub(super) fn new(entry: &ServerEntry, stages: Sender<Stage>) -> io::Result<Arc<Self>> {
        // SAFETY: has no precondition.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let (notices, noticed) = mpsc::channel(NOTICES_MAX);
        Ok(Arc::new(Self {
            server: entry.name.clone(),
            queue: Mutex::default(),
            posted: Condvar::new(),
            // SAFETY: the descriptor is new, so nobody else owns it.
            wake: unsafe { OwnedFd::from_raw_fd(fd) },
            calls: Mutex::default(),
            next_call: AtomicU64::new(1),
            open: AtomicBool::new(true),
            stages: Mutex::new(stages),
            ready: AtomicBool::new(false),
            ended_by_itself: AtomicBool::new(false),
            notices: (notices, Mutex::new(Some(noticed))),
            announced: Mutex::default(),
            census: Mutex::default(),
            heap: Heap::new(entry.heap_warn_bytes),
            flood: Flood::new(entry.log_max_per_second),
        }))
    }

    /// The mailbox as the plugin sees it: valid as long as `self` is.
    pub(super) fn host(self: &Arc<Self>) -> Host {
        Host {
            size: size_of::<Host>() as u32,
            flags: 0,
            context: Arc::as_ptr(self).cast(),
            table: table::TABLE,
            reserved: [0; 2],
        }
    }

    pub(super) fn census(&self) -> MutexGuard<'_, Census> {
        lock(&self.census)
    }

    /// How many bytes the plugin's heap has.
    pub(super) fn heap_bytes(&self) -> u64 {
        self.heap.bytes()
    }

    /// What the plugin has logged, and what of it was dropped.
    pub(super) fn flood(&self) -> &Flood {
        &self.flood
    }

    /// Says that `dropped` records of the plugin were not logged.
    fn warn_of_flood(&self, dropped: u64) {
        tracing::warn!(server = self.server.as_str(), dropped, "plugin floods the log");
    }

    pub(super) fn say(&self, stage: Stage) {
        // The one who listens may have given up.
        let _ = lock(&self.stages).send(stage);
    }

    /// Since when the oldest message waits for the plugin to take it: one whose threads all block takes none.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        lock(&self.queue).events.front().map(|message| message.posted)
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.load(Relaxed)
    }

    /// Calls that the plugin has neither answered nor dropped.
    pub(super) fn calls_open(&self) -> usize {
        lock(&self.calls).len()
    }

    pub(super) fn call(self: &Arc<Self>, request: Request, options: CallOptions) -> Result<OpenCall, Closed> {
        let id = self.next_call.fetch_add(1, Relaxed);
        let exchange = Arc::new(Exchange::default());
        let call = Call::Awaited { options, exchange: exchange.clone() };
        {
            // Asked under the lock: whoever closes the mailbox then finds this call, or this call finds it closed.
            let mut calls = lock(&self.calls);
            if !self.open.load(Relaxed) {
                return Err(Closed);
            }
            calls.insert(id, call);
        }
        let Request { name_len, data } = request;
        self.post(Message { name_len, data, ..Message::bare(abi::CALL, id, 0) });
        Ok(OpenCall { mailbox: self.clone(), id, exchange, over: false })
    }

    /// Cancels a call; whether the plugin had taken it.
    pub(super) fn cancel(&self, id: u64, reason: CancelReason) -> Taken {
        match lock(&self.calls).get_mut(&id) {
            Some(call) => drop(call.cancel()),
            None => return Taken::Yes,
        }
        if self.withdraw(id) {
            lock(&self.calls).remove(&id);
            return Taken::No;
        }
        let code = match reason {
            CancelReason::Client => abi::BY_CLIENT,
            CancelReason::Timeout => abi::BY_TIMEOUT,
            CancelReason::Suspended => abi::SUSPENDED,
        };
        self.post(Message::bare(abi::CANCEL, id, code));
        Taken::Yes
    }

    /// Hands a call the answer to one of its questions.
    pub(super) fn answer_question(&self, call: u64, key: &str, answer: &ClientAnswer) {
        let code = match answer.status {
            AnswerStatus::Accepted => abi::ACCEPTED,
            AnswerStatus::Declined => abi::DECLINED,
            AnswerStatus::Cancelled => abi::CANCELLED,
            AnswerStatus::Unsupported => abi::UNSUPPORTED,
            AnswerStatus::TimedOut => abi::TIMED_OUT,
        };
        self.post(Message::named(abi::ANSWER, call, code, key, &answer.value));
    }

    /// Passes on what is about no call.
    fn notice(&self, notice: Notice) -> u32 {
        match self.notices.0.try_send(notice) {
            Ok(()) => abi::DELIVERED,
            Err(_) => abi::DROPPED,
        }
    }

    /// Keeps a manifest in the place of the one before it, if nobody has taken that.
    fn announce(&self, manifest: Vec<u8>) -> u32 {
        let mut announced = lock(&self.announced);
        if announced.replace(manifest).is_some() {
            return abi::DELIVERED;
        }
        let outcome = self.notice(Notice::Manifest);
        if outcome != abi::DELIVERED {
            *announced = None;
        }
        outcome
    }

    /// What the plugin offers by now; `None`: it has been taken.
    pub(super) fn take_manifest(&self) -> Option<Vec<u8>> {
        lock(&self.announced).take()
    }

    /// Tells the plugin something that is about no call, e.g. that a client subscribed.
    pub(super) fn notify(&self, method: &str, params: &Value) {
        self.post(Message::named(abi::NOTIFY, 0, 0, method, params));
    }

    /// What the plugin says that is about no call. `None`: somebody has it already.
    pub(super) fn take_notices(&self) -> Option<mpsc::Receiver<Notice>> {
        lock(&self.notices.1).take()
    }

    /// Tells the plugin to return from `main`.
    pub(super) fn stop(&self) {
        self.close();
        self.post(Message::bare(abi::STOP, 0, 0));
    }

    /// Takes no more calls and ends those under way.
    pub(super) fn close(&self) {
        let awaited: Vec<u64> = {
            let mut calls = lock(&self.calls);
            self.open.store(false, Relaxed);
            let awaited = calls.iter_mut().filter_map(|(id, call)| Some((*id, call.cancel()?)));
            awaited
                .map(|(id, exchange)| {
                    exchange.end(Answer::Gone);
                    id
                })
                .collect()
        };
        for id in awaited {
            self.post(Message::bare(abi::CANCEL, id, abi::DRAINING));
        }
    }

    /// The plugin is gone: whoever still waits for it learns so. Answers whether it served and nobody had told it
    /// to stop.
    pub(super) fn abandon(&self) -> bool {
        if let Some(dropped) = self.flood.settle() {
            self.warn_of_flood(dropped);
        }
        let mut calls = lock(&self.calls);
        let was_open = self.open.swap(false, Relaxed);
        let by_itself = was_open && self.ready.load(Relaxed);
        self.ended_by_itself.store(by_itself, Relaxed);
        // Who learns that and asks why is to find the reason above.
        for call in calls.drain() {
            if let (_, Call::Awaited { exchange, .. }) = call {
                exchange.end(Answer::Gone);
            }
        }
        by_itself
    }

    /// Whether the plugin served, and then ended although nobody had told it to.
    pub(super) fn ended_by_itself(&self) -> bool {
        self.ended_by_itself.load(Relaxed)
    }

    /// Takes a call back that the plugin has not taken yet: one that is stuck is not to pile up what nobody waits
    /// for any more. `false`: it has it.
    fn withdraw(&self, id: u64) -> bool {
        let mut queue = lock(&self.queue);
        let place = queue.events.iter().rposition(|m| m.kind == abi::CALL && m.call == id);
        place.and_then(|place| queue.events.remove(place)).is_some()
    }

    fn post(&self, message: Message) {
        let armed = {
            let mut queue = lock(&self.queue);
            queue.events.push_back(message);
            std::mem::take(&mut queue.armed)
        };
        self.posted.notify_one();
        if armed {
            let one = 1u64.to_ne_bytes();
            // SAFETY: the descriptor is our own and open; the buffer is as long as said. A full counter (EAGAIN)
            // means that the plugin has a wake-up coming anyway.
            let _ = unsafe { libc::write(self.wake.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        }
    }

    /// Ends a call with `answer`. `false`: nobody waited for it.
    fn answer(&self, id: u64, answer: Answer) -> bool {
        let call = lock(&self.calls).remove(&id);
        match call {
            Some(Call::Awaited { exchange, .. }) => {
                exchange.end(answer);
                true
            }
            _ => false,
        }
    }
}
