//! One loading of one server: its thread from the first instruction of the library to the last, and the proof that
//! it is gone.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    LoadError,
    call::{CallOptions, Closed, OpenCall, Request},
    census,
    error::chain,
    library::{self, Library, Mismatch, StartFacts},
    mailbox::{Mailbox, Notice, Stage},
    manifest::Manifest,
    settings,
    stage::Staged,
    vet::Facts,
};
use crate::config::{Digest, ServerEntry};

/// How long a plugin may take from STOP to the return of its `main`.
const STOP_LIMIT: Duration = Duration::from_secs(8);
/// How long threads of a plugin may outlive its `main`.
const THREADS_LIMIT: Duration = Duration::from_secs(1);
/// How long the closing of a library may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(3);

/// Libraries of this process that were not closed.
static KEPT: AtomicUsize = AtomicUsize::new(0);

/// One loading of one server: a library, its thread and its mailbox.
#[derive(Debug)]
pub struct Instance {
    entry: ServerEntry,
    facts: Facts,
    digest: Digest,
    manifest: Arc<Manifest>,
    generation: u64,
    mailbox: Arc<Mailbox>,
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

/// What became of a library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unloaded {
    /// Nothing of it is mapped any more, and no thread of it is left.
    Gone,
    /// It is still mapped, and why. Costs memory, harms nothing.
    Kept(String),
}

impl std::fmt::Display for Unloaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gone => f.write_str("gone"),
            Self::Kept(reason) => write!(f, "kept: {reason}"),
        }
    }
}

/// What the plugin's thread leaves behind.
struct Ended {
    tid: i32,
    /// `None`: it could not be opened, or stays open because its interface is unknown.
    library: Option<Library>,
    result: Result<(), LoadError>,
}

impl Instance {
    /// Loads the server of `entry` from `staged`, a copy of its library, and waits until it is ready.
    pub(super) fn start(
        entry: &ServerEntry,
        facts: Facts,
        digest: Digest,
        staged: Staged,
    ) -> Result<Self, LoadError> {
        static GENERATION: AtomicU64 = AtomicU64::new(1);
        let (body, mailbox) = Body::begin(entry, staged, None)?;
        let manifest = match body.stages.recv_timeout(entry.start_timeout) {
            Ok(Stage::Ready(manifest)) => Manifest::parse(&manifest),
            Ok(Stage::Ended) | Err(RecvTimeoutError::Disconnected) => {
                return Err(body.failed(entry, &mailbox));
            }
            Err(RecvTimeoutError::Timeout) => {
                mailbox.stop();
                body.keep(mailbox);
                return Err(LoadError::StartTimeout {
                    server: entry.name.clone(),
                    limit: entry.start_timeout,
                });
            }
        };
        let generation = GENERATION.fetch_add(1, Relaxed);
        match manifest {
            Ok(manifest) => Ok(Self {
                entry: entry.clone(),
                facts,
                digest,
                manifest: Arc::new(manifest),
                generation,
                mailbox,
                body: Mutex::new(State::Running(body)),
            }),
            Err(source) => {
                body.stop(mailbox);
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

    /// The SHA-256 of that file.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What the plugin said it offers when it started; [`Notice::Manifest`] says that it offers something else by now.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// Counts the loadings of this process, from 1.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Calls that the plugin has neither answered nor dropped.
    pub fn calls_open(&self) -> usize {
        self.mailbox.calls_open()
    }

    /// How many bytes the plugin's heap has, to a few MiB: what Rust code allocated, not what C libraries did.
    pub fn heap_bytes(&self) -> u64 {
        self.mailbox.heap_bytes()
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
        let unfinished = State::Stopped(Unloaded::Kept("its stop did not end".into()));
        let became = match std::mem::replace(&mut *state, unfinished) {
            State::Running(body) => body.stop(self.mailbox.clone()),
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
        let kept = State::Stopped(Unloaded::Kept("nobody stopped it".into()));
        if let State::Running(body) = std::mem::replace(state, kept) {
            self.mailbox.stop();
            body.keep(self.mailbox.clone());
        }
    }
}

/// What the plugin's thread is to do.
struct Job {
    entry: ServerEntry,
    mailbox: Arc<Mailbox>,
    /// Present: the library is only tried out.
    trial: Option<Trial>,
}

/// How a library is tried out.
struct Trial {
    /// Whether it goes beyond describing itself.
    starts: bool,
    tell: Tell,
}

/// Hears how far a library has come, on the plugin's thread and before it goes on: the next step may be its last.
pub(super) type Tell = Box<dyn Fn(Progress) + Send>;

impl Job {
    /// The one thread on which a plugin is entered.
    fn run(self, path: &std::path::Path) -> Ended {
        let tid = library::thread_id();
        let (library, result) = match Library::open(path) {
            Err(mismatch) => (None, Err(self.mismatch(path, mismatch))),
            Ok(library) => {
                self.tell(Progress::Opened);
                let result = self.serve(&library);
                (Some(library), result)
            }
        };
        if self.mailbox.abandon() {
            let error = result.as_ref().err().map(|error: &LoadError| chain(error)).unwrap_or_default();
            tracing::error!(server = self.entry.name.as_str(), error, "server ended by itself");
        }
        self.tell(Progress::Ended);
        self.mailbox.say(Stage::Ended);
        Ended { tid, library, result }
    }

    fn tell(&self, progress: Progress<'_>) {
        if let Some(trial) = &self.trial {
            (trial.tell)(progress);
        }
    }

    fn serve(&self, library: &Library) -> Result<(), LoadError> {
        let server = || self.entry.name.clone();
        let host = self.mailbox.host();
        let described =
            library.describe(&host).map_err(|reason| LoadError::Describe { server: server(), reason })?;
        self.tell(Progress::Described(&described));
        if self.trial.as_ref().is_some_and(|trial| !trial.starts) {
            return Ok(());
        }
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

/// What a library that is tried out has done.
pub(super) enum Progress<'a> {
    /// It is open, and its interface fits.
    Opened,
    /// What it says it is.
    Described(&'a [u8]),
    /// Its thread is about to end.
    Ended,
}

/// Opens and describes a library, starts it if `starts`, and closes it again.
/// Waits for as long as it takes: whoever calls this can be killed.
pub(super) fn try_out(entry: &ServerEntry, staged: Staged, starts: bool, tell: Tell) -> TriedOut {
    let mut manifest = None;
    let (body, mailbox) = match Body::begin(entry, staged, Some(Trial { starts, tell })) {
        Ok(begun) => begun,
        Err(error) => return TriedOut { manifest, result: Err(error), library: String::new() },
    };
    while let Ok(Stage::Ready(json)) = body.stages.recv() {
        manifest = Some(json);
        mailbox.stop();
    }
    let (result, unloaded) = body.finish(&mailbox);
    TriedOut { manifest, result, library: unloaded.to_string() }
}

/// How a library did that was tried out.
pub(super) struct TriedOut {
    /// What it offers, if it came so far.
    pub(super) manifest: Option<Vec<u8>>,
    pub(super) result: Result<(), LoadError>,
    /// What became of it.
    pub(super) library: String,
}

impl Body {
    /// Opens the library on a thread made for it.
    fn begin(
        entry: &ServerEntry,
        staged: Staged,
        trial: Option<Trial>,
    ) -> Result<(Self, Arc<Mailbox>), LoadError> {
        let no_thread = |source: io::Error| LoadError::Thread { server: entry.name.clone(), source };
        let (said, stages) = mpsc::channel();
        let mailbox = Mailbox::new(entry.name.clone(), said, entry.heap_warn_bytes).map_err(no_thread)?;
        let job = Job { entry: entry.clone(), mailbox: mailbox.clone(), trial };
        let path = staged.path().to_owned();
        let thread = thread::Builder::new()
            .name(format!("plugin:{}", entry.name))
            .spawn(move || job.run(&path))
            .map_err(no_thread)?;
        Ok((Self { thread, stages, staged }, mailbox))
    }

    /// Cleans up after a start that ended by itself; why it did.
    fn failed(self, entry: &ServerEntry, mailbox: &Arc<Mailbox>) -> LoadError {
        let (result, _) = self.finish(mailbox);
        result.err().unwrap_or_else(|| LoadError::Declined {
            server: entry.name.clone(),
            reason: "it returned without serving".into(),
        })
    }

    /// Closes the library after its thread has said that it ends; how that ended, and what became of the library.
    fn finish(self, mailbox: &Arc<Mailbox>) -> (Result<(), LoadError>, Unloaded) {
        let Self { thread, staged, .. } = self;
        let Some(Ended { library, result, .. }) = join(thread) else {
            keep(mailbox, staged);
            return (Ok(()), Unloaded::Kept("its thread did not end".into()));
        };
        let unloaded = match library {
            Some(library) => close(library, mailbox, staged),
            // Not opened, or opened but unknown: in the latter case the copy stays mapped.
            None if census::mappings(staged.path()).is_ok_and(|left| left.is_empty()) => Unloaded::Gone,
            None => {
                keep(mailbox, staged);
                Unloaded::Kept("nothing is known about its interface".into())
            }
        };
        (result, unloaded)
    }

    fn stop(self, mailbox: Arc<Mailbox>) -> Unloaded {
        mailbox.stop();
        let limit = Instant::now() + STOP_LIMIT;
        loop {
            let left = limit.saturating_duration_since(Instant::now());
            match self.stages.recv_timeout(left) {
                // A plugin may announce itself again until the end.
                Ok(Stage::Ready(_)) => {}
                Ok(Stage::Ended) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    self.keep(mailbox);
                    return Unloaded::Kept(format!("its main function did not return within {STOP_LIMIT:?}"));
                }
            }
        }
        let Self { thread, staged, .. } = self;
        match join(thread) {
            Some(Ended { library: Some(library), .. }) => close(library, &mailbox, staged),
            _ => {
                keep(&mailbox, staged);
                Unloaded::Kept("its thread did not end".into())
            }
        }
    }

    /// Leaves the library, its thread and all they can reach as they are, for ever.
    fn keep(self, mailbox: Arc<Mailbox>) {
        keep(&mailbox, self.staged);
        std::mem::forget(self.stages);
    }
}

fn keep(mailbox: &Arc<Mailbox>, staged: Staged) {
    KEPT.fetch_add(1, Relaxed);
    // Threads of the plugin may still call the host.
    std::mem::forget(mailbox.clone());
    staged.keep();
}

/// Joins a plugin's thread that has said that it ends. `None`: its thread-local destructors do not.
fn join(thread: JoinHandle<Ended>) -> Option<Ended> {
    // `is_finished` turns true before the destructors of thread-locals run, and `join` waits for those.
    if !wait_until(THREADS_LIMIT, || thread.is_finished()) {
        return None;
    }
    let (done, ended) = mpsc::channel();
    let joiner = thread::Builder::new().name("join".into()).spawn(move || {
        // Its receiver may have given up.
        let _ = done.send(thread.join());
    });
    joiner.ok()?;
    let ended = ended.recv_timeout(THREADS_LIMIT).ok()?.ok()?;
    wait_until(THREADS_LIMIT, || !library::is_alive(ended.tid)).then_some(ended)
}

/// Closes a library whose `main` thread has ended, and proves that it is gone.
fn close(library: Library, mailbox: &Arc<Mailbox>, staged: Staged) -> Unloaded {
    let kept = |reason: String, staged: Staged| {
        keep(mailbox, staged);
        Unloaded::Kept(reason)
    };
    if !wait_until(THREADS_LIMIT, || mailbox.census().threads_left() == 0) {
        let left = mailbox.census().threads_left();
        return kept(format!("{left} of its threads still run"), staged);
    }
    let mapped = match census::mappings(staged.path()) {
        Ok(mapped) => mapped,
        Err(error) => return kept(format!("cannot see what of it is in use: {error}"), staged),
    };
    let signals = library::handlers_in(&mapped);
    if !signals.is_empty() {
        return kept(format!("it handles the signals {signals:?}"), staged);
    }
    // On a thread that ends right after, because destructors of the library's statics run here.
    let (done, closed) = mpsc::channel();
    let (path, owner) = (staged.path().to_owned(), mailbox.clone());
    let closer = thread::Builder::new().name("close".into()).spawn(move || {
        let result = library.close();
        // Looked up only now: what the plugin has unmapped meanwhile may already be somebody else's.
        let own = owner.census().mappings_of(&path).unwrap_or_default();
        own.into_iter().for_each(|(start, stop)| library::unmap(start, stop));
        owner.census().take_keys().into_iter().for_each(library::delete_key);
        // Its receiver may have given up.
        let _ = done.send(result);
    });
    let Ok(closer) = closer else { return kept("there is no thread to close it on".into(), staged) };
    match closed.recv_timeout(CLOSE_LIMIT) {
        Err(_) => return kept(format!("closing it took more than {CLOSE_LIMIT:?}"), staged),
        Ok(Err(reason)) => return kept(format!("the dynamic linker could not close it: {reason}"), staged),
        // It has nothing left to do.
        Ok(Ok(())) => drop(closer.join()),
    }
    match census::mappings(staged.path()) {
        Ok(left) if left.is_empty() => Unloaded::Gone,
        Ok(_) => kept("the dynamic linker kept it mapped".into(), staged),
        Err(error) => kept(format!("cannot see whether it is still mapped: {error}"), staged),
    }
}

fn wait_until(limit: Duration, done: impl Fn() -> bool) -> bool {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_micros(50);
    while !done() {
        if Instant::now() > end {
            return false;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(5));
    }
    true
}

/// How to end the process with `code`: at once if it kept a library, else by returning from `main`. Flush first.
pub fn leave_process(code: u8) -> std::process::ExitCode {
    if KEPT.load(Relaxed) > 0 {
        leave_at_once(code);
    }
    code.into()
}

/// Ends the process here and now, with plugins loaded and calls under way.
pub fn leave_at_once(code: u8) -> ! {
    library::leave(code.into())
}
