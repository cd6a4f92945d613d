//! Edits of gateway.toml that are followed without anybody asking, and what they leave alone.

use std::fs;

use http::Request;
use insta::assert_snapshot;
use serde_json::{Value, json};
use tests::{Gateway, admin_key, until};

use super::{
    HEAD, fate, follow, follow_edit, generations, greet_that_says, greeting, metric, servers, start,
    start_with, table, text, toml, without_times,
};

async fn status(gateway: &Gateway, path: &str) -> u16 {
    gateway.get(path).await.status.as_u16()
}

/// The servers in their order, each with its prefix and generation.
async fn layout(gateway: &Gateway) -> String {
    let told = servers(gateway).await;
    let row = |server: &Value| format!("{}@{}", text(&server["prefix"]), server["generation"]);
    told["servers"].as_array().expect("a list").iter().map(row).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn servers_are_added_moved_and_removed_and_the_others_stay_as_they_are() {
    let gateway = start(&["greet", "bye", "math"]).await;
    assert_eq!(layout(&gateway).await, "/greet@1 /bye@2 /math@3");

    let mark = gateway.mark();
    let event = follow(&gateway, &toml(&["greet", "bye"])).await;
    assert_eq!(
        (event["changes"].as_str(), layout(&gateway).await),
        (Some("math removed"), "/greet@1 /bye@2".into())
    );
    assert_eq!(status(&gateway, "/math/tools").await, 404);
    assert_eq!(fate(&gateway, mark, "math").await, "gone");

    let event = follow(&gateway, &toml(&["math", "greet", "bye"])).await;
    assert_eq!(event["changes"], "math added");
    assert_eq!(layout(&gateway).await, "/math@4 /greet@1 /bye@2");
    assert_eq!(status(&gateway, "/math/tools").await, 200);

    let mark = gateway.mark();
    let moved = toml(&["math", "greet", "bye"]).replace("\"/greet\"", "\"/hi/there\"");
    assert_eq!(follow(&gateway, &moved).await["changes"], "greet swapped");
    assert_eq!(layout(&gateway).await, "/math@4 /hi/there@5 /bye@2");
    assert_eq!(
        (status(&gateway, "/greet/tools").await, greeting(&gateway, "/hi/there").await),
        (404, "Hello, Ada!".into())
    );
    assert_eq!(fate(&gateway, mark, "greet").await, "gone");
    let paths = gateway.get("/openapi.json").await.json()["paths"].clone();
    assert!(paths["/hi/there/tools/echoHai"].is_object() && paths["/greet/tools/echoHai"].is_null());

    let exchanged =
        moved.replace("\"/bye\"", "\"/x\"").replace("\"/math\"", "\"/bye\"").replace("\"/x\"", "\"/math\"");
    let mark = gateway.mark();
    assert_eq!(follow(&gateway, &exchanged).await["changes"], "math swapped, bye swapped");
    assert_eq!(layout(&gateway).await, "/bye@6 /hi/there@5 /math@7");
    assert_eq!(gateway.post("/bye/tools/add", r#"{"a":2,"b":3}"#).await.body, r#"{"result":5.0}"#);
    assert_eq!(status(&gateway, "/math/tools").await, 200);

    assert_eq!(
        (fate(&gateway, mark, "math").await, fate(&gateway, mark, "bye").await),
        ("gone".into(), "gone".into())
    );

    // A name is who it is: another name at the same prefix is another server.
    let renamed = exchanged.replace("name = \"math\"", "name = \"calc\"");
    let mark = gateway.mark();
    assert_eq!(follow(&gateway, &renamed).await["changes"], "calc added, math removed");
    assert_eq!(fate(&gateway, mark, "math").await, "gone");
    assert_eq!(layout(&gateway).await, "/bye@8 /hi/there@5 /math@7");
    gateway.signal("TERM");
    let (code, log) = gateway.ended().await;
    assert_eq!(code, Some(0));
    // Two that are replaced at once end side by side, those that are left when it stops last to first.
    let unloaded = crate::unload::unloaded(&log);
    let mut unloaded: Vec<&str> = unloaded.lines().collect();
    assert_eq!(unloaded[5..], ["bye gone", "greet gone", "calc gone"]);
    unloaded.sort_unstable();
    assert_eq!(
        unloaded.join(", "),
        "bye gone, bye gone, calc gone, greet gone, greet gone, math gone, math gone, math gone"
    );
}

#[tokio::test]
async fn a_server_that_is_set_otherwise_is_swapped_and_one_that_is_only_written_otherwise_is_not() {
    let (one, other) = ("settings = { release = \"/\" }\n", "settings = { release = \"/tmp\" }\n");
    let first = toml(&["greet", "bye", "ignores_stop"]) + one;
    let gateway = start_with(&["greet", "bye", "ignores_stop"], &first).await;
    let written = |greet: &str, ignores_stop: &str| {
        HEAD.to_owned() + &table("greet") + greet + &table("bye") + &table("ignores_stop") + ignores_stop
    };
    let event = follow(&gateway, &written("call_timeout = \"7s\"\n", one)).await;
    assert_eq!(
        (&event["changes"], layout(&gateway).await),
        (&"greet swapped".into(), "/greet@4 /bye@2 /ignores_stop@3".into())
    );
    let event = follow(&gateway, &written("call_timeout = \"7s\"\n", other)).await;
    assert_eq!(
        (&event["changes"], layout(&gateway).await),
        (&"ignores_stop swapped".into(), "/greet@4 /bye@2 /ignores_stop@5".into())
    );

    let mark = gateway.mark();
    let unchanged = metric(&gateway, UNCHANGED).await;
    let otherwise = format!(
        "# The same.\n{}",
        written("call_timeout = \"7000ms\"\n", "[server.settings]\nrelease = '/tmp'\n")
    );
    gateway.files().replace("gateway.toml", otherwise);
    until("it has looked", async || metric(&gateway, UNCHANGED).await != unchanged).await;
    assert_eq!(layout(&gateway).await, "/greet@4 /bye@2 /ignores_stop@5");

    let order = HEAD.to_owned() + &table("bye") + &table("greet") + "call_timeout = \"7s\"\n";
    let order = order + &table("ignores_stop") + other;
    gateway.files().replace("gateway.toml", order);
    until("they are in the new order", async || layout(&gateway).await == "/bye@2 /greet@4 /ignores_stop@5")
        .await;
    assert!(gateway.logged_since(mark).iter().all(|event| event["message"] != "server loaded"));
}

const UNCHANGED: &str = "gateway_reloads_total{outcome=\"unchanged\"}";

/// The status of an answer to a request with these headers.
async fn status_with(
    gateway: &Gateway,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> u16 {
    let request =
        headers.iter().fold(Request::builder().method(method).uri(path), |request, (name, value)| {
            request.header(*name, *value)
        });
    let request = request.body(body.to_owned()).expect("a request");
    gateway.send(request).await.expect("an answer").status.as_u16()
}

#[tokio::test]
async fn tables_that_are_not_of_servers_hold_from_the_edit_on() {
    let gateway = start(&["greet", "holds_calls"]).await.asked_with(&admin_key());
    let before = generations(&gateway).await;
    let large = json!({ "userName": "A".repeat(500) }).to_string();
    let json = ("content-type", "application/json");
    let statuses = async || {
        [
            status_with(&gateway, "POST", "/greet/tools/echoHai", &[json], &large).await,
            status_with(&gateway, "GET", "/servers", &[("host", "tools.example.com")], "").await,
            status_with(&gateway, "POST", "/admin/reload", &[], "").await,
        ]
    };
    assert_eq!(statuses().await, [200, 403, 401]);
    let http = "[http]\nbody_max_bytes = 100\nallowed_hosts = [\"tools.example.com\"]\n";
    let more = format!("{http}[shutdown]\ndrain = \"70ms\"\n{}", admin_key().table);
    let event = follow(&gateway, &(toml(&["greet", "holds_calls"]) + &more)).await;
    assert_eq!((&event["settings"], &event["changes"]), (&"http, shutdown, auth".into(), &Value::Null));
    assert_eq!(statuses().await, [413, 200, 200]);
    assert_eq!(generations(&gateway).await, before);

    // The log says nothing of a reload that it is told not to.
    let mark = gateway.mark();
    let quiet = (toml(&["greet", "holds_calls"]) + &more).replace("[log]", "[log]\nfilter = \"warn\"");
    gateway.files().replace("gateway.toml", &quiet);
    until("it is quiet", async || servers(&gateway).await["reload"]["settings"] == json!(["log"])).await;
    greeting(&gateway, "/greet").await;
    follow(&gateway, &quiet.replace("warn", "info")).await;
    greeting(&gateway, "/greet").await;
    gateway.event_since(mark, "call finished", |_| true).await;
    let logged = gateway.logged_since(mark);
    assert_eq!(logged.iter().filter(|event| event["message"] == "call finished").count(), 1, "{logged:?}");

    let arguments = json!({ "directory": gateway.folder() }).to_string();
    let held = gateway.post("/holds_calls/tools/hold", arguments);
    let stop = async {
        gateway.event("holding").await;
        gateway.signal("TERM");
    };
    let (answer, ()) = tokio::join!(held, stop);
    assert_eq!(answer.status.as_u16(), 503);
    assert_eq!(gateway.event("gateway draining").await["drain"], "70ms");
}

#[tokio::test]
async fn what_takes_a_restart_is_said_and_the_rest_applies() {
    let gateway = start(&["greet"]).await;
    fs::write(gateway.folder().join("plugins/bye.so"), tests::built("bye")).expect("a file");
    let port = gateway.base().rsplit(':').next().expect("a port").to_owned();
    let text = toml(&["greet", "bye"])
        .replace("127.0.0.1:0", &format!("127.0.0.1:{port}"))
        .replace("\"json\"", "\"text\"\n[admin]\nlisten = \"127.0.0.1:9\"");
    let mark = gateway.mark();
    let event = follow(&gateway, &text).await;
    assert_eq!((&event["changes"], &event["settings"]), (&"bye added".into(), &Value::Null));
    let waiting = servers(&gateway).await["reload"]["needs_restart"].clone();
    let shown = serde_json::to_string_pretty(&waiting).expect("JSON").replace(&port, "[port]");
    assert_snapshot!(shown, @r#"
    [
      "listen",
      "[admin] listen",
      "[log] format"
    ]
    "#);
    let logged = gateway.logged_since(mark);
    let said: Vec<&Value> = logged
        .iter()
        .filter(|event| event["message"] == "a change takes a restart")
        .map(|event| &event["key"])
        .collect();
    assert_eq!(said, ["listen", "[admin] listen", "[log] format"]);
    assert_eq!(metric(&gateway, "gateway_reload_in_effect").await.as_deref(), Some("0"));
    assert_snapshot!(gateway.files().run_and_talk(&["reload"]).replace(&port, "[port]"), @r#"
    exit 0
    nothing has changed
    ! warning: listen: "127.0.0.1:[port]" takes a restart; until then it is "127.0.0.1:0"
    ! warning: [admin] listen: "127.0.0.1:9" takes a restart; until then it is "the main listener"
    ! warning: [log] format: "text" takes a restart; until then it is "json"
    "#);

    follow_edit(&gateway, |folder| {
        folder.install("greet", &greet_that_says("Howdy")).replace("gateway.toml", toml(&["greet", "bye"]));
    })
    .await;
    until("nothing waits", async || {
        metric(&gateway, "gateway_reload_in_effect").await.as_deref() == Some("1")
    })
    .await;
}

#[tokio::test]
async fn a_server_that_has_ended_or_has_not_started_is_tried_again_on_request_or_for_another_file() {
    let declines = table("declines_start") + "settings.reason = \"it is Sunday\"\n";
    let toml = toml(&["greet", "answers_garbage", "late"]) + &declines;
    let gateway = start_with(&["greet", "answers_garbage", "declines_start"], &toml).await;
    gateway.post("/answers_garbage/tools/end", "{}").await;
    let states = async || {
        let told = servers(&gateway).await;
        let state = |server: &Value| text(&server[if server["code"].is_null() { "state" } else { "code" }]);
        told["servers"].as_array().expect("a list").iter().map(state).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(states().await, "running ended unreadable declined");
    let mark = gateway.mark();
    assert_snapshot!(without_times(&gateway.files().run_and_talk(&["reload"])), @r"
    exit 1
    reloaded in […] ms
      answers_garbage  swapped  generation 3
    ! error: server `late`: cannot read `plugins/late.so`: No such file or directory (os error 2)
    ! error: server `declines_start`: the plugin declined to start: it is Sunday
    ");
    assert_eq!(states().await, "running running unreadable declined");
    assert_eq!(fate(&gateway, mark, "answers_garbage").await, "gone");
    assert_eq!(fate(&gateway, mark, "declines_start").await, "gone");

    let event = follow_edit(&gateway, |folder| _ = folder.install("late", &greet_that_says("Howdy"))).await;
    assert_eq!(
        (&event["changes"], greeting(&gateway, "/late").await),
        (&"late added".into(), "Howdy, Ada!".into())
    );
}
