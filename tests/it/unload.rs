//! What becomes of a library at the end: gone without a trace, or kept for a reason that the log gives.

use host::{load::Unloaded, unload::unload_all};
use insta::assert_snapshot;
use serde_json::{Value, json};
use tests::{
    Folder, Gateway, config, in_child,
    loaded::{call, load, runtime},
    process::{next_key, open_files, resident_kib, staged_mappings, thread_count},
    server,
};

/// What a gateway's log says of each library, in the order in which they were unloaded.
pub(crate) fn unloaded(log: &[Value]) -> String {
    let events = log.iter().filter(|event| event["message"] == "server unloaded");
    let line = |event: &Value| {
        let fact = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        format!("{} {} {}", fact("server"), fact("library"), fact("reason")).trim_end().to_owned()
    };
    events.map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_library_that_does_everything_leaves_nothing_behind() {
    in_child("unload::a_library_that_does_everything_leaves_nothing_behind", || {
        let runtime = runtime();
        let round = || {
            let running = load(&["uses_everything"]);
            let done =
                runtime.block_on(call(&running[0], "exercise", json!({ "print": "does everything\n" })));
            let became = unload_all(&running);
            assert!(became.iter().all(|(_, became)| *became == Unloaded::Gone), "{became:?}");
            assert_eq!(staged_mappings(), 0);
            done["structuredContent"].clone()
        };
        let done = json!({
            "threadLocals": 3,
            "hashed": 3,
            "caught": "caught",
            "sleptMs": 1,
            "answer": "hello",
            "leftRunning": 4,
        });
        assert_eq!(round(), done);
        let before = (thread_count(), open_files(), next_key());
        for _ in 0..30 {
            assert_eq!(round(), done);
        }
        assert_eq!((thread_count(), open_files(), next_key()), before);
    });
}

#[test]
fn what_a_plugin_took_and_kept_is_given_back_with_its_library() {
    in_child("unload::what_a_plugin_took_and_kept_is_given_back_with_its_library", || {
        let runtime = runtime();
        let round = || {
            let running = load(&["eats_memory"]);
            let eaten = runtime.block_on(call(&running[0], "eat", json!({ "mebibytes": 100 })));
            assert_eq!(eaten["structuredContent"]["result"], 100);
            let held = resident_kib();
            assert!(unload_all(&running).iter().all(|(_, became)| *became == Unloaded::Gone));
            held
        };
        let first = round();
        assert!(first > 100 << 10, "{first} KiB");
        let most = (0..10).map(|_| round()).max().expect("ten");
        // Malloc keeps some of it for whoever comes next. Lost would be a thousand.
        assert!(most < first + (100 << 10), "{first} KiB, and then up to {most} KiB");
    });
}

#[tokio::test]
async fn a_library_that_cannot_be_closed_is_kept_and_the_log_says_why() {
    let servers =
        ["greet", "starts_thread_early", "leaves_a_thread", "handles_a_signal", "stays_mapped", "bye"];
    let gateway = Gateway::start(&servers).await;
    gateway.signal("TERM");
    let (code, log) = gateway.ended().await;
    assert_eq!(code, Some(0));
    assert_snapshot!(unloaded(&log), @r"
    bye gone
    stays_mapped gone
    handles_a_signal kept it handles the signals [12]
    leaves_a_thread kept 1 of its threads still run
    starts_thread_early kept 1 of its threads still run
    greet gone
    ");
}

#[test]
fn a_process_that_kept_a_library_ends_without_its_destructors() {
    let folder = Folder::empty();
    folder.built(&["tells_its_end"]);
    let check = |leaves_a_thread: bool, expected: usize| {
        let settings = format!("settings = {{ leaves_a_thread = {leaves_a_thread} }}");
        folder.config(&[("tells_its_end", &settings)]);
        let report = folder.run(&["check"]);
        assert!(report.starts_with("exit 0\n"), "{report}");
        assert_eq!(report.matches("destructors ran").count(), expected, "{leaves_a_thread}: {report}");
    };
    check(false, 1);
    check(true, 0);
}

#[tokio::test]
async fn a_plugin_that_does_not_stop_is_left_behind_and_the_others_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let stubborn = server("ignores_stop", "ignores_stop")
        + &format!("settings = {{ release = {:?} }}\n", folder.path().join("release"));
    let gateway = Gateway::with_config(&(config(&["greet"]) + &stubborn + &server("bye", "bye"))).await;
    gateway.signal("TERM");
    let (code, log) = gateway.ended().await;
    assert_eq!(code, Some(0));
    assert_snapshot!(unloaded(&log), @r"
    bye gone
    ignores_stop kept its main function did not return within 8s
    greet gone
    ");
}

#[tokio::test]
async fn a_library_whose_destructors_do_not_end_is_left_behind_and_the_gateway_ends() {
    let gateway = Gateway::start(&["greet", "hangs_when_closed"]).await;
    gateway.signal("TERM");
    let (code, log) = gateway.ended().await;
    assert_eq!(code, Some(0));
    let unloaded = unloaded(&log);
    // What becomes of the others depends on whether they need the dynamic linker for their own end.
    let (first, other) = unloaded.split_once('\n').expect("two lines");
    assert_eq!(first, "hangs_when_closed kept closing it took more than 3s");
    assert!(other.starts_with("greet kept "), "{other}");
}

#[tokio::test]
async fn a_panic_in_a_stop_hook_keeps_no_other_from_running() {
    let gateway = Gateway::start(&["panics_in_stop"]).await;
    gateway.signal("TERM");
    gateway.event("panic: in a stop hook").await;
    gateway.event("stopped last").await;
    let (code, log) = gateway.ended().await;
    assert_eq!((code, unloaded(&log).as_str()), (Some(0), "panics_in_stop gone"));
}
