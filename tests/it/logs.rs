//! What plugins log and print, as it comes out in the gateway's log.

use std::fs::{self, File};

use http::Request;
use insta::assert_snapshot;
use serde_json::{Value, json};
use tests::{Folder, Gateway, Mark, command, config, until};

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
