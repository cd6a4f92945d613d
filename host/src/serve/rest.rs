//! The plain HTTP door: `POST /<prefix>/tools/<tool>`, the body is the tool's arguments.
//! Translates only; [`call`](super::call) makes the call.

use std::{collections::BTreeMap, sync::Arc};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::request::Parts;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::{
    Gateway,
    asked::RequestId,
    body,
    call::{self, CallOutcome, ReplyParts, ToolCall, ToolReply},
    caller::Caller,
    held::held,
    problem::Problem,
    ticket::Wanted,
};
use crate::{
    load::{CallFacts, Notifications, Tasks},
    mount::{Mount, ProblemCode},
    trace::Incoming,
};

/// A tool's own words may be long; its whole result is in the problem anyway.
const DETAIL_MAX_CHARS: usize = 2000;

/// Answers one call. `tool` is the last segment of the path, as it was sent.
pub(super) async fn answer(
    gateway: &Arc<Gateway>,
    mount: &Arc<Mount>,
    caller: &Caller,
    tool: &str,
    parts: &Parts,
    body: Body,
) -> Result<Response, Problem> {
    let open = gateway.begin_call()?;
    let tool = percent_decode_str(tool).decode_utf8_lossy();
    let request_id = parts.extensions.get().cloned().unwrap_or_else(|| RequestId::of(&parts.headers));
    let wanted = Wanted {
        server: &mount.instance.entry().name,
        method: "tools/call",
        subject: &tool,
        arguments: b"",
        door: "rest",
        request_id: &request_id,
        incoming: &Incoming::of_http(&parts.headers),
    };
    let arguments = if mount.tool(&tool).is_some() || mount.manifest.is_dynamic("tools/list") {
        arguments(gateway, &tool, parts, body).await.inspect_err(|problem| {
            let outcome = match problem.code() {
                ProblemCode::MalformedJson => CallOutcome::MalformedJson,
                _ => CallOutcome::InvalidRequest,
            };
            gateway.served().tickets.refuse(caller, wanted, outcome);
        })?
    } else {
        // What is wrong with the body of a call that cannot be made helps nobody; `start` says what is wrong with it.
        Bytes::from_static(b"{}")
    };
    let wanted = Wanted { arguments: &arguments, ..wanted };
    let ticket = gateway.served().tickets.issue(caller, wanted)?;
    let rates = ticket.rates();
    let running = call::start(
        mount,
        ToolCall {
            tool: &tool,
            arguments: &arguments,
            facts: CallFacts { request_id: request_id.as_str().to_owned(), ..CallFacts::default() },
            notifications: Notifications::Dropped,
            tasks: Tasks::Refused,
            answers: BTreeMap::new(),
            door: "rest",
        },
        ticket,
    )?;
    let reply = running.finish().await?;
    let promised = mount.tool(&tool).is_some_and(|tool| tool.spec.output_schema.is_some());
    let shape = if promised { Shape::Structured } else { Shape::Whole };
    let whole = translate(reply, shape).map_err(|problem| {
        problem.with("server", mount.instance.entry().name.as_str()).with("tool", tool.into_owned())
    })?;
    let mut response = body::json(whole).map(|body| held(body, Some(open)));
    rates.add_to(response.headers_mut());
    Ok(response)
}

async fn arguments(gateway: &Gateway, tool: &str, parts: &Parts, body: Body) -> Result<Bytes, Problem> {
    body::check_is_json(&parts.headers)?;
    let arguments = body::read(&parts.headers, body, gateway.body_limit()).await?;
    if arguments.is_empty() {
        let detail =
            format!("the body is empty; send the arguments of `{tool}` as a JSON object, `{{}}` for none");
        return Err(Problem::new(ProblemCode::MalformedJson, detail).with("tool", tool));
    }
    Ok(arguments)
}

/// What of a reply the client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Its structured content: the tool has an output schema.
    Structured,
    /// All of it.
    Whole,
}

fn translate(reply: ToolReply, shape: Shape) -> Result<Bytes, Problem> {
    let is_error = reply.is_error();
    let whole = Bytes::from(reply.into_json());
    if is_error {
        return Err(tool_error(&whole));
    }
    match shape {
        Shape::Whole => Ok(whole),
        Shape::Structured => {
            let parts: Option<ReplyParts<'_>> = serde_json::from_slice(&whole).ok();
            let structured = parts.and_then(|parts| parts.structured_content);
            structured.map(|content| whole.slice_ref(content.get().as_bytes())).ok_or_else(|| {
                let detail = "the tool declares an output schema but answered without structured content";
                Problem::new(ProblemCode::BadPluginResult, detail)
            })
        }
    }
}

fn tool_error(whole: &[u8]) -> Problem {
    let result: Value = serde_json::from_slice(whole).unwrap_or_default();
    let blocks = result["content"].as_array().map(Vec::as_slice).unwrap_or_default();
    let texts: Vec<_> = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
    let detail: String = texts.join("\n").chars().take(DETAIL_MAX_CHARS).collect();
    let detail = if detail.is_empty() { "the tool gave no reason".to_owned() } else { detail };
    Problem::new(ProblemCode::ToolError, detail).with("result", result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reply: &str, shape: Shape, expected: Result<&str, (ProblemCode, &str)>) {
        let reply =
            ToolReply::parse(reply.as_bytes().to_vec()).expect("the test's own reply is a tool result");
        let found = translate(reply, shape).map_err(|problem| (problem.code(), problem.detail().to_owned()));
        let expected = expected.map(|body| Bytes::from(body.to_owned()));
        assert_eq!(found, expected.map_err(|(code, detail)| (code, detail.to_owned())));
    }

    #[test]
    fn a_tool_with_an_output_schema_answers_with_its_data_alone() {
        let reply = r#"{"content":[],"structuredContent":{"result": "Hello, Ada!"},"isError":false}"#;
        check(reply, Shape::Structured, Ok(r#"{"result": "Hello, Ada!"}"#));
        check(reply, Shape::Whole, Ok(reply));
        let detail = "the tool declares an output schema but answered without structured content";
        check(r#"{"content":[]}"#, Shape::Structured, Err((ProblemCode::BadPluginResult, detail)));
    }

    #[test]
    fn a_tools_own_error_is_told_in_its_words() {
        let reply = r#"{"content":[{"type":"text","text":"no"},{"type":"image"},{"type":"text","text":"zero"}],"isError":true}"#;
        check(reply, Shape::Structured, Err((ProblemCode::ToolError, "no\nzero")));
        let silent = r#"{"content":[],"isError":true}"#;
        check(silent, Shape::Whole, Err((ProblemCode::ToolError, "the tool gave no reason")));
    }
}
