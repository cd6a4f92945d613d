//! The open connections of one listener: never more than agreed, and always room for one more.
//!
//! In:   connections as they come, begin and finish requests, and go.
//! Out:  a place for each; a full house makes room by ending the connection that is idle for longest.
//! Fails: if nobody is idle. Then a connection may still come in by the side door, where it is not served but told so.
//! Never: cuts a request that is under way. What a request costs is two atomic operations on its own connection: the lock is
//! for connections that come and go.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    task::Waker,
    time::{Duration, Instant},
};

use futures_util::task::AtomicWaker;

use crate::{
    config::Limits,
    serve::limit::{Gate, GatePass},
};

/// How many connections may be at the side door at once. They are told in one answer, and are not heavy.
pub(super) const SHED_MAX: usize = 256;

/// Not more often than this the log is told that all connections are busy.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// What `[limits]` says of the connections of each listener. Shared by all listeners.
#[derive(Debug)]
pub struct ConnectionLimits {
    max: AtomicUsize,
    /// How many are served now, at all listeners.
    open: Gate,
    head_timeout: Duration,
}

impl ConnectionLimits {
    /// What `limits` says.
    pub fn of(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            max: limits.connections_max.into(),
            open: Gate::default(),
            head_timeout: limits.head_timeout,
        })
    }

    /// Changes how many connections there may be. Those that are too many now end as others come.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, Relaxed);
    }

    /// How many connections are served now.
    pub(in crate::serve) fn open(&self) -> usize {
        self.open.open()
    }

    /// How long the head of a request may take. Does not change while the gateway runs.
    pub(super) fn head_timeout(&self) -> Duration {
        self.head_timeout
    }
}

/// The open connections of one listener.
#[derive(Debug)]
pub(super) struct Connections {
    limits: Arc<ConnectionLimits>,
    served: Arc<Room>,
    shed: Arc<Room>,
    told: Mutex<Option<Instant>>,
}

/// How a connection is taken.
#[derive(Debug)]
pub(super) enum Taken {
    /// It is served.
    Served(Place),
    /// Everybody else is busy: it is told so.
    Shed(Place),
}

impl Connections {
    pub(super) fn new(limits: Arc<ConnectionLimits>) -> Self {
        Self { limits, served: Room::new(), shed: Room::new(), told: Mutex::default() }
    }

    /// A place for one more. `None`: there is none, not even for one that is told so.
    pub(super) fn take(&self) -> Option<Taken> {
        if let Some(mut place) = self.served.enter(self.limits.max.load(Relaxed)) {
            place.counted = self.limits.open.enter(usize::MAX);
            return Some(Taken::Served(place));
        }
        self.tell();
        self.shed.enter(SHED_MAX).map(Taken::Shed)
    }

    fn tell(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|at| at.elapsed() > TOLD_EVERY) {
            *told = Some(Instant::now());
            let connections = self.limits.max.load(Relaxed);
            tracing::warn!(connections, "every connection has a request under way; new ones are refused");
        }
    }
}

/// Connections that share a limit.
#[derive(Debug)]
struct Room {
    began: Instant,
    guests: Mutex<Guests>,
}

#[derive(Debug, Default)]
struct Guests {
    /// All that are open.
    open: usize,
    /// Those of them that were told to end, and do not count.
    ending: usize,
    last: u64,
    /// Connections by the time since when they are idle, longest first. The time is that of when they were put here: who has
    /// made a request since is idle for shorter, or busy. That is looked at only when somebody has to go, so that requests
    /// do not take the lock; who turns out to be busy is put back when it has finished.
    queue: BTreeMap<(u64, u64), Arc<Connection>>,
}

/// One open connection, as its stream, its requests and its room see it.
#[derive(Debug)]
pub(super) struct Connection {
    room: Arc<Room>,
    id: u64,
    /// [`BUSY`], [`BUSY_APART`], [`ENDED`], or the time since when it is idle.
    state: AtomicU64,
    /// Whether the answer is made; it may not be sent yet.
    answered: AtomicBool,
    /// Under what time it is in the queue. Only for who holds the lock.
    queued: AtomicU64,
    /// Its task, if that waits for the client.
    task: AtomicWaker,
}

/// A request is under way.
const BUSY: u64 = 0;
/// The same, and the connection is not in the queue.
const BUSY_APART: u64 = 1;
/// The room has ended it; it is not in the queue.
const ENDED: u64 = u64::MAX;

impl Room {
    fn new() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), guests: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nanoseconds since it was made; neither [`BUSY`] nor [`BUSY_APART`].
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(ENDED).clamp(2, ENDED - 1)
    }

    fn enter(self: &Arc<Self>, max: usize) -> Option<Place> {
        let mut guests = self.lock();
        while guests.open - guests.ending >= max {
            if !guests.end_the_longest_idle() {
                return None;
            }
        }
        let now = self.now();
        guests.open += 1;
        guests.last += 1;
        let connection = Arc::new(Connection {
            room: self.clone(),
            id: guests.last,
            state: now.into(),
            answered: false.into(),
            queued: now.into(),
            task: AtomicWaker::new(),
        });
        guests.put(&connection, now);
        Some(Place { connection, counted: None })
    }
}

impl Guests {
    fn put(&mut self, connection: &Arc<Connection>, since: u64) {
        connection.queued.store(since, Relaxed);
        self.queue.insert((since, connection.id), connection.clone());
    }

    /// `false`: nobody is idle. Takes a long time only if many requests were made since it was last asked.
    fn end_the_longest_idle(&mut self) -> bool {
        while let Some(((queued, _), connection)) = self.queue.pop_first() {
            match connection.state.load(Acquire) {
                BUSY => {
                    if connection.change(BUSY, BUSY_APART) {
                        continue;
                    }
                    self.put(&connection, queued);
                }
                since if since == queued => {
                    if connection.change(since, ENDED) {
                        self.ending += 1;
                        connection.task.wake();
                        return true;
                    }
                    self.put(&connection, queued);
                }
                since => self.put(&connection, since),
            }
        }
        false
    }
}

impl Connection {
    fn change(&self, from: u64, to: u64) -> bool {
        self.state.compare_exchange(from, to, AcqRel, Acquire).is_ok()
    }

    /// A request begins, whose head has arrived. Dropping what this returns says that the answer is made.
    pub(super) fn begin(self: &Arc<Self>) -> Request {
        self.answered.store(false, Relaxed);
        loop {
            match self.state.load(Acquire) {
                // The client sends requests faster than it takes answers.
                BUSY | BUSY_APART => break,
                // It came while the room made up its mind: one more than agreed, for as long as it takes.
                ENDED => {
                    let mut guests = self.room.lock();
                    guests.ending -= 1;
                    self.state.store(BUSY_APART, Release);
                    break;
                }
                since if self.change(since, BUSY) => break,
                _ => {}
            }
        }
        Request(self.clone())
    }

    /// Everything that was written is on its way: if that was the end of an answer, the connection is idle again.
    pub(super) fn flushed(self: &Arc<Self>) {
        if !self.answered.load(Relaxed) {
            return;
        }
        self.answered.store(false, Relaxed);
        if !self.change(BUSY, self.room.now()) {
            let mut guests = self.room.lock();
            let now = self.room.now();
            self.state.store(now, Release);
            guests.put(self, now);
        }
    }

    /// Whether the room has ended it.
    pub(super) fn has_ended(&self) -> bool {
        self.state.load(Acquire) == ENDED
    }

    /// Whether the room has ended it; if not yet, `waker` is woken when it does.
    pub(super) fn has_ended_or_wakes(&self, waker: &Waker) -> bool {
        self.task.register(waker);
        self.has_ended()
    }
}

/// A request of a connection, until its answer is made.
#[derive(Debug)]
pub(super) struct Request(Arc<Connection>);

impl Drop for Request {
    fn drop(&mut self) {
        self.0.answered.store(true, Relaxed);
    }
}

/// A connection's place in its room, which is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    connection: Arc<Connection>,
    /// Among those that are served. `None`: it is not one of them.
    counted: Option<GatePass>,
}

impl Place {
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.counted.take());
        let mut guests = self.connection.room.lock();
        guests.open -= 1;
        if self.connection.has_ended() {
            guests.ending -= 1;
        }
        guests.queue.remove(&(self.connection.queued.load(Relaxed), self.connection.id));
    }
}

#[cfg(test)]
mod tests;
