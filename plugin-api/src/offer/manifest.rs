//! What a plugin says it offers, as the gateway reads it: lists in MCP's wire form, and two members of its own.
//!
//! `dynamic` names the lists that are to be asked for call by call. `taskSupport` says of each tool that goes on
//! as a task whether it can do otherwise (`optional`) or not (`required`): MCP 2026-07-28 has no place for it in a
//! tool's declaration.

use serde_json::{Map, Value, json};

use super::Offer;
use crate::{Prompt, Resource, ResourceTemplate, Tool};

impl Offer {
    /// What the plugin offers, as [`HostTable::ready`](crate::abi::HostTable::ready) wants it.
    pub(crate) fn manifest(&self, name: &str, version: &str) -> Vec<u8> {
        let mut manifest = Map::from_iter([("name".into(), name.into()), ("version".into(), version.into())]);
        if let Some(server) = &self.instead {
            manifest.extend(server.manifest());
            return Value::Object(manifest).to_string().into_bytes();
        }
        manifest.extend(self.about.clone());
        manifest.insert("capabilities".into(), self.capabilities().into());
        manifest.extend(self.lists());
        Value::Object(manifest).to_string().into_bytes()
    }

    /// The part of it that is the same whatever the settings, if the plugin has none.
    pub(crate) fn lists(&self) -> Map<String, Value> {
        if self.instead.is_some() {
            // Known only when it has been started.
            return Map::new();
        }
        let tools: Vec<_> = self.tools.iter().map(Tool::declaration).collect();
        let prompts: Vec<_> = self.prompts.iter().map(Prompt::declaration).collect();
        let resources: Vec<_> = self.listed_resources().map(Resource::declaration).collect();
        let templates: Vec<_> = self.templates.iter().map(ResourceTemplate::declaration).collect();
        let mut lists = Map::new();
        lists.insert("tools".into(), json!(tools));
        let mut add = |name: &str, empty: bool, value: Value| {
            if !empty {
                lists.insert(name.into(), value);
            }
        };
        add("prompts", prompts.is_empty(), json!(prompts));
        add("resources", resources.is_empty(), json!(resources));
        add("resourceTemplates", templates.is_empty(), json!(templates));
        let dynamic = self.dynamic();
        add("dynamic", dynamic.is_empty(), json!(dynamic));
        let task_support = task_support(self.tools.iter());
        add("taskSupport", task_support.is_empty(), task_support.into());
        lists
    }

    fn dynamic(&self) -> Vec<&'static str> {
        let lists = [
            (self.more_tools.is_set(), "tools/list"),
            (self.more_prompts.is_set(), "prompts/list"),
            (self.more_resources.is_set(), "resources/list"),
            (self.more_templates.is_set(), "resources/templates/list"),
        ];
        lists.into_iter().filter_map(|(is_set, method)| is_set.then_some(method)).collect()
    }

    /// Only what is really offered: clients ask for whatever is named here.
    fn capabilities(&self) -> Map<String, Value> {
        let mut capabilities = Map::new();
        let mut offer = |offered: bool, name: &str, details: &[(&str, bool)]| {
            if offered {
                let details = details.iter().filter(|(_, holds)| *holds);
                let details: Map<_, _> = details.map(|(name, _)| (name.to_string(), true.into())).collect();
                capabilities.insert(name.into(), details.into());
            }
        };
        let says = &self.says;
        let tools = !self.tools.is_empty() || self.more_tools.is_set();
        offer(tools || says.tool_changes, "tools", &[("listChanged", says.tool_changes)]);
        let prompts = !self.prompts.is_empty() || self.more_prompts.is_set();
        offer(prompts || says.prompt_changes, "prompts", &[("listChanged", says.prompt_changes)]);
        let resources = self.listed_resources().next().is_some()
            || !self.templates.is_empty()
            || self.more_resources.is_set()
            || self.more_templates.is_set();
        offer(
            resources || says.resource_changes || says.resource_updates,
            "resources",
            &[("subscribe", says.resource_updates), ("listChanged", says.resource_changes)],
        );
        // What is made call by call may complete something: that is known only when it is asked.
        let completes = self.more_prompts.is_set()
            || self.more_templates.is_set()
            || self.prompts.iter().any(|prompt| !prompt.completers.is_empty())
            || self.templates.iter().any(|template| !template.completers.is_empty());
        offer(completes, "completions", &[]);
        offer(says.logs, "logging", &[]);
        let mut extensions = Map::new();
        if self.more_tools.is_set() || self.tools.iter().any(|tool| tool.task.is_some()) {
            extensions.insert("io.modelcontextprotocol/tasks".into(), json!({}));
        }
        if !self.skills.is_empty() {
            extensions.insert("io.modelcontextprotocol/skills".into(), json!({ "directoryRead": true }));
        }
        if !extensions.is_empty() {
            capabilities.insert("extensions".into(), extensions.into());
        }
        capabilities
    }
}

/// Which tools go on as tasks: `required` or `optional`, by name.
pub(super) fn task_support<'a>(tools: impl Iterator<Item = &'a Tool>) -> Map<String, Value> {
    tools.filter_map(|tool| Some((tool.name.clone(), tool.task?.into()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Contents, Ctx, Error, NoArgs, Plugin, Result};

    async fn nothing(_: Ctx, _: NoArgs) -> Result<String> {
        Ok(String::new())
    }

    fn manifest(plugin: &Plugin) -> Value {
        serde_json::from_slice(&plugin.offer.manifest("p", "1.2.3")).expect("JSON")
    }

    #[test]
    fn only_what_is_offered_is_declared() {
        let check = |plugin: Plugin, expected: Value| {
            assert_eq!(manifest(&plugin)["capabilities"], expected);
        };
        check(Plugin::new(), json!({}));
        check(Plugin::new().tool("a", "A.", nothing), json!({ "tools": {} }));
        let fixed = Resource::fixed("test://a", "a", Contents::text("a"));
        check(
            Plugin::new().resource(fixed).on_subscribe(|_| async { Ok(()) }).logs(),
            json!({ "resources": { "subscribe": true }, "logging": {} }),
        );
        check(
            Plugin::new()
                .prompt(
                    Prompt::new("p", "P.", nothing).complete("x", |_, _| async { Ok::<_, Error>(vec!["x"]) }),
                )
                .prompt_changes(),
            json!({ "prompts": { "listChanged": true }, "completions": {} }),
        );
        check(
            Plugin::new().with_tool(Tool::new("a", "A.", nothing).task_optional()),
            json!({ "tools": {}, "extensions": { "io.modelcontextprotocol/tasks": {} } }),
        );
    }

    #[test]
    fn lists_that_are_asked_for_and_tools_that_become_tasks_are_named() {
        let plugin = Plugin::new()
            .with_tool(Tool::new("a", "A.", nothing).task_required())
            .dynamic_prompts(|_| async { Ok::<_, Error>(vec![]) });
        let manifest = manifest(&plugin);
        assert_eq!(manifest["dynamic"], json!(["prompts/list"]));
        assert_eq!(manifest["taskSupport"], json!({ "a": "required" }));
        assert_eq!((&manifest["name"], &manifest["version"]), (&json!("p"), &json!("1.2.3")));
        assert!(!manifest["tools"].to_string().contains("task"), "clients do not see it");
    }
}
