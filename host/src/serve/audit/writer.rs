//! The thread that writes the audit log.

use std::{
    fs::File,
    io::{self, ErrorKind, Write},
    mem,
    sync::{Arc, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{Shared, State, batch::Batch, file::Target, line::Lost, tell_lost};

/// How long a fifo that is full is left to its reader.
const READER_PAUSE: Duration = Duration::from_millis(10);

/// How often what nobody reports is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Whether the file has been moved; at most so often, and only if there is something to write.
    pub(super) check: Duration,
    /// Whether a file that could not be written can be by now.
    pub(super) retry: Duration,
}

pub(super) struct Writer {
    target: Target,
    pace: Pace,
    shared: Arc<Shared>,
    batch: Batch,
    /// How many lines of the queue are in the batch.
    lines: usize,
    /// When it was seen that the file is where it belongs. `None`: to be looked at before anything is written.
    checked: Option<Instant>,
    /// After an error: when to try again.
    retry_at: Instant,
    /// Whether the log knows that the file has been moved and cannot be made anew.
    has_told_moved: bool,
}

/// Whether there is something more to do.
#[derive(PartialEq)]
enum Next {
    Go,
    End,
}

impl Pace {
    pub(super) const USUAL: Self = Self { check: Duration::from_secs(1), retry: Duration::from_secs(1) };
}

impl Writer {
    pub(super) fn new(target: Target, pace: Pace, shared: Arc<Shared>) -> Self {
        let (batch, retry_at) = (Batch::default(), Instant::now());
        Self { target, pace, shared, batch, lines: 0, checked: None, retry_at, has_told_moved: false }
    }

    pub(super) fn run(mut self) {
        let mut next = Next::Go;
        while next == Next::Go {
            let (asked, followed) = self.wait();
            let result = self.renew(asked > followed).and_then(|()| self.write());
            next = self.settle(result, asked);
        }
    }

    /// Waits for something to do, and takes what is to be written. How often it was asked to open the file anew, and has
    /// been.
    fn wait(&mut self) -> (u64, u64) {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        while let Some(most) = self.wait_for(&state) {
            state = wait(&shared, state, most);
        }
        self.batch.take(&mut state.queue);
        self.lines = state.unwritten;
        // While nothing can be written, the number only grows: one line will tell it.
        if !state.is_failing && state.lost_untold > 0 {
            let lines = mem::take(&mut state.lost_untold);
            self.batch.push(&Lost::new(SystemTime::now(), lines).to_json());
        }
        state.reopen
    }

    /// For how long there is nothing to do. `None`: there is.
    fn wait_for(&self, state: &State) -> Option<Duration> {
        const FOR_EVER: Duration = Duration::MAX;
        let now = Instant::now();
        if state.reopen.0 > state.reopen.1 {
            return None;
        }
        if let Some(until) = state.closing {
            if state.taken == 0 || until <= now {
                return None;
            }
            let wake = match (state.unwritten, state.is_failing && !state.is_awaited) {
                (0, _) => until,
                (_, true) => until.min(self.retry_at),
                (_, false) => return None,
            };
            return wake.checked_duration_since(now).filter(|left| !left.is_zero());
        }
        if state.is_failing {
            return self.retry_at.checked_duration_since(now).filter(|left| !left.is_zero());
        }
        (state.queue.is_empty() && state.lost_untold == 0).then_some(FOR_EVER)
    }

    /// Opens the file anew if it has been moved, or if somebody has asked for it.
    fn renew(&mut self, is_asked: bool) -> io::Result<()> {
        let is_due = self.checked.is_none_or(|checked| checked.elapsed() >= self.pace.check);
        if !is_asked && !is_due {
            return Ok(());
        }
        self.checked = Some(Instant::now());
        if !is_asked && !self.target.is_moved() {
            return Ok(());
        }
        match Target::open(&self.target.path) {
            Ok(target) => {
                self.target = target;
                self.batch.begin_elsewhere();
                self.has_told_moved = false;
                Ok(())
            }
            // Nobody would ever read what is written there.
            Err(error) if self.target.is_gone() => Err(error),
            // Whoever moves it is about to put another one there, or will find the lines in this one.
            Err(error) => {
                if !mem::replace(&mut self.has_told_moved, true) {
                    let path = self.target.path.display();
                    tracing::warn!(%path, %error, "audit log not opened anew, the old one goes on");
                }
                Ok(())
            }
        }
    }

    fn write(&mut self) -> io::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        if mem::take(&mut self.target.ends_open) {
            self.batch.end_line_before();
        }
        self.batch.write_to(&mut Patient { to: &self.target.file, shared: &self.shared })
    }

    /// Notes what has come of the batch, and of what was asked.
    fn settle(&mut self, result: io::Result<()>, asked: u64) -> Next {
        let mut state = self.shared.lock();
        state.reopen.1 = asked;
        let was_failing = state.is_failing;
        // An error without anything to write is looked at again when there is.
        state.is_failing = result.is_err() && !self.batch.is_empty();
        if result.is_ok() {
            let lines = mem::take(&mut self.lines);
            state.taken -= lines;
            state.unwritten -= lines;
        } else {
            self.checked = None;
            self.retry_at = Instant::now() + self.pace.retry;
        }
        let is_over = state.closing.is_some_and(|until| state.taken == 0 || until <= Instant::now());
        let has_more = !state.queue.is_empty() || state.lost_untold > 0;
        let next = match &result {
            Ok(()) if is_over && !has_more => Next::End,
            // A disk that is full will not be less so in the moment that is left to who waits. Calls that outlive a log which was
            // replaced leave it a day.
            Err(_) if is_over || state.is_awaited => Next::End,
            _ => Next::Go,
        };
        state.has_ended = next == Next::End;
        let left = if state.has_ended { state.unwritten as u64 } else { 0 };
        let lost = (left > 0).then(|| state.lose(left)).flatten();
        let is_failing = state.is_failing;
        drop(state);
        self.shared.done.notify_all();
        tell_lost(lost);
        let path = self.target.path.display();
        match result {
            Err(error) if !was_failing => tracing::error!(%path, %error, "audit log cannot be written"),
            Ok(()) if was_failing && !is_failing => tracing::info!(%path, "audit log is written again"),
            _ => {}
        }
        next
    }
}

fn wait<'a>(shared: &'a Shared, state: MutexGuard<'a, State>, most: Duration) -> MutexGuard<'a, State> {
    if most == Duration::MAX {
        return shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    shared.work.wait_timeout(state, most).unwrap_or_else(PoisonError::into_inner).0
}

/// A file that may be a fifo, whose reader is slower than we are: that is no error.
struct Patient<'a> {
    to: &'a File,
    shared: &'a Shared,
}

impl Patient<'_> {
    fn may_wait(&self) -> bool {
        self.shared.lock().closing.is_none_or(|until| Instant::now() < until)
    }
}

impl Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.to.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.may_wait() => {
                    thread::sleep(READER_PAUSE);
                }
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
