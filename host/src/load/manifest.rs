//! What a plugin says it offers, checked. Pure: reads JSON.
//!
//! In:   the manifest's text, whoever wrote it.
//! Out:  [`Manifest`]: names and URIs are unique and of a reasonable size, declarations have what MCP requires.
//! Never: MCP's meaning. What of it clients are offered is settled where they are served.

mod lists;

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::Deserialize;
use serde_json::{Map, Value};

/// Largest manifest, in bytes.
pub(super) const MANIFEST_MAX: usize = 4 << 20;
/// Longest tool name; MCP allows 128.
const TOOL_NAME_MAX: usize = 128;

/// What a plugin says it offers, checked.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The plugin's package name.
    pub name: String,
    /// A name for people.
    pub title: Option<String>,
    /// The plugin's package version.
    pub version: String,
    /// How a model should use the server, in the plugin author's words.
    pub instructions: Option<String>,
    /// MCP icons, in wire form.
    pub icons: Option<Value>,
    /// Where people find more about the plugin.
    pub website_url: Option<String>,
    /// What it declares to offer, in MCP's wire form. `None`: it says nothing, so it offers what it lists.
    pub capabilities: Option<Map<String, Value>>,
    /// The tool table, in the plugin's order; names are unique.
    pub tools: Vec<ToolSpec>,
    /// Prompts in wire form; names are unique.
    pub prompts: Vec<Map<String, Value>>,
    /// Resources in wire form; URIs are unique.
    pub resources: Vec<Map<String, Value>>,
    /// Resource templates in wire form; URI templates are unique.
    pub resource_templates: Vec<Map<String, Value>>,
    /// Methods such as `tools/list` whose lists the plugin makes call by call.
    pub dynamic: BTreeSet<String>,
    /// The tools that go on as tasks, by name.
    pub task_support: HashMap<String, TaskSupport>,
}

/// Whether a tool that goes on as a task can do otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskSupport {
    /// Clients that do not know tasks wait for it.
    Optional,
    /// Clients that do not know tasks cannot call it.
    Required,
}

/// One tool, as its plugin declared it.
#[derive(Debug, Clone)]
pub struct ToolSpec {
    /// Unique within the server; 1 to 128 of `A-Z a-z 0-9 _ - .`.
    pub name: String,
    /// A name for people.
    pub title: Option<String>,
    /// What it does, for models and people.
    pub description: Option<String>,
    /// JSON Schema 2020-12 of its arguments; its type is `object`.
    pub input_schema: Map<String, Value>,
    /// JSON Schema of its `structuredContent`, if it has any.
    pub output_schema: Option<Map<String, Value>>,
    /// MCP hints: readOnlyHint, destructiveHint, idempotentHint, openWorldHint, title.
    pub annotations: Option<Map<String, Value>>,
    /// The whole declaration in MCP's wire form, including members this gateway does not know.
    pub wire: Map<String, Value>,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields of an error are what its message says they are")]
pub enum ManifestError {
    /// More than is read.
    #[error("it has {bytes} bytes, more than the {most} that are read")]
    TooLarge { bytes: usize, most: usize },
    /// Not JSON, or not of the expected form.
    #[error("it is not of the expected form")]
    Malformed(#[source] serde_json::Error),
    /// A tool's declaration is not of the expected form.
    #[error("tool number {number} is not of the expected form")]
    Tool { number: usize, source: serde_json::Error },
    /// A name clients would refuse.
    #[error("`{name}` is not a tool name; use 1 to 128 letters, digits, `_`, `-` or `.`")]
    ToolName { name: String },
    /// Two tools of one name.
    #[error("it has two tools named `{name}`")]
    Duplicate { name: String },
    /// Something in a list is not of the expected form.
    #[error("{what} number {number} is not of the expected form")]
    Entry { what: &'static str, number: usize, source: serde_json::Error },
    /// A name or URI that cannot be one.
    #[error("`{key}` cannot be the {member} of a {what}: {reason}")]
    Key { what: &'static str, member: &'static str, key: String, reason: &'static str },
    /// Two entries of one name or URI.
    #[error("it has two {what}s `{key}`")]
    Twice { what: &'static str, key: String },
    /// More entries than are read.
    #[error("it has {count} {what}s, more than the {most} that are read")]
    TooMany { what: &'static str, count: usize, most: usize },
    /// A list that no plugin is asked for.
    #[error("`{method}` in `dynamic` is not a list; use {}", lists::DYNAMIC.join(", "))]
    NotAList { method: String },
    /// MCP wants an object.
    #[error("the input schema of tool `{name}` has to say `\"type\": \"object\"`")]
    NotAnObject { name: String },
}

impl Manifest {
    /// Reads and checks a manifest.
    pub fn parse(json: &[u8]) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Written {
            name: String,
            version: String,
            title: Option<String>,
            instructions: Option<String>,
            icons: Option<Value>,
            website_url: Option<String>,
            capabilities: Option<Map<String, Value>>,
            #[serde(default)]
            tools: Vec<Map<String, Value>>,
            #[serde(default)]
            prompts: Vec<Map<String, Value>>,
            #[serde(default)]
            resources: Vec<Map<String, Value>>,
            #[serde(default)]
            resource_templates: Vec<Map<String, Value>>,
            #[serde(default)]
            dynamic: BTreeSet<String>,
            #[serde(default)]
            task_support: HashMap<String, TaskSupport>,
        }
        if json.len() > MANIFEST_MAX {
            return Err(ManifestError::TooLarge { bytes: json.len(), most: MANIFEST_MAX });
        }
        let written: Written = serde_json::from_slice(json).map_err(ManifestError::Malformed)?;
        let tools = written.tools.into_iter().enumerate();
        let tools = tools.map(|(at, wire)| parse_tool(at + 1, wire)).collect::<Result<Vec<_>, _>>()?;
        let mut seen = HashSet::new();
        if let Some(twice) = tools.iter().find(|tool| !seen.insert(&tool.name)) {
            return Err(ManifestError::Duplicate { name: twice.name.clone() });
        }
        lists::check(&lists::TOOLS, tools.iter().map(|tool| &tool.wire))?;
        lists::check(&lists::PROMPTS, &written.prompts)?;
        lists::check(&lists::RESOURCES, &written.resources)?;
        lists::check(&lists::TEMPLATES, &written.resource_templates)?;
        if let Some(method) = written.dynamic.iter().find(|method| !lists::DYNAMIC.contains(&method.as_str()))
        {
            return Err(ManifestError::NotAList { method: method.chars().take(64).collect() });
        }
        Ok(Self {
            name: written.name,
            title: written.title,
            version: written.version,
            instructions: written.instructions,
            icons: written.icons,
            website_url: written.website_url,
            capabilities: written.capabilities,
            tools,
            prompts: written.prompts,
            resources: written.resources,
            resource_templates: written.resource_templates,
            dynamic: written.dynamic,
            task_support: written.task_support,
        })
    }

    /// Whether the plugin makes the list that `method` asks for call by call.
    pub fn is_dynamic(&self, method: &str) -> bool {
        self.dynamic.contains(method)
    }
}

fn parse_tool(number: usize, wire: Map<String, Value>) -> Result<ToolSpec, ManifestError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Written {
        name: String,
        title: Option<String>,
        description: Option<String>,
        input_schema: Map<String, Value>,
        output_schema: Option<Map<String, Value>>,
        annotations: Option<Map<String, Value>>,
    }
    let written = Value::Object(wire.clone());
    let written: Written =
        serde_json::from_value(written).map_err(|source| ManifestError::Tool { number, source })?;
    let Written { name, title, description, input_schema, output_schema, annotations } = written;
    let good = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if name.is_empty() || name.len() > TOOL_NAME_MAX || !name.chars().all(good) {
        return Err(ManifestError::ToolName { name: name.chars().take(TOOL_NAME_MAX).collect() });
    }
    if input_schema.get("type").and_then(Value::as_str) != Some("object") {
        return Err(ManifestError::NotAnObject { name });
    }
    Ok(ToolSpec { name, title, description, input_schema, output_schema, annotations, wire })
}

#[cfg(test)]
mod tests;
