//! What plugins do wrong in a call, and that it hurts nobody but the caller.

use insta::assert_snapshot;
use serde_json::json;
use tests::{Gateway, config, server};

use crate::problem::problem_of_call;

async fn check_greets(gateway: &Gateway) {
    let answer = gateway.post("/greet/tools/echoHai", r#"{"userName":"Ada"}"#).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, r#"{"result":"Hello, Ada!"}"#));
}

#[tokio::test]
async fn a_panic_is_the_callers_problem_and_the_logs_text() {
    let gateway = Gateway::start(&["panics_in_call", "greet"]).await;
    let path = "/panics_in_call/tools/panic";
    let panics = [
        ("at_once", "at once"),
        ("after_await", "after an await"),
        ("in_drop", "in a destructor"),
        ("in_payload", "(no message)"),
    ];
    for (when, text) in panics {
        let shown = problem_of_call(&gateway, path, &json!({ "when": when }).to_string()).await;
        assert!(shown.starts_with("500 ") && !shown.contains(text), "{when}: {shown}");
        let event = gateway.event_with("tool panicked", &[("panic", text)]).await;
        assert_eq!((&event["server"], &event["tool"]), (&"panics_in_call".into(), &"panic".into()));

        let next = gateway.post(path, r#"{"when":"never"}"#).await;
        assert_eq!(next.body, r#"{"result":"no panic"}"#, "after {when}");
    }
    check_greets(&gateway).await;
    assert_snapshot!(problem_of_call(&gateway, path, r#"{"when":"at_once"}"#).await, @r#"
    500 plugin_panicked: The tool crashed
    the tool panics_in_call/panic crashed on this call; other calls are not affected and the crash was logged
    server: "panics_in_call"
    tool: "panic"
    "#);
}

#[tokio::test]
async fn the_log_tells_a_panic_under_the_id_that_the_client_was_told() {
    let gateway = Gateway::start(&["panics_in_call"]).await;
    let answer = gateway.post("/panics_in_call/tools/panic", r#"{"when":"at_once"}"#).await;
    let told = answer.json()["request_id"].as_str().expect("an id").to_owned();
    let event = gateway.event_with("tool panicked", &[("request_id", &told)]).await;
    assert_eq!(event["panic"], "at once");
}

#[tokio::test]
async fn an_answer_that_is_no_result_is_a_bad_gateway() {
    // One after the other, without an answer in between.
    let garbage = server("answers_garbage", "answers_garbage") + "quarantine_after = 0\n";
    let gateway = Gateway::with_config(&(config(&["greet"]) + &garbage)).await;
    let check =
        async |tool: &str| problem_of_call(&gateway, &format!("/answers_garbage/tools/{tool}"), "{}").await;
    for tool in ["no_text", "no_result", "nothing", "megabytes"] {
        let shown = check(tool).await;
        assert!(shown.starts_with("502 bad_plugin_result"), "{tool}: {shown}");
    }
    assert_snapshot!(check("no_json").await, @r#"
    502 bad_plugin_result: The tool answered nonsense
    the tool answers_garbage/no_json answered with something that is not a tool result
    server: "answers_garbage"
    tool: "no_json"
    "#);
    assert_snapshot!(check("unknown_status").await, @r"
    502 plugin_error: The plugin answered with an error
    the plugin gave no reason
    rpc_code: -32603
    ");
    check_greets(&gateway).await;

    let why = async |tool: &str| {
        let event = gateway.event_with("bad tool result", &[("tool", tool)]).await;
        event["error"].as_str().unwrap_or_default().to_owned()
    };
    assert_snapshot!(why("no_json").await, @"expected value at line 1 column 1");
    assert_snapshot!(why("no_result").await, @"missing field `content` at line 1 column 20");
    let event = gateway.event_with("tool result too large", &[("tool", "megabytes")]).await;
    assert_eq!(event["bytes"], 17 << 20);
}

/// A gateway whose calls of `holds_calls` end after `call_timeout`, and the arguments of a call that holds.
async fn holds_calls(call_timeout: &str) -> (Gateway, String) {
    let server = server("holds_calls", "holds_calls") + &format!("call_timeout = \"{call_timeout}\"\n");
    let gateway = Gateway::with_config(&(config_with_plugin_logs(&["greet"]) + &server)).await;
    let arguments = json!({ "directory": gateway.folder() }).to_string();
    (gateway, arguments)
}

/// As `config`, and what plugins log at level debug is in the log.
pub(crate) fn config_with_plugin_logs(servers: &[&str]) -> String {
    config(servers).replace("[log]", "[log]\nfilter = \"info,gateway::plugin=debug\"")
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_cancelled() {
    // Long enough for the call that comes after, on any machine.
    let (gateway, arguments) = holds_calls("1s").await;
    assert_snapshot!(problem_of_call(&gateway, "/holds_calls/tools/hold", &arguments).await, @r#"
    504 tool_timeout: The tool took too long
    holds_calls/hold did not answer within 1s
    server: "holds_calls"
    tool: "hold"
    timeout_ms: 1000
    "#);
    gateway.event_with("call finished", &[("outcome", "tool_timeout")]).await;
    gateway.event("let go").await;
    let next = gateway.post("/holds_calls/tools/count", r#"{"to":3}"#).await;
    assert_eq!(next.body, r#"{"result":3}"#);
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_its_call() {
    let (gateway, arguments) = holds_calls("60s").await;
    let call = gateway.post("/holds_calls/tools/hold", arguments);
    tokio::select! {
        answer = call => panic!("nobody released it: {answer:?}"),
        // The future of the call is dropped, and with it the connection.
        _ = gateway.event("holding") => {}
    }
    let event = gateway.event("call finished").await;
    assert_eq!((&event["tool"], &event["outcome"]), (&"hold".into(), &"cancelled".into()));
    gateway.event("let go").await;
    let next = gateway.post("/holds_calls/tools/count", r#"{"to":3}"#).await;
    assert_eq!(next.body, r#"{"result":3}"#);
}

#[tokio::test]
async fn a_call_that_is_held_holds_up_nobody() {
    let (gateway, arguments) = holds_calls("60s").await;
    let call = gateway.post("/holds_calls/tools/hold", arguments);
    let meanwhile = async {
        gateway.event("holding").await;
        let same_server = gateway.post("/holds_calls/tools/count", r#"{"to":3}"#).await;
        assert_eq!(same_server.body, r#"{"result":3}"#);
        check_greets(&gateway).await;
        std::fs::write(gateway.folder().join("release"), "").expect("a file");
    };
    let (answer, ()) = tokio::join!(call, meanwhile);
    assert_eq!(answer.body, r#"{"result":"released"}"#);
}

#[tokio::test]
async fn a_plugin_that_ends_by_itself_is_said_to_have() {
    let gateway = Gateway::start(&["answers_garbage", "greet"]).await;
    assert_eq!(gateway.get("/servers").await.json()["servers"][0]["state"], "running");
    let answer = gateway.post("/answers_garbage/tools/end", "{}").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (503, &"plugin_unavailable".into()));
    let servers = gateway.get("/servers").await.json();
    assert_eq!(servers["servers"][0]["code"], "ended");
    assert_eq!(servers["servers"][0]["reason"], "the plugin ended by itself; the log says why");
    assert_eq!(gateway.get("/readyz").await.json()["failed"][0]["code"], "ended");
    assert_eq!(gateway.post("/greet/tools/echoHai", r#"{"userName":"Ada"}"#).await.status.as_u16(), 200);
    gateway.signal("TERM");
    assert_eq!(gateway.ended().await.0, Some(0));
}
