//! Who may ask, and under which id.

use http::{HeaderName, HeaderValue, Request};
use insta::assert_snapshot;
use tests::{Answer, Gateway, config};

use crate::problem::{self, call, problem};

const PATH: &str = "/greet/tools/echoHai";

fn good_call(name: &'static str, value: &str) -> Request<String> {
    let mut request = call(PATH, r#"{"userName":"Ada"}"#);
    let value = HeaderValue::from_str(value).expect("a header's value");
    request.headers_mut().insert(HeaderName::from_static(name), value);
    request
}

async fn send(gateway: &Gateway, name: &'static str, value: &str) -> Answer {
    gateway.send(good_call(name, value)).await.expect("an answer")
}

async fn check(gateway: &Gateway, name: &'static str, value: &str, status: u16) {
    assert_eq!(send(gateway, name, value).await.status.as_u16(), status, "{name}: {value}");
}

async fn with_http(lines: &str) -> Gateway {
    Gateway::with_config(&config(&["greet"]).replace("[log]", &format!("[http]\n{lines}\n[log]"))).await
}

#[tokio::test]
async fn a_host_that_is_not_ours_is_refused() {
    let gateway = Gateway::start(&["greet"]).await;
    assert_snapshot!(problem(&gateway, good_call("host", "evil.example:8000")).await, @r#"
    403 host_not_allowed: Host not allowed
    the host `evil.example:8000` is not one that this gateway answers to; if it should be, the operator adds it to `[http] allowed_hosts` in gateway.toml
    host: "evil.example:8000"
    "#);
    check(&gateway, "host", "localhost", 200).await;
    check(&gateway, "host", "LOCALHOST:1", 200).await;
    check(&gateway, "host", "localhost.evil.example", 403).await;
    // Pages too.
    let page = Request::get("/servers").header("host", "evil.example").body(String::new());
    assert_eq!(gateway.send(page.expect("a request")).await.expect("an answer").status.as_u16(), 403);
}

#[tokio::test]
async fn a_host_on_the_list_is_answered() {
    let gateway = with_http(r#"allowed_hosts = ["tools.example.com", "other.example.com:8443"]"#).await;
    check(&gateway, "host", "tools.example.com", 200).await;
    check(&gateway, "host", "tools.example.com:9000", 200).await;
    check(&gateway, "host", "other.example.com:8443", 200).await;
    check(&gateway, "host", "other.example.com", 403).await;
    check(&gateway, "host", "localhost", 200).await;
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused() {
    let gateway = Gateway::start(&["greet"]).await;
    assert_snapshot!(problem(&gateway, good_call("origin", "https://evil.example")).await, @r#"
    403 origin_not_allowed: Origin not allowed
    the origin `https://evil.example` is not one that this gateway answers to; if it should be, the operator adds it to `[http] allowed_origins` in gateway.toml
    origin: "https://evil.example"
    "#);
    check(&gateway, "origin", "null", 403).await;
    check(&gateway, "origin", "http://localhost:3000", 200).await;
}

#[tokio::test]
async fn a_page_of_an_origin_on_the_list_is_answered() {
    let gateway = with_http(r#"allowed_origins = ["https://app.example.com"]"#).await;
    check(&gateway, "origin", "https://app.example.com", 200).await;
    check(&gateway, "origin", "http://app.example.com", 403).await;
    check(&gateway, "origin", "https://app.example.com.evil.example", 403).await;
}

#[tokio::test]
async fn an_mcp_client_is_refused_in_json_rpc() {
    let gateway = Gateway::start(&["greet"]).await;
    let mut request = call("/greet/mcp", r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
    request.headers_mut().insert("origin", HeaderValue::from_static("https://evil.example"));
    let answer = gateway.send(request).await.expect("an answer");
    assert_eq!(answer.headers["content-type"], "application/json");
    let mut error = answer.json();
    error["error"]["data"]["request_id"] = "[id]".into();
    let shown = serde_json::to_string_pretty(&error).expect("JSON");
    assert_snapshot!(format!("{}\n{shown}", answer.status), @r#"
    403 Forbidden
    {
      "jsonrpc": "2.0",
      "error": {
        "code": -32600,
        "message": "the origin `https://evil.example` is not one that this gateway answers to; if it should be, the operator adds it to `[http] allowed_origins` in gateway.toml",
        "data": {
          "type": "/problems/origin_not_allowed",
          "title": "Origin not allowed",
          "status": 403,
          "detail": "the origin `https://evil.example` is not one that this gateway answers to; if it should be, the operator adds it to `[http] allowed_origins` in gateway.toml",
          "instance": "/greet/mcp",
          "code": "origin_not_allowed",
          "request_id": "[id]",
          "origin": "https://evil.example"
        }
      }
    }
    "#);
}

#[tokio::test]
async fn an_answer_carries_the_id_of_its_request() {
    let gateway = Gateway::start(&["greet"]).await;
    let own = send(&gateway, "x-request-id", "build-7.step_2").await;
    assert_eq!(own.headers["x-request-id"], "build-7.step_2");
    gateway.event_with("call finished", &[("request_id", "build-7.step_2")]).await;

    let minted = send(&gateway, "x-request-id", "not \"harmless\"").await;
    let minted = minted.headers["x-request-id"].to_str().expect("text").to_owned();
    assert_eq!((minted.len(), minted.contains('"')), (36, false), "{minted}");
    gateway.event_with("call finished", &[("request_id", &minted)]).await;

    let first = gateway.get("/healthz").await.headers["x-request-id"].clone();
    assert_ne!(first, gateway.get("/healthz").await.headers["x-request-id"]);
}

#[tokio::test]
async fn a_problem_carries_the_id_of_its_request() {
    let gateway = Gateway::start(&["greet"]).await;
    let mut request = good_call("x-request-id", "r-1");
    *request.body_mut() = "{}".into();
    let answer = gateway.send(request).await.expect("an answer");
    assert_eq!(answer.json()["request_id"], "r-1");
    assert!(problem::check(&gateway, PATH, &answer).await.starts_with("400 "));
}
