//! How the calls of one generation of a server end, and the breaker that faults in a row trip.
//!
//! In:   how each call ended, and what time it is.
//! Out:  whether a call may go to the plugin; who is quarantined, since which fault, until when.
//! Never: looks at a clock, waits, or takes a lock for a call of a server whose last call went well.
//!
//! A server that is quarantined is asked nothing until its time is over; then one real call is let through as the
//! retry, while the others stay refused. What else was under way when the breaker tripped changes nothing any more:
//! a hundred calls that time out together are one quarantine, not a hundred.

#[cfg(test)]
mod tests;

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::{Duration, Instant},
};

use crate::config::ServerEntry;

/// A quarantine grows with each retry that fails, up to so many times the first.
const GROWTH_MAX: u32 = 16;

/// What a plugin did wrong in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Its code panicked.
    Panicked,
    /// Its answer was no result, or too large.
    BadResult,
    /// It did not answer within `call_timeout`.
    TimedOut,
    /// It dropped the call without an answer.
    Lost,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Panicked, Self::BadResult, Self::TimedOut, Self::Lost];

    /// The stable word for it: what the caller was told, where that says which it was.
    pub fn code(self) -> &'static str {
        match self {
            Self::Panicked => "plugin_panicked",
            Self::BadResult => "bad_plugin_result",
            Self::TimedOut => "tool_timeout",
            Self::Lost => "call_lost",
        }
    }
}

/// What a call's end says of the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It answered, be it with an error of its own.
    Answered,
    /// It did something wrong.
    Fault(Fault),
    /// Nothing: the call was cancelled or suspended, or refused before it got to it.
    Nothing,
}

/// Leave for one call to go to the plugin; to be given back to [`Health::end`].
#[derive(Debug)]
#[must_use = "a retry that is not given back keeps its place until `call_timeout` is over"]
pub struct Pass {
    /// Which retry it is; `None`: a call like any other.
    retry: Option<u64>,
}

/// Facts about a quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quarantined {
    /// Faults in a row.
    pub faults: u32,
    /// The last of them.
    pub last: Fault,
    /// When the next call may be let through; zero: now, or when the retry under way ends.
    pub retry_in: Duration,
}

/// What the end of a call changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The server is quarantined, for the first time or anew.
    Quarantined(Quarantined),
    /// The retry went well.
    Released,
}

/// How the calls of one generation of a server end.
#[derive(Debug)]
pub struct Health {
    /// 0: never.
    quarantine_after: u32,
    quarantine: Duration,
    /// How long a retry keeps the others out: as long as it may take.
    retry_limit: Duration,
    /// Whether there is a series of faults, or a quarantine. Written with `state` locked.
    is_troubled: AtomicBool,
    state: Mutex<State>,
    faults: [AtomicU64; Fault::ALL.len()],
    quarantines: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    in_a_row: u32,
    quarantine: Option<Quarantine>,
    /// Retries let through so far: the number of the latest.
    retries: u64,
}

#[derive(Debug)]
struct Quarantine {
    last: Fault,
    /// How many times as long as the first.
    growth: u32,
    until: Instant,
    /// The retry under way, and until when the others wait for it.
    retry: Option<(u64, Instant)>,
    /// Retries up to this number belong to what was before.
    after_retry: u64,
}

impl Quarantine {
    fn retry_in(&self, now: Instant) -> Duration {
        self.until.saturating_duration_since(now)
    }
}

impl Health {
    /// The health of a server that has not been called yet.
    pub fn new(entry: &ServerEntry) -> Self {
        Self {
            quarantine_after: entry.quarantine_after,
            quarantine: entry.quarantine,
            retry_limit: entry.call_timeout,
            is_troubled: AtomicBool::new(false),
            state: Mutex::default(),
            faults: Default::default(),
            quarantines: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets one call through, or says why not.
    pub fn admit(&self, now: Instant) -> Result<Pass, Quarantined> {
        if !self.is_troubled.load(Acquire) {
            return Ok(Pass { retry: None });
        }
        let state = &mut *self.lock();
        let Some(quarantine) = &mut state.quarantine else { return Ok(Pass { retry: None }) };
        let is_taken = quarantine.retry.is_some_and(|(_, until)| now < until);
        if now < quarantine.until || is_taken {
            let (last, retry_in) = (quarantine.last, quarantine.retry_in(now));
            return Err(Quarantined { faults: state.in_a_row, last, retry_in });
        }
        state.retries += 1;
        quarantine.retry = Some((state.retries, now + self.retry_limit));
        Ok(Pass { retry: Some(state.retries) })
    }

    /// A call has ended.
    pub fn end(&self, pass: &Pass, verdict: Verdict, now: Instant) -> Option<Change> {
        if let Verdict::Fault(fault) = verdict {
            self.faults[fault as usize].fetch_add(1, Relaxed);
            if self.quarantine_after == 0 {
                return None;
            }
        } else if !self.is_troubled.load(Acquire) {
            return None;
        }
        let state = &mut *self.lock();
        let change = match &mut state.quarantine {
            Some(quarantine) => {
                let retry = pass.retry.filter(|number| *number > quarantine.after_retry)?;
                match verdict {
                    Verdict::Answered => Some(Change::Released),
                    Verdict::Fault(fault) => Some(self.quarantine(state, fault, now)),
                    Verdict::Nothing => {
                        quarantine.retry = quarantine.retry.filter(|(number, _)| *number != retry);
                        None
                    }
                }
            }
            None => match verdict {
                Verdict::Answered => {
                    state.in_a_row = 0;
                    None
                }
                Verdict::Fault(fault) if state.in_a_row + 1 >= self.quarantine_after => {
                    Some(self.quarantine(state, fault, now))
                }
                Verdict::Fault(_) => {
                    state.in_a_row += 1;
                    None
                }
                Verdict::Nothing => None,
            },
        };
        if change == Some(Change::Released) {
            (state.in_a_row, state.quarantine) = (0, None);
        }
        self.is_troubled.store(state.in_a_row > 0, Release);
        change
    }

    fn quarantine(&self, state: &mut State, fault: Fault, now: Instant) -> Change {
        let growth = state.quarantine.as_ref().map_or(1, |before| (before.growth * 2).min(GROWTH_MAX));
        state.in_a_row = state.in_a_row.saturating_add(1);
        let retry_in = self.quarantine * growth;
        state.quarantine = Some(Quarantine {
            last: fault,
            growth,
            until: now + retry_in,
            retry: None,
            after_retry: state.retries,
        });
        self.quarantines.fetch_add(1, Relaxed);
        Change::Quarantined(Quarantined { faults: state.in_a_row, last: fault, retry_in })
    }

    /// The quarantine the server is in.
    pub fn quarantined(&self, now: Instant) -> Option<Quarantined> {
        if !self.is_troubled.load(Acquire) {
            return None;
        }
        let state = self.lock();
        let quarantine = state.quarantine.as_ref()?;
        let (last, retry_in) = (quarantine.last, quarantine.retry_in(now));
        Some(Quarantined { faults: state.in_a_row, last, retry_in })
    }

    /// Faults of one kind so far.
    pub fn faults(&self, fault: Fault) -> u64 {
        self.faults[fault as usize].load(Relaxed)
    }

    /// Quarantines so far, each renewal counted.
    pub fn quarantines(&self) -> u64 {
        self.quarantines.load(Relaxed)
    }
}

impl Quarantined {
    /// When to try again, in whole seconds and not at once: also while others wait for the retry under way.
    pub fn retry_in_seconds(&self) -> u32 {
        u32::try_from(self.retry_in.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1)
    }

    /// [`Self::retry_in`] in milliseconds.
    pub fn retry_in_ms(&self) -> u64 {
        milliseconds(self.retry_in)
    }
}

/// Rounded up: 0 is to say that there is nothing to wait for.
pub fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

impl std::fmt::Display for Quarantined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let faults =
            if self.faults == 1 { "1 fault".into() } else { format!("{} faults in a row", self.faults) };
        write!(f, "{faults}, the last `{}`", self.last.code())
    }
}
