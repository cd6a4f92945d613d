//! How the gateway stops.

use std::{fs, path::Path};

use insta::assert_snapshot;
use serde_json::{Value, json};
use tests::{Gateway, config, server};

/// The events of the log in one line each, from the first signal on.
fn since_the_signal(log: &[Value]) -> String {
    let events = log.iter().skip_while(|event| event["message"] != "gateway draining");
    let events = events.filter(|event| event.is_object());
    let line = |event: &Value| {
        let fact = |name: &str| event[name].as_str().map(|value| format!("  {value}")).unwrap_or_default();
        let facts: String = ["server", "tool", "outcome", "library"].map(fact).concat();
        format!("{}{facts}", event["message"].as_str().unwrap_or_default())
    };
    events.map(line).collect::<Vec<_>>().join("\n")
}

/// A fixture makes the file when its call runs.
async fn wait_for(file: &Path) {
    while !file.exists() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_call_under_way_is_answered_and_then_servers_are_unloaded_last_to_first() {
    let gateway = Gateway::start(&["holds_calls", "greet", "math"]).await;
    let folder = gateway.folder().to_owned();
    let arguments = json!({ "directory": folder }).to_string();
    let held = gateway.post("/holds_calls/tools/hold", arguments);
    let stop = async {
        wait_for(&folder.join("started")).await;
        gateway.signal("TERM");
        gateway.event("gateway draining").await;
        let ready = gateway.get("/readyz").await;
        let refused = gateway.post("/greet/tools/echoHai", r#"{"userName":"Ada"}"#).await;
        fs::write(folder.join("release"), "").expect("a file");
        (ready.status, refused.summary())
    };
    let (answer, (ready, refused)) = tokio::join!(held, stop);
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, r#"{"result":"released"}"#));
    assert_eq!(ready.as_u16(), 503);
    assert_snapshot!(refused, @r#"
    503 Service Unavailable
    {
      "type": "/problems/plugin_unavailable",
      "title": "The server is not available",
      "status": 503,
      "detail": "the gateway is stopping and takes no new calls",
      "instance": "/greet/tools/echoHai",
      "code": "plugin_unavailable",
      "request_id": "[id]",
      "reason": "draining"
    }
    "#);
    let (code, log) = gateway.ended().await;
    assert_eq!(code, Some(0));
    assert_snapshot!(since_the_signal(&log), @r"
    gateway draining
    call finished  holds_calls  hold  ok
    server unloaded  math  gone
    server unloaded  greet  gone
    server unloaded  holds_calls  gone
    ");
}

#[tokio::test]
async fn a_call_that_does_not_end_is_cut_off_after_the_deadline_and_its_library_still_goes() {
    let config = tests::config(&["holds_calls"]).replace("[log]", "[shutdown]\ndrain = \"50ms\"\n[log]");
    let gateway = Gateway::with_config(&config).await;
    let folder = gateway.folder().to_owned();
    let arguments = json!({ "directory": folder }).to_string();
    let held = gateway.post("/holds_calls/tools/hold", arguments);
    let stop = async {
        wait_for(&folder.join("started")).await;
        gateway.signal("INT");
    };
    let (answer, ()) = tokio::join!(held, stop);
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (503, &json!("plugin_unavailable")));
    let (code, log) = gateway.ended().await;
    assert_eq!(code, Some(1));
    assert_eq!(log.last(), Some(&json!("error: calls under way were cut off after 50ms: 1")));
    assert_snapshot!(since_the_signal(&log), @r"
    gateway draining
    call finished  holds_calls  hold  plugin_unavailable
    server unloaded  holds_calls  gone
    ");
}

#[tokio::test]
async fn a_second_signal_ends_the_gateway_at_once() {
    let gateway = Gateway::start(&["holds_calls"]).await;
    let folder = gateway.folder().to_owned();
    let arguments = json!({ "directory": folder }).to_string();
    let call = {
        let request =
            http::Request::post("/holds_calls/tools/hold").header("content-type", "application/json");
        gateway.send(request.body(arguments).expect("a request"))
    };
    let stop = async {
        wait_for(&folder.join("started")).await;
        gateway.signal("TERM");
        gateway.event("gateway draining").await;
        gateway.signal("TERM");
    };
    let (answer, ()) = tokio::join!(call, stop);
    assert!(answer.is_err(), "nobody released it: {answer:?}");
    let (code, _) = gateway.ended().await;
    assert_eq!(code, Some(1));
}

#[tokio::test]
async fn what_gateway_toml_says_is_served_and_nothing_else() {
    let before = Gateway::start(&["greet", "bye"]).await;
    assert_eq!(before.get("/bye/tools").await.status.as_u16(), 200);
    before.signal("TERM");
    assert_eq!(before.ended().await.0, Some(0));

    let math = tests::server("math", "math").replace("\"/math\"", "\"/calc\"");
    let after = Gateway::with_config(&(tests::config(&["greet"]) + &math)).await;
    let sum = after.post("/calc/tools/add", r#"{"a":2,"b":3}"#).await;
    assert_eq!((sum.status.as_u16(), sum.body.as_str()), (200, r#"{"result":5.0}"#));
    assert_eq!(after.post("/greet/tools/echoHai", r#"{"userName":"Ada"}"#).await.status.as_u16(), 200);
    assert_eq!(after.get("/bye/tools").await.status.as_u16(), 404);
    assert_eq!(after.get("/math/tools").await.status.as_u16(), 404);
}

#[tokio::test]
async fn what_became_of_a_library_is_told_although_its_server_never_served() {
    let declined = server("declined", "declines_start") + "settings.reason = \"it is Sunday\"\n";
    let late = server("late", "never_ready") + "start_timeout = \"2s\"\n";
    let gateway = Gateway::with_config(&(config(&["greet"]) + &declined + &late)).await;
    gateway.event_with("server unloaded", &[("server", "declined"), ("library", "gone")]).await;
    let kept = gateway.event_with("server unloaded", &[("server", "late"), ("library", "kept")]).await;
    assert_eq!(kept["reason"], "it was not ready within 2s and may still run");
    assert_eq!(kept["reason_code"], "start_timeout");
}

#[tokio::test]
async fn a_signal_while_the_gateway_starts_ends_it_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = config(&[]) + &server("late", "never_ready") + "start_timeout = \"1h\"\n";
    fs::write(folder.path().join("gateway.toml"), text).expect("a file");
    let mut gateway =
        tests::command(folder.path()).stderr(std::process::Stdio::null()).spawn().expect("it can be started");
    let threads = format!("/proc/{}/task", gateway.id());
    let is_plugins = |thread: fs::DirEntry| {
        fs::read_to_string(thread.path().join("comm")).is_ok_and(|name| name.starts_with("plugin:late"))
    };
    tests::until("the plugin starts", async || {
        fs::read_dir(&threads).expect("it runs").flatten().any(is_plugins)
    })
    .await;
    let told = std::process::Command::new("kill").arg(gateway.id().to_string()).status();
    assert!(told.is_ok_and(|status| status.success()));
    assert_eq!(gateway.wait().expect("it was started").code(), Some(1));
}

#[tokio::test]
async fn notice_is_given_before_anything_is_refused() {
    let text = config(&["greet"]).replace("[log]", "[shutdown]\nnotice = \"1h\"\n[log]");
    let gateway = Gateway::with_config(&text).await;
    gateway.signal("TERM");
    gateway.event_with("gateway about to drain", &[("notice", "3600s")]).await;
    assert_snapshot!(gateway.get("/readyz").await.summary(), @r#"
    503 Service Unavailable
    {
      "status": "draining",
      "failed": []
    }
    "#);
    assert_eq!(gateway.get("/livez").await.status.as_u16(), 200);
    let answer = gateway.post("/greet/tools/echoHai", r#"{"userName":"Ada"}"#).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, r#"{"result":"Hello, Ada!"}"#));
    let folder = gateway.files();
    assert_snapshot!(folder.run_and_talk(&["health"]), @r"
    exit 1
    not ready: draining
    ");
    assert_snapshot!(folder.run_and_talk(&["servers"]), @r"
    exit 0
      greet  /greet  generation 1  1 tool  running
    ");
    assert_snapshot!(folder.run_and_talk(&["reload"]), @r"
    exit 1
    ! error: the gateway is about to stop and changes nothing any more
    ");
    gateway.signal("TERM");
    let (code, log) = gateway.ended().await;
    assert_eq!(code, Some(1));
    assert!(log.iter().any(|event| event["message"] == "second signal: gateway ends at once"), "{log:#?}");
}

#[tokio::test]
async fn after_the_notice_it_drains() {
    let text = config(&["greet"]).replace("[log]", "[shutdown]\nnotice = \"10ms\"\n[log]");
    let gateway = Gateway::with_config(&text).await;
    gateway.signal("TERM");
    let (code, log) = gateway.ended().await;
    let messages: Vec<_> = log.iter().map(|event| &event["message"]).collect();
    let last = &messages[messages.len() - 3..];
    assert_eq!(
        last,
        [&json!("gateway about to drain"), &json!("gateway draining"), &json!("server unloaded")]
    );
    assert_eq!(code, Some(0));
}
