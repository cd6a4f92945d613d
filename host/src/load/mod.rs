//! Step 2 of 5, load: turns checked server entries into running servers.
//!
//! In:   `&[ServerEntry]`, in file order, to a [`Loader`].
//! Out:  `Vec<Server>` in the same order, each running or failed with its reason; `unload` walks it backwards.
//! Fails: never as a whole: a server that does not start is `Server::Failed`, the others run.
//! Never: HTTP, MCP, TOML. Unsafe code: only in `library`, `mailbox` and `process`.
//!
//! A plugin is a program with a mailbox. Its code runs on one thread that the host makes for it, and on threads it
//! makes itself, never on a thread that outlives it: that is what makes closing its library sound.

mod body;
mod call;
mod census;
mod close;
mod discover;
mod error;
mod exchange;
mod flood;
mod health;
mod heap;
mod instance;
mod intake;
mod library;
mod loader;
mod mailbox;
mod manifest;
mod process;
mod settings;
mod stage;
mod stamp;
mod trial;
mod unloaded;
mod vet;

use std::sync::Arc;

use crate::config::ServerEntry;

pub use call::{
    Answer, AnswerStatus, CallEvent, CallFacts, CallOptions, CallerFacts, CancelReason, ClientAnswer, Closed,
    Notifications, OpenCall, PrincipalFacts, Request, Taken, Tasks,
};
pub use close::{leave_no_destructors, libraries_kept};
pub use discover::{Discovered, Discovery, Ignored};
pub use error::{LoadError, chain};
pub use health::{Change, Fault, Health, Pass, Quarantined, Verdict, milliseconds};
pub use instance::{Instance, leave_at_once, leave_process};
pub use intake::{PluginFile, digest_of};
pub use loader::{Loader, first_free_key};
pub use mailbox::Notice;
pub use manifest::{Manifest, ManifestError, TaskSupport, ToolSpec};
pub use process::prepare_process;
pub use stamp::Stamp;
pub use trial::{Objection, Purpose, TrialError, TrialStep, Tried, child::run as run_trial};
pub use unloaded::{Ends, Kept, Unloaded, ends};
pub use vet::{Facts, Rejection, vet};

/// The user whose rights this process has.
pub fn user_id() -> u32 {
    library::user_id()
}

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
