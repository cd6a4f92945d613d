//! The audit log: one JSON object on a line for each call and for each refusal, who and what and how it ended.
//!
//! In:   lines, each for a place that was taken before the call began.
//! Out:  a file that only grows. One thread writes it, so that no call waits for a disk.
//! Fails: no place is to be had while the queue is full or the file cannot be written. Who has to be recorded is refused
//!        then, the others are counted, and the file says how many once it is written again.
//! Never: arguments, tokens, keys; half a line that another one continues.
//!
//! The file may be moved away at any time (logrotate): it is made anew within a second of the next line, and on
//! [`Audit::reopen`] at once.

mod line;

mod batch;
mod file;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::config;
use batch::Batch;
use file::Target;
use writer::{Pace, Writer};

pub(super) use line::{Event, Line};

/// How many lines may wait to be written: about a second of calls at full load. Places that are promised do not count: there are
/// as many as open calls, of which `[limits]` takes as many as the operator likes.
const WAITING_MAX: usize = 8192;
/// How often the log speaks of lines that are lost.
const WARN_EVERY: Duration = Duration::from_secs(10);
/// How long a call may outlive the log that a reload has replaced, and still be recorded.
const LONGEST_CALL: Duration = Duration::from_secs(24 * 3600);

/// The audit log; without a path, one that keeps nothing. To be closed when nobody calls any more.
#[derive(Debug)]
pub struct Audit {
    shared: Option<Arc<Shared>>,
    is_required: bool,
}

/// The audit log that holds now. Two are equal if they are the same one.
#[derive(Debug, Clone)]
pub struct AuditLog(Arc<Audit>);

impl AuditLog {
    /// `audit`, for everybody who records.
    pub fn new(audit: Audit) -> Self {
        Self(Arc::new(audit))
    }

    /// One that keeps nothing.
    pub fn nothing() -> Self {
        Self::new(Audit { shared: None, is_required: false })
    }
}

impl PartialEq for AuditLog {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl std::ops::Deref for AuditLog {
    type Target = Audit;

    fn deref(&self) -> &Audit {
        &self.0
    }
}

/// A place for one line, which is sure to be taken. Dropping it gives it back.
#[derive(Debug)]
#[must_use = "without a line nothing is recorded"]
pub(super) struct Slot(Option<Arc<Shared>>);

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotRecorded {
    /// The writer does not keep up.
    #[error("the queue of the audit log is full")]
    Full,
    /// The file cannot be written. The log has the reason.
    #[error("the audit log cannot be written")]
    Failing,
    /// The gateway stops.
    #[error("the audit log is closed")]
    Closed,
}

/// What callers and the writer share.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the writer.
    work: Condvar,
    /// Wakes whoever waits for the writer.
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What the writer takes next.
    queue: Batch,
    /// Places that are promised, and lines that are not in the file yet.
    taken: usize,
    /// Of those, the lines.
    unwritten: usize,
    is_failing: bool,
    /// How often somebody has asked to open the file anew, and how many of these have been followed.
    reopen: (u64, u64),
    /// Until when what is left may be written. `Some`: nothing is taken any more.
    closing: Option<Instant>,
    /// Whether somebody waits for the end.
    is_awaited: bool,
    has_ended: bool,
    lost: u64,
    /// Of those, the ones that the file does not tell of yet.
    lost_untold: u64,
    warned: Option<Instant>,
}

impl Audit {
    /// Opens the file, and starts the thread that writes it.
    pub fn open(config: &config::Audit) -> io::Result<Self> {
        Self::open_at(config, Pace::USUAL)
    }

    fn open_at(config: &config::Audit, pace: Pace) -> io::Result<Self> {
        let Some(path) = &config.path else { return Ok(Self { shared: None, is_required: false }) };
        let shared = Arc::new(Shared::default());
        let writer = Writer::new(Target::open(path)?, pace, shared.clone());
        thread::Builder::new().name("audit".into()).spawn(move || writer.run())?;
        Ok(Self { shared: Some(shared), is_required: config.required })
    }

    /// Whether anything is recorded.
    pub(super) fn is_on(&self) -> bool {
        self.shared.is_some()
    }

    /// Whether a call that has no place must not be made. If it may, it is to be [counted](Self::count_lost).
    pub(super) fn is_required(&self) -> bool {
        self.is_required
    }

    /// Takes the place of the line that the end of a call will write.
    pub(super) fn reserve(&self) -> Result<Slot, NotRecorded> {
        let Some(shared) = &self.shared else { return Ok(Slot(None)) };
        let mut state = shared.lock();
        if state.closing.is_some() {
            return Err(NotRecorded::Closed);
        }
        if state.is_failing {
            return Err(NotRecorded::Failing);
        }
        if state.unwritten >= WAITING_MAX {
            return Err(NotRecorded::Full);
        }
        state.taken += 1;
        Ok(Slot(Some(shared.clone())))
    }

    /// Counts a line for which there was no place.
    pub(super) fn count_lost(&self) {
        if let Some(shared) = &self.shared {
            let lost = shared.lock().lose(1);
            shared.work.notify_one();
            tell_lost(lost);
        }
    }

    /// How many lines were lost.
    pub(super) fn lost(&self) -> u64 {
        self.shared.as_ref().map_or(0, |shared| shared.lock().lost)
    }

    /// Whether the file cannot be written at present.
    pub(super) fn is_failing(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.lock().is_failing)
    }

    /// Has the file opened anew, whether it has been moved or not.
    pub fn reopen(&self) {
        if let Some(shared) = &self.shared {
            shared.lock().reopen.0 += 1;
            shared.work.notify_one();
        }
    }

    /// Promises no more places, and waits until every line that was promised one has been written, for no longer than
    /// `limit`. How many have not.
    pub fn close(&self, limit: Duration) -> usize {
        let Some(shared) = &self.shared else { return 0 };
        let mut state = shared.lock();
        let until = Instant::now() + limit;
        state.closing = Some(state.closing.map_or(until, |earlier| earlier.min(until)));
        state.is_awaited = true;
        shared.work.notify_one();
        let waited = shared.done.wait_timeout_while(state, limit, |state| !state.has_ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.unwritten
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            // Nobody waits for the writer. It ends with the last call that was promised a place.
            shared.lock().closing.get_or_insert_with(|| Instant::now() + LONGEST_CALL);
            shared.work.notify_one();
        }
    }
}

impl Slot {
    /// Hands `line` to the writer.
    pub(super) fn write(mut self, line: &Line<'_>) {
        let Some(shared) = self.0.take() else { return };
        // Outside the lock.
        let text = line.to_json();
        let mut state = shared.lock();
        if state.has_ended {
            // The call has outlived the writer.
            state.taken -= 1;
            let lost = state.lose(1);
            drop(state);
            return tell_lost(lost);
        }
        state.queue.push(&text);
        state.unwritten += 1;
        drop(state);
        shared.work.notify_one();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(shared) = self.0.take() else { return };
        let mut state = shared.lock();
        state.taken -= 1;
        // A writer that is to end may wait for this.
        if state.closing.is_some() {
            shared.work.notify_one();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts lines that are lost. How many there are by now, if the log has to be told: outside the lock, since it may wait.
    #[must_use = "to be told by `tell_lost`"]
    fn lose(&mut self, lines: u64) -> Option<u64> {
        self.lost += lines;
        self.lost_untold += lines;
        if self.warned.is_some_and(|warned| warned.elapsed() < WARN_EVERY) {
            return None;
        }
        self.warned = Some(Instant::now());
        Some(self.lost)
    }
}

fn tell_lost(lost: Option<u64>) {
    if let Some(lost) = lost {
        tracing::warn!(lost, "audit lines lost");
    }
}
