//! What is known of a file before its code runs in the gateway: pins, owners, needed libraries, and how it does in a
//! child process.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use host::config::Digest;
use http::Request;
use insta::assert_snapshot;
use tests::{Folder, Gateway, admin_key, artifacts, built, config, server};

#[test]
fn a_file_that_would_end_or_hold_up_the_process_costs_a_child() {
    let folder = Folder::empty();
    let names = ["crashes_in_constructor", "exits_in_constructor", "aborts_in_describe"];
    let slow = ["hangs_in_constructor", "hangs_in_describe"];
    let servers: Vec<(&str, &str)> = [("greet", "")]
        .into_iter()
        .chain(names.map(|name| (name, "")))
        // Long enough for the child to get as far as the fault, on any machine.
        .chain(slow.map(|name| (name, "start_timeout = \"5s\"")))
        .collect();
    folder.built(&["greet"]).built(&names).built(&slow).config(&servers);
    assert_snapshot!(folder.run(&["check"]));
}

#[test]
fn a_gateway_whose_parent_ignores_its_children_hears_how_its_own_end() {
    let folder = Folder::empty();
    folder.built(&["crashes_in_constructor"]).config(&[("crashes_in_constructor", "")]);
    let output = Command::new("env")
        .arg("--ignore-signal=CHLD")
        .arg(artifacts().join("gateway"))
        .arg("check")
        .current_dir(folder.path())
        .env("TMPDIR", folder.path())
        .output()
        .expect("coreutils");
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(report.contains("it ended that process (signal 11: SIGSEGV"), "{report}");
}

#[test]
fn a_pinned_file_is_taken_by_its_content_and_no_other() {
    let folder = Folder::empty();
    let pin = |bytes: &[u8]| format!("sha256 = \"{}\"", Digest::of(bytes));
    let (good, bad) = (pin(&built("greet")), pin(b"another file"));
    folder.built(&["greet", "bye", "math"]);
    let everybody = fs::Permissions::from_mode(0o666);
    for name in ["greet", "math"] {
        let path = folder.path().join(format!("plugins/{name}.so"));
        fs::set_permissions(path, everybody.clone()).expect("the file is ours");
    }
    folder.config(&[("greet", &good), ("bye", &bad), ("math", "")]);
    let report = folder.run(&["check"]).replace(&Digest::of(&built("bye")).to_string(), "[sha256 of bye]");
    assert_snapshot!(report);
}

#[test]
fn a_plugin_brings_no_library_that_nobody_allowed() {
    let folder = Folder::empty();
    folder.built(&["needs_another_library"]).config(&[("needs_another_library", "")]);
    assert_snapshot!(folder.run(&["check"]));
    folder.config(&[("needs_another_library", "needs = [\"libz.so.1\"]")]);
    assert_snapshot!(folder.run(&["check"]), @r"
    exit 0
    ok  gateway.toml  1 server, listening on 127.0.0.1:0
      needs_another_library  plugins/needs_another_library.so  /needs_another_library  0 tools
    ");
}

#[test]
fn a_plugin_has_no_library_looked_for_elsewhere() {
    let folder = Folder::empty();
    folder.built(&["searches_elsewhere"]).config(&[("searches_elsewhere", "")]);
    assert_snapshot!(folder.run(&["check"]), @r"
    exit 1
    failed  gateway.toml  1 of 1 server cannot start
      searches_elsewhere  plugins/searches_elsewhere.so  /searches_elsewhere  failed: server `searches_elsewhere`: cannot use `plugins/searches_elsewhere.so`: it has the dynamic linker look for libraries in `/opt/other/lib` first, which the gateway cannot check; link it without `-rpath`, or take that out with `patchelf --remove-rpath`
    ");
    // Whoever allows a library has it found where it lies.
    folder.config(&[("searches_elsewhere", "needs = [\"libz.so.1\"]")]);
    assert!(folder.run(&["check"]).starts_with("exit 0\n"));
    let inspected = folder.run(&["inspect", "plugins/searches_elsewhere.so"]);
    assert!(inspected.contains("  search        /opt/other/lib\n"), "{inspected}");
}

/// Starts a gateway with two servers on one file; whether the file was tried, and how often.
async fn trials(cache_dir: &str) -> usize {
    let text = config(&["greet"]) + &server("greet2", "greet");
    let text =
        text.replace("[log]", &format!("[plugins]\ncache_dir = {cache_dir:?}\n[log]\nfilter = \"debug\""));
    let gateway = Gateway::with_config(&text).await;
    gateway.signal("TERM");
    let (code, log) = gateway.ended().await;
    assert_eq!(code, Some(0));
    log.iter().filter(|event| event["message"] == "file tried").count()
}

#[tokio::test]
async fn a_content_is_tried_once_and_across_starts_where_that_is_kept() {
    assert_eq!([trials("").await, trials("").await], [1, 1]);
    let cache = tempfile::tempdir().expect("a folder");
    let cache = cache.path().join("passed");
    let cache = cache.to_str().expect("text");
    assert_eq!([trials(cache).await, trials(cache).await], [1, 0]);
    // Who else may write there could have files pass that did not.
    fs::set_permissions(cache, fs::Permissions::from_mode(0o777)).expect("the folder is ours");
    assert_eq!(trials(cache).await, 1);
}

#[tokio::test]
async fn files_are_tried_side_by_side() {
    let slow = ["hangs_in_constructor", "hangs_in_describe"];
    let slow = slow.map(|name| server(name, name) + "start_timeout = \"1s\"\n").concat();
    let text = config(&["greet"]).replace("[log]", "[log]\nfilter = \"debug\"") + &slow;
    let gateway = Gateway::with_config(&text).await;
    gateway.signal("TERM");
    let (_, log) = gateway.ended().await;
    let told = |message: &str, fact: &str| -> Vec<f64> {
        let events = log.iter().filter(|event| event["message"] == message);
        events.map(|event| event[fact].as_f64().expect("a number")).collect()
    };
    let (trials, start) = (told("file tried", "elapsed_ms"), told("gateway ready", "startup_ms"));
    assert_eq!((trials.len(), start.len()), (3, 1), "{log:?}");
    // One after the other they would take all of that, on any machine.
    assert!(start[0] < trials.iter().sum(), "{start:?} for trials of {trials:?}");
}

#[tokio::test]
async fn what_a_reload_has_refused_is_not_tried_again_until_somebody_asks() {
    let text = config(&["greet"]) + &server("hangs_in_describe", "hangs_in_describe");
    let text = text.replace("[log]", &format!("{}[log]\nfilter = \"debug\"", admin_key().table));
    let gateway =
        Gateway::with_config(&(text.clone() + "start_timeout = \"1s\"\n")).await.asked_with(&admin_key());
    let reload = async || {
        let request = Request::post("/admin/reload");
        gateway.send(request.body(String::new()).expect("a request")).await.expect("an answer")
    };
    // The watch notices this as well, while the reload waits for the plugin.
    let changed = text + "start_timeout = \"1100ms\"\n";
    fs::write(gateway.folder().join("gateway.toml"), &changed).expect("it is ours");
    assert_eq!([reload().await.status.as_u16(), reload().await.status.as_u16()], [409, 409]);
    let refused = async || {
        let metrics = gateway.get("/metrics").await.body;
        let row = metrics.lines().find(|line| line.starts_with("gateway_reloads_total{outcome=\"refused\"}"));
        row.map(str::to_owned)
    };
    // Another edit, which has nothing to do with it.
    let before = refused().await;
    fs::write(gateway.folder().join("gateway.toml"), changed + "# a word\n").expect("it is ours");
    tests::until("it has looked", async || refused().await != before).await;
    gateway.signal("TERM");
    let (code, log) = gateway.ended().await;
    assert_eq!(code, Some(0));
    let refused = log.iter().find(|event| event["message"] == "reload refused").expect("it was");
    // On a machine that is slow enough it comes before whoever asks.
    let by_itself = usize::from(refused["trigger"] == "change");
    let trials = log.iter().filter(|event| event["message"] == "file tried").count();
    assert_eq!(trials, 4 + by_itself, "greet and it at the start, and it for each who asked");
}

#[tokio::test]
async fn a_file_that_asks_to_stay_for_ever_goes_all_the_same() {
    let gateway = Gateway::start(&["stays_mapped"]).await;
    gateway.event("its file asks never to be unloaded; the gateway's copy of it does not").await;
    gateway.signal("TERM");
    let (code, log) = gateway.ended().await;
    assert_eq!(code, Some(0));
    let unloaded = log.iter().find(|event| event["message"] == "server unloaded").expect("it was running");
    assert_eq!(unloaded["library"], "gone");
}

#[tokio::test]
async fn a_plugin_that_takes_much_memory_is_told_of() {
    let text = config(&[]) + &server("eats_memory", "eats_memory") + "heap_warn_bytes = 16_000_000\n";
    let gateway = Gateway::with_config(&text).await;
    let answer = gateway.post("/eats_memory/tools/eat", r#"{"mebibytes":64}"#).await;
    assert_eq!(answer.status.as_u16(), 200);
    let event = gateway.event("server's heap is large").await;
    assert_eq!(event["server"], "eats_memory");
    assert!(event["bytes"].as_u64().is_some_and(|bytes| bytes >= 16_000_000), "{event}");
    let servers = gateway.get("/servers").await.json();
    assert!(
        servers["servers"][0]["heap_bytes"].as_u64().is_some_and(|bytes| bytes > 64_000_000),
        "{servers}"
    );
}

/// A report without what differs from build to build.
fn without_builds(report: &str) -> String {
    let line = |line: &str| {
        let varies = ["  size", "  sha256"].iter().find(|name| line.starts_with(**name));
        varies.map_or(line.to_owned(), |name| format!("{name} […]"))
    };
    report.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn inspect_tells_what_a_file_is_and_whether_it_would_load() {
    let folder = Folder::empty();
    folder.built(&["greet", "needs_another_library", "declines_start", "crashes_in_constructor"]);
    folder.file("text", b"hello");
    let inspect = |name: &str, more: &[&str]| {
        let file = format!("plugins/{name}.so");
        without_builds(&folder.run(&[&["inspect", &file], more].concat()))
    };
    assert_snapshot!("inspect_greet", inspect("greet", &[]));
    assert_snapshot!("inspect_greet_loaded", inspect("greet", &["--load"]));
    assert_snapshot!("inspect_needs_another_library", inspect("needs_another_library", &[]));
    assert_snapshot!("inspect_declines_start", inspect("declines_start", &["--load"]));
    assert_snapshot!("inspect_crashes", inspect("crashes_in_constructor", &["--load"]));
    assert_snapshot!("inspect_text", inspect("text", &["--load"]));
    assert_eq!(inspect("missing", &[]), "exit 2");

    let json = folder.run(&["inspect", "plugins/greet.so", "--load", "--json"]);
    let json: serde_json::Value = serde_json::from_str(json.trim_start_matches("exit 0\n")).expect("JSON");
    assert_eq!((&json["loads"], &json["unload"]), (&true.into(), &"gone".into()));
    assert_eq!(json["sha256"], Digest::of(&built("greet")).to_string());
    assert_eq!(json["tools"][0]["inputSchema"]["required"][0], "userName");
}

#[test]
fn a_trial_by_hand_is_refused() {
    let folder = Folder::empty();
    let output = tests::command(folder.path()).arg("trial").output().expect("the gateway can be started");
    assert_eq!(output.status.code(), Some(1));
}
