//! Step 4 of 5, serve: one listener; every door translates, one function makes the call.
//!
//! In:   the [`MountTable`](crate::mount::MountTable), and what gateway.toml says of listeners, callers and limits.
//! Out:  answers, until told to drain.
//! Fails: only if the address cannot be bound.
//! Never: dlopen, TOML.

mod control;
mod listener;
mod peer;
mod reloads;
mod served;
mod state;

mod admit;
mod asked;
mod cors;
mod framing;
mod problem;
mod router;

mod access;
mod audit;
pub(crate) mod auth;
mod caller;
mod forwarded;
mod limit;
mod seen;
mod ticket;

mod admin;
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
mod status;
mod ui;

pub use asked::RequestId;
pub use audit::{Audit, AuditLog};
pub use auth::Principal;
pub use control::{ControlSocket, sockets_of};
pub use listener::{
    BindError, ConnectionLimits, Listening, Serving, Terms, TlsSwitch, raise_descriptor_limit,
};
pub use peer::Peer;
pub use problem::Problem;
pub use reloads::{Change, Outcome, Refused, Reload, ReloadRequest, Reloads, Trigger, Waiting, What};
pub use served::{Settings, Slot, Switched};
pub use snippet::{Shows, add_line, curl_line};
pub use state::{CallGuard, Gateway, Phase};
