//! A plugin, as its author puts it together.

use std::{future::Future, pin::Pin};

use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    Ctx, Error, Icon, IntoReply, Notifier, Prompt, Resource, ResourceTemplate, Result, Skill, Tool, content,
    offer::{Offer, UriHook},
};

/// A plugin: what it offers, and what happens around that.
#[derive(Default)]
pub struct Plugin {
    pub(crate) offer: Offer,
    pub(crate) on_start: Vec<Hook>,
    pub(crate) on_stop: Vec<Hook>,
}

/// Something to run once.
pub(crate) type Hook = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send>;

/// The settings of a plugin that has none: a `[server.settings]` table with anything in it is refused.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

/// What it is.
impl Plugin {
    /// A plugin that offers nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A name for people.
    pub fn title(self, title: &str) -> Self {
        self.about("title", title)
    }

    /// How a model should use this server, in a sentence or two.
    pub fn instructions(self, instructions: &str) -> Self {
        self.about("instructions", instructions)
    }

    /// Where people read more about it.
    pub fn website(self, url: &str) -> Self {
        self.about("websiteUrl", url)
    }

    /// Adds an icon.
    pub fn icon(mut self, icon: Icon) -> Self {
        content::add_icon(&mut self.offer.about, &icon);
        self
    }

    fn about(mut self, member: &str, text: &str) -> Self {
        self.offer.about.insert(member.into(), text.into());
        self
    }
}

/// What it offers. Two of one kind with the same name or URI are refused by the gateway when it reads the manifest.
impl Plugin {
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

    /// Adds a tool.
    pub fn with_tool(mut self, tool: Tool) -> Self {
        self.offer.by_name.entry(tool.name.clone()).or_insert(self.offer.tools.len());
        self.offer.tools.push(tool);
        self
    }

    /// Adds a prompt.
    pub fn prompt(mut self, prompt: Prompt) -> Self {
        self.offer.prompts.push(prompt);
        self
    }

    /// Adds a resource.
    pub fn resource(mut self, resource: Resource) -> Self {
        self.offer.resources.push(resource);
        self
    }

    /// Adds a family of resources. Of several that match a URI, the first is read.
    pub fn resource_template(mut self, template: ResourceTemplate) -> Self {
        self.offer.templates.push(template);
        self
    }

    /// Adds a skill, and its files as resources.
    pub fn skill(mut self, skill: Skill) -> Self {
        self.offer.skills.push(skill);
        self
    }

    /// Adds tools that depend on who asks, or on the moment: `function` lists them for every `tools/list`, and
    /// for every call of a tool that was not added by name. MCP wants that a list depends on the caller's rights
    /// at most, and not on what the caller did before.
    pub fn dynamic_tools<E, F, Fut>(mut self, function: F) -> Self
    where
        E: Into<Error>,
        F: Fn(Ctx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<Tool>, E>> + Send + 'static,
    {
        self.offer.more_tools.set(function);
        self
    }

    /// Like [`dynamic_tools`](Self::dynamic_tools), for prompts.
    pub fn dynamic_prompts<E, F, Fut>(mut self, function: F) -> Self
    where
        E: Into<Error>,
        F: Fn(Ctx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<Prompt>, E>> + Send + 'static,
    {
        self.offer.more_prompts.set(function);
        self
    }

    /// Like [`dynamic_tools`](Self::dynamic_tools), for resources.
    pub fn dynamic_resources<E, F, Fut>(mut self, function: F) -> Self
    where
        E: Into<Error>,
        F: Fn(Ctx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<Resource>, E>> + Send + 'static,
    {
        self.offer.more_resources.set(function);
        self
    }

    /// Like [`dynamic_tools`](Self::dynamic_tools), for resource templates.
    pub fn dynamic_resource_templates<E, F, Fut>(mut self, function: F) -> Self
    where
        E: Into<Error>,
        F: Fn(Ctx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<ResourceTemplate>, E>> + Send + 'static,
    {
        self.offer.more_templates.set(function);
        self
    }
}

/// What it says without being asked. Clients listen only to what is declared here.
impl Plugin {
    /// Tells clients of changes, also outside of calls: keep a clone wherever something changes.
    pub fn notifier(&self) -> Notifier {
        self.offer.notifier.clone()
    }

    /// The list of tools changes: [`Notifier::tools_changed`].
    pub fn tool_changes(mut self) -> Self {
        self.offer.says.tool_changes = true;
        self
    }

    /// The list of prompts changes: [`Notifier::prompts_changed`].
    pub fn prompt_changes(mut self) -> Self {
        self.offer.says.prompt_changes = true;
        self
    }

    /// The list of resources or of resource templates changes: [`Notifier::resources_changed`].
    pub fn resource_changes(mut self) -> Self {
        self.offer.says.resource_changes = true;
        self
    }

    /// Clients may subscribe to resources: [`Notifier::resource_updated`].
    pub fn resource_updates(mut self) -> Self {
        self.offer.says.resource_updates = true;
        self
    }

    /// Its calls send log messages to clients: [`Ctx::log`].
    pub fn logs(mut self) -> Self {
        self.offer.says.logs = true;
        self
    }

    /// Runs when the first client subscribes to a resource, with its URI: start watching it here. Declares
    /// [`resource_updates`](Self::resource_updates). An error is logged.
    pub fn on_subscribe<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.offer.on_subscribe = Some(uri_hook(hook));
        self.resource_updates()
    }

    /// Runs when the last client has unsubscribed from a resource, or gone away.
    pub fn on_unsubscribe<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.offer.on_unsubscribe = Some(uri_hook(hook));
        self.resource_updates()
    }
}

/// What happens around its calls.
impl Plugin {
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

fn uri_hook<F, Fut>(hook: F) -> UriHook
where
    F: Fn(String) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    Box::new(move |uri| Box::pin(hook(uri)))
}
