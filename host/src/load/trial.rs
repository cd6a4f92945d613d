//! A file that has not passed before is first opened and described in a child process, so that one which crashes the
//! dynamic linker, or in a constructor, costs the child and not the gateway.
//!
//! In:   the private copy that will be loaded, and how long the child may take.
//! Out:  that it passed, or what the plugin said of itself. Passed once, a content is not tried again.
//! Fails: with a [`TrialError`], within the time given and a few seconds for the child itself.
//! Never: judges what the file may do later; only that opening, describing and closing it ends nothing.

mod cache;
pub(super) mod child;
mod process;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::{Digest, Plugins};
use cache::Cache;
use process::Process;

/// What a child is asked, one line of JSON on the socket that is its standard input: settings may hold secrets, and a
/// command line is for everybody to read.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    path: PathBuf,
    limit_ms: u64,
    /// How far the library is to go.
    purpose: Purpose,
}

/// What a trial is for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To see whether it can be opened, described and closed.
    Pass,
    /// To hear its description too.
    Describe,
    /// To start it with these settings, and hear what it offers.
    Start(Map<String, Value>),
}

/// What a child says, line by line on the same socket.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    /// What the library is about to do.
    Next(TrialStep),
    /// What the plugin says it is, JSON.
    Described(String),
    /// What the plugin offers, JSON.
    Manifest(String),
    /// Why it goes no further.
    Refused(Objection),
    /// The system gives the child less than it needs.
    Helpless(String),
    /// The end: what became of the library.
    Closed(String),
}

/// What may end a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialStep {
    /// The dynamic linker maps it and runs its constructors.
    Open,
    /// It describes itself.
    Describe,
    /// It is started.
    Start,
    /// It is stopped and closed, which runs its destructors.
    Close,
}

impl std::fmt::Display for TrialStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open => "while the dynamic linker opened it and its constructors ran",
            Self::Describe => "while it described itself",
            Self::Start => "while it started",
            Self::Close => "while it was stopped and closed",
        })
    }
}

/// Why a child goes no further. Texts are the linker's, abi_stable's or the plugin's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Objection {
    /// The dynamic linker refuses it.
    #[error("the dynamic linker refuses it: {0}")]
    Linker(String),
    /// It was built with another interface.
    #[error("its interface is not this gateway's: {0}")]
    Interface(String),
    /// It cannot say what it is.
    #[error("it cannot describe itself: {0}")]
    Describe(String),
    /// It does not start.
    #[error("it does not start: {0}")]
    Start(String),
}

/// What a plugin said in its trial.
#[derive(Debug, Clone, Default)]
pub struct Tried {
    /// `describe`'s answer, JSON.
    pub description: String,
    /// The manifest, JSON, if it was started and got so far.
    pub manifest: Option<String>,
    /// Why it did not start, if it was to.
    pub start_failure: Option<String>,
    /// What became of the library in the child: `gone`, or `kept: ` and why.
    pub library: String,
}

/// Why a file did not pass its trial.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of an error are what its message says they are")]
pub enum TrialError {
    /// It ended the child.
    #[error(
        "tried in a child process, it ended that process ({how}) {step}; this is a bug of the plugin, or the file is damaged"
    )]
    Crashed { step: TrialStep, how: String },
    /// The system ended the child.
    #[error("tried in a child process, it was killed {step}, perhaps because memory ran out")]
    Killed { step: TrialStep },
    /// The child had to be killed.
    #[error(
        "tried in a child process, it did not get on within {limit:?} {step}; raise `start_timeout` if it needs longer"
    )]
    Hung { step: TrialStep, limit: Duration },
    /// It was refused in good order.
    #[error("{0}")]
    Refused(Objection),
    /// Nothing is known about the file.
    #[error(
        "it has to be tried in a child process first, and there is none: {reason}; the gateway needs `/proc`, and room for \
         another process and thread"
    )]
    NoChild { reason: String },
}

impl TrialError {
    /// Whether another trial of the same content could end otherwise: it says something about this machine at this
    /// moment.
    fn is_passing(&self) -> bool {
        // A library that it needs may be installed by then.
        let is_linkers = matches!(self, Self::Refused(Objection::Linker(_)));
        is_linkers || matches!(self, Self::Hung { .. } | Self::Killed { .. } | Self::NoChild { .. })
    }

    /// Whether it took too long only because it was given less time than `limit`.
    fn was_cut_short_of(&self, limit: Duration) -> bool {
        matches!(self, Self::Hung { limit: given, .. } if *given < limit)
    }
}

/// How the trial of a content ended, once it has.
type Outcome = Arc<OnceLock<Result<(), TrialError>>>;

/// Holds trials, and remembers how they ended.
#[derive(Debug)]
pub(super) struct Trials {
    /// The gateway's own program, which is the child's.
    program: PathBuf,
    cache: Mutex<Option<Cache>>,
    outcomes: Mutex<HashMap<Digest, Outcome>>,
}

impl Trials {
    pub(super) fn new(program: PathBuf, plugins: &Plugins) -> Self {
        let trials = Self { program, cache: Mutex::default(), outcomes: Mutex::default() };
        trials.remember_in(plugins.cache_dir.as_deref());
        trials
    }

    /// From now on remembers in `folder` too what has passed.
    pub(super) fn remember_in(&self, folder: Option<&Path>) {
        *self.cache() = folder.and_then(Cache::open);
    }

    fn cache(&self) -> MutexGuard<'_, Option<Cache>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outcomes(&self) -> MutexGuard<'_, HashMap<Digest, Outcome>> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the content `digest`, of which there is a copy at `path`, passes. Who asks about a content that is being
    /// tried waits for that trial.
    pub(super) fn judge(&self, digest: Digest, path: &Path, limit: Duration) -> Result<(), TrialError> {
        loop {
            let outcome = self.outcomes().entry(digest).or_default().clone();
            let verdict = outcome.get_or_init(|| self.pass(digest, path, limit));
            let Err(error) = verdict else { return Ok(()) };
            if error.is_passing() {
                // Only if it is still this one: somebody else may be trying again already.
                let mut outcomes = self.outcomes();
                if outcomes.get(&digest).is_some_and(|known| Arc::ptr_eq(known, &outcome)) {
                    outcomes.remove(&digest);
                }
            }
            if !error.was_cut_short_of(limit) {
                return Err(error.clone());
            }
        }
    }

    fn pass(&self, digest: Digest, path: &Path, limit: Duration) -> Result<(), TrialError> {
        if self.cache().as_ref().is_some_and(|cache| cache.has(digest)) {
            return Ok(());
        }
        let began = Instant::now();
        let tried = self.hold(path, limit, Purpose::Pass);
        let elapsed_ms = began.elapsed().as_micros() as f64 / 1000.0;
        let library = tried.as_ref().map(|tried| tried.library.as_str()).unwrap_or_default();
        tracing::debug!(sha256 = %digest, elapsed_ms, passed = tried.is_ok(), library, "file tried");
        if let (Ok(_), Some(cache)) = (&tried, &*self.cache()) {
            cache.add(digest);
        }
        tried.map(drop)
    }

    /// Opens, describes and closes the library at `path` in a child. `limit` is from the moment at which it is opened.
    pub(super) fn hold(&self, path: &Path, limit: Duration, purpose: Purpose) -> Result<Tried, TrialError> {
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let request = Request { path: path.to_owned(), limit_ms, purpose };
        let process = Process::begin(&self.program, &request);
        process.map_err(|error| TrialError::NoChild { reason: error.to_string() })?.follow(limit)
    }
}
