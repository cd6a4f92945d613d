//! What a plugin offers: the part of it that answers calls, from any thread.

mod manifest;

use std::{collections::HashMap, future::Future, io::Write, pin::Pin, sync::Arc};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json, value::RawValue};

use crate::{
    Ctx, Error, Notifier, Prompt, Resource, ResourceTemplate, Result, Skill, Tool, abi,
    complete::{self, Reference},
    error,
    lists::Dynamic,
    tool::{self, Answer},
};

/// What a plugin offers.
#[derive(Default)]
pub(crate) struct Offer {
    /// Members of the manifest that describe the server as a whole.
    pub(crate) about: Map<String, Value>,
    pub(crate) tools: Vec<Tool>,
    pub(crate) by_name: HashMap<String, usize>,
    pub(crate) prompts: Vec<Prompt>,
    pub(crate) resources: Vec<Resource>,
    pub(crate) templates: Vec<ResourceTemplate>,
    pub(crate) skills: Vec<Skill>,
    pub(crate) more_tools: Dynamic<Tool>,
    pub(crate) more_prompts: Dynamic<Prompt>,
    pub(crate) more_resources: Dynamic<Resource>,
    pub(crate) more_templates: Dynamic<ResourceTemplate>,
    pub(crate) on_subscribe: Option<UriHook>,
    pub(crate) on_unsubscribe: Option<UriHook>,
    pub(crate) says: Says,
    pub(crate) notifier: Notifier,
    /// Answers everything instead: then nothing above is asked.
    pub(crate) instead: Option<Arc<dyn Whole>>,
}

/// A server that is not made of the SDK's parts: [`rmcp_server`](crate::rmcp_server). A trait, so that plugins that
/// are none do not link it, even when they are built together with one that is.
pub(crate) trait Whole: Send + Sync {
    /// The manifest, but for what the package says; empty before it has been started.
    fn manifest(&self) -> Map<String, Value>;

    /// Runs a call.
    fn answer<'a>(&'a self, ctx: Ctx, method: &'a str, params: &'a [u8]) -> Answering<'a, Value>;

    /// Takes a notice of the gateway's.
    fn noticed<'a>(&'a self, method: &'a str, params: &'a [u8]) -> Answering<'a, ()>;
}

/// What a method of [`Whole`] comes to.
pub(crate) type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// What a plugin may say without being asked.
#[derive(Default)]
pub(crate) struct Says {
    pub(crate) tool_changes: bool,
    pub(crate) prompt_changes: bool,
    pub(crate) resource_changes: bool,
    pub(crate) resource_updates: bool,
    pub(crate) logs: bool,
}

/// Something to run when a URI comes into view, or goes out of it.
pub(crate) type UriHook =
    Box<dyn Fn(String) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync>;
/// The buffer a reply is written into: memory of the host.
pub(crate) type Out = abi_stable::std_types::RVec<u8>;

#[derive(Deserialize)]
struct ToolParams<'a> {
    name: String,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct PromptParams {
    name: String,
    arguments: Option<HashMap<String, String>>,
}

#[derive(Deserialize)]
struct UriParams {
    uri: String,
}

impl Offer {
    /// Runs a call of `method`.
    pub(crate) async fn call(self: Arc<Self>, ctx: Ctx, method: &str, params: &[u8], out: Out) -> Answer {
        if let Some(server) = &self.instead {
            return written(server.answer(ctx, method, params).await, out);
        }
        if method == "tools/call" {
            return self.call_tool(ctx, params, out).await;
        }
        written(self.answer(ctx, method, params).await, out)
    }

    /// Runs the hook for a notice such as `resources/subscribe`.
    pub(crate) async fn noticed(&self, method: &str, params: &[u8]) -> Result<()> {
        if let Some(server) = &self.instead {
            return server.noticed(method, params).await;
        }
        let hook = match method {
            "resources/subscribe" => &self.on_subscribe,
            "resources/unsubscribe" => &self.on_unsubscribe,
            _ => &None,
        };
        match hook {
            Some(hook) => hook(read::<UriParams>(params)?.uri).await,
            None => Ok(()),
        }
    }

    async fn call_tool(&self, ctx: Ctx, params: &[u8], out: Out) -> Answer {
        let params: ToolParams<'_> = match serde_json::from_slice(params) {
            Ok(params) => params,
            Err(error) => return tool::failed(&Error::invalid_params(error.to_string()), out),
        };
        let arguments = params.arguments.map_or("{}", RawValue::get);
        if let Some(tool) = self.by_name.get(&params.name).and_then(|at| self.tools.get(*at)) {
            return (tool.handler)(ctx, arguments, out).await;
        }
        let made = match self.more_tools.list(&ctx).await {
            Ok(made) => made,
            Err(error) => return tool::failed(&error, out),
        };
        match made.into_iter().find(|tool| tool.name == params.name) {
            Some(tool) => (tool.handler)(ctx, arguments, out).await,
            None => tool::failed(&unknown("tool", &params.name), out),
        }
    }

    async fn answer(&self, ctx: Ctx, method: &str, params: &[u8]) -> Result<Value> {
        match method {
            "prompts/get" => self.get_prompt(ctx, read(params)?).await,
            "resources/read" => self.read_resource(ctx, &read::<UriParams>(params)?.uri).await,
            "completion/complete" => self.complete(ctx, read(params)?).await,
            "skills/list" => {
                Ok(json!({ "skills": self.skills.iter().map(Skill::declaration).collect::<Vec<_>>() }))
            }
            "skills/get" => {
                let UriParams { uri } = read(params)?;
                let skill = self.skills.iter().find(|skill| skill.uri() == uri);
                let skill = skill.ok_or_else(|| Error::resource_not_found(&uri))?;
                Ok(json!({ "skill": skill.declaration() }))
            }
            "resources/directory/read" => {
                let UriParams { uri } = read(params)?;
                let entries = self.skills.iter().find_map(|skill| skill.directory(&uri));
                let entries = entries.ok_or_else(|| {
                    Error::invalid_params(format!("there is no directory `{uri}`"))
                        .data(json!({ "uri": uri }))
                })?;
                Ok(json!({ "resources": entries }))
            }
            "tools/list" => self.list_tools(&ctx).await,
            "prompts/list" => {
                let more = self.more_prompts.list(&ctx).await?;
                let all = self.prompts.iter().chain(&more).map(Prompt::declaration);
                Ok(json!({ "prompts": all.collect::<Vec<_>>() }))
            }
            "resources/list" => {
                let more = self.more_resources.list(&ctx).await?;
                let all = self.listed_resources().chain(&more).map(Resource::declaration);
                Ok(json!({ "resources": all.collect::<Vec<_>>() }))
            }
            "resources/templates/list" => {
                let more = self.more_templates.list(&ctx).await?;
                let all = self.templates.iter().chain(&more).map(ResourceTemplate::declaration);
                Ok(json!({ "resourceTemplates": all.collect::<Vec<_>>() }))
            }
            _ => {
                let text = format!("this plugin has no method `{method}`");
                Err(Error::protocol(error::METHOD_NOT_FOUND, text))
            }
        }
    }

    async fn list_tools(&self, ctx: &Ctx) -> Result<Value> {
        let more = self.more_tools.list(ctx).await?;
        let all = || self.tools.iter().chain(&more);
        let declarations: Vec<_> = all().map(Tool::declaration).collect();
        Ok(json!({ "tools": declarations, "taskSupport": manifest::task_support(all()) }))
    }

    async fn get_prompt(&self, ctx: Ctx, params: PromptParams) -> Result<Value> {
        let PromptParams { name, arguments } = params;
        let prompt = self.find_prompt(&ctx, &name).await?.ok_or_else(|| unknown("prompt", &name))?;
        prompt.get(ctx, arguments.unwrap_or_default()).await
    }

    async fn find_prompt(&self, ctx: &Ctx, name: &str) -> Result<Option<Prompt>> {
        if let Some(prompt) = self.prompts.iter().find(|prompt| prompt.name == name) {
            return Ok(Some(prompt.clone()));
        }
        Ok(self.more_prompts.list(ctx).await?.into_iter().find(|prompt| prompt.name == name))
    }

    async fn read_resource(&self, ctx: Ctx, uri: &str) -> Result<Value> {
        let fixed = self.resources.iter().find(|resource| resource.uri == uri);
        if let Some(resource) = fixed.or_else(|| self.skills.iter().find_map(|skill| skill.resource(uri))) {
            return resource.read(ctx).await;
        }
        let made = self.more_resources.list(&ctx).await?;
        if let Some(resource) = made.iter().find(|resource| resource.uri == uri) {
            return resource.read(ctx).await;
        }
        let made = self.more_templates.list(&ctx).await?;
        for template in self.templates.iter().chain(&made) {
            if let Some(variables) = template.matches(uri) {
                return template.read(ctx, uri, variables).await;
            }
        }
        Err(Error::resource_not_found(uri))
    }

    async fn complete(&self, ctx: Ctx, asked: complete::Asked) -> Result<Value> {
        let completers = match &asked.of {
            Reference::Prompt { name } => {
                self.find_prompt(&ctx, name).await?.ok_or_else(|| unknown("prompt", name))?.completers
            }
            Reference::Resource { uri } => {
                let made = self.more_templates.list(&ctx).await?;
                let template = self.templates.iter().chain(&made).find(|template| template.uri == *uri);
                template.ok_or_else(|| unknown("resource template", uri))?.completers.clone()
            }
        };
        completers.complete(ctx, asked).await
    }

    /// The resources in the list: those of the plugin, and the entries of its skills.
    fn listed_resources(&self) -> impl Iterator<Item = &Resource> {
        self.resources.iter().chain(self.skills.iter().filter_map(Skill::entry))
    }
}

/// The reply of a call that ended so.
fn written(answered: Result<Value>, mut out: Out) -> Answer {
    match answered {
        Ok(result) => {
            // Memory of the host: writing cannot fail.
            let _ = write!(out, "{result}");
            (abi::RESULT, out)
        }
        Err(error) => tool::failed(&error, out),
    }
}

fn unknown(what: &str, name: &str) -> Error {
    Error::invalid_params(format!("this plugin has no {what} `{name}`"))
}

fn read<T: DeserializeOwned>(params: &[u8]) -> Result<T> {
    serde_json::from_slice(params).map_err(|error| Error::invalid_params(error.to_string()))
}

#[cfg(test)]
mod tests;
