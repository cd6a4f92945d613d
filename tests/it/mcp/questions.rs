//! A tool that asks its client, as clients of both eras see it: the plugin does not know which it has.

use std::time::Duration;

use anyhow::{Context, Result};
use http::Method;
use rmcp::{
    ClientHandler, ClientServiceExt, ErrorData, RoleClient,
    model::{
        CallToolRequestParams, ClientCapabilities, ClientConfig, ElicitRequestParams, ElicitResult,
        ElicitationAction, Implementation, ReadResourceRequestParams,
    },
    service::{RequestContext, RunningService},
    transport::StreamableHttpClientTransport,
};
use serde_json::{Value, json};
use tests::Gateway;
use tokio::sync::mpsc;

use super::{JSON, legacy, modern, send};

/// How long a user who does not answer is given.
const LONG: Duration = Duration::from_secs(20);
const DEEDS: [&str; 3] = ["hall looked for", "hall reserved", "invitations sent"];

/// A client with a user who says what the user was asked.
struct Asked {
    said: mpsc::UnboundedSender<String>,
    user: User,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum User {
    Answers,
    Declines,
    /// Looks at the question for ever.
    Ponders,
}

impl ClientHandler for Asked {
    fn get_info(&self) -> ClientConfig {
        let mut info = ClientConfig::default();
        info.capabilities = ClientCapabilities::builder().enable_elicitation().build();
        info.client_info = Implementation::new("test", "1");
        info
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        cx: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let schema = serde_json::to_value(&request).unwrap_or_default()["requestedSchema"].clone();
        let field = schema["properties"].as_object().and_then(|all| all.keys().next().cloned());
        let field = field.unwrap_or_default();
        let _ = self.said.send(field.clone());
        match self.user {
            User::Declines => return Ok(ElicitResult::new(ElicitationAction::Decline)),
            User::Ponders => {
                cx.ct.cancelled().await;
                let _ = self.said.send(format!("{field} cancelled"));
            }
            User::Answers => {}
        }
        let all = json!({ "day": "2026-07-28", "guests": 12, "send": true });
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(json!({ &field: all[&field] })))
    }
}

type Client = RunningService<RoleClient, Asked>;

async fn clients(gateway: &Gateway, user: User) -> Result<[(Client, mpsc::UnboundedReceiver<String>); 2]> {
    let open = async |lifecycle| -> Result<_> {
        let (said, asked) = mpsc::unbounded_channel();
        let transport = StreamableHttpClientTransport::from_uri(gateway.url("/everything"));
        Ok((Asked { said, user }.serve_with_lifecycle(transport, lifecycle).await?, asked))
    };
    Ok([open(legacy()).await?, open(modern()).await?])
}

fn plan(reference: &str) -> CallToolRequestParams {
    let arguments = json!({ "reference": reference }).as_object().cloned().unwrap_or_default();
    CallToolRequestParams::new("plan_party").with_arguments(arguments)
}

async fn ledger(client: &Client, reference: &str) -> Result<Value> {
    let read = ReadResourceRequestParams::new(format!("party://ledger/{reference}"));
    let read = serde_json::to_value(client.read_resource(read).await?)?;
    Ok(serde_json::from_str(read["contents"][0]["text"].as_str().context("text")?)?)
}

#[tokio::test]
async fn each_deed_is_done_once_whatever_the_era() -> Result<()> {
    let gateway = Gateway::start(&["everything"]).await;
    for (at, (client, mut asked)) in clients(&gateway, User::Answers).await?.into_iter().enumerate() {
        let reference = format!("r{at}");
        let planned = client.call_tool(plan(&reference)).await?;
        let expected = json!({ "day": "2026-07-28", "guests": 12, "invited": true, "done": DEEDS });
        assert_eq!(planned.structured_content, Some(expected));
        assert_eq!(ledger(&client, &reference).await?, json!(DEEDS));
        let mut first = [asked.try_recv()?, asked.try_recv()?];
        first.sort();
        assert_eq!((first, asked.try_recv()?), (["day", "guests"].map(str::to_owned), "send".into()));
        assert!(asked.try_recv().is_err(), "nothing is asked twice");
    }
    Ok(())
}

/// What `/metrics` tells of the tool's durations: `sum` or `count`. `None`: it was never timed.
async fn timed(gateway: &Gateway, tool: &str, what: &str) -> Option<f64> {
    let series = format!("mcp_tool_call_duration_seconds_{what}{{server=\"everything\",tool=\"{tool}\"}} ");
    let told = gateway.get("/metrics").await.body;
    told.lines().find_map(|line| line.strip_prefix(&*series)?.parse().ok())
}

#[tokio::test]
async fn what_a_user_takes_to_answer_is_none_of_the_tools_time() -> Result<()> {
    let gateway = Gateway::start(&["everything"]).await;
    let [(session, _), _] = clients(&gateway, User::Answers).await?;
    session.call_tool(plan("r")).await?;
    let finished = gateway.event_with("call finished", &[("tool", "plan_party")]).await;
    let whole = finished["elapsed_ms"].as_f64().context("a number")?;
    let own = timed(&gateway, "plan_party", "sum").await.context("it was timed")? * 1000.0;
    assert!(own < whole, "{own} ms of {whole} ms");
    Ok(())
}

#[tokio::test]
async fn a_task_is_counted_but_not_timed() -> Result<()> {
    let gateway = Gateway::start(&["everything"]).await;
    let headers = [
        JSON,
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "failing_job"),
    ];
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities":
            { "extensions": { "io.modelcontextprotocol/tasks": {} } },
    });
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "failing_job", "arguments": {}, "_meta": meta } });
    let answer = send(&gateway, Method::POST, "/everything", &headers, &call.to_string()).await?;
    assert_eq!(super::last_message(&answer)["result"]["resultType"], "task");
    gateway.event_with("call finished", &[("tool", "failing_job")]).await;
    let told = gateway.get("/metrics").await.body;
    assert!(told.contains("mcp_tool_calls_total{server=\"everything\",tool=\"failing_job\"} 1\n"), "{told}");
    assert_eq!(timed(&gateway, "failing_job", "count").await, None);
    Ok(())
}

#[tokio::test]
async fn a_user_who_declines_is_respected_in_both_eras() -> Result<()> {
    let gateway = Gateway::start(&["everything"]).await;
    for (at, (client, _)) in clients(&gateway, User::Declines).await?.into_iter().enumerate() {
        let reference = format!("r{at}");
        let planned = client.call_tool(plan(&reference)).await?;
        assert_eq!(planned.is_error, Some(true));
        assert_eq!(ledger(&client, &reference).await?, json!(DEEDS[..1]));
    }
    Ok(())
}

#[tokio::test]
async fn a_question_goes_with_the_call_that_asked_it() -> Result<()> {
    let gateway = Gateway::start(&["everything"]).await;
    let [(client, mut asked), _] = clients(&gateway, User::Ponders).await?;
    let mut next = async || tokio::time::timeout(LONG, asked.recv()).await?.context("it says so");
    let call = client
        .send_cancellable_request(
            rmcp::model::CallToolRequest::new(plan("r")).into(),
            rmcp::service::PeerRequestOptions::no_options(),
        )
        .await?;
    let mut first = [next().await?, next().await?];
    first.sort();
    assert_eq!(first, ["day", "guests"].map(str::to_owned));
    call.cancel(Some("no party".into())).await?;
    let mut last = [next().await?, next().await?];
    last.sort();
    assert_eq!(last, ["day cancelled", "guests cancelled"].map(str::to_owned));
    gateway.event_with("call finished", &[("tool", "plan_party"), ("outcome", "cancelled")]).await;
    Ok(())
}

#[tokio::test]
async fn who_cannot_be_asked_is_told_so_at_every_door() -> Result<()> {
    let gateway = Gateway::start(&["everything"]).await;
    let answer = gateway.post("/everything/tools/plan_party", r#"{"reference":"r"}"#).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (409, &"client_input_required".into()));
    // A 2025 request without a session has no way to be asked, and no client that declared anything.
    let alone = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "plan_party", "arguments": { "reference": "r" } } });
    let answer = send(&gateway, Method::POST, "/everything", &[JSON], &alone.to_string()).await?;
    assert_eq!(answer.json()["error"]["code"], -32021, "{}", answer.summary());
    Ok(())
}
