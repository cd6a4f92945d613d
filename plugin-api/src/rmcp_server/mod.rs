//! An rmcp server is a plugin: [`export_rmcp_server!`](crate::export_rmcp_server).
//!
//! In:   whatever makes a server written with the `rmcp` crate, and the gateway's calls.
//! Out:  its manifest, read by asking it; its answers, unchanged but for what belongs to the gateway.
//! Fails: if it cannot be made, refuses to be initialized, or cannot say what it offers: then the server does not start.
//! Never: HTTP or streams of bytes. A request goes to the server as a value, in the call's own future, so that its
//! panics, its log lines and its end belong to the call.
//!
//! # What the server sees
//!
//! A client that can do everything its real client can, in both manners rmcp knows. Requests say that they are of
//! MCP 2026-07-28, so an answer may be an `InputRequiredResult`; the connection is one of a 2025-11-25 session, so
//! `peer.create_elicitation(..)`, `peer.create_message(..)` and `peer.list_roots()` work too. Whatever manner it
//! uses, the gateway asks the real client in the manner that client knows. A server that says it does not speak
//! 2026-07-28 gets the session alone.
//!
//! - The server is made once, initialized once, and lives until it is unmounted.
//! - Each call has a connection of its own, which ends with it. A peer kept from a call is closed afterwards; one kept
//!   from `initialize` or `on_initialized` stays, for `notify_tool_list_changed()` and its siblings.
//! - If the call is cancelled, its future is dropped and `cx.ct` is cancelled.
//! - `cx.extensions` holds the call's [`Ctx`](crate::Ctx), and with it the caller's principal.
//! - For clients that are asked by ending the call, a handler that asks through its peer **runs again from its start**
//!   when the answers are there, and has to ask the same questions in the same order. One that returns
//!   `InputRequiredResult` runs once a round, as it does without a gateway.
//! - A tool that answers with a task goes on as a task of the gateway's if the client knows tasks.
//!
//! The list of tools and that of prompts are read once, unless the server declares `listChanged` for them. Resources
//! and their templates are listed anew whenever a client asks.

mod exchange;
mod line;
mod mounted;
mod rounds;
mod running;
mod setup;
mod task;
mod wire;

use std::sync::Arc;

use self::mounted::Mounted;
pub use self::setup::Setup;
use crate::Plugin;

/// Makes this crate, a `cdylib`, a plugin that is the rmcp server `setup` makes:
///
/// ```text
/// plugin_api::export_rmcp_server!(Counter::new);
/// ```
///
/// `setup` is one of:
/// - `fn() -> H`;
/// - `fn(Settings) -> plugin_api::Result<H>`;
/// - `async fn(Settings) -> plugin_api::Result<H>`, to connect somewhere first.
///
/// `H` is anything rmcp can serve: a type with `ServerHandler`, made by rmcp's macros or by hand, or a `Router`.
/// The settings are as for [`export_plugin!`](crate::export_plugin). It needs the feature `rmcp` of this crate, and
/// the same rmcp as this crate is built with.
#[macro_export]
macro_rules! export_rmcp_server {
    ($setup:expr) => {
        $crate::export_plugin!(|settings| $crate::Result::Ok($crate::Plugin::from_rmcp(settings, $setup)));
    };
}

impl Plugin {
    /// The rmcp server that `setup` makes, as a plugin: what [`export_rmcp_server!`](crate::export_rmcp_server)
    /// exports, for unit tests with [`testing`](crate::testing). The server answers everything itself: nothing
    /// else can be added to it but hooks.
    pub fn from_rmcp<Shape, F: Setup<Shape>>(settings: F::Settings, setup: F) -> Self {
        let server = Arc::new(Mounted::default());
        let mut plugin = Self::new();
        plugin.offer.instead = Some(server.clone());
        let notifier = plugin.notifier();
        let stopping = server.clone();
        plugin
            .on_start(move || async move { server.start(setup.make(settings).await?, notifier).await })
            .on_stop(move || async move {
                stopping.stop();
                Ok(())
            })
    }
}

#[cfg(test)]
mod tests;
