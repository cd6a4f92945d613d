//! Files checked and tried side by side, then servers started in order.
//!
//! In:   `&[ServerEntry]`, in file order.
//! Out:  `Vec<Server>` in the same order.
//! Fails: never as a whole; a server that does not start says why.
//! Never: runs code of a file in this process that has not passed its trial.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    Failed, Instance, LoadError, PluginFile, Purpose, Server, TrialError, Tried,
    intake::{self, Accepted},
    library,
    stage::{self, Staged},
    trial::Trials,
    vet::{self, Facts},
};
use crate::config::{Digest, Plugins, ServerEntry};

/// How many files are checked and tried at a time: they mostly wait for children, so not as many as there are processors.
const WORKERS: usize = 8;

/// Loads servers, and remembers which files have passed their trial.
#[derive(Debug)]
pub struct Loader {
    trials: Trials,
}

/// A library that may be loaded: checked, tried, copied.
struct Prepared {
    /// When that began.
    began: Instant,
    facts: Facts,
    digest: Digest,
    staged: Staged,
}

impl Loader {
    /// A loader that tries files in children of this very program, which has to be the gateway. Deletes copies that dead
    /// gateways have left.
    pub fn new(plugins: &Plugins) -> Self {
        // Not the path it was started by: another program may lie there by now.
        Self::with_program("/proc/self/exe".into(), plugins)
    }

    /// A loader that tries files in children of the gateway at `program`: for a program that is none itself.
    pub fn with_program(program: PathBuf, plugins: &Plugins) -> Self {
        stage::sweep();
        Self { trials: Trials::new(program, plugins) }
    }

    /// From now on remembers where `plugins` says which files have passed.
    pub fn remember_in(&self, plugins: &Plugins) {
        self.trials.remember_in(plugins.cache_dir.as_deref());
    }

    /// Loads every server. Blocks. Files are checked and tried side by side, plugins started in order.
    pub fn load_all(&self, entries: &[ServerEntry]) -> Vec<Server> {
        let next = AtomicUsize::new(0);
        let places: Vec<Mutex<Option<Result<Prepared, LoadError>>>> =
            entries.iter().map(|_| Mutex::default()).collect();
        let work = || {
            while let Some(at) = Some(next.fetch_add(1, Relaxed)).filter(|at| *at < entries.len()) {
                *places[at].lock().unwrap_or_else(PoisonError::into_inner) = Some(self.prepare(&entries[at]));
            }
        };
        thread::scope(|scope| {
            // This thread is one of them, and does it alone if there are no others.
            let others = 1..WORKERS.min(entries.len());
            others.for_each(|_| drop(thread::Builder::new().spawn_scoped(scope, work)));
            work();
        });
        let prepared =
            places.into_iter().map(|place| place.into_inner().unwrap_or_else(PoisonError::into_inner));
        let start = |(entry, prepared): (&ServerEntry, Option<Result<Prepared, LoadError>>)| {
            start(entry, prepared.expect("the workers went through all of them"))
        };
        entries.iter().zip(prepared).map(start).collect()
    }

    /// Has a child process open a library, and go as far with it as `purpose` says. `limit`: how long that may take.
    pub fn try_out(&self, file: &PluginFile, limit: Duration, purpose: Purpose) -> Result<Tried, TrialError> {
        let no_copy = |(path, error): (PathBuf, io::Error)| TrialError::NoChild {
            reason: format!("no copy of it can be made at `{}` ({error})", path.display()),
        };
        let nodelete_at = vet::vet(&file.bytes).ok().and_then(|facts| facts.nodelete_at);
        let staged = Staged::new("library", &file.bytes, nodelete_at).map_err(no_copy)?;
        self.trials.hold(staged.path(), limit, purpose)
    }

    /// Everything that can be done before any code of the plugin runs in this process.
    fn prepare(&self, entry: &ServerEntry) -> Result<Prepared, LoadError> {
        let began = Instant::now();
        let Accepted { bytes, digest, facts } = intake::accept(entry)?;
        let (server, path) = (entry.name.clone(), entry.plugin.clone());
        let staged = Staged::new(server.as_str(), &bytes, facts.nodelete_at);
        let staged =
            staged.map_err(|(path, source)| LoadError::Stage { server: server.clone(), path, source })?;
        // A trial may take long, and libraries are large.
        drop(bytes);
        let tried = self.trials.judge(digest, staged.path(), entry.start_timeout);
        tried.map_err(|error| LoadError::of_trial(server, path, &facts, error))?;
        Ok(Prepared { began, facts, digest, staged })
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

fn start(entry: &ServerEntry, prepared: Result<Prepared, LoadError>) -> Server {
    match prepared.and_then(|prepared| start_prepared(entry, prepared)) {
        Ok(instance) => Server::Running(Arc::new(instance)),
        Err(error) => Server::Failed(Failed { entry: entry.clone(), error }),
    }
}

fn start_prepared(entry: &ServerEntry, prepared: Prepared) -> Result<Instance, LoadError> {
    let Prepared { began, facts, digest, staged } = prepared;
    if are_scarce(first_free_key()) {
        return Err(LoadError::NoKeys { server: entry.name.clone() });
    }
    let server = entry.name.as_str();
    let asks_to_stay = facts.asks_to_stay();
    let instance = Instance::start(entry, facts, digest, staged)?;
    if asks_to_stay {
        tracing::info!(server, "its file asks never to be unloaded; the gateway's copy of it does not");
    }
    let (version, tools) = (instance.manifest().version.as_str(), instance.manifest().tools.len());
    let elapsed_ms = began.elapsed().as_micros() as f64 / 1000.0;
    tracing::info!(server, version, tools, elapsed_ms, "server loaded");
    Ok(instance)
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
