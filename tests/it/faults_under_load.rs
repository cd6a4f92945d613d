//! Everything that plugins do wrong, in one gateway whose gateway.toml has them come and go, while clients of another
//! server go on calling it. Not here: what SECURITY.md says is not contained.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use futures_util::future::join_all;
use http::Request;
use insta::assert_snapshot;
use serde_json::{Value, json};
use tests::{
    Answer, Gateway, admin_key, config, open_to_all,
    process::mapped_libraries,
    server,
    traffic::{Swaps, Traffic},
};
use tokio::{task::yield_now, time::timeout};

use crate::unload::unloaded;

/// Clients that call `greet`, each with one call at a time; among them they go through every door.
const CLIENTS: usize = 4;
/// How often each plugin comes and goes.
const ROUNDS: usize = 3;
/// How often each fault is provoked before it goes again.
const TIMES: usize = 2;
/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// Servers with faults in their calls, and what their tables say.
const FAULTY: [(&str, &str); 10] = [
    ("panics_in_call", NO_QUARANTINE),
    ("panics_in_poll", NO_QUARANTINE),
    ("panics_in_thread", NO_QUARANTINE),
    ("answers_garbage", NO_QUARANTINE),
    ("changes_its_mind", NO_QUARANTINE),
    ("eats_memory", NO_QUARANTINE),
    ("blocks_its_thread", SHORT_CALLS),
    ("holds_calls", SHORT_CALLS),
    ("never_returns", SHORT_CALLS),
    ("panics_in_destructor", SHORT_CALLS),
];
/// A quarantined server would commit no more faults.
const NO_QUARANTINE: &str = "quarantine_after = 0\n";
const SHORT_CALLS: &str = "quarantine_after = 0\ncall_timeout = \"1s\"\n";

/// Servers that do not stop as they should, or make it hard to unload them.
const UNSTOPPABLE: [(&str, &str); 5] = [
    ("panics_in_stop", ""),
    ("leaves_a_thread", ""),
    ("starts_thread_early", ""),
    ("handles_a_signal", ""),
    ("stays_mapped", ""),
];
/// It takes as long to end as it may, and so comes once.
const STUBBORN: [(&str, &str); 1] = [("ignores_stop", "settings = { release = \"/no/such/file\" }\n")];

/// Servers that do not start, and how that is called. Some of them would end or hold up the process that opens them.
const FAILED: [(&str, &str, &str); 14] = [
    ("no_root_module", "", "not_a_plugin"),
    ("needs_another_library", "", "not_a_plugin"),
    ("searches_elsewhere", "", "not_a_plugin"),
    ("crashes_in_constructor", "", "crashes"),
    ("exits_in_constructor", "", "crashes"),
    ("aborts_in_describe", "", "crashes"),
    ("hangs_in_constructor", "start_timeout = \"1s\"\n", "hangs"),
    ("hangs_in_describe", "start_timeout = \"1s\"\n", "hangs"),
    ("other_layout", "", "wrong_abi"),
    ("panics_at_creation", "", "declined"),
    ("declines_start", "settings = { reason = \"it is Sunday\" }\n", "declined"),
    ("bad_schema", "", "bad_schema"),
    // The shortest in which it gets as far as its fault, on any machine.
    ("never_ready", "start_timeout = \"2s\"\n", "start_timeout"),
    // It has to have some, and so is not even asked to start.
    ("tells_its_end", "", "bad_settings"),
];
/// What is mapped when they have gone: what serves, and what may still run.
const KEPT: [&str; 6] = [
    "greet.so",
    "handles_a_signal.so",
    "ignores_stop.so",
    "leaves_a_thread.so",
    "never_ready.so",
    "starts_thread_early.so",
];

/// Server, tool, arguments, and the status of the answer.
const CALLS: [(&str, &str, &str, u16); 21] = [
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
    // The last: it answers nothing from then on.
    ("answers_garbage", "end", "{}", 503),
    ("changes_its_mind", "flood", "{}", 200),
    ("changes_its_mind", "spoil", "{}", 200),
    ("eats_memory", "eat", r#"{"mebibytes":32}"#, 200),
    ("never_returns", "wait", "{}", 504),
    ("panics_in_destructor", "wait", "{}", 504),
    ("panics_in_destructor", "ping", "{}", 200),
];
/// Server, a tool that goes on after its caller was told that it took too long, and a call that is answered once it ends.
const HELD: [(&str, &str, &str, &str); 3] = [
    ("holds_calls", "hold", "count", r#"{"to":3}"#),
    ("blocks_its_thread", "block", "ping", "{}"),
    ("blocks_its_thread", "spin", "ping", "{}"),
];

/// A gateway.toml with `greet` and these.
fn file(servers: &[&[(&str, &str)]]) -> String {
    let admin = format!("{}[log]\nfilter = \"info,host::serve=warn\"", admin_key().table);
    let tables = servers.concat().into_iter().map(|(plugin, more)| server(plugin, plugin) + more);
    open_to_all(&(config(&["greet"]).replace("[log]", &admin) + &tables.collect::<String>()))
}

/// Has the gateway take this gateway.toml.
async fn reload(gateway: &Gateway, text: String) -> Answer {
    fs::write(gateway.folder().join("gateway.toml"), text).expect("it is ours");
    let request = Request::post("/admin/reload");
    gateway.send(request.body(String::new()).expect("a request")).await.expect("an answer")
}

async fn listed(gateway: &Gateway) -> Vec<Value> {
    gateway.get("/servers").await.json()["servers"].as_array().cloned().expect("servers")
}

/// The generation that serves for each server, where one does.
async fn generations(gateway: &Gateway) -> BTreeMap<String, Option<u64>> {
    let row = |row: Value| (text(&row["name"]), row["generation"].as_u64());
    listed(gateway).await.into_iter().map(row).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Checks that exactly those servers are said to have failed that do not start; `name`: what the member is called.
fn check_failed(rows: &[Value], name: &str) {
    let failed = rows.iter().filter(|row| row["code"].is_string());
    let failed: Vec<_> = failed.map(|row| (text(&row[name]), text(&row["code"]))).collect();
    let expected = FAILED.map(|(plugin, _, code)| (plugin.to_owned(), code.to_owned()));
    assert_eq!(failed, expected, "{rows:#?}");
}

/// Provokes every fault in the calls of one server.
async fn provoke(gateway: &Gateway, server: &str) {
    let path = |tool: &str| format!("/{server}/tools/{tool}");
    for (_, tool, arguments, expected) in CALLS.iter().filter(|call| call.0 == server) {
        for _ in 0..TIMES {
            let answer = gateway.post(&path(tool), *arguments).await;
            assert_eq!(answer.status.as_u16(), *expected, "{server}/{tool} {arguments}: {answer:?}");
        }
    }
    let directory = gateway.folder().join(server);
    fs::create_dir_all(&directory).expect("a folder");
    let (release, arguments) = (directory.join("release"), json!({ "directory": directory }).to_string());
    for (_, tool, next, next_arguments) in HELD.iter().filter(|held| held.0 == server) {
        for _ in 0..TIMES {
            let answer = gateway.post(&path(tool), &*arguments).await;
            assert_eq!(answer.status.as_u16(), 504, "{server}/{tool}: {answer:?}");
            fs::write(&release, "").expect("a file");
            let answer = gateway.post(&path(next), *next_arguments).await;
            assert_eq!(answer.status.as_u16(), 200, "{server}/{next} after {tool}: {answer:?}");
            fs::remove_file(&release).expect("it is there");
        }
    }
}

/// Has everything that is wrong come, do what it does, and go.
async fn come_and_go(gateway: &Gateway) {
    let failed = FAILED.map(|(plugin, more, _)| (plugin, more));
    for round in 0..ROUNDS {
        if round == 0 {
            // The gateway was started with them.
            check_failed(&listed(gateway).await, "name");
        } else {
            let come = reload(gateway, file(&[&FAULTY, &UNSTOPPABLE])).await;
            assert_eq!(come.status.as_u16(), 200, "{}", come.body);
            let before = generations(gateway).await;
            // Nor does what nothing is wrong with come with those that do not start.
            let more = reload(gateway, file(&[&FAULTY, &UNSTOPPABLE, &[("bye", "")], &failed])).await;
            assert_eq!(more.status.as_u16(), 409, "{}", more.body);
            check_failed(more.json()["reload"]["refused"].as_array().expect("refusals"), "server");
            assert_eq!(generations(gateway).await, before);
        }
        join_all(FAULTY.iter().map(|(plugin, _)| provoke(gateway, plugin))).await;
        let gone = reload(gateway, file(&[])).await;
        assert_eq!(gone.status.as_u16(), 200, "{}", gone.body);
        assert_eq!(generations(gateway).await, BTreeMap::from([("greet".to_owned(), Some(1))]));
    }
}

/// Waits until no other library is mapped than those that have to be; which are.
async fn mapped_at_last(gateway: &Gateway) -> Vec<String> {
    let mapped = || BTreeSet::from_iter(mapped_libraries(gateway.pid()));
    let waiting = async {
        while mapped().len() > KEPT.len() {
            yield_now().await;
        }
    };
    // If they never are, the log says why.
    let _ = timeout(LONG, waiting).await;
    mapped().into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_of_a_plugin_fails_a_call_of_another() -> Result<()> {
    let failed = FAILED.map(|(plugin, more, _)| (plugin, more));
    let gateway = Gateway::with_config(&file(&[&FAULTY, &UNSTOPPABLE, &STUBBORN, &failed]))
        .await
        .asked_with(&admin_key());
    let traffic = Traffic::start(gateway.base(), CLIENTS, &Arc::new(Swaps::default()));
    come_and_go(&gateway).await;
    let mapped = mapped_at_last(&gateway).await;
    for (door, seen) in traffic.stop().await? {
        println!("{} calls of greet through {}, {} failed", seen.took.len(), door.name(), seen.failed.len());
        assert_eq!(seen.failed, Vec::<String>::new(), "{door:?}");
        assert!(seen.took.len() > 100, "{door:?}: there was load");
    }

    gateway.signal("TERM");
    let (code, log) = gateway.ended().await;
    assert_eq!(code, Some(0));
    let unloaded = unloaded(&log);
    assert_eq!(mapped, KEPT, "{unloaded}");
    for (plugin, _) in FAULTY.iter().chain(&UNSTOPPABLE) {
        let ends = unloaded.lines().filter(|line| line.split(' ').next() == Some(plugin));
        assert_eq!(ends.count(), ROUNDS, "{plugin} in {unloaded}");
    }
    let kinds: BTreeSet<&str> = unloaded.lines().collect();
    assert_snapshot!(kinds.into_iter().collect::<Vec<_>>().join("\n"), @r"
    answers_garbage gone
    bad_schema gone
    blocks_its_thread gone
    bye gone
    changes_its_mind gone
    declines_start gone
    eats_memory gone
    greet gone
    handles_a_signal kept it handles the signals [12]
    holds_calls gone
    ignores_stop kept its main function did not return within 8s
    leaves_a_thread kept 1 of its threads still run
    never_ready kept it was not ready within 2s and may still run
    never_returns gone
    panics_at_creation gone
    panics_in_call gone
    panics_in_destructor gone
    panics_in_poll gone
    panics_in_stop gone
    panics_in_thread gone
    starts_thread_early kept 1 of its threads still run
    stays_mapped gone
    tells_its_end gone
    ");
    Ok(())
}
