//! What a plugin says it offers, checked. Pure: reads JSON.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::{Map, Value};

/// Largest manifest, in bytes.
const MANIFEST_MAX: usize = 4 << 20;
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
    /// The tool table, in the plugin's order; names are unique.
    pub tools: Vec<ToolSpec>,
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
    /// MCP wants an object.
    #[error("the input schema of tool `{name}` has to say `\"type\": \"object\"`")]
    NotAnObject { name: String },
}

impl Manifest {
    /// Reads and checks a manifest.
    pub fn parse(json: &[u8]) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Written {
            name: String,
            version: String,
            title: Option<String>,
            instructions: Option<String>,
            #[serde(default)]
            tools: Vec<Map<String, Value>>,
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
        let Written { name, version, title, instructions, .. } = written;
        Ok(Self { name, title, version, instructions, tools })
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
mod tests {
    use super::*;

    fn refused(tools: &str) -> String {
        let json = format!(r#"{{"name":"p","version":"1","tools":{tools}}}"#);
        super::super::error::chain(&Manifest::parse(json.as_bytes()).expect_err("cannot be used"))
    }

    #[test]
    fn a_manifest_that_cannot_be_served_is_refused_by_name() {
        let object = r#"{"type":"object"}"#;
        assert_eq!(
            refused(&format!(r#"[{{"name":"a b","inputSchema":{object}}}]"#)),
            "`a b` is not a tool name; use 1 to 128 letters, digits, `_`, `-` or `.`"
        );
        assert_eq!(
            refused(&format!(
                r#"[{{"name":"a","inputSchema":{object}}},{{"name":"a","inputSchema":{object}}}]"#
            )),
            "it has two tools named `a`"
        );
        assert_eq!(
            refused(r#"[{"name":"a","inputSchema":{}}]"#),
            "the input schema of tool `a` has to say `\"type\": \"object\"`"
        );
        assert_eq!(
            refused(r#"[{"name":"a"}]"#),
            "tool number 1 is not of the expected form: missing field `inputSchema`"
        );
        assert_eq!(
            super::super::error::chain(&Manifest::parse(b"x").expect_err("not JSON")),
            "it is not of the expected form: expected value at line 1 column 1"
        );
    }
}
