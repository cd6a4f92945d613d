//! Lines to copy: how to call a tool with curl, how to tell a client about a server.

use serde_json::{Value, json};

use crate::load::ToolSpec;

/// A curl line that calls `tool` with arguments that have the right shape. `base` has no slash at its end.
pub fn curl_line(base: &str, prefix: &str, tool: &ToolSpec) -> String {
    // Within single quotes a shell leaves everything alone but the single quote.
    let arguments = sample_arguments(tool).to_string().replace('\'', r"'\''");
    let name = &tool.name;
    format!("curl -s {base}{prefix}/tools/{name} -H 'content-type: application/json' -d '{arguments}'")
}

/// Arguments with every required property.
pub(super) fn sample_arguments(tool: &ToolSpec) -> Value {
    let schema = &tool.input_schema;
    let required = schema.get("required").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let properties = required.iter().filter_map(Value::as_str).map(|name| {
        let property = schema.get("properties").and_then(|properties| properties.get(name));
        (name.to_owned(), property.map_or(Value::Null, |property| sample(property, schema.get("$defs"))))
    });
    Value::Object(properties.collect())
}

fn sample(schema: &Value, definitions: Option<&Value>) -> Value {
    let named = schema["$ref"].as_str().and_then(|target| target.strip_prefix("#/$defs/"));
    // Definitions may go in circles, so what a definition refers to is not followed further.
    if let Some(definition) = named.and_then(|name| definitions?.get(name)) {
        return sample(definition, None);
    }
    let given = [&schema["examples"][0], &schema["default"], &schema["const"], &schema["enum"][0]];
    if let Some(given) = given.into_iter().find(|value| !value.is_null()) {
        return given.clone();
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str());
    match kind {
        Some("string") => "Ada".into(),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| 1.into()),
        Some("boolean") => true.into(),
        Some("array") => json!([]),
        Some("object") => json!({}),
        _ => Value::Null,
    }
}

/// What to type or paste to make a client know a server: the client's name, where the text goes, the text.
pub(super) fn connect(server: &str, url: &str) -> [(&'static str, &'static str, String); 3] {
    let pretty = |value: Value| format!("{value:#}");
    [
        ("Claude Code", "in a shell", format!("claude mcp add --transport http {server} {url}")),
        ("VS Code", ".vscode/mcp.json", pretty(json!({"servers": {server: {"type": "http", "url": url}}}))),
        ("Cursor", "~/.cursor/mcp.json", pretty(json!({"mcpServers": {server: {"url": url}}}))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input_schema: Value, arguments: &str) {
        let Value::Object(input_schema) = input_schema else { panic!("the test's own schema is an object") };
        let tool = ToolSpec {
            name: "echoHai".into(),
            title: None,
            description: None,
            input_schema,
            output_schema: None,
            annotations: None,
            wire: serde_json::Map::new(),
        };
        assert_eq!(
            curl_line("http://127.0.0.1:8000", "/greet", &tool),
            format!(
                "curl -s http://127.0.0.1:8000/greet/tools/echoHai -H 'content-type: application/json' -d '{arguments}'"
            )
        );
    }

    #[test]
    fn the_curl_line_has_every_required_argument() {
        check(json!({"type": "object"}), "{}");
        check(
            json!({"required": ["userName"], "properties": {"userName": {"type": "string"}, "x": {"type": "null"}}}),
            r#"{"userName":"Ada"}"#,
        );
        check(
            json!({"required": ["b", "a", "n", "m"], "$defs": {"M": {"enum": ["it's"]}}, "properties": {
                "a": {"type": ["number", "null"]}, "b": {"type": "boolean"}, "n": {"minimum": 5, "type": "integer"},
                "m": {"$ref": "#/$defs/M"}}}),
            r#"{"b":true,"a":1,"n":5,"m":"it'\''s"}"#,
        );
    }
}
