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
//! Tools run on a tokio runtime of the plugin's own, with timers and I/O. Of tokio's features leave out `signal` (and with
//! it `full`): what it opens is never closed, so every loading of the plugin would leave two sockets behind.
//!
//! In the plugin's crate, a `cdylib`, `export_plugin!(plugin);` makes it loadable. [`testing`] runs it without a
//! gateway. What crosses between the two is in [`abi`], and frozen as `ABI.md` says.

pub mod abi;

#[cfg(feature = "sdk")]
mod ctx;
#[cfg(feature = "sdk")]
mod error;
#[cfg(feature = "sdk")]
#[doc(hidden)]
pub mod glue;
#[cfg(feature = "sdk")]
mod plugin;
#[cfg(feature = "sdk")]
mod reply;
#[cfg(feature = "sdk")]
mod schema;
#[cfg(feature = "sdk")]
pub mod testing;
#[cfg(feature = "sdk")]
mod tool;

#[cfg(feature = "sdk")]
pub use {
    ctx::{CallInfo, Ctx, Delivery, LogLevel},
    error::{Error, Result},
    plugin::{NoSettings, Plugin},
    reply::IntoReply,
    tool::Tool,
};
/// The crates a plugin's author may need in the very versions the SDK was built with.
#[cfg(feature = "sdk")]
pub use {schemars, serde, serde_json, tokio, tracing};

/// Everything most plugins need: `use plugin_api::prelude::*;`.
#[cfg(feature = "sdk")]
pub mod prelude {
    pub use schemars::JsonSchema;
    pub use serde::{Deserialize, Serialize};

    pub use crate::{Ctx, Error, NoSettings, Plugin, Result, Tool, export_plugin};
}
