//! A server written with rmcp, mounted as a plugin: over REST, and through rmcp's own client in both eras.

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use rmcp::{
    ClientHandler, ClientLifecycleMode, ClientServiceExt, ErrorData, RoleClient, ServiceExt,
    model::{
        CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, ElicitRequestParams,
        ElicitResult, ElicitationAction, Implementation, ProgressNotificationParam, ProtocolVersion,
    },
    service::{NotificationContext, RequestContext, RunningService},
    transport::StreamableHttpClientTransport,
};
use serde_json::{Value, json};
use tests::Gateway;

/// Keeps what it is told of progress.
#[derive(Clone, Default)]
struct Listener {
    progress: Arc<Mutex<Vec<String>>>,
}

impl ClientHandler for Listener {
    async fn on_progress(&self, progress: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.progress.lock().expect("no panic").extend(progress.message);
    }
}

type Connected = RunningService<RoleClient, Listener>;

/// A 2026-07-28 client, and one of a 2025-11-25 session.
async fn clients(gateway: &Gateway) -> Result<[(Connected, ProtocolVersion); 2]> {
    let transport = || StreamableHttpClientTransport::from_uri(format!("{}/counter", gateway.base()));
    let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
    let lifecycle = ClientLifecycleMode::Discover { preferred_versions };
    let modern = Listener::default().serve_with_lifecycle(transport(), lifecycle).await?;
    let legacy = Listener::default().serve(transport()).await?;
    Ok([(modern, ProtocolVersion::V_2026_07_28), (legacy, ProtocolVersion::V_2025_11_25)])
}

async fn call(client: &Connected, tool: &'static str, arguments: Value) -> Result<CallToolResult> {
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    Ok(client.call_tool(CallToolRequestParams::new(tool).with_arguments(arguments)).await?)
}

#[tokio::test]
async fn its_tools_are_listed_and_called_in_both_eras() -> Result<()> {
    let gateway = Gateway::start(&["counter"]).await;
    let mut count = 0;
    for (client, version) in clients(&gateway).await? {
        let about = client.peer_info().context("it said who it is")?;
        assert_eq!(about.protocol_version, version);
        let mut names: Vec<_> = client.list_all_tools().await?.into_iter().map(|tool| tool.name).collect();
        names.sort();
        assert_eq!(names, ["count_down", "increment", "reset"]);
        // One server for all clients.
        count += 5;
        let result = call(&client, "increment", json!({ "by": 5 })).await?;
        assert_eq!(result.structured_content, Some(json!({ "count": count })));
        client.cancel().await?;
    }
    Ok(())
}

#[tokio::test]
async fn its_progress_reaches_clients_of_both_eras() -> Result<()> {
    let gateway = Gateway::start(&["counter"]).await;
    for (client, _) in clients(&gateway).await? {
        let result = call(&client, "count_down", json!({ "from": 3 })).await?;
        assert_eq!(result.content[0].as_text().context("text")?.text, "Lift-off!");
        assert_eq!(*client.service().progress.lock().expect("no panic"), ["2", "1", "0"]);
        client.cancel().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_it_asks_of_a_client_that_cannot_be_asked_is_its_error() -> Result<()> {
    let gateway = Gateway::start(&["counter"]).await;
    for (client, _) in clients(&gateway).await? {
        let result = call(&client, "reset", json!({})).await?;
        assert_eq!(result.is_error, Some(true));
        client.cancel().await?;
    }
    Ok(())
}

/// Has a user who is always sure.
#[derive(Clone, Default)]
struct Sure;

impl ClientHandler for Sure {
    fn get_info(&self) -> ClientConfig {
        let capabilities = ClientCapabilities::builder().enable_elicitation().build();
        ClientConfig::new(capabilities, Implementation::new("sure", "1"))
    }

    async fn create_elicitation(
        &self,
        _: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(json!({ "sure": true })))
    }
}

#[tokio::test]
async fn its_prompts_resources_and_questions_reach_clients_of_both_eras() -> Result<()> {
    let gateway = Gateway::start(&["counter"]).await;
    let transport = || StreamableHttpClientTransport::from_uri(format!("{}/counter", gateway.base()));
    let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
    let lifecycle = ClientLifecycleMode::Discover { preferred_versions };
    for client in [Sure.serve_with_lifecycle(transport(), lifecycle).await?, Sure.serve(transport()).await?] {
        let prompts = client.list_all_prompts().await?;
        assert_eq!(prompts.iter().map(|prompt| &*prompt.name).collect::<Vec<_>>(), ["celebrate"]);
        let resources = client.list_all_resources().await?;
        assert_eq!(resources.iter().map(|resource| &*resource.uri).collect::<Vec<_>>(), ["counter://count"]);
        let reset = client.call_tool(CallToolRequestParams::new("reset")).await?;
        assert_eq!(reset.content[0].as_text().context("text")?.text, "The counter was at 0.");
        client.cancel().await?;
    }
    Ok(())
}

#[tokio::test]
async fn plain_http_reaches_it_too() {
    let gateway = Gateway::start(&["counter"]).await;
    let answer = gateway.post("/counter/tools/increment", r#"{ "by": 7 }"#).await;
    assert_eq!(answer.json(), json!({ "count": 7 }));
    let answer = gateway.post("/counter/tools/increment", r#"{ "by": "x" }"#).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
}

#[tokio::test]
async fn it_is_gone_when_it_is_unloaded() {
    let gateway = Gateway::start(&["counter"]).await;
    gateway.post("/counter/tools/increment", r#"{ "by": 7 }"#).await;
    gateway.signal("TERM");
    let (code, events) = gateway.ended().await;
    let unloaded = events.iter().find(|event| event["message"] == "server unloaded");
    let outcome = unloaded.map(|event| (&event["server"], &event["library"]));
    assert_eq!((code, outcome), (Some(0), Some((&json!("counter"), &json!("gone")))), "{events:#?}");
    let chatter: Vec<_> = events
        .iter()
        .filter(|event| event["target"].as_str().is_some_and(|target| target.contains("rmcp")))
        .collect();
    assert!(chatter.is_empty(), "rmcp speaks of every call: {chatter:#?}");
}
