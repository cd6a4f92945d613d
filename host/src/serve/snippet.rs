//! Lines to copy: how to call a tool with curl, how to tell a client about a server.

use serde_json::{Value, json};

use crate::{
    config::{AsksFor, Auth, Guard},
    load::ToolSpec,
};

/// What callers of a server show, so that lines to copy show it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    /// Nobody is asked.
    Nothing,
    /// A key.
    Key,
    /// An access token, which MCP clients get by themselves.
    Token,
}

impl Shows {
    /// What callers of a server with `guard` show.
    pub fn of(auth: &Auth, guard: &Guard) -> Self {
        match guard.asks_for {
            _ if !auth.is_on() => Self::Nothing,
            AsksFor::Nothing => Self::Nothing,
            AsksFor::Any if !auth.issuers.is_empty() => Self::Token,
            AsksFor::Tokens => Self::Token,
            AsksFor::Any | AsksFor::Keys => Self::Key,
        }
    }

    /// What stands for it in a shell.
    fn variable(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Key => Some("$GATEWAY_KEY"),
            Self::Token => Some("$ACCESS_TOKEN"),
        }
    }
}

/// A curl line that calls `tool` with arguments that have the right shape. `base` has no slash at its end.
pub fn curl_line(base: &str, prefix: &str, tool: &ToolSpec, shows: Shows) -> String {
    // Within single quotes a shell leaves everything alone but the single quote.
    let arguments = sample_arguments(tool).to_string().replace('\'', r"'\''");
    let name = &tool.name;
    let shown = shows.variable().map(|shown| format!("-H \"authorization: Bearer {shown}\" "));
    let shown = shown.unwrap_or_default();
    format!("curl -s {base}{prefix}/tools/{name} {shown}-H 'content-type: application/json' -d '{arguments}'")
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
pub(super) fn connect(server: &str, url: &str, shows: Shows) -> [(&'static str, &'static str, String); 4] {
    let entry = |mut members: Value, variable: &str| {
        members["url"] = url.into();
        // What takes tokens tells clients where to get them.
        if shows == Shows::Key {
            members["headers"] = json!({"Authorization": format!("Bearer {variable}")});
        }
        members
    };
    let pretty = |value: Value| format!("{value:#}");
    let mut vs_code = json!({"servers": {server: entry(json!({"type": "http"}), "${input:gateway_key}")}});
    if shows == Shows::Key {
        let asked = json!({"id": "gateway_key", "type": "promptString", "description": "Gateway key", "password": true});
        vs_code["inputs"] = json!([asked]);
    }
    [
        ("Claude Code", "in a shell", add_line(server, url, shows)),
        ("VS Code", ".vscode/mcp.json", pretty(vs_code)),
        (
            "Cursor",
            "~/.cursor/mcp.json",
            pretty(json!({"mcpServers": {server: entry(json!({}), "${env:GATEWAY_KEY}")}})),
        ),
        ("Claude Desktop", "claude_desktop_config.json", pretty(claude_desktop(server, url, shows))),
    ]
}

/// Its file knows only programs, so one stands between.
fn claude_desktop(server: &str, url: &str, shows: Shows) -> Value {
    let mut arguments = vec!["-y", "mcp-remote", url];
    // It refuses a plain URL unless it is told to, or is on the same machine.
    if url.starts_with("http://") {
        arguments.push("--allow-http");
    }
    let mut entry = json!({"command": "npx"});
    if shows == Shows::Key {
        // Without a space: on Windows it would cut the argument in two.
        arguments.extend(["--header", "Authorization:${AUTHORIZATION}"]);
        entry["env"] = json!({"AUTHORIZATION": "Bearer <key>"});
    }
    entry["args"] = json!(arguments);
    json!({"mcpServers": {server: entry}})
}

/// What makes Claude Code know a server.
pub fn add_line(server: &str, url: &str, shows: Shows) -> String {
    let header = match shows {
        Shows::Key => " --header \"Authorization: Bearer $GATEWAY_KEY\"",
        Shows::Nothing | Shows::Token => "",
    };
    format!("claude mcp add --transport http {server} {url}{header}")
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
            curl_line("http://127.0.0.1:8000", "/greet", &tool, Shows::Nothing),
            format!(
                "curl -s http://127.0.0.1:8000/greet/tools/echoHai -H 'content-type: application/json' -d '{arguments}'"
            )
        );
    }

    #[test]
    fn lines_show_what_callers_have_to_show() {
        let key = connect("greet", "http://a/greet", Shows::Key);
        assert_eq!(
            key[0].2,
            "claude mcp add --transport http greet http://a/greet --header \"Authorization: Bearer $GATEWAY_KEY\""
        );
        assert!(key[1].2.contains("${input:gateway_key}") && key[1].2.contains("promptString"));
        assert!(key[2].2.contains("Bearer ${env:GATEWAY_KEY}"));
        assert!(key[3].2.contains("Authorization:${AUTHORIZATION}") && key[3].2.contains("--allow-http"));
        // Clients that are sent to an authorization server would not go there if they had something to show.
        assert_eq!(
            connect("greet", "http://a/greet", Shows::Token),
            connect("greet", "http://a/greet", Shows::Nothing)
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
