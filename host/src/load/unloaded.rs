//! What became of a library: gone, or kept and why. Each end of one is logged and counted here, once.
//!
//! In:   the end of a library, of a server that served or of one that never did.
//! Out:  one log line; the count of each kind of end, for as long as the process lives.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::config::ServerName;

/// What became of a library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unloaded {
    /// Nothing of it is mapped any more, no thread of it is left, its pthread keys are deleted and its calls ended.
    Gone,
    /// It is still mapped, and why. Costs memory, harms nothing.
    Kept(Kept),
}

/// Why a library stayed mapped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the message says they are")]
pub enum Kept {
    /// It was told to stop and still runs.
    #[error("its main function did not return within {limit:?}")]
    Main { limit: Duration },
    /// It has returned, but destructors of its thread-locals have not.
    #[error("its thread did not end")]
    Thread,
    /// Threads it made have not ended.
    #[error("{left} of its threads still run")]
    Threads { left: usize },
    /// The next of these signals would run its code.
    #[error("it handles the signals {signals:?}")]
    Signals { signals: Vec<i32> },
    /// Its destructors, or the linker, take their time.
    #[error("closing it took more than {limit:?}")]
    Closing { limit: Duration },
    /// `dlclose` failed; `reason` has the linker's words.
    #[error("the dynamic linker could not close it: {reason}")]
    Linker { reason: String },
    /// `dlclose` went well, and yet it is there.
    #[error("the dynamic linker kept it mapped")]
    Mapped,
    /// Without `/proc` nobody knows whether it may be closed.
    #[error("cannot see what of it is in use: {reason}")]
    UseUnseen { reason: String },
    /// Without `/proc` nobody knows whether it is gone.
    #[error("cannot see whether it is still mapped: {reason}")]
    EndUnseen { reason: String },
    /// The system gives no thread.
    #[error("there is no thread to close it on")]
    NoThread,
    /// It took longer to start than `start_timeout`, and may still be at it.
    #[error("it was not ready within {limit:?} and may still run")]
    NotReady { limit: Duration },
    /// It was opened, and only then found to have another interface.
    #[error("its interface is unknown, so it cannot be asked to end")]
    Interface,
    /// It was dropped while it ran.
    #[error("nobody stopped it")]
    NotStopped,
    /// What was to stop it panicked.
    #[error("its stop did not end")]
    StopUnfinished,
}

impl Kept {
    /// The stable word for this reason, e.g. in `/metrics`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Main { .. } => "main_did_not_return",
            Self::Thread => "thread_did_not_end",
            Self::Threads { .. } => "threads_still_run",
            Self::Signals { .. } => "handles_signals",
            Self::Closing { .. } => "close_timeout",
            Self::Linker { .. } => "linker_refused",
            Self::Mapped => "still_mapped",
            Self::UseUnseen { .. } | Self::EndUnseen { .. } => "cannot_see",
            Self::NoThread => "no_thread",
            Self::NotReady { .. } => "start_timeout",
            Self::Interface => "unknown_interface",
            Self::NotStopped => "not_stopped",
            Self::StopUnfinished => "stop_unfinished",
        }
    }
}

impl Unloaded {
    /// `gone` or `kept`.
    pub fn result(&self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Kept(_) => "kept",
        }
    }

    /// The [code](Kept::code) of why it was kept; empty if it is gone.
    pub fn reason_code(&self) -> &'static str {
        match self {
            Self::Gone => "",
            Self::Kept(kept) => kept.code(),
        }
    }

    /// Logs and counts the end of a library of `server`, which took since `began`. Every end comes through here.
    pub(super) fn noted(self, server: &ServerName, began: Instant) -> Self {
        let elapsed_ms = began.elapsed().as_micros() as f64 / 1000.0;
        let (name, library) = (server.as_str(), self.result());
        match &self {
            Self::Gone => tracing::info!(server = name, library, elapsed_ms, "server unloaded"),
            Self::Kept(kept) => {
                let (reason, reason_code) = (kept.to_string(), kept.code());
                tracing::warn!(server = name, library, reason, reason_code, elapsed_ms, "server unloaded");
            }
        }
        let mut ends = ENDS.lock().unwrap_or_else(PoisonError::into_inner);
        *ends.entry((name.to_owned(), library, self.reason_code())).or_default() += 1;
        self
    }
}

impl std::fmt::Display for Unloaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gone => f.write_str("gone"),
            Self::Kept(reason) => write!(f, "kept: {reason}"),
        }
    }
}

/// How often libraries of this process ended, by server, result and reason: a server's name outlives its generations.
static ENDS: Mutex<BTreeMap<(String, &str, &str), u64>> = Mutex::new(BTreeMap::new());

/// How often libraries of one server ended in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ends {
    /// The server's name, which may be in gateway.toml no more.
    pub server: String,
    /// `gone` or `kept`.
    pub result: &'static str,
    /// Why they were kept, as a [code](Kept::code); empty if they are gone.
    pub reason: &'static str,
    /// How often.
    pub times: u64,
}

/// Every end of a library so far, in the order of the servers' names.
pub fn ends() -> Vec<Ends> {
    let ends = ENDS.lock().unwrap_or_else(PoisonError::into_inner);
    let row = |((server, result, reason), times): (&(String, &'static str, &'static str), &u64)| Ends {
        server: server.clone(),
        result,
        reason,
        times: *times,
    };
    ends.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_is_counted_by_server_and_reason() {
        let server = ServerName::parse("counted").expect("a name");
        let now = Instant::now();
        for unloaded in [Unloaded::Gone, Unloaded::Kept(Kept::Thread), Unloaded::Gone] {
            assert_eq!(unloaded.clone().noted(&server, now), unloaded);
        }
        let ours = ends().into_iter().filter(|row| row.server == "counted");
        let rows: Vec<_> = ours.map(|row| format!("{} {:?} {}", row.result, row.reason, row.times)).collect();
        assert_eq!(rows, [r#"gone "" 2"#, r#"kept "thread_did_not_end" 1"#]);
    }

    #[test]
    fn a_reason_is_told_in_words_and_as_a_word() {
        let check = |kept: Kept, words: &str, word: &str| {
            assert_eq!((Unloaded::Kept(kept.clone()).to_string(), kept.code()), (words.to_owned(), word));
        };
        check(Kept::Threads { left: 2 }, "kept: 2 of its threads still run", "threads_still_run");
        check(
            Kept::Signals { signals: vec![2, 15] },
            "kept: it handles the signals [2, 15]",
            "handles_signals",
        );
        let limit = Duration::from_secs(8);
        let words = "kept: its main function did not return within 8s";
        check(Kept::Main { limit }, words, "main_did_not_return");
    }
}
