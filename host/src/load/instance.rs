//! One loading of one server, as the rest of the gateway has it: from its `ready` to the proof that it is gone.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::RecvTimeoutError,
    },
    time::{Duration, Instant},
};

use super::{
    LoadError,
    body::Body,
    call::{CallOptions, Closed, OpenCall, Request},
    close::{UnderWay, may_still_run},
    flood::LEVELS,
    health::Health,
    library,
    mailbox::{Mailbox, Notice, Stage},
    manifest::Manifest,
    stage::Staged,
    unloaded::{Kept, Unloaded},
    vet::Facts,
};
use crate::config::{Digest, ServerEntry};

/// A message that waits longer than this to be taken is a sign of trouble.
const STALLED_AFTER: Duration = Duration::from_secs(1);

/// One loading of one server: a library, its thread and its mailbox.
#[derive(Debug)]
pub struct Instance {
    entry: ServerEntry,
    facts: Facts,
    digest: Digest,
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

impl Instance {
    /// Loads the server of `entry` from `staged`, a copy of its library, and waits until it is ready.
    pub(super) fn start(
        entry: &ServerEntry,
        facts: Facts,
        digest: Digest,
        staged: Staged,
    ) -> Result<Self, LoadError> {
        static GENERATION: AtomicU64 = AtomicU64::new(1);
        let began = Instant::now();
        let _under_way = UnderWay::begin();
        let (body, mailbox) = Body::begin(entry, &facts.plugin_api, staged, None)?;
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
                digest,
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

    /// How many bytes the plugin's heap has, to a few MiB: what Rust code allocated, not what C libraries did.
    pub fn heap_bytes(&self) -> u64 {
        self.mailbox.heap_bytes()
    }

    /// What the plugin has logged, by level: error, warn, info, debug, trace.
    pub fn logged(&self) -> [u64; LEVELS] {
        self.mailbox.flood().logged()
    }

    /// How much of what the plugin wanted to log was dropped, because it was too much.
    pub fn log_dropped(&self) -> u64 {
        self.mailbox.flood().dropped()
    }

    /// Whether any of that was of late.
    pub fn floods_log(&self, now: Instant) -> bool {
        self.mailbox.flood().is_on(now)
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

/// How to end the process with `code`: at once if it kept a library, else by returning from `main`. Flush first.
pub fn leave_process(code: u8) -> std::process::ExitCode {
    if may_still_run() {
        leave_at_once(code);
    }
    code.into()
}

/// Ends the process here and now, with plugins loaded and calls under way.
pub fn leave_at_once(code: u8) -> ! {
    library::leave(code.into())
}
