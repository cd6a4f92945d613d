//! What a call over MCP answers, in both eras: results, errors, and what comes before them.

use std::sync::Arc;

use anyhow::{Context, Result};
use http::Method;
use rmcp::{
    RoleClient,
    model::{CallToolRequestParams, CallToolResult},
    service::RunningService,
};
use serde_json::{Value, json};
use tests::{Answer, Gateway};
use tokio::task::JoinSet;

use super::{JSON, client, last_message, legacy, messages, modern, send};
use crate::faults::config_with_plugin_logs;

/// A client of each era at `path`.
async fn clients(gateway: &Gateway, path: &str) -> Result<[RunningService<RoleClient, ()>; 2]> {
    Ok([client(gateway.url(path), modern()).await?, client(gateway.url(path), legacy()).await?])
}

async fn call(
    client: &RunningService<RoleClient, ()>,
    tool: &'static str,
    arguments: Value,
) -> Result<CallToolResult> {
    let arguments = arguments.as_object().cloned().context("arguments are an object")?;
    Ok(client.call_tool(CallToolRequestParams::new(tool).with_arguments(arguments)).await?)
}

fn text(result: &CallToolResult) -> &str {
    result.content.first().and_then(|block| block.as_text()).map_or("(no text)", |block| &block.text)
}

#[tokio::test]
async fn tools_of_every_server_answer() -> Result<()> {
    let gateway = Gateway::start(&["bye", "math"]).await;
    for bye in clients(&gateway, "/bye").await? {
        let result = call(&bye, "echoBye", json!({ "userName": "Ada" })).await?;
        assert_eq!((text(&result), result.is_error), ("Bye, Ada!", Some(false)));
    }
    for math in clients(&gateway, "/math").await? {
        let result = call(&math, "add", json!({ "a": 2, "b": 0.5 })).await?;
        assert_eq!(result.structured_content, Some(json!({ "result": 2.5 })));
        assert_eq!(text(&result), "2.5");
    }
    Ok(())
}

#[tokio::test]
async fn a_tools_own_error_is_a_result() -> Result<()> {
    let gateway = Gateway::start(&["math"]).await;
    for math in clients(&gateway, "/math").await? {
        let result = call(&math, "divide", json!({ "a": 1, "b": 0 })).await?;
        assert_eq!((text(&result), result.is_error), ("cannot divide 1 by zero", Some(true)));
        assert_eq!(result.structured_content, None);
    }
    Ok(())
}

#[tokio::test]
async fn a_panic_is_a_result_with_a_request_id() -> Result<()> {
    let gateway = Gateway::start(&["panics_in_call"]).await;
    for client in clients(&gateway, "/panics_in_call").await? {
        let result = call(&client, "panic", json!({ "when": "at_once" })).await?;
        assert_eq!(result.is_error, Some(true));
        let (told, id) = text(&result).split_once(" (request ").context("an id")?;
        let expected = "the tool panics_in_call/panic crashed on this call; other calls are not affected and the crash was logged";
        assert_eq!(told, expected);
        let id = id.trim_end_matches(')');
        let event = gateway.event_with("tool panicked", &[("request_id", id)]).await;
        assert_eq!(event["panic"], "at once");
        assert_eq!(text(&call(&client, "panic", json!({ "when": "never" })).await?), "no panic");
    }
    Ok(())
}

#[tokio::test]
async fn nonsense_and_delay_are_results_with_a_request_id() -> Result<()> {
    let slow = tests::server("slow", "holds_calls") + "call_timeout = \"100ms\"\n";
    // One after the other, without an answer in between.
    let garbage = tests::server("answers_garbage", "answers_garbage") + "quarantine_after = 0\n";
    let gateway = Gateway::with_config(&(tests::config(&[]) + &garbage + &slow)).await;
    let check = async |client: &RunningService<RoleClient, ()>, tool, arguments| {
        let result = call(client, tool, arguments).await?;
        assert_eq!(result.is_error, Some(true), "{tool}");
        let (told, _) = text(&result).split_once(" (request ").context("an id")?;
        anyhow::Ok(told.to_owned())
    };
    for garbage in clients(&gateway, "/answers_garbage").await? {
        for tool in ["no_json", "no_text", "no_result", "nothing", "megabytes"] {
            let told = check(&garbage, tool, json!({})).await?;
            assert!(told.ends_with("answered with something that is not a tool result"), "{tool}: {told}");
        }
    }
    for slow in clients(&gateway, "/slow").await? {
        let told = check(&slow, "hold", json!({ "directory": gateway.folder() })).await?;
        assert_eq!(told, "slow/hold did not answer within 100ms");
    }
    Ok(())
}

/// What a message says, in a line.
fn line(message: &Value) -> String {
    let (params, result) = (&message["params"], &message["result"]);
    match message["method"].as_str() {
        Some(method) => {
            format!("{method} {} of {} for {}", params["progress"], params["total"], params["progressToken"])
        }
        None => format!("answer to {}: {}", message["id"], result["structuredContent"]),
    }
}

fn check_progress(answer: &Answer) {
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let lines: Vec<String> = messages(answer).iter().map(line).collect();
    let progress = (1..=5).map(|number| format!("notifications/progress {number}.0 of 5.0 for \"p\""));
    let expected: Vec<String> = progress.chain([r#"answer to 7: {"result":5}"#.to_owned()]).collect();
    assert_eq!(lines, expected);
}

/// The message that calls `tool`.
fn message(tool: &str, arguments: Value, meta: Value) -> String {
    let params = json!({ "name": tool, "arguments": arguments, "_meta": meta });
    json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params }).to_string()
}

/// Sends a call as a 2026 client does; `meta` is what it adds to what every request has.
async fn call_2026(gateway: &Gateway, tool: &str, arguments: Value, meta: Value) -> Result<Answer> {
    let mut whole = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "t", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    whole.as_object_mut().context("an object")?.extend(meta.as_object().cloned().unwrap_or_default());
    let version = ("mcp-protocol-version", "2026-07-28");
    let headers = [JSON, version, ("mcp-method", "tools/call"), ("mcp-name", tool)];
    send(gateway, Method::POST, HOLDS_CALLS, &headers, &message(tool, arguments, whole)).await
}

/// A 2025 session, by hand.
struct Session<'g> {
    gateway: &'g Gateway,
    id: String,
}

impl<'g> Session<'g> {
    async fn open(gateway: &'g Gateway) -> Result<Self> {
        let initialize = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "t", "version": "1" } } });
        let answer = gateway.post(HOLDS_CALLS, initialize.to_string()).await;
        let id = answer.headers.get("mcp-session-id").context("a session")?.to_str()?.to_owned();
        let session = Self { gateway, id };
        session.post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await?;
        Ok(session)
    }

    async fn post(&self, body: &str) -> Result<Answer> {
        let headers = [JSON, ("mcp-session-id", &self.id), ("mcp-protocol-version", "2025-11-25")];
        send(self.gateway, Method::POST, HOLDS_CALLS, &headers, body).await
    }
}

const HOLDS_CALLS: &str = "/holds_calls/mcp";

#[tokio::test]
async fn progress_reaches_a_2026_client_in_order_before_the_result() -> Result<()> {
    let gateway = Gateway::start(&["holds_calls"]).await;
    check_progress(&call_2026(&gateway, "count", json!({ "to": 5 }), json!({ "progressToken": "p" })).await?);

    // Without a token nobody asked for progress, and the answer is plain JSON.
    let answer = call_2026(&gateway, "count", json!({ "to": 5 }), json!({})).await?;
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.json()["result"]["structuredContent"], json!({ "result": 5 }));
    Ok(())
}

#[tokio::test]
async fn progress_reaches_a_2025_session_in_order_before_the_result() -> Result<()> {
    let gateway = Gateway::start(&["holds_calls"]).await;
    let session = Session::open(&gateway).await?;
    let count = |meta| message("count", json!({ "to": 5 }), meta);
    check_progress(&session.post(&count(json!({ "progressToken": "p" }))).await?);

    let answer = session.post(&count(json!({}))).await?;
    assert_eq!(last_message(&answer)["result"]["structuredContent"], json!({ "result": 5 }));
    assert!(!answer.body.contains("notifications/progress"), "{}", answer.body);
    Ok(())
}

#[tokio::test]
async fn many_calls_at_once_each_get_their_own_answer() -> Result<()> {
    let gateway = Gateway::start(&["math"]).await;
    for math in clients(&gateway, "/math").await? {
        let math = Arc::new(math);
        let mut calls = JoinSet::new();
        for number in 0..64 {
            let math = math.clone();
            calls.spawn(async move {
                let result = call(&math, "add", json!({ "a": number, "b": 0.5 })).await?;
                anyhow::Ok((number, result.structured_content))
            });
        }
        let mut answered = 0;
        while let Some(done) = calls.join_next().await {
            let (number, result) = done??;
            assert_eq!(result, Some(json!({ "result": f64::from(number) + 0.5 })));
            answered += 1;
        }
        assert_eq!(answered, 64);
    }
    Ok(())
}

/// The call that `gateway` is holding is cancelled, at both ends.
async fn check_cancelled(gateway: &Gateway) {
    let event = gateway.event("call finished").await;
    let expected = [("door", "mcp"), ("tool", "hold"), ("outcome", "cancelled")];
    expected.iter().for_each(|(field, value)| assert_eq!(event[field], *value));
    gateway.event("let go").await;
}

async fn holding() -> (Gateway, Value) {
    let gateway = Gateway::with_config(&config_with_plugin_logs(&["holds_calls"])).await;
    let arguments = json!({ "directory": gateway.folder() });
    (gateway, arguments)
}

#[tokio::test]
async fn a_2026_client_that_goes_away_cancels_its_call() -> Result<()> {
    let (gateway, arguments) = holding().await;
    tokio::select! {
        answer = call_2026(&gateway, "hold", arguments, json!({})) => panic!("nobody released it: {answer:?}"),
        // The future of the call is dropped, and with it the connection.
        _ = gateway.event("holding") => {}
    }
    check_cancelled(&gateway).await;
    Ok(())
}

#[tokio::test]
async fn a_2026_client_that_goes_away_in_a_stream_cancels_its_call() -> Result<()> {
    let (gateway, arguments) = holding().await;
    let meta = json!({ "progressToken": "p" });
    tokio::select! {
        answer = call_2026(&gateway, "hold", arguments, meta) => panic!("nobody released it: {answer:?}"),
        _ = gateway.event("holding") => {}
    }
    check_cancelled(&gateway).await;
    Ok(())
}

#[tokio::test]
async fn a_client_without_a_session_that_goes_away_cancels_its_call() -> Result<()> {
    let (gateway, arguments) = holding().await;
    let call = message("hold", arguments, json!({}));
    tokio::select! {
        answer = gateway.post(HOLDS_CALLS, call) => panic!("nobody released it: {answer:?}"),
        _ = gateway.event("holding") => {}
    }
    check_cancelled(&gateway).await;
    Ok(())
}

#[tokio::test]
async fn a_client_in_a_session_cancels_by_a_message() -> Result<()> {
    let (gateway, arguments) = holding().await;
    let session = Session::open(&gateway).await?;
    let call = message("hold", arguments, json!({}));
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#;
    let cancelled = async {
        gateway.event("holding").await;
        session.post(cancel).await?;
        check_cancelled(&gateway).await;
        anyhow::Ok(())
    };
    // What the answer to a cancelled call says, if there is one, is the transport's business.
    let (_, cancelled) = tokio::join!(session.post(&call), cancelled);
    cancelled
}
