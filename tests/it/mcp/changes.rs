//! Who is told of changes, and what becomes of a server that offers something else than before.

use std::time::Duration;

use anyhow::{Context, Result};
use rmcp::{
    ClientHandler, ClientServiceExt, RoleClient,
    model::{
        CallToolRequestParams, ResourceUpdatedNotificationParam, ServerNotification, SubscribeRequestParams,
        SubscriptionFilter,
    },
    service::{NotificationContext, RunningService, SubscriptionEnd},
    transport::StreamableHttpClientTransport,
};
use serde_json::Value;
use tests::Gateway;
use tokio::{sync::mpsc, time::timeout};

use super::{legacy, modern};

const WATCHED: &str = "test://watched-resource";
/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

/// A client that says what it is told.
#[derive(Clone)]
struct Listener(mpsc::UnboundedSender<String>);

impl ClientHandler for Listener {
    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        let _ = self.0.send("tools".into());
    }
    async fn on_prompt_list_changed(&self, _: NotificationContext<RoleClient>) {
        let _ = self.0.send("prompts".into());
    }
    async fn on_resource_list_changed(&self, _: NotificationContext<RoleClient>) {
        let _ = self.0.send("resources".into());
    }
    async fn on_resource_updated(
        &self,
        params: ResourceUpdatedNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        let _ = self.0.send(params.uri);
    }
}

type Session = RunningService<RoleClient, Listener>;

/// A client with a session, and what it is told.
async fn session(gateway: &Gateway, path: &str) -> Result<(Session, mpsc::UnboundedReceiver<String>)> {
    let (said, told) = mpsc::unbounded_channel();
    let transport = StreamableHttpClientTransport::from_uri(gateway.url(path));
    Ok((Listener(said).serve_with_lifecycle(transport, legacy()).await?, told))
}

async fn next(told: &mut mpsc::UnboundedReceiver<String>) -> Result<String> {
    timeout(LONG, told.recv()).await?.context("it is told")
}

async fn names(gateway: &Gateway) -> Vec<String> {
    let list = gateway.get("/changes_its_mind/tools").await.json();
    let tools = list["tools"].as_array().cloned().unwrap_or_default();
    tools.iter().filter_map(|tool| tool["name"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn changes_reach_a_session_that_watches_and_a_stream_that_listens() -> Result<()> {
    let gateway = Gateway::start(&["everything"]).await;
    let (session, mut told) = session(&gateway, "/everything").await?;
    let stateless = super::client(gateway.url("/everything"), modern()).await?;
    let filter = SubscriptionFilter::builder().tools_list_changed().resource_subscription(WATCHED).build();
    let mut stream = stateless.listen(filter).await?;
    assert_eq!(stream.acknowledged().resource_subscriptions, Some(vec![WATCHED.to_owned()]));

    let change = async |tool| stateless.call_tool(CallToolRequestParams::new(tool)).await;
    change("trigger_resource_change").await?;
    // The session watches nothing yet.
    assert_eq!(next(&mut told).await?, "resources");
    let update = timeout(LONG, stream.next()).await??;
    assert!(
        matches!(update, Some(ServerNotification::ResourceUpdatedNotification(n)) if n.params.uri == WATCHED)
    );

    #[expect(deprecated, reason = "2025 clients subscribe by it")]
    session.subscribe(SubscribeRequestParams::new(WATCHED)).await?;
    change("trigger_resource_change").await?;
    assert_eq!((next(&mut told).await?, next(&mut told).await?), ("resources".into(), WATCHED.into()));
    assert!(timeout(LONG, stream.next()).await??.is_some());

    change("test_trigger_tool_change").await?;
    assert_eq!(next(&mut told).await?, "tools");
    let update = timeout(LONG, stream.next()).await??;
    assert!(matches!(update, Some(ServerNotification::ToolListChangedNotification(_))));
    change("test_trigger_prompt_change").await?;
    assert_eq!(next(&mut told).await?, "prompts");

    // The stream did not ask for those of prompts: what ends it is all it still gets.
    gateway.signal("TERM");
    assert!(timeout(LONG, stream.next()).await??.is_none());
    assert!(matches!(stream.end(), Some(SubscriptionEnd::Graceful(_))));
    Ok(())
}

#[tokio::test]
async fn a_new_manifest_is_served_behind_the_same_door_and_a_bad_one_is_not() -> Result<()> {
    let gateway = Gateway::start(&["changes_its_mind"]).await;
    let (session, mut told) = session(&gateway, "/changes_its_mind").await?;
    let call = async |tool| session.call_tool(CallToolRequestParams::new(tool)).await;
    call("grow").await?;
    assert_eq!(next(&mut told).await?, "tools");
    let tools = session.list_all_tools().await?;
    let listed: Vec<_> = tools.iter().map(|tool| tool.name.to_string()).collect();
    assert_eq!(listed, ["grow", "spoil", "flood", "heard", "more_1"]);
    assert_eq!(names(&gateway).await, listed, "over REST as well");
    call("more_1").await?;
    let openapi = gateway.get("/openapi.json").await.json();
    assert!(openapi["paths"]["/changes_its_mind/tools/more_1"].is_object());

    call("spoil").await?;
    let event = gateway.event("new manifest refused, the old one stays").await;
    assert_eq!(event["server"], "changes_its_mind");
    assert_eq!(names(&gateway).await, listed);
    call("more_1").await?;
    Ok(())
}

/// What the plugin was told of its resources.
async fn heard(gateway: &Gateway) -> String {
    let answer = gateway.post("/changes_its_mind/tools/heard", "{}").await.json();
    answer["content"][0]["text"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_plugin_hears_of_the_first_client_that_watches_and_of_the_last_that_goes() -> Result<()> {
    let gateway = Gateway::start(&["changes_its_mind"]).await;
    let subscribed = "resources/subscribe {'uri':'test://a'}";
    let mut sessions = Vec::new();
    for _ in 0..3 {
        let (session, _told) = session(&gateway, "/changes_its_mind").await?;
        #[expect(deprecated, reason = "2025 clients subscribe by it")]
        session.subscribe(SubscribeRequestParams::new("test://a")).await?;
        sessions.push(session);
    }
    assert_eq!(heard(&gateway).await, subscribed);
    for session in sessions {
        assert_eq!(heard(&gateway).await, subscribed);
        // Ends its session.
        session.cancel().await?;
    }
    timeout(LONG, async {
        while heard(&gateway).await == subscribed {
            tokio::task::yield_now().await;
        }
    })
    .await?;
    assert_eq!(heard(&gateway).await, format!("{subscribed}, resources/unsubscribe {{'uri':'test://a'}}"));
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_floods_holds_up_nobody() -> Result<()> {
    let gateway = Gateway::start(&["changes_its_mind", "greet"]).await;
    let (session, mut told) = session(&gateway, "/changes_its_mind").await?;
    session.call_tool(CallToolRequestParams::new("flood")).await?;
    assert_eq!(next(&mut told).await?, "tools");
    session.call_tool(CallToolRequestParams::new("grow")).await?;
    // It is told of that one too, whatever of the flood is still to come.
    timeout(LONG, async {
        while !names(&gateway).await.contains(&"more_1".to_owned()) {
            next(&mut told).await?;
        }
        anyhow::Ok(())
    })
    .await??;
    let answer = gateway.post("/greet/tools/echoHai", r#"{"userName":"Ada"}"#).await;
    assert_eq!(answer.json(), serde_json::json!({ "result": "Hello, Ada!" }));
    Ok(())
}

#[tokio::test]
async fn a_task_ends_before_its_library_is_closed() -> Result<()> {
    let gateway = Gateway::start(&["everything"]).await;
    let meta = serde_json::json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities":
            { "extensions": { "io.modelcontextprotocol/tasks": {} } },
    });
    let send = async |method: &str, name: &str, params: Value| -> Result<Value> {
        let headers =
            [super::JSON, ("mcp-protocol-version", "2026-07-28"), ("mcp-method", method), ("mcp-name", name)];
        let mut params = params;
        params["_meta"] = meta.clone();
        let body = serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer =
            super::send(&gateway, http::Method::POST, "/everything", &headers, &body.to_string()).await?;
        Ok(super::last_message(&answer))
    };
    let params = serde_json::json!({ "name": "slow_compute", "arguments": { "seconds": 600 } });
    let task = send("tools/call", "slow_compute", params).await?;
    assert_eq!(task["result"]["resultType"], "task", "{task}");
    let id = task["result"]["taskId"].as_str().context("an id")?.to_owned();
    let got = send("tasks/get", &id, serde_json::json!({ "taskId": id })).await?;
    assert_eq!(
        (&got["result"]["status"], &got["result"]["resultType"]),
        (&"working".into(), &"complete".into())
    );
    let unknown = send("tasks/get", "x", serde_json::json!({ "taskId": "x" })).await?;
    assert_eq!(unknown["error"]["code"], -32602);

    gateway.signal("TERM");
    let (code, events) = timeout(LONG, gateway.ended()).await?;
    let unloaded =
        events.iter().find(|event| event["message"] == "server unloaded").context("it is unloaded")?;
    assert_eq!((code, &unloaded["library"]), (Some(0), &"gone".into()));
    Ok(())
}
