//! Step 5 of 5, unload: stops servers last to first and proves that their libraries are gone.
//!
//! In:   the running servers in file order, with no call in flight that is still worth waiting for; or, while the gateway
//!       goes on, a generation that serves no more.
//! Out:  what became of each library, in the order of stopping.
//! Fails: never: a library that cannot be closed safely stays mapped, and its line says why.
//! Never: waits without a limit.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

use crate::{
    config::ServerName,
    load::{Instance, Unloaded},
    serve::mcp::McpDoor,
};

/// How long a generation that serves no more waits for its last call. A call ends by its `call_timeout`, a question to its
/// client unanswered, a task with its time to live: none of them takes longer.
const CALLS_LIMIT: Duration = Duration::from_hours(25);

/// Stops every server, last to first; `load` logs what became of each library. Blocks.
pub fn unload_all(running: &[Arc<Instance>]) -> Vec<(ServerName, Unloaded)> {
    let unload = |instance: &Arc<Instance>| (instance.entry().name.clone(), instance.stop());
    running.iter().rev().map(unload).collect()
}

/// Ends generations that serve no more, each on a thread of its own, while the gateway goes on.
#[derive(Debug, Default)]
pub struct Retirements {
    hurry: Arc<Hurry>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Whether nobody waits for calls any more.
#[derive(Debug, Default)]
struct Hurry {
    told: Mutex<bool>,
    changed: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Retirements {
    /// Stops `instance` once nobody uses it. To be called when it cannot be found any more: whoever found it before, and may
    /// yet call it, holds it. `door`: that of its mount, if no other generation serves behind it; closed first, in the runtime
    /// that is named. Does not block.
    pub fn retire(&self, instance: Arc<Instance>, door: Option<(Arc<McpDoor>, Handle)>) {
        let hurry = self.hurry.clone();
        let retiring = thread::Builder::new().name(format!("retire:{}", instance.entry().name));
        // In a cell, so that it is still there if there is no thread.
        let cell = Arc::new(Mutex::new(Some(instance)));
        let work = {
            let cell = cell.clone();
            move || {
                let Some(instance) = lock(&cell).take() else { return };
                let end = Instant::now() + CALLS_LIMIT;
                if let Some((door, runtime)) = door {
                    door.end_streams();
                    // Every request holds the door that it has found, until the last byte of its answer.
                    hurry.wait_until(end, || Arc::strong_count(&door) == 1);
                    door.begin_drain();
                    runtime.block_on(door.close_sessions());
                    door.shut();
                }
                // And so for the instance, by way of its mount.
                if !hurry.wait_until(end, || Arc::strong_count(&instance) == 1) {
                    let (server, calls) = (instance.entry().name.as_str(), instance.calls_open());
                    tracing::warn!(
                        server,
                        calls,
                        "a generation that serves no more is stopped with calls under way"
                    );
                }
                instance.stop();
            }
        };
        match retiring.spawn(work) {
            Ok(thread) => {
                let mut threads = lock(&self.threads);
                threads.retain(|thread| !thread.is_finished());
                threads.push(thread);
            }
            // Better cut off than left running.
            Err(_) => drop(lock(&cell).take().map(|instance| instance.stop())),
        }
    }

    /// Has generations wait for no more calls.
    pub fn hurry(&self) {
        *lock(&self.hurry.told) = true;
        self.hurry.changed.notify_all();
    }

    /// Waits until every generation that was to end has ended, and for no more calls. Blocks.
    pub fn finish(&self) {
        self.hurry();
        let threads = std::mem::take(&mut *lock(&self.threads));
        // Stopping does not panic; if it did, `Instance` would have kept the library.
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }
}

impl Hurry {
    /// Waits until `done`, or `end`, or nobody waits any more. Answers whether it is done.
    fn wait_until(&self, end: Instant, done: impl Fn() -> bool) -> bool {
        let mut pause = Duration::from_micros(500);
        let mut told = lock(&self.told);
        while !done() {
            if *told || Instant::now() > end {
                return false;
            }
            told = self.changed.wait_timeout(told, pause).unwrap_or_else(PoisonError::into_inner).0;
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        true
    }
}
