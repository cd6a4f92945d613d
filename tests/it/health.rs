//! `gateway health`, as a container asks it.

use std::fs;

use insta::assert_snapshot;
use tests::{Folder, Gateway, config, server};

#[tokio::test]
async fn a_gateway_that_serves_is_ready_and_one_that_is_not_there_is_an_error() {
    let gateway = Gateway::start(&["greet"]).await;
    let folder = gateway.files();
    assert_snapshot!(folder.run_and_talk(&["health"]), @r"
    exit 0
    ready
    ");
    assert_snapshot!(folder.run_and_talk(&["health", "--live"]), @r"
    exit 0
    ok
    ");
    assert_snapshot!(folder.run_and_talk(&["health", "--json"]), @r#"
    exit 0
    {"status":"ready","failed":[]}
    "#);
    let folder = Folder::empty();
    folder.replace("gateway.toml", config(&["greet"]));
    assert_snapshot!(folder.run_and_talk(&["health"]), @r"
    exit 2
    ! error: no gateway of this user serves `gateway.toml`; start one, or name its file with --config
    ");
}

#[tokio::test]
async fn a_required_server_that_is_quarantined_keeps_the_gateway_from_being_ready() {
    let panics =
        server("panics", "panics_in_call") + "required = true\nquarantine_after = 1\nquarantine = \"1h\"\n";
    let gateway = Gateway::with_config(&(config(&["greet"]) + &panics)).await;
    let panicked = gateway.post("/panics/tools/panic", r#"{"when":"at_once"}"#).await;
    assert_eq!(panicked.json()["code"], "plugin_panicked");
    let folder = gateway.files();
    assert_snapshot!(folder.run_and_talk(&["health"]), @r"
    exit 1
    not ready: what has to run does not: panics (quarantined)
    ");
    assert_snapshot!(folder.run_and_talk(&["health", "--live"]), @r"
    exit 0
    ok
    ");
    assert_snapshot!(folder.run_and_talk(&["health", "--json"]), @r#"
    exit 1
    {"status":"failed","failed":[{"name":"panics","code":"quarantined","required":true}]}
    "#);
}

#[tokio::test]
async fn a_gateway_that_starts_is_not_ready() {
    let folder = Folder::empty();
    folder.replace("gateway.toml", config(&[]) + &server("late", "never_ready") + "start_timeout = \"1h\"\n");
    let mut gateway =
        tests::command(folder.path()).stderr(std::process::Stdio::null()).spawn().expect("it can be started");
    // Its socket is there before its servers are.
    tests::until("it has its socket", async || {
        let folders = fs::read_dir(folder.path()).expect("a folder").flatten();
        let mut own = folders.filter(|entry| entry.file_name().to_string_lossy().starts_with("gateway-of-"));
        own.any(|folder| fs::read_dir(folder.path()).is_ok_and(|mut sockets| sockets.next().is_some()))
    })
    .await;
    assert_snapshot!(folder.run_and_talk(&["health", "--timeout", "50ms"]), @r"
    exit 1
    not ready: it has not answered within 50ms
    ");
    gateway.kill().expect("it runs");
    gateway.wait().expect("it was started");
}
