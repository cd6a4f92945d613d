//! Step 2 of 5, load: turns checked server entries into running servers.
//!
//! In:   `&[ServerEntry]`, in file order.
//! Out:  `Vec<Server>` in the same order, each running or failed with its reason; `unload` walks it backwards.
//! Fails: never as a whole: a server that does not start is `Server::Failed`, the others run.
//! Never: HTTP, MCP, TOML. Unsafe code: only in `library` and `mailbox`.
//!
//! A plugin is a program with a mailbox. Its code runs on one thread that the host makes for it, and on threads it
//! makes itself, never on a thread that outlives it: that is what makes closing its library sound.

mod call;
mod census;
mod close;
mod error;
mod exchange;
mod health;
mod instance;
mod library;
mod mailbox;
mod manifest;
mod settings;
mod stage;
mod unloaded;
mod vet;

use std::sync::Arc;

use crate::config::ServerEntry;

pub use call::{
    Answer, AnswerStatus, CallEvent, CallFacts, CallOptions, CancelReason, ClientAnswer, Closed,
    Notifications, OpenCall, Request, Taken, Tasks,
};
pub use close::libraries_kept;
pub use error::{LoadError, chain};
pub use health::{Change, Fault, Health, Pass, Quarantined, Verdict};
pub use instance::{Instance, leave_at_once, leave_process};
pub use mailbox::Notice;
pub use manifest::{Manifest, ManifestError, TaskSupport, ToolSpec};
pub use unloaded::{Ends, Kept, Unloaded, ends};
pub use vet::{Facts, Rejection};

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

/// Loads every server, in order. Blocks: plugins start one after the other.
pub fn load_all(entries: &[ServerEntry]) -> Vec<Server> {
    stage::sweep();
    entries.iter().map(load).collect()
}

/// Loads one server.
pub fn load(entry: &ServerEntry) -> Server {
    let began = std::time::Instant::now();
    let elapsed_ms = || began.elapsed().as_micros() as f64 / 1000.0;
    match Instance::start(entry) {
        Ok(instance) => {
            let (server, version) = (entry.name.as_str(), instance.manifest().version.as_str());
            let tools = instance.manifest().tools.len();
            tracing::info!(server, version, tools, elapsed_ms = elapsed_ms(), "server loaded");
            Server::Running(Arc::new(instance))
        }
        Err(error) => {
            tracing::error!(server = entry.name.as_str(), error = chain(&error), "server failed");
            Server::Failed(Failed { entry: entry.clone(), error })
        }
    }
}
