//! The OpenAPI 3.1 documents: one per server, one of all. Written by hand as JSON values, because no OpenAPI crate can
//! hold an arbitrary JSON Schema.
//!
//! In:   names, prefixes and tool declarations, in file order.
//! Out:  [`Document`]: bytes that do not change as long as the input does not, and their ETag.
//! Never: the order of a map.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{
    ProblemCode,
    hoist::{Names, NotPortable, hoist, reference},
    problem_code::Occurs,
    security::{schemes, security},
    shapes,
};
use crate::{config::Ways, load::ToolSpec};

/// An OpenAPI document, ready to be sent.
#[derive(Debug, Clone)]
pub struct Document {
    /// JSON.
    pub body: Bytes,
    /// A strong entity tag, with its quotes.
    pub etag: String,
}

/// What a document says of one server.
pub(super) struct Described<'a> {
    pub(super) name: &'a str,
    pub(super) prefix: &'a str,
    pub(super) version: &'a str,
    pub(super) title: Option<&'a str>,
    pub(super) instructions: Option<&'a str>,
    pub(super) tools: &'a [ToolSpec],
    /// How its callers say who they are.
    pub(super) ways: Ways,
}

impl Document {
    /// The document of every server and of the gateway's own pages; there callers say who they are in the ways of `own`.
    pub(super) fn merged(servers: &[Described<'_>], own: Ways) -> Self {
        let mut draft = Draft::new(own);
        for server in servers {
            draft.server(server);
        }
        // Who has said nothing sees the servers that ask nobody.
        let shows_some = servers.iter().any(|server| !server.ways.is_any());
        draft.own_pages(shows_some);
        let info = json!({
            "title": "gateway",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The tools of every server of this gateway, as plain HTTP calls. \
                MCP clients find the same tools at each server's prefix.",
        });
        Self::of(draft.finish(info))
    }

    /// The document of one server.
    pub(super) fn of_server(server: &Described<'_>) -> Self {
        let mut draft = Draft::new(server.ways);
        draft.server(server);
        let mut info = json!({"title": server.title.unwrap_or(server.name), "version": server.version});
        if let Some(instructions) = server.instructions {
            info["description"] = instructions.into();
        }
        Self::of(draft.finish(info))
    }

    fn of(document: Value) -> Self {
        let body = document.to_string();
        // This hasher's keys are constants: every replica of this gateway gives the same document the same tag.
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        Self { etag: format!("\"{:016x}\"", hasher.finish()), body: body.into() }
    }
}

/// A document under construction.
struct Draft {
    tags: Vec<Value>,
    paths: Map<String, Value>,
    schemas: Map<String, Value>,
    names: Names,
    operations: Names,
    /// All the ways in which callers of something in it say who they are.
    ways: Ways,
}

impl Draft {
    fn new(ways: Ways) -> Self {
        let mut draft = Self {
            tags: Vec::new(),
            paths: Map::new(),
            schemas: Map::new(),
            names: Names::default(),
            operations: Names::default(),
            ways,
        };
        for (name, schema) in [("CallToolResult", shapes::call_tool_result()), ("Problem", shapes::problem())]
        {
            draft.schemas.insert(draft.names.take(name), schema);
        }
        draft
    }

    fn server(&mut self, server: &Described<'_>) {
        let mut tag = json!({"name": server.name});
        if let Some(text) = server.instructions.or(server.title) {
            tag["description"] = text.into();
        }
        self.tags.push(tag);
        for tool in server.tools {
            let operation = self.tool(server, tool);
            self.paths.insert(format!("{}/tools/{}", server.prefix, tool.name), json!({"post": operation}));
        }
        let occurs = [Occurs::Anywhere, Occurs::AtServers];
        let mut list = json!({
            "operationId": self.operations.take(&format!("{}_tools", server.name)),
            "tags": [server.name],
            "summary": format!("The tools of {}", server.name),
            "responses": responses(shapes::tool_list(), &occurs, server.ways),
        });
        self.secure(&mut list, security(server.ways));
        self.paths.insert(format!("{}/tools", server.prefix), json!({"get": list}));
    }

    fn tool(&mut self, server: &Described<'_>, tool: &ToolSpec) -> Value {
        let mut operation = json!({
            "operationId": self.operations.take(&format!("{}_{}", server.name, tool.name)),
            "tags": [server.name],
            "summary": tool.title.as_deref().unwrap_or(&tool.name),
        });
        if let Some(text) = &tool.description {
            operation["description"] = text.as_str().into();
        }
        let scope = format!("{}.{}", server.name, tool.name);
        let arguments = self.schema(&tool.input_schema, &scope, "arguments");
        let result = match &tool.output_schema {
            Some(schema) => self.schema(schema, &scope, "result"),
            None => reference("CallToolResult", &[]),
        };
        operation["requestBody"] =
            json!({"required": true, "content": {"application/json": {"schema": arguments}}});
        let occurs = [Occurs::Anywhere, Occurs::AtServers, Occurs::InCalls];
        operation["responses"] = responses(result, &occurs, server.ways);
        self.secure(&mut operation, security(server.ways));
        operation
    }

    /// Says how callers of `operation` say who they are, if it is about that anywhere in the document.
    fn secure(&self, operation: &mut Value, security: Vec<Value>) {
        if self.ways.is_any() {
            operation["security"] = security.into();
        }
    }

    /// A schema that cannot be part of the document is left open there: calls still check it.
    fn schema(&mut self, schema: &Map<String, Value>, scope: &str, own_name: &str) -> Value {
        match hoist(schema, scope, own_name, &mut self.names) {
            Ok(hoisted) => {
                self.schemas.extend(hoisted.components);
                hoisted.root
            }
            Err(NotPortable(feature)) => json!({
                "type": "object",
                "description": format!(
                    "The tool list has the exact schema; it uses {feature}, which has no place in this document."
                ),
            }),
        }
    }

    /// `shows_some`: whether somebody who has not said who it is gets to know of some server.
    fn own_pages(&mut self, shows_some: bool) {
        self.tags.push(json!({"name": "gateway", "description": "The gateway's own pages."}));
        let status =
            json!({"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}});
        let pages = [
            ("/servers", "Every server with its state, and why one does not serve", shapes::server_list()),
            ("/healthz", "Whether the process answers", status.clone()),
            ("/livez", "Whether the process answers", status),
            ("/readyz", "Whether every required server serves", shapes::readiness()),
        ];
        for (path, summary, schema) in pages {
            // Probes carry no credentials.
            let ways = if path == "/servers" { self.ways } else { Ways::default() };
            let mut responses = responses(schema.clone(), &[Occurs::Anywhere], ways);
            if path == "/readyz" {
                responses["503"] = json!({
                    "description": "Starting, stopping, or a required server does not serve",
                    "content": {"application/json": {"schema": schema}},
                });
            }
            let mut operation = json!({
                "operationId": self.operations.take(&format!("gateway_{}", &path[1..])),
                "tags": ["gateway"],
                "summary": summary,
                "responses": responses,
            });
            let mut security = security(ways);
            if shows_some && ways.is_any() {
                security.push(json!({}));
            }
            self.secure(&mut operation, security);
            self.paths.insert(path.into(), json!({"get": operation}));
        }
    }

    fn finish(self, info: Value) -> Value {
        let mut document = json!({
            "openapi": "3.1.0",
            "info": info,
            "servers": [{"url": "/"}],
            "tags": self.tags,
            "paths": self.paths,
            "components": {"schemas": self.schemas, "responses": problem_responses()},
        });
        if self.ways.is_any() {
            document["components"]["securitySchemes"] = schemes(self.ways);
        }
        document
    }
}

fn responses(ok: Value, occurs: &[Occurs], ways: Ways) -> Value {
    let is_asked = |occurs: Occurs| occurs == Occurs::WhereAsked && ways.is_any();
    let mut responses = Map::new();
    responses
        .insert("200".into(), json!({"description": "OK", "content": {"application/json": {"schema": ok}}}));
    // `ProblemCode::all` is ordered by status, so are the answers.
    for code in ProblemCode::all().filter(|code| occurs.contains(&code.occurs()) || is_asked(code.occurs())) {
        let name = format!("Problem{}", code.status());
        let response = json!({"$ref": format!("#/components/responses/{name}")});
        responses.insert(code.status().to_string(), response);
    }
    responses.into()
}

/// One shared answer per status that an operation of the document can end with.
fn problem_responses() -> Value {
    let mut responses = Map::new();
    for code in ProblemCode::all().filter(|code| code.occurs() != Occurs::Elsewhere) {
        let line = format!("`{}`: {}", code.as_str(), code.help());
        let response = responses.entry(format!("Problem{}", code.status())).or_insert_with(|| {
            let schema = reference("Problem", &[]);
            json!({"description": "", "content": {"application/problem+json": {"schema": schema}}})
        });
        let before = response["description"].as_str().unwrap_or_default();
        response["description"] =
            if before.is_empty() { line.into() } else { format!("{before}\n\n{line}").into() };
        match code {
            ProblemCode::PluginUnavailable | ProblemCode::Overloaded | ProblemCode::RateLimited => {
                response["headers"] = json!({"Retry-After": {
                    "description": "Seconds after which to try again", "schema": {"type": "integer"}}});
            }
            ProblemCode::Unauthorized => {
                response["headers"] = json!({"WWW-Authenticate": {
                    "description": "How to say who is calling (RFC 6750)", "schema": {"type": "string"}}});
            }
            _ => {}
        }
    }
    responses.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str, input: Value, output: Option<Value>) -> ToolSpec {
        let object = |value| match value {
            Value::Object(members) => members,
            _ => panic!("the test's own schema is an object"),
        };
        ToolSpec {
            name: name.into(),
            title: Some(format!("The {name}")),
            description: Some("Says hello.".into()),
            input_schema: object(input),
            output_schema: output.map(object),
            annotations: None,
            wire: Map::new(),
        }
    }

    const KEYS: Ways = Ways { keys: true, certificates: false, tokens: false };

    fn merged() -> Document {
        merged_where([Ways::default(); 3])
    }

    /// The ways of the servers, and of the gateway.
    fn merged_where([of_greet, of_bye, own]: [Ways; 3]) -> Document {
        let hello = json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
            "properties": {"userName": {"type": "string"}, "mood": {"$ref": "#/$defs/Mood"}},
            "required": ["userName"], "$defs": {"Mood": {"enum": ["good", "bad"]}}});
        let result = json!({"type": "object", "properties": {"result": {"type": "string"}}});
        let tree = json!({"type": "object", "properties": {"next": {"$ref": "#"}}});
        let greet = [tool("echoHai", hello.clone(), Some(result)), tool("tree", tree, None)];
        let bye = [tool("echoHai", hello, None), tool("odd", json!({"$dynamicRef": "#x"}), None)];
        let server = |name, prefix, tools, ways| Described {
            name,
            prefix,
            version: "1.0.0",
            title: None,
            instructions: Some("Be kind."),
            tools,
            ways,
        };
        let servers = [server("greet", "/greet", &greet, of_greet), server("bye", "/a/bye", &bye, of_bye)];
        Document::merged(&servers, own)
    }

    fn parsed(document: &Document) -> Value {
        serde_json::from_slice(&document.body).expect("a document is JSON")
    }

    #[test]
    fn every_tool_is_an_operation_in_file_order() {
        let document = parsed(&merged());
        let paths: Vec<_> = document["paths"].as_object().expect("an object").keys().cloned().collect();
        assert_eq!(
            paths.join(" "),
            "/greet/tools/echoHai /greet/tools/tree /greet/tools /a/bye/tools/echoHai /a/bye/tools/odd \
             /a/bye/tools /servers /healthz /livez /readyz"
        );
        let operation = &document["paths"]["/greet/tools/echoHai"]["post"];
        assert_eq!(operation["operationId"], "greet_echoHai");
        assert_eq!(operation["tags"], json!(["greet"]));
        assert_eq!(operation["summary"], "The echoHai");
        let statuses: Vec<_> =
            operation["responses"].as_object().expect("an object").keys().cloned().collect();
        assert_eq!(statuses.join(" "), "200 400 403 408 409 413 415 422 429 500 502 503 504");
    }

    #[test]
    fn a_document_says_where_callers_have_to_say_who_they_are_and_how() {
        let asking =
            parsed(&merged_where([KEYS, Ways { tokens: true, ..KEYS }, Ways { tokens: true, ..KEYS }]));
        let security =
            |document: &Value, path: &str, method: &str| document["paths"][path][method]["security"].clone();
        let by_key = json!([{"key": []}, {"bearer": []}]);
        for (path, method) in [("/greet/tools/echoHai", "post"), ("/a/bye/tools", "get"), ("/servers", "get")]
        {
            assert_eq!(security(&asking, path, method), by_key, "{path}");
            assert!(asking["paths"][path][method]["responses"]["401"].is_object(), "{path}");
        }
        assert_eq!(security(&asking, "/readyz", "get"), json!([]));
        assert_eq!(asking["paths"]["/readyz"]["get"]["responses"]["401"], Value::Null);
        assert_eq!(asking["components"]["securitySchemes"]["key"]["name"], "X-API-Key");

        let half = parsed(&merged_where([Ways::default(), KEYS, KEYS]));
        assert_eq!(security(&half, "/greet/tools/echoHai", "post"), json!([]));
        assert_eq!(security(&half, "/servers", "get"), json!([{"key": []}, {"bearer": []}, {}]));

        let nobody = merged();
        assert!(!String::from_utf8_lossy(&nobody.body).contains("\"security"));
    }

    #[test]
    fn definitions_of_two_servers_do_not_meet() {
        let document = parsed(&merged());
        let mood = |path: &str| {
            let body =
                &document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"];
            body["properties"]["mood"]["$ref"].clone()
        };
        assert_eq!(mood("/greet/tools/echoHai"), "#/components/schemas/greet.echoHai.Mood");
        assert_eq!(mood("/a/bye/tools/echoHai"), "#/components/schemas/bye.echoHai.Mood");
        assert!(document["components"]["schemas"]["bye.echoHai.Mood"]["enum"].is_array());
        assert!(!merged().body.windows(7).any(|text| text == b"$schema"));
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn check(value: &Value, document: &Value) {
            match value {
                Value::Object(members) => {
                    if let Some(Value::String(target)) = members.get("$ref") {
                        let pointer = target.strip_prefix('#').expect("a local reference");
                        assert!(document.pointer(pointer).is_some(), "{target} leads nowhere");
                    }
                    members.values().for_each(|member| check(member, document));
                }
                Value::Array(items) => items.iter().for_each(|item| check(item, document)),
                _ => {}
            }
        }
        let document = parsed(&merged());
        check(&document, &document);
    }

    #[test]
    fn the_same_tools_give_the_same_bytes_and_tag() {
        let (one, other) = (merged(), merged());
        assert_eq!((one.body, &one.etag), (other.body, &other.etag));
        assert_ne!(one.etag, Document::merged(&[], Ways::default()).etag);
    }
}
