//! The schemas of what the gateway itself answers, for the OpenAPI documents. What they describe is written in
//! `serve::problem` and `serve::pages`; whoever changes one changes the other.

use serde_json::{Value, json};

use super::ProblemCode;

pub(super) fn problem() -> Value {
    let codes: Vec<_> = ProblemCode::all().map(ProblemCode::as_str).collect();
    json!({
        "type": "object",
        "description": "What went wrong (RFC 9457). Members beyond these depend on the code.",
        "required": ["type", "title", "status", "detail", "instance", "code", "request_id"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference", "description": "A page that explains the code"},
            "title": {"type": "string", "description": "The same for every case of the code"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "About this case"},
            "instance": {"type": "string", "format": "uri-reference"},
            "code": {"type": "string", "enum": codes},
            "request_id": {"type": "string", "description": "Also in the header `x-request-id` and in the log"},
            "errors": {"type": "array", "description": "With `invalid_arguments`", "items": {
                "type": "object",
                "required": ["pointer", "keyword", "detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "JSON pointer into the arguments"},
                    "keyword": {"type": "string", "description": "The schema keyword that refused"},
                    "detail": {"type": "string"},
                },
            }},
        },
    })
}

pub(super) fn call_tool_result() -> Value {
    json!({
        "type": "object",
        "description": "An MCP tool result.",
        "required": ["content"],
        "properties": {
            "content": {"type": "array", "items": {
                "type": "object", "required": ["type"], "properties": {"type": {"type": "string"}}}},
            "structuredContent": {},
            "isError": {"type": "boolean"},
        },
    })
}

pub(super) fn tool_list() -> Value {
    json!({
        "type": "object",
        "required": ["server", "prefix", "tools"],
        "properties": {
            "server": {"type": "string"},
            "prefix": {"type": "string"},
            "tools": {"type": "array", "items": {
                "type": "object",
                "description": "A tool in MCP's form.",
                "required": ["name", "inputSchema"],
                "properties": {"name": {"type": "string"}, "inputSchema": {"type": "object"}},
            }},
        },
    })
}

pub(super) fn server_list() -> Value {
    json!({
        "type": "object",
        "required": ["servers"],
        "properties": {"servers": {"type": "array", "items": {
            "type": "object",
            "description": "All but the first four members is for operators: who has the scope `admin`, where callers are \
                asked who they are.",
            "required": ["name", "prefix", "state"],
            "properties": {
                "name": {"type": "string"},
                "prefix": {"type": "string"},
                "state": {"type": "string", "enum": ["running", "quarantined", "failed"]},
                "tools": {"type": "integer"},
                "plugin": {"type": "string", "description": "The file's name"},
                "required": {"type": "boolean"},
                "generation": {"type": "integer"},
                "sha256": {"type": "string", "description": "Of the file it was loaded from"},
                "heap_bytes": {"type": "integer", "description": "What the plugin's Rust code has allocated"},
                "stalled_for_ms": {"type": "integer", "description": "Of a plugin that takes no messages"},
                "code": {"type": "string"},
                "reason": {"type": "string"},
                "retry_in_ms": {"type": "integer", "description": "Of a quarantined server"},
            },
        }}},
    })
}

pub(super) fn readiness() -> Value {
    json!({
        "type": "object",
        "required": ["status"],
        "properties": {
            "status": {"type": "string", "enum": ["ready", "starting", "draining", "failed"]},
            "failed": {"type": "array", "items": {"type": "object", "properties": {
                "name": {"type": "string"}, "code": {"type": "string"}, "required": {"type": "boolean"}}}},
        },
    })
}
