//! Tests of `edge`.
use axum::body::to_bytes;
use http::HeaderName;
use serde_json::{Value, json};

use super::*;

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        let name = HeaderName::try_from(*name).expect("a header name");
        (name, HeaderValue::from_str(value).expect("a header value"))
    };
    pairs.iter().map(pair).collect()
}

fn routed(pairs: &[(&str, &str)], body: &str) -> Route {
    route(&headers(pairs), &Envelope::read(body.as_bytes()).expect("a message"))
}

#[test]
fn a_message_is_routed_by_its_era() {
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}"#;
    let modern = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list",
        "params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    let discover = r#"{"jsonrpc":"2.0","id":1,"method":"server/discover"}"#;
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;
    let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

    assert_eq!(routed(&[], call), Route::OneShot);
    assert_eq!(routed(&[("mcp-protocol-version", "2025-11-25")], call), Route::OneShot);
    assert_eq!(routed(&[], initialized), Route::OneShot);
    assert_eq!(routed(&[("mcp-protocol-version", "2026-07-28")], call), Route::Main);
    assert_eq!(routed(&[], modern), Route::Main);
    assert_eq!(routed(&[], discover), Route::Main);
    assert_eq!(routed(&[("mcp-session-id", "s")], call), Route::Main);
    assert_eq!(routed(&[], initialize), Route::OpensSession);
    assert_eq!(routed(&[("mcp-session-id", "s")], initialize), Route::Main);
}

#[test]
fn arguments_stay_as_the_client_wrote_them() {
    let body = br#"{"jsonrpc":"2.0","id":"a","method":"tools/call",
        "params":{"name":"add","arguments":{"a": 12345678901234567890123, "b":1.50}}}"#;
    let envelope = Envelope::read(body).expect("a message");
    let arguments = envelope.arguments.map(RawValue::get);
    assert_eq!(arguments, Some(r#"{"a": 12345678901234567890123, "b":1.50}"#));
}

#[test]
fn a_message_says_in_meta_which_trace_it_belongs_to() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let check = |meta: Value, expected: Option<&str>| {
        let params = json!({ "name": "add", "_meta": meta });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string();
        let envelope = Envelope::read(body.as_bytes()).expect("a message");
        let found = envelope.incoming(&HeaderMap::new()).id().map(|id| id.to_string());
        assert_eq!(found.as_deref(), expected, "{body}");
        // Whatever is in there, the rest is read.
        assert_eq!(envelope.subject.as_deref(), Some("add"));
    };
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    check(json!({}), None);
    check(json!({ "traceparent": traceparent }), Some(TRACE));
    check(json!({ "traceparent": traceparent, "tracestate": ["no", "text"] }), Some(TRACE));
    check(json!({ "traceparent": { "no": "text" } }), None);
    check(json!({ "traceparent": "nonsense" }), None);
    for nothing in [json!(null), json!(true), json!(-1), json!(1.5), json!([[1]]), json!("0".repeat(1000))] {
        check(json!({ "traceparent": nothing, "tracestate": nothing }), None);
        check(json!({ "traceparent": traceparent, "tracestate": nothing }), Some(TRACE));
    }
}

async fn sent(refusal: Refusal) -> (u16, Value) {
    let response = refusal.into_response();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 10_000).await.expect("a whole body");
    (status, serde_json::from_slice(&body).expect("JSON"))
}

async fn refused(body: &[u8]) -> (u16, Value) {
    sent(Envelope::read(body).expect_err("not a message")).await
}

async fn check_refused(body: &[u8], code: i32, id: Option<Value>) {
    let (status, answer) = refused(body).await;
    let shown = String::from_utf8_lossy(body);
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(code)), "{shown}");
    assert_eq!(answer.get("id"), id.as_ref(), "{shown}");
    assert_eq!(answer["jsonrpc"], "2.0");
}

#[tokio::test]
async fn what_is_not_one_message_is_refused_as_json_rpc() {
    check_refused(b"", -32700, None).await;
    check_refused(b"{\"jsonrpc\":", -32700, None).await;
    check_refused(b"hello", -32700, None).await;
    check_refused(b"[1,", -32700, None).await;
    check_refused(b"{\"jsonrpc\":\"2.0\"} trailing", -32700, None).await;
    check_refused(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}", -32700, None).await;
    check_refused(b"[]", -32600, None).await;
    check_refused(br#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, -32600, None).await;
    check_refused(br#"["2.0",1,"ping",{},null,null]"#, -32600, None).await;
    check_refused(b"17", -32600, None).await;
    check_refused(br#"{"jsonrpc":"1.0","id":7,"method":"ping"}"#, -32600, Some(json!(7))).await;
    check_refused(br#"{"id":"x","method":"ping"}"#, -32600, Some(json!("x"))).await;
    check_refused(br#"{"jsonrpc":"2.0","id":7}"#, -32600, Some(json!(7))).await;
    check_refused(br#"{"jsonrpc":"2.0","id":[1],"method":"ping"}"#, -32600, None).await;
    check_refused(br#"{"jsonrpc":"2.0","id":1,"method":3}"#, -32600, None).await;
}

#[tokio::test]
async fn a_refusal_says_where_the_json_breaks() {
    let (_, answer) = refused(b"{\"jsonrpc\":\"2.0\",\n \"id\":}").await;
    assert_eq!(answer["error"]["message"], "the body is not JSON: expected value at line 2 column 7");
}

#[test]
fn a_client_that_takes_anything_takes_both_kinds() {
    let check = |accept: &[&str], json: bool, event_stream: bool| {
        let pairs: Vec<_> = accept.iter().map(|value| ("accept", *value)).collect();
        assert_eq!(accepted(&headers(&pairs)), Accepted { json, event_stream }, "{accept:?}");
    };
    check(&[], true, true);
    check(&["*/*"], true, true);
    check(&["text/html, */*;q=0.1"], true, true);
    check(&["application/json, text/event-stream"], true, true);
    check(&["application/json", "text/event-stream"], true, true);
    check(&["Application/JSON; charset=utf-8"], true, false);
    check(&["text/event-stream"], false, true);
    check(&["text/html"], false, false);
    check(&["application/json, text/event-stream;q=0"], true, false);
    check(&["application/*, text/*"], true, true);
}

#[tokio::test]
async fn only_json_is_read() {
    assert!(require_json(&headers(&[("content-type", "application/json; charset=utf-8")])).is_ok());
    let (status, answer) = sent(require_json(&headers(&[])).expect_err("no type")).await;
    assert_eq!((status, &answer["error"]["code"]), (415, &json!(-32600)));
    assert!(require_json(&headers(&[("content-type", "text/plain")])).is_err());
}

#[tokio::test]
async fn an_unknown_version_is_answered_with_the_known_ones() {
    let body = br#"{"jsonrpc":"2.0","id":5,"method":"tools/list"}"#;
    let envelope = Envelope::read(body).expect("a message");
    let unknown = headers(&[("mcp-protocol-version", "2031-01-01")]);
    let refusal = require_known_version(&unknown, &envelope).expect_err("nobody knows it");
    let (status, answer) = sent(refusal).await;
    assert_eq!((status, &answer["error"]["code"], &answer["id"]), (400, &json!(-32022), &json!(5)));
    assert_eq!(answer["error"]["data"]["requested"], "2031-01-01");
    assert_eq!(answer["error"]["data"]["supported"].as_array().map(Vec::len), Some(5));
}

#[test]
fn a_call_is_about_what_its_method_takes() {
    let check = |method: &str, expected: &str| {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"name":"n","uri":"test://u"}}}}"#
        );
        let envelope = Envelope::read(body.as_bytes()).expect("a message");
        assert_eq!(envelope.subject.as_deref(), Some(expected), "{method}");
    };
    check("tools/call", "n");
    check("prompts/get", "n");
    check("resources/read", "test://u");
    check("resources/directory/read", "test://u");
    check("skills/get", "test://u");
}

#[test]
fn headers_say_what_the_body_says_and_say_it_once() {
    let call =
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"Gr\u00fc\u00df","uri":"x"}}"#;
    let read = r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"name":"x","uri":"test://a"}}"#;
    let check = |body: &str, pairs: &[(&str, &str)], expected: bool| {
        let envelope = Envelope::read(body.as_bytes()).expect("a message");
        let mut all = HeaderMap::new();
        for (name, value) in pairs {
            all.append(HeaderName::try_from(*name).expect("a name"), value.parse().expect("a value"));
        }
        assert_eq!(require_agreement(&all, &envelope).is_ok(), expected, "{pairs:?}");
    };
    check(call, &[], true);
    check(call, &[("mcp-method", "tools/call"), ("mcp-name", "=?base64?R3LDvMOf?=")], true);
    check(read, &[("mcp-name", "test://a")], true);
    check(read, &[("mcp-name", "x")], false);
    check(call, &[("mcp-name", "harmless")], false);
    check(call, &[("mcp-name", "=?base64?***?=")], false);
    check(call, &[("mcp-method", "tools/list")], false);
    check(call, &[("mcp-method", "Tools/Call")], false);
    for twice in ["mcp-protocol-version", "mcp-session-id", "mcp-method", "mcp-name"] {
        check(
            r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"name":"a"}}"#,
            &[(twice, "a"), (twice, "a")],
            false,
        );
    }
}
