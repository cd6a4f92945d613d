//! The end of a library: its thread joined, the library closed, and the proof that it is gone; or kept, and why.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    LoadError, census,
    library::{self, Library},
    mailbox::Mailbox,
    stage::Staged,
    unloaded::{Kept, Unloaded},
};

/// How long threads of a plugin may outlive its `main`.
const THREADS_LIMIT: Duration = Duration::from_secs(1);
/// How long the closing of a library may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(3);

/// Libraries of this process that were not closed.
static KEPT: AtomicUsize = AtomicUsize::new(0);

/// Libraries of this process that were kept.
pub fn libraries_kept() -> usize {
    KEPT.load(Relaxed)
}

/// Libraries that are being opened or started.
static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

/// A library on its way from its opening to its end or to `ready`.
pub(super) struct UnderWay(());

impl UnderWay {
    pub(super) fn begin() -> Self {
        UNDER_WAY.fetch_add(1, Relaxed);
        Self(())
    }
}

/// Has the process end without running destructors: something is being loaded that nobody waits for.
pub fn leave_no_destructors() {
    std::mem::forget(UnderWay::begin());
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        UNDER_WAY.fetch_sub(1, Relaxed);
    }
}

/// Whether code of a library may run that nobody stops any more, so that the process must not run its destructors.
pub(super) fn may_still_run() -> bool {
    libraries_kept() > 0 || UNDER_WAY.load(Relaxed) > 0
}

/// What the plugin's thread leaves behind.
pub(super) struct Ended {
    pub(super) tid: i32,
    /// `None`: it could not be opened, or stays open because its interface is unknown.
    pub(super) library: Option<Library>,
    pub(super) result: Result<(), LoadError>,
}

/// Leaves a library, its thread and all they can reach as they are, for ever.
pub(super) fn keep(mailbox: &Arc<Mailbox>, staged: Staged, why: Kept) -> Unloaded {
    KEPT.fetch_add(1, Relaxed);
    // Threads of the plugin may still call the host.
    std::mem::forget(mailbox.clone());
    staged.keep();
    Unloaded::Kept(why)
}

/// Joins a plugin's thread that has said that it ends. `None`: its thread-local destructors do not.
pub(super) fn join(thread: JoinHandle<Ended>) -> Option<Ended> {
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
pub(super) fn close(library: Library, mailbox: &Arc<Mailbox>, staged: Staged) -> Unloaded {
    let kept = |why: Kept, staged: Staged| keep(mailbox, staged, why);
    if !wait_until(THREADS_LIMIT, || mailbox.census().threads_left() == 0) {
        let left = mailbox.census().threads_left();
        return kept(Kept::Threads { left }, staged);
    }
    let mapped = match census::mappings(staged.path()) {
        Ok(mapped) => mapped,
        Err(error) => return kept(Kept::UseUnseen { reason: error.to_string() }, staged),
    };
    let signals = library::handlers_in(&mapped);
    if !signals.is_empty() {
        return kept(Kept::Signals { signals }, staged);
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
    let Ok(closer) = closer else { return kept(Kept::NoThread, staged) };
    match closed.recv_timeout(CLOSE_LIMIT) {
        Err(_) => return kept(Kept::Closing { limit: CLOSE_LIMIT }, staged),
        Ok(Err(reason)) => return kept(Kept::Linker { reason }, staged),
        // It has nothing left to do.
        Ok(Ok(())) => drop(closer.join()),
    }
    match census::mappings(staged.path()) {
        Ok(left) if left.is_empty() => Unloaded::Gone,
        Ok(_) => kept(Kept::Mapped, staged),
        Err(error) => kept(Kept::EndUnseen { reason: error.to_string() }, staged),
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
