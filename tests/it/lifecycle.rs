//! What a plugin, or whoever reads the log, does at the wrong moment must not end the gateway.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
    sync::Arc,
};

use host::load::{Instance, Kept, Unloaded};
use serde_json::Value;
use tests::{command, config, in_child, loaded::load};

fn start(plugin: &str) -> Arc<Instance> {
    load(&[plugin]).remove(0)
}

#[test]
fn a_library_whose_thread_began_before_main_stays_open() {
    in_child("lifecycle::a_library_whose_thread_began_before_main_stays_open", || {
        let instance = start("starts_thread_early");
        let kept = Unloaded::Kept(Kept::Threads { left: 1 });
        assert_eq!(instance.stop(), kept);
        assert_eq!(instance.stop(), kept, "a second stop says the same");
    });
}

#[test]
fn a_record_from_a_thread_locals_destructor_ends_nothing() {
    in_child("lifecycle::a_record_from_a_thread_locals_destructor_ends_nothing", || {
        host::observe::start(&host::config::Log::default());
        start("logs_at_thread_end").stop();
    });
}

#[test]
fn a_gateway_whose_log_nobody_reads_serves_and_stops_in_good_order() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("gateway.toml"), config(&["panics_in_call"])).expect("a file");
    let mut gateway = command(folder.path()).stderr(Stdio::piped()).spawn().expect("it can be started");
    let mut log = BufReader::new(gateway.stderr.take().expect("piped"));
    let address = loop {
        let mut line = String::new();
        assert_ne!(log.read_line(&mut line).expect("text"), 0, "it ended");
        let event: Value = serde_json::from_str(&line).expect("JSON");
        if let Some(url) = event["url"].as_str() {
            break url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        }
    };
    drop(log);

    let body = r#"{"when":"at_once"}"#;
    let mut stream = TcpStream::connect(&address).expect("it listens");
    write!(
        stream,
        "POST /panics_in_call/tools/panic HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.contains("plugin_panicked"), "{answer}");

    let told = Command::new("kill").arg(gateway.id().to_string()).status();
    assert!(told.is_ok_and(|status| status.success()));
    assert_eq!(gateway.wait().expect("it was started").code(), Some(0));
}
