//! Step 2 of 5, load: turns checked server entries into running servers.
//!
//! In:   `&[ServerEntry]`, in file order, to a [`Loader`].
//! Out:  `Vec<Server>` in the same order, each running or failed with its reason; `unload` walks it backwards.
//! Fails: never as a whole: a server that does not start is `Server::Failed`, the others run.
//! Never: HTTP, MCP, TOML. Unsafe code: only in `library` and `mailbox`.
//!
//! A plugin is a program with a mailbox. Its code runs on one thread that the host makes for it, and on threads it
//! makes itself, never on a thread that outlives it: that is what makes closing its library sound.

mod body;
mod call;
mod census;
mod close;
mod error;
mod exchange;
mod health;
mod heap;
mod instance;
mod intake;
mod library;
mod mailbox;
mod manifest;
mod settings;
mod stage;
mod trial;
mod unloaded;
mod vet;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use crate::config::{Digest, Plugins, ServerEntry};
use intake::Accepted;
use stage::Staged;
use trial::Trials;

pub use call::{
    Answer, AnswerStatus, CallEvent, CallFacts, CallOptions, CancelReason, ClientAnswer, Closed,
    Notifications, OpenCall, Request, Taken, Tasks,
};
pub use close::libraries_kept;
pub use error::{LoadError, chain};
pub use health::{Change, Fault, Health, Pass, Quarantined, Verdict, milliseconds};
pub use instance::{Instance, leave_at_once, leave_process};
pub use intake::PluginFile;
pub use mailbox::Notice;
pub use manifest::{Manifest, ManifestError, TaskSupport, ToolSpec};
pub use trial::{Failure, Step, TrialError, Tried, child::run as run_trial};
pub use unloaded::{Ends, Kept, Unloaded, ends};
pub use vet::{Facts, Rejection, vet};

/// One `[[server]]` table after this step.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there are a few per process, and each lives as long as it")]
pub enum Server {
    /// It serves.
    Running(Arc<Instance>),
    /// It does not, and why.
    Failed(Failed),
}

/// A server that did not start.
#[derive(Debug)]
pub struct Failed {
    /// Its table in gateway.toml.
    pub entry: ServerEntry,
    /// Why.
    pub error: LoadError,
}

/// Loads servers, and remembers which files have passed their trial.
#[derive(Debug)]
pub struct Loader {
    trials: Trials,
}

/// A library that may be loaded: checked, tried, copied.
struct Prepared {
    facts: Facts,
    digest: Digest,
    staged: Staged,
}

impl Loader {
    /// A loader that tries files in children of this very program, which has to be the gateway.
    pub fn new(plugins: &Plugins) -> Self {
        // Not the path it was started by: another program may lie there by now.
        Self::with_program("/proc/self/exe".into(), plugins)
    }

    /// A loader that tries files in children of the gateway at `program`.
    pub fn with_program(program: PathBuf, plugins: &Plugins) -> Self {
        stage::sweep();
        Self { trials: Trials::new(program, plugins) }
    }

    /// Loads every server. Blocks. Files are checked and tried side by side, plugins started in order.
    pub fn load_all(&self, entries: &[ServerEntry]) -> Vec<Server> {
        let next = AtomicUsize::new(0);
        let prepared: Vec<Mutex<Option<Result<Prepared, LoadError>>>> =
            entries.iter().map(|_| Mutex::default()).collect();
        let work = || {
            while let Some((entry, place)) = pair_at(entries, &prepared, next.fetch_add(1, Relaxed)) {
                *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.prepare(entry));
            }
        };
        thread::scope(|scope| {
            let workers = thread::available_parallelism().map_or(1, usize::from).min(entries.len());
            // This thread is one of them.
            (1..workers).for_each(|_| drop(scope.spawn(work)));
            work();
        });
        let prepared =
            prepared.into_iter().map(|place| place.into_inner().unwrap_or_else(PoisonError::into_inner));
        let start = |(entry, prepared): (&ServerEntry, Option<Result<Prepared, LoadError>>)| {
            start(entry, prepared.expect("the workers went through all of them"))
        };
        entries.iter().zip(prepared).map(start).collect()
    }

    /// Loads one server. Blocks.
    pub fn load(&self, entry: &ServerEntry) -> Server {
        start(entry, self.prepare(entry))
    }

    /// Opens, describes and closes a library in a child process; with `settings`, starts it as well. `limit`: how long
    /// that may take.
    pub fn try_out(
        &self,
        file: &PluginFile,
        limit: Duration,
        settings: Option<serde_json::Map<String, serde_json::Value>>,
    ) -> Result<Tried, TrialError> {
        let no_copy = |(path, error): (PathBuf, io::Error)| TrialError::NoChild {
            reason: format!("no copy of it can be made at `{}`: {error}", path.display()),
        };
        let nodelete_at = vet::vet(&file.bytes).ok().and_then(|facts| facts.nodelete_at);
        let staged = Staged::new("library", &file.bytes, nodelete_at).map_err(no_copy)?;
        self.trials.hold(staged.path(), limit, settings)
    }

    /// Everything that can be done before any code of the plugin runs in this process.
    fn prepare(&self, entry: &ServerEntry) -> Result<Prepared, LoadError> {
        let Accepted { bytes, digest, facts } = intake::accept(entry)?;
        let (server, path) = (entry.name.clone(), entry.plugin.clone());
        let staged = Staged::new(server.as_str(), &bytes, facts.nodelete_at);
        let staged =
            staged.map_err(|(path, source)| LoadError::Stage { server: server.clone(), path, source })?;
        let tried = self.trials.judge(digest, staged.path(), entry.start_timeout);
        tried.map_err(|fault| LoadError::of_trial(server, path, &facts, fault))?;
        Ok(Prepared { facts, digest, staged })
    }
}

/// The lowest pthread key that is free; `None`: none is. A plugin that was unloaded has given its own back.
pub fn first_free_key() -> Option<u32> {
    library::first_free_key()
}

/// Whether so few keys are left that the next library might take the last: a library takes one, sometimes a few.
fn are_scarce(first_free: Option<u32>) -> bool {
    const KEYS_MAX: u32 = 1024;
    const RESERVE: u32 = 32;
    first_free.is_none_or(|key| key >= KEYS_MAX - RESERVE)
}

fn pair_at<'a, A, B>(a: &'a [A], b: &'a [B], at: usize) -> Option<(&'a A, &'a B)> {
    Some((a.get(at)?, b.get(at)?))
}

fn start(entry: &ServerEntry, prepared: Result<Prepared, LoadError>) -> Server {
    let began = std::time::Instant::now();
    let elapsed_ms = || began.elapsed().as_micros() as f64 / 1000.0;
    let enough = |prepared| match are_scarce(first_free_key()) {
        true => Err(LoadError::NoKeys { server: entry.name.clone() }),
        false => Ok(prepared),
    };
    let started = prepared.and_then(enough).and_then(|Prepared { facts, digest, staged }| {
        let asked_to_stay = facts.asks_to_stay();
        Instance::start(entry, facts, digest, staged).map(|instance| (instance, asked_to_stay))
    });
    match started {
        Ok((instance, asked_to_stay)) => {
            let (server, version) = (entry.name.as_str(), instance.manifest().version.as_str());
            let tools = instance.manifest().tools.len();
            if asked_to_stay {
                tracing::info!(
                    server,
                    "its file asks never to be unloaded; the gateway's copy of it does not"
                );
            }
            tracing::info!(server, version, tools, elapsed_ms = elapsed_ms(), "server loaded");
            Server::Running(Arc::new(instance))
        }
        Err(error) => {
            tracing::error!(server = entry.name.as_str(), error = chain(&error), "server failed");
            Server::Failed(Failed { entry: entry.clone(), error })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_has_nearly_run_out_of_keys_loads_no_more() {
        assert_eq!([Some(0), Some(991), Some(992), None].map(are_scarce), [false, false, true, true]);
        assert!(first_free_key().is_some(), "and this one has not");
    }
}
