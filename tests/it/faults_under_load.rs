//! Everything that plugins do wrong, one after the other, while clients of another server go on calling it.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread,
    time::Duration,
};

use futures_util::future::join_all;
use host::{config::ServerEntry, load::Server, unload::unload_all};
use insta::assert_snapshot;
use serde_json::json;
use tests::{
    Gateway, config, in_child,
    loaded::{self, entry, load},
    loader, server,
};

use crate::{problem::call, unload::unloaded};

/// Clients that call `greet`, each with one call at a time.
const CLIENTS: usize = 4;
/// How often each fault is provoked.
const TIMES: usize = 3;

/// Servers with faults in their calls.
const FAULTY: [&str; 5] =
    ["panics_in_call", "panics_in_poll", "panics_in_thread", "answers_garbage", "changes_its_mind"];
/// Servers that do not answer in time.
const SLOW: [&str; 4] = ["blocks_its_thread", "holds_calls", "never_returns", "panics_in_destructor"];
/// Servers that do not start.
const FAILED: [&str; 6] =
    ["panics_at_creation", "bad_schema", "other_layout", "no_root_module", "never_ready", "declines_start"];
/// Servers that would have ended or held up the process when they were opened or described.
const REFUSED: [&str; 5] = [
    "crashes_in_constructor",
    "exits_in_constructor",
    "hangs_in_constructor",
    "aborts_in_describe",
    "hangs_in_describe",
];
/// Servers that do not stop as they should.
const UNSTOPPABLE: [&str; 4] = ["panics_in_stop", "leaves_a_thread", "handles_a_signal", "eats_memory"];

/// A quarantined server would commit no more faults.
const NO_QUARANTINE: &str = "quarantine_after = 0\n";

/// Server, tool, arguments, and the status of the answer.
const CALLS: [(&str, &str, &str, u16); 20] = [
    ("panics_in_call", "panic", r#"{"when":"at_once"}"#, 500),
    ("panics_in_call", "panic", r#"{"when":"after_await"}"#, 500),
    ("panics_in_call", "panic", r#"{"when":"in_drop"}"#, 500),
    ("panics_in_call", "panic", r#"{"when":"in_payload"}"#, 500),
    ("panics_in_call", "panic", r#"{"when":"never"}"#, 200),
    ("panics_in_poll", "panic", r#"{"place":"call"}"#, 500),
    ("panics_in_poll", "panic", r#"{"place":"task"}"#, 200),
    ("panics_in_thread", "panic", "{}", 200),
    ("answers_garbage", "no_json", "{}", 502),
    ("answers_garbage", "no_text", "{}", 502),
    ("answers_garbage", "no_result", "{}", 502),
    ("answers_garbage", "nothing", "{}", 502),
    ("answers_garbage", "megabytes", "{}", 502),
    ("answers_garbage", "unknown_status", "{}", 502),
    ("changes_its_mind", "flood", "{}", 200),
    ("changes_its_mind", "spoil", "{}", 200),
    ("eats_memory", "eat", r#"{"mebibytes":32}"#, 200),
    ("never_returns", "wait", "{}", 504),
    ("panics_in_destructor", "wait", "{}", 504),
    ("panics_in_destructor", "ping", "{}", 200),
];

/// Calls `greet` until told to stop, and counts.
async fn greet(gateway: &Gateway, stop: &AtomicBool, calls: &AtomicUsize) -> Vec<String> {
    let mut failed = Vec::new();
    while !stop.load(Relaxed) {
        let answer = gateway.send(call("/greet/tools/echoHai", r#"{"userName":"Ada"}"#)).await;
        calls.fetch_add(1, Relaxed);
        match answer {
            Ok(answer) if answer.status == 200 && answer.body == r#"{"result":"Hello, Ada!"}"# => {}
            other => failed.push(format!("{other:?}")),
        }
    }
    failed
}

/// Provokes every fault in turn.
async fn provoke(gateway: &Gateway) {
    for (server, tool, arguments, expected) in CALLS {
        for _ in 0..TIMES {
            let answer = gateway.post(&format!("/{server}/tools/{tool}"), arguments).await;
            assert_eq!(answer.status.as_u16(), expected, "{server}/{tool} {arguments}: {answer:?}");
        }
    }
    // The same file, for both fixtures: made, it ends what goes on after its caller was told that it took too long.
    let release = gateway.folder().join("release");
    let arguments = json!({ "directory": gateway.folder() }).to_string();
    for path in ["/holds_calls/tools/hold", "/blocks_its_thread/tools/block", "/blocks_its_thread/tools/spin"]
    {
        for _ in 0..TIMES {
            let answer = gateway.post(path, &*arguments).await;
            assert_eq!(answer.status.as_u16(), 504, "{path}: {answer:?}");
            fs::write(&release, "").expect("a file");
            if path.contains("blocks_its_thread") {
                let next = gateway.post("/blocks_its_thread/tools/ping", "{}").await;
                assert_eq!(next.body, r#"{"result":"pong"}"#, "after {path}");
            }
            fs::remove_file(&release).expect("it is there");
        }
    }
    let ended = gateway.post("/answers_garbage/tools/end", "{}").await;
    assert_eq!(ended.status.as_u16(), 503, "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_of_a_plugin_fails_a_call_of_another() {
    let mut text = config(&["greet"]) + &config_of(&FAULTY, NO_QUARANTINE) + &config_of(&UNSTOPPABLE, "");
    text += &config_of(&SLOW, &format!("call_timeout = \"1s\"\n{NO_QUARANTINE}"));
    text += &config_of(&FAILED[..4], "");
    text += &config_of(&FAILED[4..5], "start_timeout = \"2s\"\n");
    text += &config_of(&FAILED[5..], "settings = { reason = \"it is Sunday\" }\n");
    text += &config_of(&REFUSED, "start_timeout = \"2s\"\n");
    let gateway = Gateway::with_config(&text).await;
    let (stop, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    let clients = join_all((0..CLIENTS).map(|_| greet(&gateway, &stop, &calls)));
    let faults = async {
        provoke(&gateway).await;
        stop.store(true, Relaxed);
    };
    let (failed, ()) = tokio::join!(clients, faults);
    let (calls, failed) = (calls.into_inner(), failed.concat());
    println!("{calls} calls of greet under faults, {} failed", failed.len());
    assert!(failed.is_empty(), "{} of {calls}: {failed:#?}", failed.len());
    assert!(calls > 100, "there was load: {calls}");

    gateway.signal("TERM");
    let (code, log) = gateway.ended().await;
    assert_eq!(code, Some(0));
    assert_snapshot!(unloaded(&log), @r"
    panics_at_creation gone
    never_ready kept it was not ready within 2s and may still run
    declines_start gone
    bad_schema gone
    panics_in_destructor gone
    never_returns gone
    holds_calls gone
    blocks_its_thread gone
    eats_memory gone
    handles_a_signal kept it handles the signals [12]
    leaves_a_thread kept 1 of its threads still run
    panics_in_stop gone
    changes_its_mind gone
    answers_garbage gone
    panics_in_thread gone
    panics_in_poll gone
    panics_in_call gone
    greet gone
    ");
}

/// A table for each of these plugins, with `more` in it.
fn config_of(plugins: &[&str], more: &str) -> String {
    plugins.iter().map(|plugin| server(plugin, plugin) + more).collect()
}

/// How a server ended that went wrong at its start or its stop: why it failed, or what became of its library.
fn come_and_go(entry: &ServerEntry, call: Option<&str>) -> String {
    match loader().load_all(std::slice::from_ref(entry)).remove(0) {
        Server::Failed(failed) => failed.error.code().into(),
        Server::Running(instance) => {
            if let Some(tool) = call {
                loaded::runtime().block_on(loaded::call(&instance, tool, json!({})));
            }
            let (_, became) = unload_all(&[instance]).remove(0);
            format!("{} {}", became.result(), became.reason_code()).trim_end().into()
        }
    }
}

/// Has servers come that go wrong when they are opened, described, started or stopped, and go again.
fn come_and_go_all() {
    let check = |times: usize, plugin: &str, expected: &str| {
        // The shortest in which a plugin gets as far as its fault, on any machine.
        let entry = ServerEntry { start_timeout: Duration::from_secs(2), ..entry(plugin) };
        let call = (plugin == "panics_in_destructor").then_some("ping");
        for _ in 0..times {
            assert_eq!(come_and_go(&entry, call), expected, "{plugin}");
        }
    };
    check(TIMES, "no_root_module", "not_a_plugin");
    check(TIMES, "crashes_in_constructor", "crashes");
    check(TIMES, "exits_in_constructor", "crashes");
    check(TIMES, "aborts_in_describe", "crashes");
    check(TIMES, "other_layout", "wrong_abi");
    check(TIMES, "declines_start", "bad_settings");
    check(TIMES, "panics_at_creation", "declined");
    check(TIMES, "panics_in_stop", "gone");
    check(TIMES, "panics_in_destructor", "gone");
    check(TIMES, "handles_a_signal", "kept handles_signals");
    check(TIMES, "leaves_a_thread", "kept threads_still_run");
    // Each of these takes as long as it may.
    check(1, "hangs_in_constructor", "hangs");
    check(1, "hangs_in_describe", "hangs");
    check(1, "never_ready", "start_timeout");
    let mut stubborn = entry("ignores_stop");
    stubborn.settings.insert("release".into(), "/no/such/file".into());
    assert_eq!(come_and_go(&stubborn, None), "kept main_did_not_return");
}

#[test]
fn no_start_and_no_stop_of_a_plugin_fails_a_call_of_another() {
    in_child("faults_under_load::no_start_and_no_stop_of_a_plugin_fails_a_call_of_another", || {
        let greet = load(&["greet"]).remove(0);
        let (stop, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
        let client = || {
            let runtime = loaded::runtime();
            while !stop.load(Relaxed) {
                let answer = runtime.block_on(loaded::call(&greet, "echoHai", json!({ "userName": "Ada" })));
                assert_eq!(answer["structuredContent"]["result"], "Hello, Ada!");
                calls.fetch_add(1, Relaxed);
                // There are other tests on this machine.
                thread::sleep(Duration::from_millis(1));
            }
        };
        thread::scope(|scope| {
            (0..CLIENTS).for_each(|_| drop(scope.spawn(client)));
            let done = scope.spawn(come_and_go_all).join();
            stop.store(true, Relaxed);
            done.expect("all came and went as they should");
        });
        let calls = calls.into_inner();
        println!("{calls} calls of greet while others came and went");
        assert!(calls > 1000, "there was load: {calls}");
    });
}
