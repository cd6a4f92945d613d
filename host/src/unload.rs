//! Step 5 of 5, unload: stops servers last to first and proves that their libraries are gone.
//!
//! In:   the running servers in file order, with no call in flight that is still worth waiting for.
//! Out:  what became of each library, in the order of stopping.
//! Fails: never: a library that cannot be closed safely stays mapped, and its line says why.
//! Never: waits without a limit.

use std::sync::Arc;

use crate::{
    config::ServerName,
    load::{Instance, Unloaded},
};

/// Stops every server, last to first, with one log line each. Blocks.
pub fn unload_all(running: &[Arc<Instance>]) -> Vec<(ServerName, Unloaded)> {
    running.iter().rev().map(unload).collect()
}

/// Stops one server.
fn unload(instance: &Arc<Instance>) -> (ServerName, Unloaded) {
    let began = std::time::Instant::now();
    let name = instance.entry().name.clone();
    let unloaded = instance.stop();
    let elapsed_ms = began.elapsed().as_micros() as f64 / 1000.0;
    let server = name.as_str();
    match &unloaded {
        Unloaded::Gone => tracing::info!(server, library = "gone", elapsed_ms, "server unloaded"),
        Unloaded::Kept(reason) => {
            tracing::warn!(server, library = "kept", reason, elapsed_ms, "server unloaded");
        }
    }
    (name, unloaded)
}
