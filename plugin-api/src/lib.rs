//! What a gateway plugin is written with.
//!
//! A plugin is a dynamic library that the gateway turns into an MCP server. Its author writes async functions
//! over ordinary types; names, descriptions and JSON schemas of the tools come from those types:
//!
//! ```
//! use plugin_api::prelude::*;
//!
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(rename_all = "camelCase")]
//! struct EchoHai {
//!     /// Who to greet.
//!     user_name: String,
//! }
//!
//! async fn echo_hai(_: Ctx, args: EchoHai) -> Result<String> {
//!     Ok(format!("Hello, {}!", args.user_name))
//! }
//!
//! fn plugin(_: NoSettings) -> Result<Plugin> {
//!     Ok(Plugin::new().tool("echoHai", "Greets someone by name.", echo_hai))
//! }
//! # fn main() {}
//! ```
//!
//! Beyond tools with plain answers there are, each explained where it is: answers of every kind ([`Reply`]),
//! [`Prompt`]s, [`Resource`]s and [`ResourceTemplate`]s, [`Skill`]s, lists that change ([`Plugin::dynamic_tools`],
//! [`Notifier`]), and calls that ask their client something or go on in the background ([`Ctx`]).
//!
//! Tools run on a tokio runtime of the plugin's own, with timers and I/O. Of tokio's features leave out `signal` (and with
//! it `full`): what it opens is never closed, so every loading of the plugin would leave two sockets behind. Of TLS
//! libraries prefer rustls with `ring`: `aws-lc-rs` leaves a page of memory behind with every loading.
//!
//! What a plugin logs with [`tracing`](https://docs.rs/tracing), and what it prints with `println!`, `eprintln!` or `dbg!`, is
//! in the gateway's log, with the server's name and the id of the request it belongs to; lines of stdout count as `INFO`,
//! those of stderr as `WARN`. C code that is linked in is heard where it calls `write` or `writev`; what C's `printf` prints
//! goes to the gateway's own stdout, as it is. What is written to descriptor 1 or 2 goes to the log even after `dup2`: give
//! what is for somebody else another descriptor. A signal's handler must not print.
//!
//! In the plugin's crate, a `cdylib`, `export_plugin!(plugin);` makes it loadable. [`testing`] runs it without a
//! gateway. What crosses between the two is in [`abi`], and frozen as `ABI.md` says.
//!
//! # Mount a server that exists already
//!
//! A server written with the crate `rmcp` is a plugin as it is: with the feature `rmcp` of this crate, one line in a
//! `cdylib` exports it, its macros, prompts, resources, questions and notifications included.
//!
//! ```text
//! plugin_api::export_rmcp_server!(Counter::new);
//! ```
//!
//! `Counter::new` makes anything with rmcp's `ServerHandler`; a function from settings, also an async one, will do
//! too. What such a server sees of the gateway is in the documentation of `rmcp_server`.

pub mod abi;

#[cfg(feature = "sdk")]
mod complete;
#[cfg(feature = "sdk")]
mod content;
#[cfg(feature = "sdk")]
mod ctx;
#[cfg(feature = "sdk")]
mod error;
#[cfg(feature = "sdk")]
#[doc(hidden)]
pub mod glue;
#[cfg(feature = "sdk")]
mod lists;
#[cfg(feature = "sdk")]
mod notifier;
#[cfg(feature = "sdk")]
mod offer;
#[cfg(feature = "sdk")]
mod plugin;
#[cfg(feature = "sdk")]
mod prompt;
#[cfg(feature = "sdk")]
mod reply;
#[cfg(feature = "sdk")]
mod resource;
#[cfg(feature = "rmcp")]
pub mod rmcp_server;
#[cfg(feature = "sdk")]
mod schema;
#[cfg(feature = "sdk")]
mod skill;
#[cfg(feature = "sdk")]
mod template;
#[cfg(feature = "sdk")]
pub mod testing;
#[cfg(feature = "sdk")]
mod texts;
#[cfg(feature = "sdk")]
mod tool;

#[cfg(feature = "sdk")]
pub use {
    complete::{Completing, Completion},
    content::{Annotations, Content, Icon, Role},
    ctx::{
        CallEnd, CallInfo, Capability, Choice, Ctx, Delivery, LogLevel, Principal, Root, SampleRequest,
        Sampled, TaskOptions,
    },
    error::{Error, Result},
    notifier::Notifier,
    plugin::{NoSettings, Plugin},
    prompt::{Message, Messages, Prompt},
    reply::{IntoReply, Reply},
    resource::{Contents, IntoContents, Resource},
    skill::Skill,
    template::ResourceTemplate,
    tool::{NoArgs, Tool},
};
/// The crates a plugin's author may need in the very versions the SDK was built with.
#[cfg(feature = "sdk")]
pub use {schemars, serde, serde_json, tokio, tracing};

/// Everything most plugins need: `use plugin_api::prelude::*;`.
#[cfg(feature = "sdk")]
pub mod prelude {
    pub use schemars::JsonSchema;
    pub use serde::{Deserialize, Serialize};

    pub use crate::{
        Annotations, Capability, Choice, Completing, Completion, Content, Contents, Ctx, Error, Icon,
        LogLevel, Message, Messages, NoArgs, NoSettings, Notifier, Plugin, Prompt, Reply, Resource,
        ResourceTemplate, Result, Role, SampleRequest, Skill, TaskOptions, Tool, export_plugin,
    };
}
