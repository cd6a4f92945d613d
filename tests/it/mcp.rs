//! The MCP door, through rmcp's own client in both eras and byte by byte.

mod calls;
mod changes;
mod lists;
mod questions;

use anyhow::{Context, Result};
use http::{Method, Request, StatusCode, header};
use rmcp::{
    ClientLifecycleMode, ClientServiceExt, RoleClient,
    model::{CallToolRequestParams, ErrorCode, ProtocolVersion},
    service::{RunningService, ServiceError},
    transport::StreamableHttpClientTransport,
};
use serde_json::{Value, json};
use tests::{Answer, Gateway};

/// Both places at which a mount speaks MCP.
const DOORS: [&str; 2] = ["/greet/mcp", "/greet"];

pub(super) async fn client(
    url: String,
    lifecycle: ClientLifecycleMode,
) -> Result<RunningService<RoleClient, ()>> {
    Ok(().serve_with_lifecycle(StreamableHttpClientTransport::from_uri(url), lifecycle).await?)
}

pub(super) fn modern() -> ClientLifecycleMode {
    ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }
}

/// As clients did until 2026: a session.
pub(super) fn legacy() -> ClientLifecycleMode {
    ClientLifecycleMode::Initialize
}

fn echo_hai(arguments: Value) -> CallToolRequestParams {
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    CallToolRequestParams::new("echoHai").with_arguments(arguments)
}

/// Lists and calls, as any client would first.
async fn check_greets(client: RunningService<RoleClient, ()>) -> Result<()> {
    let tools = client.list_all_tools().await?;
    let names: Vec<_> = tools.iter().map(|tool| &*tool.name).collect();
    assert_eq!(names, ["echoHai"]);
    let result = client.call_tool(echo_hai(json!({ "userName": "Ada" }))).await?;
    assert_eq!(result.content[0].as_text().context("text")?.text, "Hello, Ada!");
    assert_eq!(result.structured_content, Some(json!({ "result": "Hello, Ada!" })));
    assert_ne!(result.is_error, Some(true));
    client.cancel().await?;
    Ok(())
}

#[tokio::test]
async fn a_2026_client_lists_and_calls_without_a_session() -> Result<()> {
    let gateway = Gateway::start(&["greet"]).await;
    for door in DOORS {
        let client = client(gateway.url(door), modern()).await?;
        let version = client.peer_info().context("discovered")?.protocol_version.clone();
        assert_eq!(version, ProtocolVersion::V_2026_07_28);
        check_greets(client).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_2025_client_lists_and_calls_in_a_session() -> Result<()> {
    let gateway = Gateway::start(&["greet"]).await;
    for door in DOORS {
        let client = client(gateway.url(door), legacy()).await?;
        let version = client.peer_info().context("initialized")?.protocol_version.clone();
        assert_eq!(version, ProtocolVersion::V_2025_11_25);
        check_greets(client).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_client_that_probes_finds_2026() -> Result<()> {
    let gateway = Gateway::start(&["greet"]).await;
    let lifecycle = ClientLifecycleMode::Auto {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        legacy_version: Some(ProtocolVersion::V_2025_11_25),
    };
    let client = client(gateway.url("/greet"), lifecycle).await?;
    let version = client.peer_info().context("probed")?.protocol_version.clone();
    assert_eq!(version, ProtocolVersion::V_2026_07_28);
    check_greets(client).await
}

#[tokio::test]
async fn bad_arguments_are_a_result_that_a_model_can_read() -> Result<()> {
    let gateway = Gateway::start(&["greet"]).await;
    let client = client(gateway.url("/greet"), modern()).await?;
    let result = client.call_tool(echo_hai(json!({ "userName": 3 }))).await?;
    assert_eq!(result.is_error, Some(true));
    let text = &result.content[0].as_text().context("text")?.text;
    assert_eq!(
        text,
        "1 problem in the arguments of greet/echoHai:\n- /userName: 3 is not of type \"string\""
    );
    Ok(())
}

#[tokio::test]
async fn an_unknown_tool_is_an_error_that_names_the_near_one() -> Result<()> {
    let gateway = Gateway::start(&["greet"]).await;
    let client = client(gateway.url("/greet"), modern()).await?;
    let called = client.call_tool(CallToolRequestParams::new("echohai")).await;
    let Err(ServiceError::McpError(error)) = called else { anyhow::bail!("{called:?}") };
    assert_eq!(error.code, ErrorCode::INVALID_PARAMS);
    assert_eq!(error.message, "server `greet` has no tool `echohai`; did you mean `echoHai`?");
    Ok(())
}

const JSON: (&str, &str) = ("content-type", "application/json");

/// Sends `body` as it is, which no client library would do.
async fn send(
    gateway: &Gateway,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Answer> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    gateway.send(request.body(body.to_owned())?).await
}

/// The JSON-RPC messages of an answer: one if it is JSON, any number if it is a stream.
fn messages(answer: &Answer) -> Vec<Value> {
    let lines = answer.body.lines().filter_map(|line| line.strip_prefix("data: "));
    let data = lines.filter(|data| !data.is_empty());
    let messages: Vec<Value> = data.filter_map(|data| serde_json::from_str(data).ok()).collect();
    if messages.is_empty() { vec![answer.json()] } else { messages }
}

/// The last of the [`messages`].
fn last_message(answer: &Answer) -> Value {
    messages(answer).pop().unwrap_or_default()
}

#[tokio::test]
async fn one_2025_request_without_a_session_is_answered() -> Result<()> {
    let gateway = Gateway::start(&["greet"]).await;
    let call = json!({ "jsonrpc": "2.0", "id": 9, "method": "tools/call",
        "params": { "name": "echoHai", "arguments": { "userName": "Ada" } } });
    for door in DOORS {
        let answer = gateway.post(door, call.to_string()).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
        let message = answer.json();
        assert_eq!(message["id"], 9);
        assert_eq!(message["result"]["structuredContent"], json!({ "result": "Hello, Ada!" }));
        assert_eq!(message["result"].get("resultType"), None, "2025 clients know no result types");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_not_one_message_is_refused_in_json_rpc() -> Result<()> {
    let gateway = Gateway::start(&["greet"]).await;
    let check = async |body: &str, code: i32| {
        let answer = gateway.post("/greet/mcp", body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(answer.json()["error"]["code"], code, "{body}");
        anyhow::Ok(())
    };
    check(r#"{"jsonrpc": "2.0", "id": 1,"#, -32700).await?;
    check("", -32700).await?;
    check(r#"[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]"#, -32600).await?;
    check(r#"{"jsonrpc": "2.0", "id": null, "method": "ping"}"#, -32600).await?;
    check(r#"{"jsonrpc": "2.0", "id": 1}"#, -32600).await
}

#[tokio::test]
async fn another_media_type_is_refused_in_json_rpc() -> Result<()> {
    let gateway = Gateway::start(&["greet"]).await;
    let url = "/greet/mcp";
    let ping = r#"{"jsonrpc": "2.0", "id": 1, "method": "ping"}"#;
    let answer = send(&gateway, Method::POST, url, &[("content-type", "text/plain")], ping).await?;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(answer.json()["error"]["code"], -32600);
    let only_html = [JSON, ("accept", "text/html")];
    let answer = send(&gateway, Method::POST, url, &only_html, ping).await?;
    assert_eq!((answer.status, &answer.json()["id"]), (StatusCode::NOT_ACCEPTABLE, &json!(1)));
    Ok(())
}

#[tokio::test]
async fn lists_of_capabilities_that_nobody_declared_do_not_exist() -> Result<()> {
    let gateway = Gateway::start(&["greet"]).await;
    for method in ["prompts/list", "resources/list", "resources/templates/list", "logging/setLevel"] {
        let params = json!({ "level": "info" });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = gateway.post("/greet", body.to_string()).await;
        assert_eq!(answer.json()["error"]["code"], -32601, "{method}");
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_without_a_session_does_not_exist() -> Result<()> {
    let gateway = Gateway::start(&["greet"]).await;
    for door in DOORS {
        let accept = [("accept", "text/event-stream")];
        let answer = send(&gateway, Method::GET, door, &accept, "").await?;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.headers[header::ALLOW], "POST");
    }
    Ok(())
}

#[tokio::test]
async fn a_session_ends_when_its_client_says_so() -> Result<()> {
    let gateway = Gateway::start(&["greet"]).await;
    let url = "/greet/mcp";
    let initialize = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } } });
    let answer = gateway.post(url, initialize.to_string()).await;
    assert_eq!(last_message(&answer)["result"]["protocolVersion"], "2025-11-25");
    let session = answer.headers.get("mcp-session-id").context("a session")?.to_str()?;
    let headers = [JSON, ("mcp-session-id", session), ("mcp-protocol-version", "2025-11-25")];

    let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert_eq!(send(&gateway, Method::POST, url, &headers, initialized).await?.status, StatusCode::ACCEPTED);
    let list = r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#;
    let answer = send(&gateway, Method::POST, url, &headers, list).await?;
    assert_eq!(last_message(&answer)["result"]["tools"][0]["name"], "echoHai");

    assert_eq!(send(&gateway, Method::DELETE, url, &headers, "").await?.status, StatusCode::NO_CONTENT);
    let answer = send(&gateway, Method::POST, url, &headers, list).await?;
    assert_eq!((answer.status, &answer.json()["id"]), (StatusCode::NOT_FOUND, &json!(2)));
    assert_eq!(send(&gateway, Method::DELETE, url, &headers, "").await?.status, StatusCode::NOT_FOUND);
    Ok(())
}
