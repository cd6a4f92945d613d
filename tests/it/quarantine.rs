//! A server whose calls go wrong again and again is left alone for a while, for all to see, and tried again.

use std::{path::Path, time::Duration};

use insta::assert_snapshot;
use serde_json::{Value, json};
use tests::{Gateway, config, server};

use crate::problem::{call, check, problem_of_call};

const PANIC: &str = "/panics_in_call/tools/panic";
const PANICS: &str = r#"{"when":"at_once"}"#;
const ANSWERS: &str = r#"{"when":"never"}"#;

/// A gateway with `greet` and one of the fixtures, in whose table `keys` stand.
async fn start(fixture: &str, keys: &str) -> Gateway {
    Gateway::with_config(&(config(&["greet"]) + &server(fixture, fixture) + keys)).await
}

async fn check_greets(gateway: &Gateway) {
    let answer = gateway.post("/greet/tools/echoHai", r#"{"userName":"Ada"}"#).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, r#"{"result":"Hello, Ada!"}"#));
}

/// How long an event that has to come is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A call over MCP, as a 2025 client makes a single one; its result.
async fn call_by_mcp(gateway: &Gateway, server: &str, tool: &str, arguments: Value) -> Value {
    let params = json!({ "name": tool, "arguments": arguments });
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    gateway.post(&format!("/{server}/mcp"), message.to_string()).await.json()["result"].clone()
}

/// The fixture's entry in `/servers`.
async fn listed(gateway: &Gateway) -> Value {
    gateway.get("/servers").await.json()["servers"][1].clone()
}

/// Asks `/servers` until the fixture's entry is so.
async fn until(gateway: &Gateway, is_so: impl Fn(&Value) -> bool) -> Value {
    let asked = async {
        loop {
            let listed = listed(gateway).await;
            if is_so(&listed) {
                return listed;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("it becomes so")
}

/// Waits until the next call is the retry.
async fn until_retry(gateway: &Gateway) {
    until(gateway, |listed| listed["state"] == "quarantined" && listed["retry_in_ms"] == 0).await;
}

/// An hour is long, but not exactly the same time after a few milliseconds.
fn hours_rounded(text: &str) -> String {
    let rounded = |word: &str| {
        let unit = word.trim_start_matches(|c: char| c.is_ascii_digit());
        match word.strip_suffix(unit).map(str::parse) {
            Some(Ok(3_500..=3_600 | 3_500_000..=3_600_000)) => format!("[1h]{unit}"),
            _ => word.to_owned(),
        }
    };
    text.split(' ').map(rounded).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn faults_in_a_row_quarantine_a_server_for_all_to_see() {
    let gateway =
        start("panics_in_call", "required = true\nquarantine_after = 3\nquarantine = \"1h\"\n").await;
    for _ in 0..2 {
        assert_eq!(gateway.post(PANIC, PANICS).await.status.as_u16(), 500);
    }
    assert_eq!(listed(&gateway).await["state"], "running");
    let third = call_by_mcp(&gateway, "panics_in_call", "panic", json!({ "when": "at_once" })).await;
    assert_eq!(third["isError"], true);

    let event = gateway.event_with("server quarantined", &[("server", "panics_in_call")]).await;
    assert_eq!((&event["faults"], &event["for_ms"]), (&3.into(), &3_600_000.into()));
    assert_eq!((&event["level"], &event["last"]), (&"WARN".into(), &"plugin_panicked".into()));

    let mut shown = listed(&gateway).await;
    assert!(shown["retry_in_ms"].take().as_u64().is_some_and(|left| left > 3_500_000), "{shown}");
    for varies in ["sha256", "heap_bytes"] {
        assert!(!shown[varies].take().is_null(), "{shown}");
    }
    assert_snapshot!(hours_rounded(&serde_json::to_string_pretty(&shown).expect("JSON")), @r#"
    {
      "name": "panics_in_call",
      "prefix": "/panics_in_call",
      "plugin": "panics_in_call.so",
      "required": true,
      "state": "quarantined",
      "generation": 2,
      "sha256": null,
      "heap_bytes": null,
      "tools": 1,
      "code": "quarantined",
      "reason": "3 faults in a row, the last `plugin_panicked`; a call is let through as a retry in [1h]s",
      "retry_in_ms": null
    }
    "#);
    assert_snapshot!(gateway.get("/readyz").await.summary(), @r#"
    503 Service Unavailable
    {
      "status": "failed",
      "failed": [
        {
          "name": "panics_in_call",
          "code": "quarantined",
          "required": true
        }
      ]
    }
    "#);
    let request = http::Request::get("/panics_in_call").header("accept", "text/html").body(String::new());
    let page = gateway.send(request.expect("a request")).await.expect("an answer").body;
    let reason = "3 faults in a row, the last `plugin_panicked`; a call is let through as a retry in";
    assert!(page.contains(reason), "{page}");

    let answer = gateway.send(call(PANIC, ANSWERS)).await.expect("an answer");
    let retry_after = answer.headers["retry-after"].to_str().map(str::parse);
    assert!(matches!(retry_after, Ok(Ok(3_500..=3_600))), "{answer:?}");
    assert_snapshot!(hours_rounded(&check(&gateway, PANIC, &answer).await), @r#"
    503 plugin_unavailable: The server is not available
    server `panics_in_call` is quarantined after 3 faults in a row, the last `plugin_panicked`; try again in [1h] s
    server: "panics_in_call"
    reason: "quarantined"
    faults: 3
    last_fault: "plugin_panicked"
    retry_in_ms: [1h]
    "#);
    let refused = call_by_mcp(&gateway, "panics_in_call", "panic", json!({ "when": "never" })).await;
    let text = refused["content"][0]["text"].as_str().and_then(|text| text.split_once(" (request "));
    assert_snapshot!(hours_rounded(text.expect("text and id").0), @"server `panics_in_call` is quarantined after 3 faults in a row, the last `plugin_panicked`; try again in [1h] s");
    assert_eq!(refused["isError"], true);
    // Its tools can still be looked up.
    assert_eq!(gateway.get("/panics_in_call/tools").await.status.as_u16(), 200);
    check_greets(&gateway).await;
}

#[tokio::test]
async fn an_answer_in_between_ends_the_series() {
    let gateway = start("panics_in_call", "quarantine_after = 2\nquarantine = \"1h\"\n").await;
    for _ in 0..3 {
        assert_eq!(gateway.post(PANIC, PANICS).await.status.as_u16(), 500);
        assert_eq!(gateway.post(PANIC, ANSWERS).await.body, r#"{"result":"no panic"}"#);
    }
    assert_eq!(gateway.post(PANIC, PANICS).await.status.as_u16(), 500);
    // Never got to the plugin.
    assert_eq!(gateway.post(PANIC, "{}").await.status.as_u16(), 400);
    assert_eq!(listed(&gateway).await["state"], "running");
    assert_eq!(gateway.post(PANIC, PANICS).await.status.as_u16(), 500);
    assert_eq!(listed(&gateway).await["state"], "quarantined");
}

#[tokio::test]
async fn a_retry_that_goes_well_releases_the_server() {
    let gateway = start("panics_in_call", "quarantine_after = 2\nquarantine = \"50ms\"\n").await;
    for _ in 0..2 {
        gateway.post(PANIC, PANICS).await;
    }
    until_retry(&gateway).await;
    // What is refused before it gets to the plugin is no retry.
    assert_eq!(gateway.post(PANIC, "{}").await.status.as_u16(), 400);
    assert_eq!(listed(&gateway).await["state"], "quarantined");
    let retry = call_by_mcp(&gateway, "panics_in_call", "panic", json!({ "when": "never" })).await;
    assert_eq!(retry["structuredContent"], json!({ "result": "no panic" }));
    gateway.event_with("server released", &[("server", "panics_in_call")]).await;
    let listed = listed(&gateway).await;
    assert_eq!((&listed["state"], listed.get("reason")), (&"running".into(), None));
    assert_eq!(gateway.get("/readyz").await.body, r#"{"status":"ready","failed":[]}"#);
    assert_eq!(gateway.post(PANIC, ANSWERS).await.status.as_u16(), 200);
}

#[tokio::test]
async fn a_retry_that_fails_doubles_the_quarantine() {
    let gateway = start("answers_garbage", "quarantine_after = 1\nquarantine = \"20ms\"\n").await;
    let lengths = [("no_json", 20), ("no_result", 40), ("megabytes", 80)];
    for (faults, (tool, length)) in (1..).zip(lengths) {
        let shown = problem_of_call(&gateway, &format!("/answers_garbage/tools/{tool}"), "{}").await;
        assert!(shown.starts_with("502 bad_plugin_result"), "{tool}: {shown}");
        let reason = if faults == 1 { "1 fault, ".into() } else { format!("{faults} faults in a row, ") };
        let listed = until(&gateway, |listed| listed["retry_in_ms"] == 0).await;
        assert!(listed["reason"].as_str().is_some_and(|text| text.starts_with(&reason)), "{listed}");
        gateway.event_where("server quarantined", move |event| event["for_ms"] == length).await;
    }
    // An error of its own is an answer.
    let shown = problem_of_call(&gateway, "/answers_garbage/tools/unknown_status", "{}").await;
    assert!(shown.starts_with("502 plugin_error"), "{shown}");
    gateway.event("server released").await;
    assert_eq!(listed(&gateway).await["state"], "running");
    check_greets(&gateway).await;
}

/// A fixture makes the file when its call runs.
async fn wait_for(file: &Path) {
    let made = async {
        while !file.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, made).await.expect("the call begins");
}

#[tokio::test]
async fn one_retry_is_let_through_and_a_client_that_leaves_it_makes_room() {
    let keys = "quarantine_after = 1\nquarantine = \"20ms\"\ncall_timeout = \"2s\"\n";
    let gateway = start("holds_calls", keys).await;
    let arguments = json!({ "directory": gateway.folder() }).to_string();
    let late = gateway.post("/holds_calls/tools/hold", arguments.as_str()).await;
    assert_eq!(late.status.as_u16(), 504);
    until_retry(&gateway).await;

    let started = gateway.folder().join("started");
    std::fs::remove_file(&started).expect("the first call made it");
    let others = async {
        wait_for(&started).await;
        let refused = gateway.post("/holds_calls/tools/count", r#"{"to":3}"#).await;
        assert_eq!(
            (refused.status.as_u16(), &refused.headers["retry-after"]),
            (503, &"1".parse().expect("a header"))
        );
        assert_eq!(refused.json()["reason"], "quarantined");
        check_greets(&gateway).await;
    };
    tokio::select! {
        answer = gateway.post("/holds_calls/tools/hold", arguments.as_str()) => panic!("nobody released it: {answer:?}"),
        // The future of the retry is dropped, and with it the connection.
        () = others => {}
    }
    gateway.event_with("call finished", &[("outcome", "cancelled")]).await;
    assert_eq!(listed(&gateway).await["state"], "quarantined");
    let next = gateway.post("/holds_calls/tools/count", r#"{"to":3}"#).await;
    assert_eq!(next.body, r#"{"result":3}"#);
    gateway.event("server released").await;
}

#[tokio::test]
async fn a_plugin_that_takes_no_messages_is_seen() {
    let gateway = start("holds_calls", "quarantine_after = 0\ncall_timeout = \"2s\"\n").await;
    let arguments = json!({ "directory": gateway.folder() }).to_string();
    let blocked = gateway.post("/holds_calls/tools/block", arguments);
    let behind = async {
        wait_for(&gateway.folder().join("started")).await;
        gateway.post("/holds_calls/tools/count", r#"{"to":3}"#).await
    };
    let watch = until(&gateway, |listed| listed.get("stalled_for_ms").is_some());
    let (blocked, behind, stalled) = tokio::join!(blocked, behind, watch);
    assert_eq!((blocked.status.as_u16(), behind.status.as_u16()), (504, 504));
    assert!(stalled["stalled_for_ms"].as_u64().is_some_and(|waited| waited >= 1000), "{stalled}");
    let taken = async |tool: &str| {
        gateway.event_with("call finished", &[("tool", tool), ("outcome", "tool_timeout")]).await["taken"]
            .clone()
    };
    assert_eq!(taken("count").await, false);
    assert_eq!(taken("block").await, Value::Null, "the plugin had it");

    std::fs::write(gateway.folder().join("release"), "").expect("a file");
    until(&gateway, |listed| listed.get("stalled_for_ms").is_none()).await;
    let next = gateway.post("/holds_calls/tools/count", r#"{"to":3}"#).await;
    assert_eq!(next.body, r#"{"result":3}"#);
}
