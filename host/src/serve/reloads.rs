//! What has become of attempts to change what is served while it is served: for `/servers`, `/metrics`, `gateway reload`
//! and the log.
//!
//! In:   requests for a reload, from whichever door; what came of each, from the one who does them.
//! Out:  the same to whoever asks.
//! Never: reloads anything.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwapOption;
use serde_json::{Value, json};
use tokio::sync::{Notify, futures::Notified, oneshot};

/// What made the gateway look at its files again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// One of them has changed.
    Change,
    /// SIGHUP.
    Signal,
    /// Somebody asked: `gateway reload`, `POST /admin/reload`.
    Request,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// What is on the disk is served now.
    Applied,
    /// It was served already.
    Unchanged,
    /// Not all of it is served: what it would have replaced goes on.
    Refused,
}

/// What has become of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It did not serve before.
    Added,
    /// Another generation serves in its place.
    Swapped,
    /// It is there no more.
    Removed,
}

/// One server that is served otherwise than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its name.
    pub server: String,
    /// What has become of it.
    pub what: What,
    /// The generation that serves now, if one does.
    pub generation: Option<u64>,
}

/// Something on the disk that is not served, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The server it is about; `None`: gateway.toml as a whole.
    pub server: Option<String>,
    /// The stable word for this kind of failure.
    pub code: &'static str,
    /// Why, and what to do about it, on one line.
    pub reason: String,
    /// Line and column in gateway.toml, each counted from 1, if it is about a place there.
    pub place: Option<(usize, usize)>,
}

/// A key whose new value takes a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its name, with that of its table.
    pub key: &'static str,
    /// The value that holds until then.
    pub holds: String,
    /// The value in the file.
    pub written: String,
}

/// What came of one look at the files.
#[derive(Debug, Clone)]
pub struct Reload {
    /// Why it was done.
    pub trigger: Trigger,
    /// What came of it.
    pub outcome: Outcome,
    /// When it was over.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// The servers that are served otherwise than before, in file order, those that are gone last.
    pub changes: Vec<Change>,
    /// Tables of gateway.toml other than servers that hold otherwise than before.
    pub settings: Vec<&'static str>,
    /// What on the disk is not served, although something of before may be.
    pub refused: Vec<Refused>,
    /// Servers that do not serve, as before or for the first time.
    pub failed: Vec<Refused>,
    /// What takes a restart.
    pub waiting: Vec<Waiting>,
    /// Files in `[plugins] dir` that are no servers, and why.
    pub ignored: Vec<(String, String)>,
    /// What `gateway check` would print about gateway.toml, if it is wrong.
    pub report: Option<String>,
}

/// Somebody who wants what is on the disk to be served.
#[derive(Debug)]
pub struct ReloadRequest {
    /// Why.
    pub trigger: Trigger,
    /// Where to tell what came of it.
    pub answer: oneshot::Sender<Arc<Reload>>,
}

/// Takes a request to where it is done; whether somebody does it.
type Hand = Box<dyn Fn(ReloadRequest) -> bool + Send>;

/// All attempts of this process.
#[derive(Default)]
pub struct Reloads {
    last: ArcSwapOption<Reload>,
    counts: [AtomicU64; Outcome::ALL.len()],
    hand: Mutex<Option<Hand>>,
    closed: Notify,
}

impl Trigger {
    /// The stable word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Signal => "signal",
            Self::Request => "request",
        }
    }
}

impl Outcome {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Applied, Self::Unchanged, Self::Refused];

    /// The stable word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
        }
    }
}

impl What {
    /// The stable word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Swapped => "swapped",
            Self::Removed => "removed",
        }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some((line, column)) = self.place {
            write!(f, "line {line}, column {column}: ")?;
        }
        f.write_str(&self.reason)
    }
}

impl Reload {
    /// For programs, and fit for everybody who may see `/servers`: it has no values of gateway.toml that may be
    /// secret, and no addresses.
    pub fn json(&self) -> Value {
        let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let change = |change: &Change| {
            let mut row = json!({ "server": change.server, "change": change.what.word() });
            if let Some(generation) = change.generation {
                row["generation"] = generation.into();
            }
            row
        };
        let refused = |refused: &Refused| {
            let mut row = json!({ "code": refused.code, "reason": refused.reason });
            if let Some(server) = &refused.server {
                row["server"] = server.as_str().into();
            }
            if let Some((line, column)) = refused.place {
                (row["line"], row["column"]) = (line.into(), column.into());
            }
            row
        };
        let ignored = |(file, reason): &(String, String)| json!({ "file": file, "reason": reason });
        json!({
            "outcome": self.outcome.word(),
            "trigger": self.trigger.word(),
            "at_unix_ms": milliseconds(self.at.duration_since(UNIX_EPOCH).unwrap_or_default()),
            "took_ms": milliseconds(self.took),
            "changes": self.changes.iter().map(change).collect::<Vec<_>>(),
            "settings": self.settings,
            "refused": self.refused.iter().map(refused).collect::<Vec<_>>(),
            "failed": self.failed.iter().map(refused).collect::<Vec<_>>(),
            "needs_restart": self.waiting.iter().map(|waiting| waiting.key).collect::<Vec<_>>(),
            "ignored": self.ignored.iter().map(ignored).collect::<Vec<_>>(),
        })
    }

    /// The same with addresses and other values of gateway.toml: for those who look after the gateway.
    pub fn json_for_operators(&self) -> Value {
        let mut told = self.json();
        let waiting = |key: &Waiting| json!({ "key": key.key, "holds": key.holds, "written": key.written });
        told["needs_restart"] = self.waiting.iter().map(waiting).collect();
        told
    }

    /// What of `server` on the disk is not served.
    pub fn refused_of(&self, server: &str) -> Option<&Refused> {
        self.refused.iter().find(|refused| refused.server.as_deref() == Some(server))
    }
}

impl Reloads {
    /// The latest; `None`: nobody has looked at the files since the start.
    pub fn last(&self) -> Option<Arc<Reload>> {
        self.last.load_full()
    }

    /// How many have ended so.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.counts[outcome as usize].load(Relaxed)
    }

    /// Notes what came of one.
    pub fn note(&self, reload: Arc<Reload>) {
        self.counts[reload.outcome as usize].fetch_add(1, Relaxed);
        self.last.store(Some(reload));
    }

    /// Takes every request to `hand` from now on; `None`: there are no more reloads.
    pub fn hand_to(&self, hand: Option<Hand>) {
        let is_over = hand.is_none();
        *self.hand.lock().unwrap_or_else(PoisonError::into_inner) = hand;
        if is_over {
            self.closed.notify_waiters();
        }
    }

    /// Ends when there are no more reloads, if that is after this call.
    pub fn closed(&self) -> Notified<'_> {
        self.closed.notified()
    }

    /// Asks for a reload; what came of it is sent over the channel, which closes without a word if the gateway stops
    /// before. `None`: it is starting or stopping.
    pub fn ask(&self, trigger: Trigger) -> Option<oneshot::Receiver<Arc<Reload>>> {
        let (answer, answered) = oneshot::channel();
        let hand = self.hand.lock().unwrap_or_else(PoisonError::into_inner);
        hand.as_ref()?(ReloadRequest { trigger, answer }).then_some(answered)
    }
}

impl std::fmt::Debug for Reloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reloads").field("last", &self.last).finish_non_exhaustive()
    }
}
