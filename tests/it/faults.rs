//! What plugins do wrong in a call, and that it hurts nobody but the caller.

use std::{fs, path::Path};

use insta::assert_snapshot;
use serde_json::json;
use tests::{Gateway, config, server};

use crate::{
    problem::{call, problem_of_call},
    unload::unloaded,
};

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
        fs::write(gateway.folder().join("release"), "").expect("a file");
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

#[tokio::test]
async fn a_panic_on_a_thread_or_in_a_task_of_a_plugins_own_is_for_the_plugin_to_deal_with() {
    let gateway = Gateway::start(&["panics_in_thread", "panics_in_poll"]).await;
    let thread = gateway.post("/panics_in_thread/tools/panic", "{}").await;
    assert_eq!(thread.body, r#"{"result":"it panicked"}"#);
    let task = gateway.post("/panics_in_poll/tools/panic", r#"{"place":"task"}"#).await;
    assert_eq!(task.body, r#"{"result":"the task panicked"}"#);
    for (server, text) in [
        ("panics_in_thread", "panic: on a thread of its own"),
        ("panics_in_poll", "panic: in the second poll"),
    ] {
        gateway.event_with(text, &[("server", server)]).await;
    }
    gateway.signal("TERM");
    let (code, log) = gateway.ended().await;
    assert_eq!(code, Some(0));
    assert_snapshot!(unloaded(&log), @r"
    panics_in_poll gone
    panics_in_thread gone
    ");
}

#[tokio::test]
async fn a_panic_in_a_poll_ends_its_call_only() {
    let gateway = Gateway::start(&["panics_in_poll"]).await;
    let path = "/panics_in_poll/tools/panic";
    assert_snapshot!(problem_of_call(&gateway, path, r#"{"place":"call"}"#).await, @r#"
    500 plugin_panicked: The tool crashed
    the tool panics_in_poll/panic crashed on this call; other calls are not affected and the crash was logged
    server: "panics_in_poll"
    tool: "panic"
    "#);
    let next = gateway.post(path, r#"{"place":"task"}"#).await;
    assert_eq!(next.body, r#"{"result":"the task panicked"}"#);
}

#[tokio::test]
async fn a_panic_in_a_destructor_ends_nothing_else() {
    let server = server("panics_in_destructor", "panics_in_destructor") + "call_timeout = \"1s\"\n";
    let gateway = Gateway::with_config(&(config(&["greet"]) + &server)).await;
    let shown = problem_of_call(&gateway, "/panics_in_destructor/tools/wait", "{}").await;
    assert!(shown.starts_with("504 tool_timeout"), "{shown}");
    gateway.event("panic: in what a call held").await;
    let next = gateway.post("/panics_in_destructor/tools/ping", "{}").await;
    assert_eq!(next.body, r#"{"result":"pong"}"#);
    check_greets(&gateway).await;
    gateway.signal("TERM");
    gateway.event("panic: in what a tool held").await;
    let (code, log) = gateway.ended().await;
    assert_eq!((code, unloaded(&log).as_str()), (Some(0), "panics_in_destructor gone\ngreet gone"));
}

/// Waits for the file that a fixture makes when its call runs, and takes it away.
async fn started(folder: &Path) {
    while fs::remove_file(folder.join("started")).is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_tool_that_blocks_or_spins_stalls_its_own_server_only() {
    let server = server("blocks_its_thread", "blocks_its_thread") + "call_timeout = \"1s\"\n";
    let gateway = Gateway::with_config(&(config(&["greet"]) + &server)).await;
    let folder = gateway.folder();
    for tool in ["block", "spin"] {
        let path = format!("/blocks_its_thread/tools/{tool}");
        let arguments = json!({ "directory": folder }).to_string();
        let stalled = problem_of_call(&gateway, &path, &arguments);
        let meanwhile = async {
            started(folder).await;
            check_greets(&gateway).await;
            problem_of_call(&gateway, "/blocks_its_thread/tools/ping", "{}").await
        };
        let (stalled, ping) = tokio::join!(stalled, meanwhile);
        for shown in [stalled, ping] {
            assert!(shown.starts_with("504 tool_timeout"), "{tool}: {shown}");
        }
        check_greets(&gateway).await;
        fs::write(folder.join("release"), "").expect("a file");
        let ping = gateway.post("/blocks_its_thread/tools/ping", "{}").await;
        assert_eq!(ping.body, r#"{"result":"pong"}"#, "after {tool}");
        fs::remove_file(folder.join("release")).expect("it is there");
    }
    gateway.signal("TERM");
    let (code, log) = gateway.ended().await;
    assert_eq!((code, unloaded(&log).as_str()), (Some(0), "blocks_its_thread gone\ngreet gone"));
}

#[tokio::test]
async fn where_a_plugin_has_two_threads_a_blocked_one_leaves_the_other() {
    let server = server("blocks_its_thread", "blocks_its_thread") + "threads = 2\n";
    let gateway = Gateway::with_config(&(config(&[]) + &server)).await;
    let folder = gateway.folder();
    let blocked = gateway.post("/blocks_its_thread/tools/block", json!({ "directory": folder }).to_string());
    let meanwhile = async {
        started(folder).await;
        for _ in 0..20 {
            let ping = gateway.post("/blocks_its_thread/tools/ping", "{}").await;
            assert_eq!(ping.body, r#"{"result":"pong"}"#);
        }
        fs::write(folder.join("release"), "").expect("a file");
    };
    let (blocked, ()) = tokio::join!(blocked, meanwhile);
    assert_eq!(blocked.body, r#"{"result":"released"}"#);
}

#[tokio::test]
async fn a_plugin_that_is_stuck_when_the_gateway_stops_is_left_behind() {
    let server = server("blocks_its_thread", "blocks_its_thread") + "call_timeout = \"50ms\"\n";
    let gateway = Gateway::with_config(&(config(&["greet"]) + &server)).await;
    let arguments = json!({ "directory": gateway.folder() }).to_string();
    let stuck = problem_of_call(&gateway, "/blocks_its_thread/tools/spin", &arguments).await;
    assert!(stuck.starts_with("504 tool_timeout"), "{stuck}");
    started(gateway.folder()).await;
    gateway.signal("TERM");
    let (code, log) = gateway.ended().await;
    assert_eq!(code, Some(0));
    assert_snapshot!(unloaded(&log), @r"
    blocks_its_thread kept its main function did not return within 8s
    greet gone
    ");
}

#[tokio::test]
async fn a_tool_that_never_returns_costs_its_callers_their_time_only() {
    let server = server("never_returns", "never_returns") + "call_timeout = \"50ms\"\n";
    let gateway = Gateway::with_config(&(config(&["greet"]) + &server)).await;
    for _ in 0..3 {
        let shown = problem_of_call(&gateway, "/never_returns/tools/wait", "{}").await;
        assert!(shown.starts_with("504 tool_timeout"), "{shown}");
    }
    check_greets(&gateway).await;
    gateway.signal("TERM");
    let (code, log) = gateway.ended().await;
    assert_eq!((code, unloaded(&log).as_str()), (Some(0), "never_returns gone\ngreet gone"));
}

#[tokio::test]
async fn what_nothing_can_contain_ends_the_gateway() {
    let ends = [
        ("segfault", None),
        ("abort", None),
        ("exit", Some(7)),
        ("stack_overflow", None),
        ("panic_while_panicking", None),
        ("panic_in_thread_local", None),
    ];
    for (how, expected) in ends {
        let gateway = Gateway::start(&["ends_the_process"]).await;
        let request = call("/ends_the_process/tools/end", &json!({ "how": how }).to_string());
        let answer = gateway.send(request).await;
        assert!(answer.is_err(), "{how}: {answer:?}");
        assert_eq!(gateway.ended().await.0, expected, "{how}");
    }
}
