//! One loading of one server: its thread from the first instruction of the library to the last, and the proof that
//! it is gone.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    LoadError,
    call::{CallOptions, Closed, OpenCall, Request},
    census,
    close::{Ended, close, join, keep, libraries_kept},
    error::chain,
    health::Health,
    library::{self, Library, Mismatch, StartFacts},
    mailbox::{Mailbox, Notice, Stage},
    manifest::Manifest,
    settings,
    stage::{self, Staged},
    unloaded::{Kept, Unloaded},
    vet::{self, Facts},
};
use crate::config::{ServerEntry, ServerName};

/// How long a plugin may take from STOP to the return of its `main`.
const STOP_LIMIT: Duration = Duration::from_secs(8);
/// A message that waits longer than this to be taken is a sign of trouble.
const STALLED_AFTER: Duration = Duration::from_secs(1);

/// One loading of one server: a library, its thread and its mailbox.
#[derive(Debug)]
pub struct Instance {
    entry: ServerEntry,
    facts: Facts,
    manifest: Arc<Manifest>,
    generation: u64,
    mailbox: Arc<Mailbox>,
    health: Health,
    body: Mutex<State>,
}

/// What an instance is between its start and its end.
#[derive(Debug)]
enum State {
    Running(Body),
    Stopped(Unloaded),
}

/// What holds the library.
#[derive(Debug)]
struct Body {
    thread: JoinHandle<Ended>,
    stages: Receiver<Stage>,
    staged: Staged,
}

impl Instance {
    /// Loads the server of `entry` and waits until it is ready.
    pub(super) fn start(entry: &ServerEntry) -> Result<Self, LoadError> {
        static GENERATION: AtomicU64 = AtomicU64::new(1);
        let (facts, staged) = vet_and_stage(entry)?;
        let no_thread = |source: io::Error| LoadError::Thread { server: entry.name.clone(), source };
        let (said, stages) = mpsc::channel();
        let mailbox = Mailbox::new(entry.name.clone(), said).map_err(no_thread)?;
        let (job, path) = (Job { entry: entry.clone(), mailbox: mailbox.clone() }, staged.path().to_owned());
        let thread = thread::Builder::new()
            .name(format!("plugin:{}", entry.name))
            .spawn(move || job.run(&path))
            .map_err(no_thread)?;
        let (began, body) = (Instant::now(), Body { thread, stages, staged });
        let manifest = match body.stages.recv_timeout(entry.start_timeout) {
            Ok(Stage::Ready(manifest)) => Manifest::parse(&manifest),
            Ok(Stage::Ended) | Err(RecvTimeoutError::Disconnected) => {
                return Err(body.failed(entry, &mailbox));
            }
            Err(RecvTimeoutError::Timeout) => {
                let (server, limit) = (entry.name.clone(), entry.start_timeout);
                mailbox.stop();
                body.keep(&mailbox, Kept::NotReady { limit }).noted(&server, began);
                return Err(LoadError::StartTimeout { server, limit });
            }
        };
        let generation = GENERATION.fetch_add(1, Relaxed);
        match manifest {
            Ok(manifest) => Ok(Self {
                entry: entry.clone(),
                facts,
                manifest: Arc::new(manifest),
                generation,
                mailbox,
                health: Health::new(entry),
                body: Mutex::new(State::Running(body)),
            }),
            Err(source) => {
                body.stop(&entry.name, &mailbox);
                Err(LoadError::Manifest { server: entry.name.clone(), source })
            }
        }
    }

    /// Its table in gateway.toml.
    pub fn entry(&self) -> &ServerEntry {
        &self.entry
    }

    /// What its file says about itself.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What the plugin said it offers when it started; [`Notice::Manifest`] says that it offers something else by now.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// Counts the loadings of this process, from 1.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How its calls end, and whether they have tripped its breaker.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Whether it takes calls: it was neither stopped, nor has it ended by itself.
    pub fn is_open(&self) -> bool {
        self.mailbox.is_open()
    }

    /// For how long the plugin has taken nothing of what was sent to it, because all its threads are busy; `None`:
    /// not worth mentioning.
    pub fn stalled_for(&self) -> Option<Duration> {
        let since = self.mailbox.waits_since().filter(|_| self.is_open())?;
        Some(since.elapsed()).filter(|waited| *waited > STALLED_AFTER)
    }

    /// Calls that the plugin has neither answered nor dropped.
    pub fn calls_open(&self) -> usize {
        self.mailbox.calls_open()
    }

    /// Whether the plugin served, and then ended although nobody had told it to.
    pub fn ended_by_itself(&self) -> bool {
        self.mailbox.ended_by_itself()
    }

    /// Hands `request` to the plugin. Dropping the returned call cancels it.
    pub fn call(&self, request: Request, options: CallOptions) -> Result<OpenCall, Closed> {
        self.mailbox.call(request, options)
    }

    /// Tells the plugin something that is about no call, e.g. `resources/subscribe`.
    pub fn notify(&self, method: &str, params: &serde_json::Value) {
        self.mailbox.notify(method, params);
    }

    /// What the plugin says that is about no call: changes of its lists, updates of resources. `None`: somebody
    /// has it already.
    pub fn take_notices(&self) -> Option<tokio::sync::mpsc::Receiver<Notice>> {
        self.mailbox.take_notices()
    }

    /// The manifest that [`Notice::Manifest`] is about, JSON, not yet checked; `None`: it has been taken.
    pub fn take_manifest(&self) -> Option<Vec<u8>> {
        self.mailbox.take_manifest()
    }

    /// Takes no more calls; those under way are cancelled and end with [`Answer::Gone`](super::Answer::Gone).
    pub fn close(&self) {
        self.mailbox.close();
    }

    /// Stops the plugin and closes its library; what became of it. Waits, but not for ever. Calls still open are
    /// cancelled. A second stop waits for the first and answers the same.
    pub fn stop(&self) -> Unloaded {
        // Held until the end, for the second.
        let mut state = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        let unfinished = State::Stopped(Unloaded::Kept(Kept::StopUnfinished));
        let became = match std::mem::replace(&mut *state, unfinished) {
            State::Running(body) => body.stop(&self.entry.name, &self.mailbox),
            State::Stopped(became) => became,
        };
        *state = State::Stopped(became.clone());
        became
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // Nobody stopped it, so nobody knows what of it still runs.
        let state = self.body.get_mut().unwrap_or_else(PoisonError::into_inner);
        let kept = State::Stopped(Unloaded::Kept(Kept::NotStopped));
        if let State::Running(body) = std::mem::replace(state, kept) {
            self.mailbox.stop();
            body.keep(&self.mailbox, Kept::NotStopped).noted(&self.entry.name, Instant::now());
        }
    }
}

fn vet_and_stage(entry: &ServerEntry) -> Result<(Facts, Staged), LoadError> {
    let (server, path) = (entry.name.clone(), entry.plugin.clone());
    let bytes = match stage::read(&path) {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(source)) => return Err(LoadError::Rejected { server, path, source }),
        Err(source) => return Err(LoadError::Read { server, path, source }),
    };
    let facts = match vet::vet(&bytes) {
        Ok(facts) => facts,
        Err(source) => return Err(LoadError::Rejected { server, path, source }),
    };
    let staged = Staged::new(entry.name.as_str(), &bytes).map_err(|(path, source)| LoadError::Stage {
        server,
        path,
        source,
    })?;
    Ok((facts, staged))
}

/// What the plugin's thread is to do.
struct Job {
    entry: ServerEntry,
    mailbox: Arc<Mailbox>,
}

impl Job {
    /// The one thread on which a plugin is entered.
    fn run(self, path: &std::path::Path) -> Ended {
        let tid = library::thread_id();
        let (library, result) = match Library::open(path) {
            Err(mismatch) => (None, Err(self.mismatch(path, mismatch))),
            Ok(library) => {
                let result = self.serve(&library);
                (Some(library), result)
            }
        };
        if self.mailbox.abandon() {
            let error = result.as_ref().err().map(|error: &LoadError| chain(error)).unwrap_or_default();
            tracing::error!(server = self.entry.name.as_str(), error, "server ended by itself");
        }
        self.mailbox.say(Stage::Ended);
        Ended { tid, library, result }
    }

    fn serve(&self, library: &Library) -> Result<(), LoadError> {
        let server = || self.entry.name.clone();
        let host = self.mailbox.host();
        let described =
            library.describe(&host).map_err(|reason| LoadError::Describe { server: server(), reason })?;
        settings::check(&self.entry, &described)?;
        let settings = serde_json::Value::Object(self.entry.settings.clone()).to_string();
        let start = StartFacts {
            threads: self.entry.threads.into(),
            server: self.entry.name.as_str(),
            prefix: self.entry.prefix.as_str(),
            settings: settings.as_bytes(),
        };
        let served = library.main(&host, &start);
        served.map_err(|reason| LoadError::Declined { server: server(), reason })
    }

    fn mismatch(&self, path: &std::path::Path, mismatch: Mismatch) -> LoadError {
        let server = self.entry.name.clone();
        match mismatch {
            Mismatch::Linker(reason) => {
                // The operator knows the file by its own name, not by that of the copy.
                let reason = reason.replace(&*path.to_string_lossy(), "the library");
                LoadError::Open { server, path: self.entry.plugin.clone(), reason }
            }
            Mismatch::Interface(difference) => {
                LoadError::WrongAbi { server, ours: plugin_api::abi::VERSION, difference }
            }
        }
    }
}

impl Body {
    /// Cleans up after a start that ended by itself; why it did.
    fn failed(self, entry: &ServerEntry, mailbox: &Arc<Mailbox>) -> LoadError {
        let declined =
            |reason: &str| LoadError::Declined { server: entry.name.clone(), reason: reason.into() };
        let (began, Self { thread, staged, .. }) = (Instant::now(), self);
        let Some(Ended { library, result, .. }) = join(thread) else {
            keep(mailbox, staged, Kept::Thread).noted(&entry.name, began);
            return declined("it returned without serving, and its thread does not end");
        };
        let became = match library {
            Some(library) => Some(close(library, mailbox, staged)),
            // Not opened, or opened but unknown: in the latter case the copy stays mapped.
            None if census::mappings(staged.path()).is_ok_and(|left| left.is_empty()) => None,
            None => Some(keep(mailbox, staged, Kept::Interface)),
        };
        if let Some(became) = became {
            became.noted(&entry.name, began);
        }
        result.err().unwrap_or_else(|| declined("it returned without serving"))
    }

    fn stop(self, server: &ServerName, mailbox: &Arc<Mailbox>) -> Unloaded {
        let began = Instant::now();
        mailbox.stop();
        loop {
            let left = (began + STOP_LIMIT).saturating_duration_since(Instant::now());
            match self.stages.recv_timeout(left) {
                // A plugin may announce itself again until the end.
                Ok(Stage::Ready(_)) => {}
                Ok(Stage::Ended) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let kept = self.keep(mailbox, Kept::Main { limit: STOP_LIMIT });
                    return kept.noted(server, began);
                }
            }
        }
        let Self { thread, staged, .. } = self;
        let became = match join(thread) {
            Some(Ended { library: Some(library), .. }) => close(library, mailbox, staged),
            _ => keep(mailbox, staged, Kept::Thread),
        };
        became.noted(server, began)
    }

    /// Leaves the library, its thread and all they can reach as they are, for ever.
    fn keep(self, mailbox: &Arc<Mailbox>, why: Kept) -> Unloaded {
        std::mem::forget(self.stages);
        keep(mailbox, self.staged, why)
    }
}

/// How to end the process with `code`: at once if it kept a library, else by returning from `main`. Flush first.
pub fn leave_process(code: u8) -> std::process::ExitCode {
    if libraries_kept() > 0 {
        leave_at_once(code);
    }
    code.into()
}

/// Ends the process here and now, with plugins loaded and calls under way.
pub fn leave_at_once(code: u8) -> ! {
    library::leave(code.into())
}
