//! A plugin that panics, hangs, floods the log or is quarantined, as whoever is on call sees it: in the metrics, in the log, and in
//! what the status page shows.

use std::fs;

use insta::assert_snapshot;
use serde_json::{Value, json};
use tests::{Gateway, config, server};

/// One of each: `panics` is quarantined by its second panic, `hangs` takes no messages any more, `floods` logs too much.
async fn gateway() -> Gateway {
    let text = config(&["greet"])
        + &server("panics", "panics_in_call")
        + "quarantine_after = 2\nquarantine = \"1h\"\n"
        + &server("hangs", "blocks_its_thread")
        + "call_timeout = \"50ms\"\n"
        + &server("floods", "floods_the_log")
        + "log_max_per_second = 5\n";
    let gateway = Gateway::with_config(&text).await;
    for _ in 0..3 {
        gateway.post("/panics/tools/panic", r#"{"when":"at_once"}"#).await;
    }
    gateway.post("/floods/tools/flood", r#"{"records":1000,"lines":0}"#).await;
    gateway.post("/hangs/tools/block", json!({"directory": gateway.folder()}).to_string()).await;
    // It is never taken out of the mailbox, since the plugin is busy with the other.
    gateway.post("/hangs/tools/ping", "{}").await;
    gateway
}

#[tokio::test]
async fn plugins_in_trouble_are_seen_as_that_in_metrics_log_and_status_page() {
    let gateway = gateway().await;
    let metrics = gateway.get("/metrics").await.body;
    let families = [
        "gateway_server_quarantined{",
        "gateway_server_faults_total{",
        "mcp_tool_call_results_total{",
        "gateway_server_quarantines_total{",
    ];
    let told = metrics
        .lines()
        .filter(|line| families.iter().any(|family| line.starts_with(family)) && !line.ends_with(" 0"));
    assert_snapshot!(told.collect::<Vec<_>>().join("\n"), @r#"
    mcp_tool_call_results_total{server="panics",tool="panic",outcome="plugin_panicked"} 2
    mcp_tool_call_results_total{server="panics",tool="panic",outcome="plugin_unavailable"} 1
    mcp_tool_call_results_total{server="hangs",tool="block",outcome="tool_timeout"} 1
    mcp_tool_call_results_total{server="hangs",tool="ping",outcome="tool_timeout"} 1
    mcp_tool_call_results_total{server="floods",tool="flood",outcome="ok"} 1
    gateway_server_quarantined{server="panics"} 1
    gateway_server_faults_total{server="panics",kind="plugin_panicked"} 2
    gateway_server_faults_total{server="hangs",kind="tool_timeout"} 2
    gateway_server_quarantines_total{server="panics"} 1
    "#);
    let dropped =
        metrics.lines().find(|line| line.starts_with("gateway_plugin_log_dropped_total{server=\"floods\"}"));
    assert!(dropped.is_some_and(|line| !line.ends_with(" 0")), "{metrics}");

    let status = gateway.get("/admin/status").await.json();
    let row = |server: &Value| {
        let facts = ["name", "state", "faults", "floods_log"].map(|fact| server[fact].to_string());
        facts.join("  ")
    };
    let rows: Vec<String> = status["servers"].as_array().expect("a list").iter().map(row).collect();
    assert_snapshot!(rows.join("\n"), @r#"
    "greet"  "running"  {}  false
    "panics"  "quarantined"  {"plugin_panicked":2}  false
    "hangs"  "running"  {"tool_timeout":2}  false
    "floods"  "running"  {}  true
    "#);
    let late =
        |call: &Value| format!("{} {} {}", call["server"], call["tool"], call["outcome"]).replace('"', "");
    let failures: Vec<String> =
        status["calls"]["failures"].as_array().expect("a list").iter().map(late).collect();
    assert_snapshot!(failures.join("\n"), @r"
    hangs ping tool_timeout
    hangs block tool_timeout
    panics panic plugin_unavailable
    panics panic plugin_panicked
    panics panic plugin_panicked
    ");

    fs::write(gateway.folder().join("release"), "").expect("a file");
    gateway.signal("TERM");
    let (_, log) = gateway.ended().await;
    let told = |event: &&Value| {
        let messages = ["tool panicked", "server quarantined", "plugin floods the log", "call finished"];
        messages.iter().any(|message| event["message"] == *message) && event["outcome"] != "ok"
    };
    let line = |event: &Value| {
        let facts = ["level", "message", "server", "tool", "outcome", "taken", "panic", "last"];
        let facts = facts.map(|fact| (!event[fact].is_null()).then(|| event[fact].to_string()));
        facts.into_iter().flatten().collect::<Vec<_>>().join("  ").replace('"', "")
    };
    // Of the flood the first line says that it begins; how often it goes on depends on the time.
    let mut lines: Vec<String> = log.iter().filter(told).map(line).collect();
    lines.dedup();
    assert_snapshot!(lines.join("\n"), @r"
    ERROR  tool panicked  panics  panic  at once
    INFO  call finished  panics  panic  plugin_panicked
    ERROR  tool panicked  panics  panic  at once
    WARN  server quarantined  panics  plugin_panicked
    INFO  call finished  panics  panic  plugin_panicked
    INFO  call finished  panics  panic  plugin_unavailable
    WARN  plugin floods the log  floods
    INFO  call finished  hangs  block  tool_timeout
    INFO  call finished  hangs  ping  tool_timeout  false
    WARN  plugin floods the log  floods
    ");
}

#[tokio::test]
async fn a_call_that_is_refused_has_its_line_with_the_id_that_its_caller_got() {
    let rate = "[[limits.rate]]\nname = \"few\"\nkey = \"server\"\nrate = \"1/h\"\nservers = [\"bye\"]\n";
    let gateway = Gateway::with_config(&(config(&["greet", "bye"]) + rate)).await;
    let mark = gateway.mark();
    let mut ids = Vec::new();
    for (path, body) in [
        ("/bye/tools/echoBye", r#"{"userName":"Ada"}"#),
        ("/bye/tools/echoBye", r#"{"userName":"Ada"}"#),
        ("/greet/tools/echoHai", ""),
    ] {
        let answer = gateway.post(path, body).await;
        ids.push(answer.headers["x-request-id"].to_str().expect("text").to_owned());
    }
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echoBye", "arguments": {}}});
    let answer = gateway.post("/bye", message.to_string()).await;
    ids.push(answer.headers["x-request-id"].to_str().expect("text").to_owned());
    let id = ids[3].clone();
    gateway.event_since(mark, "call refused", move |event| event["request_id"] == *id).await;
    let lines: Vec<String> = ids
        .iter()
        .map(|id| {
            let log = gateway.logged_since(mark);
            let event = log.iter().find(|event| event["request_id"] == **id).expect("a line");
            ["message", "server", "tool", "door", "outcome"]
                .map(|fact| event[fact].to_string())
                .join("  ")
                .replace('"', "")
        })
        .collect();
    assert_snapshot!(lines.join("\n"), @r"
    call finished  bye  echoBye  rest  ok
    call refused  bye  echoBye  rest  rate_limited
    call refused  greet  echoHai  rest  malformed_json
    call refused  bye  echoBye  mcp  rate_limited
    ");
}
