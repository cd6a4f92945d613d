//! Step 4 of 5, serve: one listener; every door translates, one function makes the call.
//!
//! In:   the [`MountTable`](crate::mount::MountTable) and the checked `[http]` table.
//! Out:  answers, until told to drain.
//! Fails: only if the address cannot be bound.
//! Never: dlopen, TOML.

mod control;
mod listener;
mod reloads;
mod served;
mod state;

mod admin;
mod admit;
mod asked;
mod problem;
mod router;

mod body;
pub mod call;
pub mod docs;
pub mod mcp;
mod rest;

mod held;
mod html;
mod metrics;
mod negotiate;
mod pages;
mod server_page;
mod snippet;

pub use asked::RequestId;
pub use control::{ControlSocket, sockets_of};
pub use listener::{BindError, Listening, Serving};
pub use problem::Problem;
pub use reloads::{Change, Outcome, Refused, Reload, ReloadRequest, Reloads, Trigger, Waiting, What};
pub use served::{Settings, Slot, Switched};
pub use snippet::curl_line;
pub use state::{CallGuard, Gateway, Phase};
