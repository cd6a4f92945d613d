//! What plugins log and print, as it comes out in the gateway's log.

use std::fs::{self, File};

use http::Request;
use insta::assert_snapshot;
use serde_json::{Value, json};
use tests::{Folder, Gateway, Mark, command, config, server, until};

/// Calls `holds_calls/hold`, gives up once it runs, and waits until the call is over; where the log was before.
async fn hold_and_give_up(gateway: &Gateway) -> (Mark, Value) {
    let mark = gateway.mark();
    let arguments = json!({ "directory": gateway.folder() }).to_string();
    let request = Request::post("/holds_calls/tools/hold").header("content-type", "application/json");
    tokio::select! {
        answer = gateway.send(request.body(arguments).expect("a request")) => panic!("nobody released it: {answer:?}"),
        _ = gateway.event_since(mark, "holding", |_| true) => {}
    }
    let over = gateway.event_since(mark, "call finished", |event| event["outcome"] == "cancelled").await;
    (mark, over)
}

#[tokio::test]
async fn what_a_plugin_logs_in_a_call_is_found_by_the_id_of_its_request() {
    let text = config(&["holds_calls"]);
    let gateway = Gateway::with_config(&text).await;
    let (mark, over) = hold_and_give_up(&gateway).await;
    let holding = gateway.event_since(mark, "holding", |_| true).await;
    assert!(over["request_id"].is_string(), "{over}");
    for member in ["server", "tool", "request_id"] {
        assert_eq!(holding[member], over[member]);
    }
    assert_eq!(
        (&holding["target"], &holding["from"], &holding["fields"]),
        (&json!("gateway::plugin"), &json!("holds_calls"), &Value::Null)
    );

    // What it logs at a level that the filter has come to let through is heard at once, and still belongs to its call, which
    // nobody waits for any more.
    gateway.files().replace("gateway.toml", text.replace("[log]", "[log]\nfilter = \"debug\""));
    until("the filter holds", async || {
        gateway.get("/servers").await.json()["reload"]["settings"] == json!(["log"])
    })
    .await;
    let (second, over) = hold_and_give_up(&gateway).await;
    let let_go = gateway.event_since(second, "let go", |_| true).await;
    for member in ["server", "tool", "request_id"] {
        assert_eq!(let_go[member], over[member]);
    }
    let logged = gateway.logged_since(mark);
    let heard = logged.iter().filter(|event| event["message"] == "let go").count();
    assert_eq!((heard, &let_go["level"]), (1, &json!("DEBUG")), "{logged:#?}");
}

/// What the fixture printed or logged, in its order: where, in which call, and what.
fn told(log: &[Value]) -> String {
    let of_plugin = log.iter().filter(|event| event["target"] == "gateway::plugin");
    let line = |event: &Value| {
        let fact = |name: &str| event[name].as_str().unwrap_or("-").to_owned();
        let call = if event["request_id"].is_string() { "in a call" } else { "in none" };
        let fields = event["fields"].as_object().map(|_| format!(" {}", event["fields"]));
        [fact("level"), fact("server"), fact("from"), fact("tool"), call.into(), fact("message")].join("  ")
            + &fields.unwrap_or_default()
    };
    of_plugin.map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn what_a_plugin_prints_is_in_the_log_a_line_at_a_time() {
    let folder = Folder::empty();
    folder.replace("gateway.toml", config(&["prints"]));
    let stdout = File::create(folder.path().join("stdout")).expect("a file");
    let mut command = command(folder.path());
    command.stdout(stdout);
    let gateway = Gateway::of_command(command, folder.clone()).await;
    let answer = gateway.post("/prints/tools/print", r#"{"text":"Ada\u001b"}"#).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, r#"{"result":7}"#));
    assert_eq!(gateway.post("/prints/tools/panic", r#"{"text":"oh no"}"#).await.status.as_u16(), 500);
    let ids = |log: &[Value], tool: &str| {
        let mut ids: Vec<String> = log
            .iter()
            .filter(|event| event["tool"] == tool)
            .map(|event| event["request_id"].as_str().unwrap_or_default().to_owned())
            .collect();
        ids.dedup();
        ids.len()
    };
    gateway.signal("TERM");
    let (code, log) = gateway.ended().await;
    assert_eq!(code, Some(0));
    assert!(log.iter().all(Value::is_object), "nothing else is on stderr: {log:#?}");
    assert_eq!(fs::read_to_string(folder.path().join("stdout")).expect("text"), "");
    assert_eq!((ids(&log, "print"), ids(&log, "panic")), (1, 1), "one id for all of a call: {log:#?}");
    assert_snapshot!(told(&log).replace('\u{1b}', "ESC"), @r#"
    WARN  prints  stderr  -  in none  being set up
    WARN  prints  stderr  -  in none  being set up
    INFO  prints  stdout  -  in none  starting
    INFO  prints  stdout  print  in a call  std: AdaESC
    WARN  prints  stderr  print  in a call  std, to stderr: AdaESC
    WARN  prints  stderr  print  in a call  and more
    WARN  prints  stderr  print  in a call  [tests/fixtures/prints/src/lib.rs:34:5] args.text.len() = 4
    INFO  prints  stdout  print  in a call  AdaESC from C
    WARN  prints  stderr  print  in a call  C, in pieces: AdaESC
    INFO  prints  prints  print  in a call  logged {"level":"ERROR","text":"Ada\u001b"}
    INFO  prints  stdout  -  in none  of no call
    INFO  prints  stdout  -  in none  at a thread's end
    ERROR  prints  plugin_api::glue  panic  in a call  panic: oh no {"at":"tests/fixtures/prints/src/lib.rs:63:5"}
    INFO  prints  stdout  -  in none  the last words have no end
    "#);
    let gone = log.iter().find(|event| event["message"] == "server unloaded").expect("it was loaded");
    assert_eq!(gone["library"], "gone", "{gone}");
}

/// How many records of the fixture are in the log, and how many the log says are not.
fn logged_and_dropped(log: &[Value]) -> (u64, u64) {
    let logged = log.iter().filter(|event| event["target"] == "gateway::plugin").count();
    let told = log.iter().filter(|event| event["message"] == "plugin floods the log");
    (logged as u64, told.map(|event| event["dropped"].as_u64().expect("a number")).sum())
}

#[tokio::test]
async fn a_plugin_that_floods_the_log_loses_what_is_beyond_its_limit_and_is_named() {
    let limited = server("floods_the_log", "floods_the_log") + "log_max_per_second = 5\n";
    let gateway = Gateway::with_config(&(config(&["greet"]) + &limited)).await;
    let arguments = r#"{"records":2000,"lines":2000}"#;
    assert_eq!(gateway.post("/floods_the_log/tools/flood", arguments).await.body, r#"{"result":4000}"#);
    let first = gateway.event("plugin floods the log").await;
    assert_eq!(
        (&first["level"], &first["server"], &first["dropped"]),
        (&json!("WARN"), &json!("floods_the_log"), &json!(1)),
        "it is said at once"
    );
    // Whoever else logs is heard.
    let answer = gateway.post("/greet/tools/echoHai", r#"{"userName":"Ada"}"#).await;
    assert_eq!(answer.status.as_u16(), 200);
    gateway.event_with("call finished", &[("server", "greet")]).await;

    let metrics = gateway.get("/metrics").await.body;
    let series = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)).expect("a series");
        line.trim().parse::<u64>().expect("a number")
    };
    let dropped = series("gateway_plugin_log_dropped_total{server=\"floods_the_log\"}");
    let levels = ["error", "warn", "info", "debug", "trace"].map(|level| {
        series(&format!("gateway_plugin_log_records_total{{server=\"floods_the_log\",level=\"{level}\"}}"))
    });
    assert!(dropped > 3000, "{dropped}");
    assert_eq!(
        (dropped + levels.iter().sum::<u64>(), levels[3]),
        (4000, 0),
        "debug is no record: nobody hears it"
    );

    gateway.signal("TERM");
    let (code, log) = gateway.ended().await;
    assert_eq!(code, Some(0));
    assert_eq!(
        logged_and_dropped(&log),
        (4000 - dropped, dropped),
        "what was not told at once is told at the end"
    );
    let calls = log.iter().filter(|event| event["message"] == "call finished").count();
    assert_eq!(calls, 2, "{log:#?}");
}

#[tokio::test]
async fn without_a_limit_all_is_logged_but_no_line_is_endless() {
    let free = server("free", "floods_the_log") + "log_max_per_second = 0\n";
    let gateway = Gateway::with_config(&(config(&[]) + &free)).await;
    let arguments = r#"{"records":1500,"lines":1500}"#;
    assert_eq!(gateway.post("/free/tools/flood", arguments).await.body, r#"{"result":3000}"#);
    let arguments = r#"{"records":1,"lines":1,"bytes":100000}"#;
    assert_eq!(gateway.post("/free/tools/flood", arguments).await.body, r#"{"result":2}"#);
    gateway.signal("TERM");
    let (_, log) = gateway.ended().await;
    let printed_in_pieces = 100_007_u64.div_ceil(4096);
    assert_eq!(logged_and_dropped(&log), (3001 + printed_in_pieces, 0));
    let longest = log.iter().filter_map(|event| event["message"].as_str()).map(str::len).max();
    assert_eq!(longest, Some(64 << 10));
}

#[tokio::test]
async fn why_a_plugin_ends_the_process_is_told_where_nothing_else_of_it_is() {
    const WHY: &str = "fatal runtime error: thread local panicked on drop, aborting";
    let end = async |filter: &str, is_told: &dyn Fn(&Value) -> bool| {
        let text = config(&["ends_the_process"]).replace("[log]", &format!("[log]\nfilter = \"{filter}\""));
        let gateway = Gateway::with_config(&text).await;
        let request = Request::post("/ends_the_process/tools/end").header("content-type", "application/json");
        let arguments = json!({ "how": "panic_in_thread_local" }).to_string();
        let answer = gateway.send(request.body(arguments).expect("a request")).await;
        assert!(answer.is_err(), "{answer:?}");
        let (_, log) = gateway.ended().await;
        assert_eq!(log.iter().filter(|line| is_told(line)).count(), 1, "{log:#?}");
    };
    end("info,gateway::plugin=error", &|line| {
        (&line["level"], &line["server"], &line["message"])
            == (&json!("ERROR"), &json!("ends_the_process"), &json!(WHY))
    })
    .await;
    end("info,gateway::plugin=off", &|line| line.to_string().contains(WHY)).await;
}
