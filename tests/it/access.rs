//! Who may use what: keys, scopes, views, and what becomes of them while the gateway runs.

use anyhow::{Context, Result};
use http::{Method, Request};
use insta::assert_snapshot;
use rmcp::{
    ClientLifecycleMode, ClientServiceExt, RoleClient,
    model::SubscriptionFilter,
    service::RunningService,
    transport::{StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig},
};
use serde_json::{Value, json};
use tests::{Answer, Gateway, Key, admin_key, config, key, until};

use super::mcp::{legacy, modern};

/// `math` has two tools; its holder may use one.
fn adder() -> Key {
    key("adder", &["math:add"])
}

fn greeter() -> Key {
    key("greeter", &["greet"])
}

fn text() -> String {
    config(&["greet", "math", "tells_who_calls"]) + &adder().table + &greeter().table + &admin_key().table
}

async fn start() -> Gateway {
    Gateway::with_config(&text()).await
}

/// A request of the holder of `key`.
async fn send(gateway: &Gateway, key: Option<&Key>, method: Method, path: &str, body: &Value) -> Answer {
    let accept =
        if method == Method::GET { "application/json" } else { "application/json, text/event-stream" };
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .header("accept", accept);
    if let Some(key) = key {
        request = request.header("authorization", key.bearer());
    }
    let body = if body.is_null() { String::new() } else { body.to_string() };
    gateway.send(request.body(body).expect("a request")).await.expect("an answer")
}

async fn get(gateway: &Gateway, key: &Key, path: &str) -> Value {
    let answer = send(gateway, Some(key), Method::GET, path, &Value::Null).await;
    assert_eq!(answer.status.as_u16(), 200, "{path}: {}", answer.body);
    answer.json()
}

async fn post(gateway: &Gateway, key: &Key, path: &str, body: Value) -> Answer {
    send(gateway, Some(key), Method::POST, path, &body).await
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|entry| entry["name"].as_str().expect("a name")).collect()
}

async fn client(
    gateway: &Gateway,
    path: &str,
    key: &Key,
    lifecycle: ClientLifecycleMode,
) -> Result<RunningService<RoleClient, ()>> {
    let config =
        StreamableHttpClientTransportConfig::with_uri(gateway.url(path)).auth_header(key.text.clone());
    Ok(().serve_with_lifecycle(StreamableHttpClientTransport::from_config(config), lifecycle).await?)
}

#[tokio::test]
async fn a_caller_gets_to_see_what_it_may_use_and_nothing_else() -> Result<()> {
    let gateway = start().await;
    let adder = adder();
    assert_eq!(names(&get(&gateway, &adder, "/math/tools").await["tools"]), ["add"]);
    assert_eq!(names(&get(&gateway, &adder, "/servers").await["servers"]), ["math"]);
    let document = get(&gateway, &adder, "/openapi.json").await;
    let paths: Vec<_> = document["paths"].as_object().context("an object")?.keys().cloned().collect();
    assert_eq!(paths, ["/math/tools/add", "/math/tools", "/servers", "/healthz", "/livez", "/readyz"]);
    let own = get(&gateway, &adder, "/math/openapi.json").await;
    assert!(!own.to_string().contains("divide"), "{own}");
    assert!(!get(&gateway, &adder, "/math").await.to_string().contains("divide"));

    // What is hidden answers like what was never there.
    let hidden = post(&gateway, &adder, "/math/tools/divide", json!({"a": 1, "b": 2})).await;
    let never = post(&gateway, &adder, "/math/tools/dividf", json!({"a": 1, "b": 2})).await;
    assert_eq!(hidden.summary().replace("divide", "dividf"), never.summary());
    assert_eq!(hidden.json()["available"], json!(["add"]));
    let message = |name: &str| json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": {"a": 1, "b": 2}}});
    let hidden = post(&gateway, &adder, "/math", message("divide")).await;
    let never = post(&gateway, &adder, "/math", message("dividf")).await;
    assert_eq!((hidden.status, hidden.body.replace("divide", "dividf")), (never.status, never.body));

    for lifecycle in [legacy(), modern()] {
        let client = client(&gateway, "/math", &adder, lifecycle).await?;
        let tools = client.list_all_tools().await?;
        assert_eq!(tools.iter().map(|tool| &*tool.name).collect::<Vec<_>>(), ["add"]);
        client.cancel().await?;
    }
    Ok(())
}

#[tokio::test]
async fn who_may_use_single_tools_finds_no_prompts() -> Result<()> {
    let single = key("single", &["tells_who_calls:also"]);
    let whole = key("whole", &["tells_who_calls"]);
    let gateway = Gateway::with_config(&(config(&["tells_who_calls"]) + &single.table + &whole.table)).await;
    for lifecycle in [legacy(), modern()] {
        let all = client(&gateway, "/tells_who_calls", &whole, lifecycle.clone()).await?;
        assert_eq!(all.list_all_prompts().await?.len(), 1);
        let some = client(&gateway, "/tells_who_calls", &single, lifecycle).await?;
        let offered = some.peer_info().context("it said")?.capabilities.clone();
        assert!(offered.prompts.is_none() && offered.tools.is_some(), "{offered:?}");
        assert!(some.list_all_prompts().await.is_err());
    }
    Ok(())
}

#[tokio::test]
async fn who_lacks_the_scope_of_a_server_hears_what_it_takes() {
    let gateway = start().await;
    let answer = post(&gateway, &adder(), "/greet/tools/echoHai", json!({"userName": "Ada"})).await;
    assert_snapshot!(answer.headers["www-authenticate"].to_str().expect("text"), @r#"Bearer realm="gateway", error="insufficient_scope", error_description="a scope is missing", scope="greet""#);
    assert_snapshot!(answer.summary(), @r#"
    403 Forbidden
    {
      "type": "/problems/forbidden",
      "title": "A scope is missing",
      "status": 403,
      "detail": "the caller is known, but lacks a scope that this needs: `greet`",
      "instance": "/greet/tools/echoHai",
      "code": "forbidden",
      "request_id": "[id]",
      "needs": [
        "greet"
      ]
    }
    "#);
    let answer = send(&gateway, None, Method::GET, "/greet/tools", &Value::Null).await;
    assert_snapshot!(answer.headers["www-authenticate"].to_str().expect("text"), @r#"Bearer realm="gateway""#);
    assert_eq!(answer.json()["code"], "unauthorized");
    // At an MCP endpoint it is JSON-RPC, with the same status and challenge.
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let answer = post(&gateway, &adder(), "/greet", message).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["data"]["code"]), (403, &json!("forbidden")));
    assert!(answer.headers.contains_key("www-authenticate"));
}

#[tokio::test]
async fn a_plugin_gets_to_know_who_calls_and_never_by_what() {
    let gateway = start().await;
    let holder = key("holder", &["tells_who_calls", "x"]);
    gateway.files().replace("gateway.toml", text() + &holder.table);
    gateway.event("reloaded").await;
    let told = post(&gateway, &holder, "/tells_who_calls/tools/who", json!({})).await;
    let told: Value =
        serde_json::from_str(told.json()["content"][0]["text"].as_str().expect("text")).expect("JSON");
    assert_eq!(told["principal"], json!({"id": "key:holder"}));
    assert_eq!(told["scopes"], json!(["tells_who_calls", "x"]));
    assert!(!told.to_string().contains("mgw_"), "{told}");
}

#[tokio::test]
async fn a_session_is_its_principals() {
    let gateway = start().await;
    let opening = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
    let opened = post(&gateway, &greeter(), "/greet", opening).await;
    let session = opened.headers["mcp-session-id"].clone();
    let ask = async |key: &Key| {
        let request = Request::post("/greet")
            .header("x-api-key", &key.text)
            .header("mcp-session-id", session.clone())
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}).to_string());
        gateway.send(request.expect("a request")).await.expect("an answer").status.as_u16()
    };
    assert_eq!(ask(&greeter()).await, 200);
    assert_eq!(ask(&admin_key()).await, 404, "it is somebody else's");
    assert_eq!(ask(&key("stranger", &["greet"])).await, 401);
}

#[tokio::test]
async fn keys_and_scopes_are_followed_without_another_generation() -> Result<()> {
    let gateway = start().await.asked_with(&admin_key());
    let before = gateway.get("/servers").await.json()["servers"].clone();
    let (one, other) = (
        client(&gateway, "/math", &adder(), modern()).await?,
        client(&gateway, "/greet", &greeter(), modern()).await?,
    );
    let filter = SubscriptionFilter::builder().tools_list_changed().build();
    let (mut told, mut ended) = (one.listen(filter.clone()).await?, other.listen(filter).await?);

    // One may use more from now on, the other is not known any more.
    let more = key("adder", &["math"]);
    let text = config(&["greet", "math", "tells_who_calls"]) + &more.table + &admin_key().table;
    gateway.files().replace("gateway.toml", text);
    let reloaded = gateway.event("reloaded").await;
    assert_eq!((&reloaded["settings"], &reloaded["changes"]), (&json!("auth"), &Value::Null));
    // The scopes of a stream's own principal are other ones: it ends, and who comes again sees more.
    while let Ok(Some(_)) = told.next().await {}
    assert_eq!(names(&get(&gateway, &more, "/math/tools").await["tools"]), ["add", "divide"]);
    while let Ok(Some(_)) = ended.next().await {}
    let refused = post(&gateway, &greeter(), "/greet/tools/echoHai", json!({"userName": "Ada"})).await;
    assert_eq!(refused.status.as_u16(), 401);
    let generations = |servers: &Value| -> Vec<Value> {
        servers.as_array().into_iter().flatten().map(|server| server["generation"].clone()).collect()
    };
    let now = gateway.get("/servers").await.json()["servers"].clone();
    assert_eq!(generations(&now), generations(&before));
    Ok(())
}

#[tokio::test]
async fn what_a_tool_asks_for_is_followed_and_clients_are_told() -> Result<()> {
    let gateway = start().await.asked_with(&admin_key());
    let client = client(&gateway, "/math", &admin_key(), modern()).await?;
    let mut told = client.listen(SubscriptionFilter::builder().tools_list_changed().build()).await?;
    let math = tests::server("math", "math");
    let guarded = format!("{math}[[server.tool]]\nname = \"divide\"\nscopes = [\"dangerous\"]\n");
    gateway.files().replace("gateway.toml", text().replace(&math, &guarded));
    assert_eq!(gateway.event("reloaded").await["settings"], "server");
    assert!(told.next().await?.is_some(), "its list may be another one");
    let whole = key("whole", &["math"]);
    gateway.files().replace("gateway.toml", text().replace(&math, &guarded) + &whole.table);
    until("it is known", async || {
        let tools = send(&gateway, Some(&whole), Method::GET, "/math/tools", &Value::Null).await;
        tools.status.is_success() && names(&tools.json()["tools"]) == ["add"]
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn a_server_may_ask_nobody() {
    let open = text().replace("prefix = \"/greet\"\n", "prefix = \"/greet\"\nauth = \"none\"\n");
    let gateway = Gateway::with_config(&open).await;
    let greeted = gateway.post("/greet/tools/echoHai", r#"{"userName":"Ada"}"#).await;
    assert_eq!(greeted.body, r#"{"result":"Hello, Ada!"}"#);
    assert_eq!(gateway.get("/math/tools").await.status.as_u16(), 401);
    assert_eq!(names(&gateway.get("/servers").await.json()["servers"]), ["greet"]);
    let document = gateway.get("/openapi.json").await.json().to_string();
    assert!(document.contains("/greet/tools/echoHai") && !document.contains("/math/"), "{document}");
    assert_snapshot!(gateway.get("/nope").await.json()["available"].to_string(), @r#"["/","/servers","/openapi.json","/docs","/redoc","/healthz","/livez","/readyz","/metrics","/problems","/greet"]"#);
}
