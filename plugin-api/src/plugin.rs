//! A plugin, as its author puts it together.

use std::{collections::HashMap, future::Future, pin::Pin, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json, value::RawValue};

use crate::{Ctx, Error, IntoReply, Result, Tool, abi, tool};

/// A plugin: its tools, and what happens around them.
#[derive(Default)]
pub struct Plugin {
    pub(crate) offer: Offer,
    pub(crate) on_start: Vec<Hook>,
    pub(crate) on_stop: Vec<Hook>,
}

/// What a plugin offers: the part of it that answers calls, from any thread.
#[derive(Default)]
pub(crate) struct Offer {
    title: Option<String>,
    instructions: Option<String>,
    tools: Vec<Tool>,
    by_name: HashMap<String, usize>,
}

/// Something to run once.
pub(crate) type Hook = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send>;

/// The settings of a plugin that has none: a `[server.settings]` table with anything in it is refused.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

impl Plugin {
    /// A plugin without tools.
    pub fn new() -> Self {
        Self::default()
    }

    /// A name for people.
    pub fn title(mut self, title: &str) -> Self {
        self.offer.title = Some(title.into());
        self
    }

    /// How a model should use this server, in a sentence or two.
    pub fn instructions(mut self, instructions: &str) -> Self {
        self.offer.instructions = Some(instructions.into());
        self
    }

    /// Adds a tool: [`Tool::new`] with nothing more to say about it.
    pub fn tool<A, R, E, F, Fut>(self, name: &str, description: &str, function: F) -> Self
    where
        A: DeserializeOwned + JsonSchema + Send + 'static,
        R: IntoReply + 'static,
        E: Into<Error> + 'static,
        F: Fn(Ctx, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
    {
        self.with_tool(Tool::new(name, description, function))
    }

    /// Adds a tool. A second one of the same name is refused by the gateway when it reads the manifest.
    pub fn with_tool(mut self, tool: Tool) -> Self {
        self.offer.by_name.entry(tool.name.clone()).or_insert(self.offer.tools.len());
        self.offer.tools.push(tool);
        self
    }

    /// Runs before the first call, inside the plugin's runtime: connect, spawn, read files here. An error keeps
    /// the server from starting, with its text as the reason.
    pub fn on_start<F, Fut>(mut self, hook: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.on_start.push(Box::new(move || Box::pin(hook())));
        self
    }

    /// Runs after the last call. Hooks run in the reverse of the order in which they were added.
    pub fn on_stop<F, Fut>(mut self, hook: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.on_stop.push(Box::new(move || Box::pin(hook())));
        self
    }
}

impl Offer {
    /// The tools' declarations, as MCP has them.
    pub(crate) fn declarations(&self) -> Vec<&Map<String, Value>> {
        self.tools.iter().map(Tool::declaration).collect()
    }

    /// What the plugin offers, as [`abi::HostTable::ready`] wants it.
    pub(crate) fn manifest(&self, name: &str, version: &str) -> Vec<u8> {
        let manifest = json!({
            "name": name,
            "version": version,
            "title": self.title,
            "instructions": self.instructions,
            "capabilities": { "tools": {} },
            "tools": self.declarations(),
        });
        manifest.to_string().into_bytes()
    }

    /// Runs a call of `method`.
    pub(crate) async fn call(
        self: Arc<Self>,
        ctx: Ctx,
        method: &str,
        params: &[u8],
        out: Out,
    ) -> tool::Answer {
        #[derive(Deserialize)]
        struct ToolParams<'a> {
            name: String,
            #[serde(borrow)]
            arguments: Option<&'a RawValue>,
        }
        if method != "tools/call" {
            let message = format!("this plugin has no method `{method}`");
            return tool::fault(abi::ERROR, tool::METHOD_NOT_FOUND, &message, out);
        }
        let params: ToolParams<'_> = match serde_json::from_slice(params) {
            Ok(params) => params,
            Err(error) => return tool::fault(abi::ERROR, tool::INVALID_PARAMS, &error.to_string(), out),
        };
        let Some(tool) = self.by_name.get(&params.name).and_then(|at| self.tools.get(*at)) else {
            let message = format!("this plugin has no tool `{}`", params.name);
            return tool::fault(abi::ERROR, tool::INVALID_PARAMS, &message, out);
        };
        (tool.handler)(ctx, params.arguments.unwrap_or(RawValue::NULL), out).await
    }
}

/// The buffer a reply is written into: memory of the host.
pub(crate) type Out = abi_stable::std_types::RVec<u8>;
