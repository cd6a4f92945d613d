//! The gateway's own pages, and what they say when a server does not serve.

use http::{Method, Request, header};
use insta::assert_snapshot;
use serde_json::Value;
use tests::{Answer, Gateway, config, server};

use crate::problem::{call, check, problem, problem_of_call};

async fn get(gateway: &Gateway, path: &str, name: &'static str, value: &str) -> Answer {
    let request = Request::get(path).header(name, value).body(String::new()).expect("a request");
    gateway.send(request).await.expect("an answer")
}

async fn html(gateway: &Gateway, path: &str) -> String {
    // What a browser sends.
    let answer = get(gateway, path, "accept", "text/html,application/xhtml+xml,*/*;q=0.8").await;
    assert_eq!((answer.status.as_u16(), &answer.headers[header::CONTENT_TYPE]), (200, &HTML));
    assert_eq!(answer.headers[header::VARY], "accept");
    answer.body
}

const HTML: http::HeaderValue = http::HeaderValue::from_static("text/html; charset=utf-8");

/// What an answer shows, with the address of the gateway as if it were the default one.
fn shown(gateway: &Gateway, answer: &Answer) -> String {
    answer.summary().replace(gateway.base(), "http://127.0.0.1:8000")
}

#[tokio::test]
async fn every_server_is_listed_with_its_state() {
    let gateway = Gateway::start(&["greet", "math"]).await;
    assert_snapshot!(gateway.get("/servers").await.summary(), @r#"
    200 OK
    {
      "servers": [
        {
          "name": "greet",
          "prefix": "/greet",
          "plugin": "greet.so",
          "required": false,
          "state": "running",
          "generation": 1,
          "sha256": "[sha256]",
          "heap_bytes": "[heap_bytes]",
          "tools": 1
        },
        {
          "name": "math",
          "prefix": "/math",
          "plugin": "math.so",
          "required": false,
          "state": "running",
          "generation": 2,
          "sha256": "[sha256]",
          "heap_bytes": "[heap_bytes]",
          "tools": 2
        }
      ]
    }
    "#);
}

#[tokio::test]
async fn the_front_page_says_what_exists() {
    let gateway = Gateway::start(&["greet"]).await;
    assert_snapshot!(gateway.get("/").await.summary(), @r#"
    200 OK
    {
      "name": "gateway",
      "version": "0.1.0",
      "servers": [
        {
          "name": "greet",
          "prefix": "/greet",
          "plugin": "greet.so",
          "required": false,
          "state": "running",
          "generation": 1,
          "sha256": "[sha256]",
          "heap_bytes": "[heap_bytes]",
          "tools": 1
        }
      ],
      "pages": [
        "/",
        "/servers",
        "/openapi.json",
        "/docs",
        "/redoc",
        "/healthz",
        "/livez",
        "/readyz",
        "/metrics",
        "/problems"
      ]
    }
    "#);
    // To browsers it is the status page, which is tested on its own.
    assert!(html(&gateway, "/").await.contains("ui/status.js"));
}

#[tokio::test]
async fn where_the_status_page_is_elsewhere_the_front_page_still_says_what_exists() {
    let broken = server("broken", "declines_start") + "settings.reason = \"the licence ran out\"\n";
    let text = config(&["greet"]).replace("[log]", "[admin]\nlisten = \"127.0.0.1:0\"\n[log]");
    let gateway = Gateway::with_config(&(text + &broken)).await;
    let page = html(&gateway, "/").await;
    for link in ["/greet", "/broken", "/servers", "/docs", "/redoc", "/openapi.json", "/problems"] {
        assert!(page.contains(&format!("<a href=\"{link}\">")), "{link}: {page}");
    }
    assert!(page.contains("failed: <code>declined</code>") && !page.contains("/readyz"), "{page}");
}

#[tokio::test]
async fn a_tool_table_is_what_mcp_clients_are_told() {
    let gateway = Gateway::start(&["greet"]).await;
    let answer = gateway.get("/greet/tools").await;
    assert_snapshot!(answer.summary(), @r#"
    200 OK
    {
      "server": "greet",
      "prefix": "/greet",
      "tools": [
        {
          "name": "echoHai",
          "description": "Greets someone by name.",
          "inputSchema": {
            "type": "object",
            "properties": {
              "userName": {
                "type": "string",
                "description": "Who to greet."
              }
            },
            "required": [
              "userName"
            ]
          },
          "outputSchema": {
            "type": "object",
            "properties": {
              "result": {
                "type": "string"
              }
            },
            "required": [
              "result"
            ]
          },
          "title": "Say hello",
          "annotations": {
            "readOnlyHint": true,
            "idempotentHint": true,
            "openWorldHint": false
          }
        }
      ]
    }
    "#);
}

#[tokio::test]
async fn a_prefix_is_a_page_to_browsers_and_json_to_programs() {
    let gateway = Gateway::start(&["greet"]).await;
    for path in ["/greet", "/greet/", "/greet/mcp"] {
        let page = html(&gateway, path).await;
        let base = gateway.base();
        let curl = format!("curl -s {base}/greet/tools/echoHai -H &#39;content-type: application/json&#39;");
        let claude = format!("claude mcp add --transport http greet {base}/greet/mcp");
        for part in ["<h1>Greetings</h1>", "echoHai", "Greets someone by name.", &curl, &claude] {
            assert!(page.contains(part), "{part} in {path}: {page}");
        }
        assert!(!page.contains("<script"), "{page}");
    }
    let answer = get(&gateway, "/greet", "accept", "application/json").await;
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
    assert_eq!(answer.headers[header::VARY], "accept");
    assert_snapshot!(shown(&gateway, &answer), @r#"
    200 OK
    {
      "server": "greet",
      "title": "Greetings",
      "version": "0.1.0",
      "instructions": null,
      "mcp": "http://127.0.0.1:8000/greet/mcp",
      "tools": [
        {
          "name": "echoHai",
          "title": "Say hello",
          "description": "Greets someone by name.",
          "url": "http://127.0.0.1:8000/greet/tools/echoHai"
        }
      ],
      "openapi": "http://127.0.0.1:8000/greet/openapi.json"
    }
    "#);
    // The addresses on the page are those by which its reader came.
    let answer = get(&gateway, "/greet", "host", "localhost:1234").await;
    assert_eq!(answer.json()["mcp"], "http://localhost:1234/greet/mcp");
}

#[tokio::test]
async fn probes_are_answered() {
    let gateway = Gateway::start(&["greet"]).await;
    for (path, body) in [
        ("/healthz", r#"{"status":"ok"}"#),
        ("/livez", r#"{"status":"ok"}"#),
        ("/readyz", r#"{"status":"ready","failed":[]}"#),
    ] {
        let answer = gateway.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, body), "{path}");
    }
}

/// Every operation of an OpenAPI document, with its id and its statuses.
fn operations(document: &Value) -> String {
    let mut lines = String::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let statuses = operation["responses"].as_object().expect("responses");
            let statuses = statuses.keys().map(String::as_str).collect::<Vec<_>>().join(" ");
            let id = operation["operationId"].as_str().expect("an id");
            lines += &format!("{method} {path}  {id}  {statuses}\n");
        }
    }
    lines
}

#[tokio::test]
async fn the_openapi_document_has_every_tool_of_every_server() {
    let gateway = Gateway::start(&["greet", "math"]).await;
    let answer = gateway.get("/openapi.json").await;
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.0");
    assert_snapshot!(operations(&document), @r"
    post /greet/tools/echoHai  greet_echoHai  200 400 403 408 409 413 415 422 429 500 502 503 504
    get /greet/tools  greet_tools  200 403 500 503
    post /math/tools/add  math_add  200 400 403 408 409 413 415 422 429 500 502 503 504
    post /math/tools/divide  math_divide  200 400 403 408 409 413 415 422 429 500 502 503 504
    get /math/tools  math_tools  200 403 500 503
    get /servers  gateway_servers  200 403 500 503
    get /healthz  gateway_healthz  200 403 500 503
    get /livez  gateway_livez  200 403 500 503
    get /readyz  gateway_readyz  200 403 500 503
    ");
    let call = &document["paths"]["/greet/tools/echoHai"]["post"];
    let json = |place: &Value| place["content"]["application/json"]["schema"].clone();
    assert_eq!(json(&call["requestBody"])["required"], serde_json::json!(["userName"]));
    assert_eq!(json(&call["responses"]["200"])["properties"]["result"]["type"], "string");
    let missing: Vec<&str> =
        references(&answer.body, "\"$ref\":\"#").filter(|at| document.pointer(at).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?} in {document}");
    assert!(references(&answer.body, "\"$ref\":\"").all(|at| at.starts_with('#')), "{document}");
}

#[tokio::test]
async fn a_server_has_a_document_of_its_own() {
    let gateway = Gateway::start(&["greet", "math"]).await;
    let document = gateway.get("/math/openapi.json").await.json();
    assert_eq!((&document["openapi"], &document["info"]["title"]), (&"3.1.0".into(), &"Arithmetic".into()));
    assert_snapshot!(operations(&document), @r"
    post /math/tools/add  math_add  200 400 403 408 409 413 415 422 429 500 502 503 504
    post /math/tools/divide  math_divide  200 400 403 408 409 413 415 422 429 500 502 503 504
    get /math/tools  math_tools  200 403 500 503
    ");
}

#[tokio::test]
async fn a_document_that_a_client_has_is_not_sent_again() {
    let gateway = Gateway::start(&["greet"]).await;
    for path in ["/openapi.json", "/greet/openapi.json"] {
        let first = gateway.get(path).await;
        let tag = first.headers[header::ETAG].to_str().expect("text").to_owned();
        let weak = format!("\"other\", W/{tag}");
        for known in [tag.as_str(), weak.as_str(), "*"] {
            let again = get(&gateway, path, "if-none-match", known).await;
            assert_eq!((again.status.as_u16(), again.body.as_str()), (304, ""), "{path}: {known}");
            assert_eq!(again.headers[header::ETAG], tag);
        }
        assert_eq!(get(&gateway, path, "if-none-match", "\"other\"").await.body, first.body);
    }
}

#[tokio::test]
async fn the_documentation_stays_on_this_machine() {
    let gateway = Gateway::start(&["greet"]).await;
    for path in ["/docs", "/redoc"] {
        let answer = gateway.get(path).await;
        assert_eq!((answer.status.as_u16(), &answer.headers[header::CONTENT_TYPE]), (200, &HTML), "{path}");
        let policy = answer.headers[header::CONTENT_SECURITY_POLICY].to_str().expect("text");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; "), "{path}: {policy}");
        assert!(policy.contains("connect-src 'self'") && !policy.contains("http"), "{path}: {policy}");
        assert!(!answer.body.contains("//"), "{path} names another host: {}", answer.body);
        let assets = ["src=\"", "href=\""].map(|attribute| references(&answer.body, attribute));
        let assets: Vec<&str> = assets.into_iter().flatten().filter(|at| at.contains("assets")).collect();
        assert!(assets.len() >= 2, "{path}: {assets:?}");
        for asset in assets {
            let asset = format!("/{}", asset.trim_start_matches(['.', '/']));
            assert_eq!(gateway.get(&asset).await.status.as_u16(), 200, "{asset} of {path}");
        }
    }
}

/// Every text between `before` and the next quotation mark.
fn references<'t>(text: &'t str, before: &'t str) -> impl Iterator<Item = &'t str> {
    text.split(before).skip(1).filter_map(|rest| rest.split('"').next())
}

#[tokio::test]
async fn head_answers_as_get_does_without_the_body() {
    let gateway = Gateway::start(&["greet"]).await;
    for path in [
        "/",
        "/servers",
        "/greet",
        "/greet/tools",
        "/openapi.json",
        "/docs",
        "/readyz",
        "/metrics",
        "/problems",
    ] {
        let request = Request::head(path).body(String::new()).expect("a request");
        let head = gateway.send(request).await.expect("an answer");
        let get = gateway.get(path).await;
        assert_eq!((head.status, head.body.as_str()), (get.status, ""), "{path}");
        for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
            assert_eq!(head.headers.get(&name), get.headers.get(&name), "{name} of {path}");
        }
    }
}

#[tokio::test]
async fn pages_are_for_reading() {
    let gateway = Gateway::start(&["greet"]).await;
    for path in ["/servers", "/docs", "/openapi.json", "/greet/tools", "/metrics"] {
        let answer = gateway.send(call(path, "{}")).await.expect("an answer");
        assert_eq!(answer.headers[header::ALLOW], "GET, HEAD, OPTIONS", "{path}");
        assert!(check(&gateway, path, &answer).await.starts_with("405 method_not_allowed"), "{path}");
    }
    let request =
        Request::builder().method(Method::PUT).uri("/greet").body(String::new()).expect("a request");
    assert_snapshot!(problem(&gateway, request).await, @r"
    405 method_not_allowed: Method not allowed
    `PUT` is not among GET, HEAD, POST, DELETE, OPTIONS
    ");
}

/// Three servers of which the second does not start.
async fn one_of_three_fails() -> Gateway {
    let broken = server("broken", "declines_start") + "settings.reason = \"the licence ran out\"\n";
    Gateway::with_config(&(config(&["greet"]) + &broken + &server("math", "math"))).await
}

#[tokio::test]
async fn one_server_that_fails_leaves_the_others_serving() {
    let gateway = one_of_three_fails().await;
    let greet = gateway.post("/greet/tools/echoHai", r#"{"userName":"Ada"}"#).await;
    assert_eq!(greet.body, r#"{"result":"Hello, Ada!"}"#);
    assert_eq!(gateway.post("/math/tools/add", r#"{"a":1,"b":2}"#).await.body, r#"{"result":3.0}"#);
    let event = gateway.event("server failed").await;
    assert_snapshot!(event["error"].as_str().expect("why"), @"server `broken`: the plugin declined to start: the licence ran out");
    let ready = gateway.event("gateway ready").await;
    assert_eq!((&ready["servers"], &ready["failed"]), (&3.into(), &1.into()));
}

#[tokio::test]
async fn a_server_that_fails_is_listed_with_the_reason() {
    let gateway = one_of_three_fails().await;
    let servers = gateway.get("/servers").await.json();
    let states = servers["servers"].as_array().expect("servers").iter().map(|server| &server["state"]);
    assert_eq!(states.collect::<Vec<_>>(), ["running", "failed", "running"]);
    let broken = serde_json::to_string_pretty(&servers["servers"][1]).expect("JSON");
    assert_snapshot!(broken, @r#"
    {
      "name": "broken",
      "prefix": "/broken",
      "plugin": "declines_start.so",
      "required": false,
      "state": "failed",
      "code": "declined",
      "reason": "server `broken`: the plugin declined to start: the licence ran out"
    }
    "#);
    assert_snapshot!(gateway.get("/readyz").await.summary(), @r#"
    200 OK
    {
      "status": "ready",
      "failed": [
        {
          "name": "broken",
          "code": "declined",
          "required": false
        }
      ]
    }
    "#);
    let paths = gateway.get("/openapi.json").await.json()["paths"].clone();
    assert!(paths.get("/math/tools").is_some() && paths.get("/broken/tools").is_none(), "{paths}");
}

#[tokio::test]
async fn the_prefix_of_a_server_that_fails_says_so() {
    let gateway = one_of_three_fails().await;
    assert_snapshot!(problem_of_call(&gateway, "/broken/tools/echoHai", "{}").await, @r#"
    503 plugin_unavailable: The server is not available
    server `broken` does not serve: `declined`; `/servers` says more
    server: "broken"
    reason: "declined"
    "#);
    for path in ["/broken", "/broken/tools", "/broken/openapi.json"] {
        let answer = gateway.get(path).await;
        assert_eq!(answer.headers[header::RETRY_AFTER], "30");
        assert!(check(&gateway, path, &answer).await.starts_with("503 plugin_unavailable"), "{path}");
    }
    let ping = gateway.post("/broken/mcp", r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).await;
    assert_eq!((ping.status.as_u16(), &ping.json()["error"]["code"]), (503, &(-32603).into()));
}
