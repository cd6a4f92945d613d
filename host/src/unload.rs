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

/// Stops every server, last to first; `load` logs what became of each library. Blocks.
pub fn unload_all(running: &[Arc<Instance>]) -> Vec<(ServerName, Unloaded)> {
    let unload = |instance: &Arc<Instance>| (instance.entry().name.clone(), instance.stop());
    running.iter().rev().map(unload).collect()
}
