//! `gateway check` and what it says of every kind of file that is no plugin for this gateway.

use std::{fs, process::Command};

use insta::assert_snapshot;
use tests::{Folder, artifacts, built, command};

/// A built plugin whose descriptor says something else.
fn descriptor(from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len(), "the file must keep its length");
    let mut bytes = built("greet");
    let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).expect("the descriptor says so");
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    bytes
}

/// How long a built plugin is depends on the compiler.
fn without_sizes(report: &str) -> String {
    let is_size = |word: &str| word.len() > 4 && word.trim_end_matches(';').parse::<u64>().is_ok();
    report.split(' ').map(|word| if is_size(word) { "[size];" } else { word }).collect::<Vec<_>>().join(" ")
}

#[test]
fn files_that_are_no_plugins_are_refused_before_their_code_runs() {
    let folder = Folder::empty();
    let greet = built("greet");
    let mut other_machine = greet.clone();
    // e_machine: AArch64.
    other_machine[18..20].copy_from_slice(&[183, 0]);
    folder
        .file("empty", b"")
        .file("text", b"#!/bin/sh\necho hello\n")
        .file("headless", &greet[..40])
        .file("cut", &greet[..greet.len() / 2])
        .file("cut_at_the_end", &greet[..greet.len() - 100])
        .file("other_machine", &other_machine)
        .file("program", &fs::read(artifacts().join("gateway")).expect("the gateway"))
        .file("other_version", &descriptor("plugin-api=1.", "plugin-api=2."))
        .file("panic_aborts", &descriptor("panic=unwind", "panic=abort\n"))
        .built(&["no_root_module"]);
    fs::create_dir(folder.path().join("plugins/directory.so")).expect("a folder");
    let fifo = Command::new("mkfifo").arg(folder.path().join("plugins/fifo.so")).status();
    assert!(fifo.is_ok_and(|status| status.success()), "mkfifo makes a fifo");
    let names = [
        "missing",
        "empty",
        "text",
        "headless",
        "cut",
        "cut_at_the_end",
        "other_machine",
        "program",
        "other_version",
        "panic_aborts",
        "no_root_module",
        "directory",
        "fifo",
    ];
    folder.config(&names.map(|name| (name, "")));
    assert_snapshot!(without_sizes(&folder.run(&["check"])));
}

#[test]
fn plugins_that_do_not_start_say_why_and_leave_the_others_up() {
    let folder = Folder::empty();
    folder
        .built(&[
            "greet",
            "other_layout",
            "panics_at_creation",
            "declines_start",
            "never_ready",
            "bad_schema",
        ])
        .file("unknown_setting", &built("greet"))
        .file("missing_setting", &built("declines_start"))
        .config(&[
            ("greet", ""),
            ("other_layout", ""),
            ("panics_at_creation", ""),
            ("declines_start", "settings = { reason = \"it is Sunday\" }"),
            ("missing_setting", "settings = { raeson = \"secret\" }"),
            ("unknown_setting", "settings = { greeting = \"secret\" }"),
            ("never_ready", "start_timeout = \"2s\""),
            ("bad_schema", ""),
        ]);
    assert_snapshot!(folder.run(&["check"]));
}

#[test]
fn a_good_file_is_fine() {
    let folder = Folder::empty();
    folder.built(&["greet", "math"]).config(&[("greet", ""), ("math", "")]);
    assert_snapshot!(folder.run(&["check"]), @r"
    exit 0
    ok  gateway.toml  2 servers, listening on 127.0.0.1:0
      greet  plugins/greet.so  /greet  1 tool
      math   plugins/math.so   /math   2 tools
    ");
}

#[test]
fn a_wrong_file_exits_with_2_and_starts_nothing() {
    let folder = Folder::empty();
    fs::write(folder.path().join("gateway.toml"), "lisen = 1\n").expect("a file");
    assert_eq!(folder.run(&["check"]), "exit 2\n");
    assert_eq!(folder.run(&["serve"]), "exit 2\n");
}

#[test]
fn a_required_server_that_fails_keeps_the_gateway_from_starting() {
    let folder = Folder::empty();
    folder.built(&["greet"]).config(&[("greet", ""), ("missing", "required = true")]);
    let output = command(folder.path()).output().expect("the gateway can be started");
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    // What had started already is unloaded first.
    assert!(stderr.contains("server unloaded"), "{stderr}");
    assert!(stderr.ends_with("error: server `missing` is marked `required` and did not start\n"), "{stderr}");
}
