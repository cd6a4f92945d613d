//! What ends while something else begins: swaps under a call that does not end, reloads while the gateway stops.

use std::{fs, process::Stdio};

use http::Request;
use insta::assert_snapshot;
use serde_json::json;
use tests::{Gateway, admin_key, artifacts, built, command, until};

use super::{
    HEAD, fate, follow, follow_edit, generations, greeting, servers, start, start_with, table, toml,
};
use crate::problem::problem;

/// A call that ends when the file `release` is there, and the directory where that is looked for.
fn hold(gateway: &Gateway) -> String {
    json!({ "directory": gateway.folder() }).to_string()
}

fn release(gateway: &Gateway) {
    fs::write(gateway.folder().join("release"), "").expect("a file");
}

/// The same plugin as another file.
fn rebuilt(name: &str) -> Vec<u8> {
    [built(name), vec![0]].concat()
}

/// How many libraries have ended.
fn ended(gateway: &Gateway, mark: tests::Mark) -> usize {
    gateway.logged_since(mark).iter().filter(|event| event["message"] == "server unloaded").count()
}

#[tokio::test]
async fn a_call_ends_where_it_began_and_the_next_one_is_the_new_generations() {
    let gateway = start(&["holds_calls", "greet"]).await;
    let mark = gateway.mark();
    let held = gateway.post("/holds_calls/tools/hold", hold(&gateway));
    let swap = async {
        gateway.event("holding").await;
        let swap =
            follow_edit(&gateway, |folder| _ = folder.install("holds_calls", &rebuilt("holds_calls"))).await;
        assert_eq!(swap["changes"], "holds_calls swapped");
        let next = gateway.post("/holds_calls/tools/count", r#"{"to":3}"#).await;
        assert_eq!(next.body, r#"{"result":3}"#);
        assert_eq!(generations(&gateway).await, [("holds_calls".to_owned(), 3), ("greet".to_owned(), 2)]);
        assert_eq!(ended(&gateway, mark), 0, "a call is under way in it");
        release(&gateway);
    };
    let (answer, ()) = tokio::join!(held, swap);
    assert_eq!(answer.body, r#"{"result":"released"}"#);
    assert_eq!(fate(&gateway, mark, "holds_calls").await, "gone");
}

#[tokio::test]
async fn a_call_of_a_server_that_is_removed_is_answered_too() {
    let gateway = start(&["holds_calls", "greet"]).await;
    let mark = gateway.mark();
    let held = gateway.post("/holds_calls/tools/hold", hold(&gateway));
    let removal = async {
        gateway.event("holding").await;
        follow(&gateway, &toml(&["greet"])).await;
        assert_eq!(gateway.post("/holds_calls/tools/count", r#"{"to":3}"#).await.status.as_u16(), 404);
        assert_eq!(ended(&gateway, mark), 0, "a call is under way in it");
        release(&gateway);
    };
    let (answer, ()) = tokio::join!(held, removal);
    assert_eq!(answer.body, r#"{"result":"released"}"#);
    assert_eq!(fate(&gateway, mark, "holds_calls").await, "gone");
}

#[tokio::test]
async fn a_call_that_never_ends_is_cut_off_after_its_time_and_the_old_library_goes() {
    let brief = "call_timeout = \"900ms\"\n";
    let text = HEAD.to_owned()
        + "[shutdown]\ndrain = \"50ms\"\n"
        + &table("never_returns")
        + brief
        + &table("holds_calls")
        + brief;
    let gateway = start_with(&["never_returns", "holds_calls"], &text).await;
    let mark = gateway.mark();
    let blocked = gateway.post("/holds_calls/tools/block", hold(&gateway));
    let endless = gateway.post("/never_returns/tools/wait", "{}");
    let swap = async {
        until("its thread is taken", async || gateway.folder().join("started").exists()).await;
        let moved = text.replace("\"900ms\"", "\"800ms\"");
        let swap = follow(&gateway, &moved).await;
        assert_eq!(swap["changes"], "never_returns swapped, holds_calls swapped");
        let next = gateway.post("/holds_calls/tools/count", r#"{"to":3}"#).await;
        assert_eq!(next.body, r#"{"result":3}"#, "whatever the old generation does");
    };
    let (blocked, endless, ()) = tokio::join!(blocked, endless, swap);
    assert_eq!((blocked.status.as_u16(), endless.status.as_u16()), (504, 504));
    assert_eq!(fate(&gateway, mark, "never_returns").await, "gone");
    // Nothing can be unloaded under its own thread; this one may go on now.
    release(&gateway);
    assert_eq!(fate(&gateway, mark, "holds_calls").await, "gone");
}

#[tokio::test]
async fn a_generation_on_its_way_out_is_cut_off_when_the_gateway_stops() {
    let gateway =
        start_with(&["holds_calls"], &(toml(&["holds_calls"]) + "[shutdown]\ndrain = \"50ms\"\n")).await;
    let held = gateway.post("/holds_calls/tools/hold", hold(&gateway));
    let stop = async {
        gateway.event("holding").await;
        follow_edit(&gateway, |folder| _ = folder.install("holds_calls", &rebuilt("holds_calls"))).await;
        gateway.signal("TERM");
    };
    let (answer, ()) = tokio::join!(held, stop);
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (503, &json!("plugin_unavailable")));
    let (code, log) = gateway.ended().await;
    assert_eq!(
        (code, crate::unload::unloaded(&log).as_str()),
        (Some(1), "holds_calls gone\nholds_calls gone")
    );
}

#[tokio::test]
async fn while_the_gateway_drains_a_reload_is_refused_and_an_edit_is_not_followed() {
    let text = toml(&["holds_calls", "greet"]) + &admin_key().table;
    let gateway = start_with(&["holds_calls", "greet", "bye"], &text).await.asked_with(&admin_key());
    let held = gateway.post("/holds_calls/tools/hold", hold(&gateway));
    let stop = async {
        gateway.event("holding").await;
        gateway.signal("TERM");
        gateway.event("gateway draining").await;
        gateway.files().replace("gateway.toml", text.replace("\"/greet\"", "\"/hi\""));
        let ask = Request::post("/admin/reload");
        let shown = problem(&gateway, ask.body(String::new()).expect("a request")).await;
        let said = gateway.files().run_and_talk(&["reload"]);
        gateway.signal("HUP");
        let told = gateway.files().run_and_talk(&["servers"]);
        release(&gateway);
        (shown, said, told)
    };
    let (answer, (shown, said, told)) = tokio::join!(held, stop);
    assert_eq!(answer.body, r#"{"result":"released"}"#);
    assert_snapshot!(shown, @r#"
    503 plugin_unavailable: The server is not available
    the gateway is stopping and takes no new calls
    reason: "draining"
    "#);
    assert_snapshot!(said, @r"
    exit 1
    ! error: the gateway is stopping and takes no new calls
    ");
    assert_snapshot!(told, @r"
    exit 0
      holds_calls  /holds_calls  generation 1  3 tools  running
      greet        /greet        generation 2  1 tool   running
    ");
    let (code, log) = gateway.ended().await;
    assert_eq!((code, crate::unload::unloaded(&log).as_str()), (Some(0), "greet gone\nholds_calls gone"));
}

#[tokio::test]
async fn a_plugin_that_is_still_starting_holds_up_neither_the_others_nor_the_stop() {
    let gateway = start(&["greet"]).await;
    let file = artifacts().join("never_ready.so");
    // Far longer than the test waits for anything.
    let table = format!(
        "[[server]]\nname = \"late\"\nplugin = {file:?}\nprefix = \"/late\"\nstart_timeout = \"1h\"\n"
    );
    gateway.files().replace("gateway.toml", toml(&["greet"]) + &table);
    let mut asking = command(gateway.folder());
    asking.arg("reload").stdout(Stdio::piped()).stderr(Stdio::piped());
    let asking = asking.spawn().expect("the gateway can be started");
    let maps = format!("/proc/{}/maps", gateway.id());
    let is_open = async || fs::read_to_string(&maps).expect("it runs").contains("late.so");
    until("its library is open", is_open).await;
    assert_eq!(greeting(&gateway, "/greet").await, "Hello, Ada!");
    assert_eq!(servers(&gateway).await["servers"].as_array().map(Vec::len), Some(1));
    gateway.signal("TERM");
    let asked = tokio::task::spawn_blocking(move || asking.wait_with_output()).await.expect("no panic");
    let asked = asked.expect("it was started");
    let (code, log) = gateway.ended().await;
    assert_eq!(code, Some(0));
    assert!(log.iter().all(|event| event["message"] != "server loaded" || event["server"] == "greet"));
    assert_eq!(asked.status.code(), Some(1));
    assert_snapshot!(String::from_utf8_lossy(&asked.stderr), @"error: the gateway is stopping and takes no new calls");
}
