//! Many connections: those that say nothing, those that never end, those that are all busy.

use std::{fs, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tests::{Gateway, process::Held, server, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A gateway with `greet`, `holds_calls` and these `[limits]`.
async fn gateway(limits: &str) -> Gateway {
    let servers = server("greet", "greet") + &server("holds_calls", "holds_calls");
    let config = format!(
        "listen = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n[limits]\n{limits}\n{servers}call_timeout = \"60s\"\n"
    );
    Gateway::with_config(&config).await
}

/// How many connections this process may have beside what else it needs, at most `wanted`.
fn affordable(wanted: usize) -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // It is not more than the limit that was there before.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let most = maximum.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    wanted.min(most.saturating_sub(512))
}

async fn connect(gateway: &Gateway) -> TcpStream {
    TcpStream::connect(gateway.address()).await.expect("it listens")
}

/// Asks on a connection of its own: status and answer.
async fn ask(gateway: &Gateway, request: &str) -> (u16, String) {
    let answer = tests::tls::exchange(connect(gateway).await, request).await.expect("an answer");
    (answer[9..12].parse().expect("a status"), answer)
}

async fn get(gateway: &Gateway, path: &str) -> (u16, String) {
    ask(gateway, &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")).await
}

/// A whole request for a tool.
fn call(tool: &str, arguments: &str) -> String {
    let length = arguments.len();
    format!(
        "POST {tool} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{arguments}"
    )
}

/// Asserts that the gateway is up and its tools answer.
async fn check_is_well(gateway: &Gateway) {
    for probe in ["/healthz", "/livez", "/readyz"] {
        assert_eq!(get(gateway, probe).await.0, 200, "{probe}");
    }
    let (status, answer) = ask(gateway, &call("/greet/tools/echoHai", r#"{"userName":"Ada"}"#)).await;
    assert!(status == 200 && answer.ends_with(r#"{"result":"Hello, Ada!"}"#), "{answer}");
}

#[tokio::test]
async fn ten_thousand_idle_connections_are_held_in_little_memory() {
    let many = affordable(10_000);
    let gateway = gateway(&format!("connections_max = {}\nhead_timeout = \"120s\"", many + 64)).await;
    check_is_well(&gateway).await;
    let before = Held::of(gateway.id());
    let mut idle = Vec::new();
    for _ in 0..many {
        idle.push(connect(&gateway).await);
    }
    until("every connection is accepted", async || Held::of(gateway.id()).descriptors >= many).await;
    check_is_well(&gateway).await;
    let after = Held::of(gateway.id());
    let each = (after.resident_kib - before.resident_kib) as f64 / many as f64;
    println!("{many} idle connections: {after}; before: {before}; {each:.1} KiB each");
    assert!(each < 64.0, "{each:.1} KiB for each connection");
    let last = idle.last().expect("there are some");
    assert!(last.try_read(&mut [0]).is_err(), "none was ended");
}

#[tokio::test]
async fn ten_thousand_idle_connections_at_a_limit_of_64_leave_64() {
    let many = affordable(10_000);
    let gateway = gateway("connections_max = 64\nhead_timeout = \"120s\"").await;
    let before = Held::of(gateway.id());
    let mut idle = Vec::new();
    for at in 0..many {
        idle.push(connect(&gateway).await);
        if at % 1_000 == 0 {
            check_is_well(&gateway).await;
        }
    }
    check_is_well(&gateway).await;
    until("those that are too many are gone", async || {
        Held::of(gateway.id()).descriptors <= before.descriptors + 64
    })
    .await;
    println!("{many} idle connections one after the other: {}; before: {before}", Held::of(gateway.id()));
    // The oldest were ended.
    assert!(matches!(idle[0].read(&mut [0]).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn a_full_house_of_calls_stays_well_and_refuses_the_rest() {
    let places = 8;
    let gateway = gateway(&format!("connections_max = {places}")).await;
    let arguments = json!({ "directory": gateway.folder() }).to_string();
    let mut calls = Vec::new();
    for _ in 0..places {
        let mut held = connect(&gateway).await;
        held.write_all(call("/holds_calls/tools/hold", &arguments).as_bytes()).await.expect("it is open");
        // So that nobody takes the place of a request that is still on its way.
        until("the call runs", async || fs::remove_file(gateway.folder().join("started")).is_ok()).await;
        calls.push(held);
    }
    for probe in ["/healthz", "/livez", "/readyz"] {
        assert_eq!(get(&gateway, probe).await.0, 200, "{probe}");
    }
    let (status, answer) = ask(&gateway, &call("/greet/tools/echoHai", r#"{"userName":"Ada"}"#)).await;
    assert_eq!(status, 503, "{answer}");
    for part in ["retry-after: 1\r\n", "connection: close\r\n", r#""code":"overloaded""#] {
        assert!(answer.contains(part), "{part} in {answer}");
    }
    fs::write(gateway.folder().join("release"), "").expect("a file");
    for mut held in calls {
        let mut answer = String::new();
        held.read_to_string(&mut answer).await.expect("none was cut");
        assert!(answer.ends_with(r#"{"result":"released"}"#), "{answer}");
    }
    check_is_well(&gateway).await;
}

#[tokio::test]
async fn a_head_has_to_arrive_in_time() {
    let gateway = gateway("head_timeout = \"1s\"").await;
    for begun in ["", "GET /healthz HTTP/1.1\r\nhost: loc"] {
        let mut slow = connect(&gateway).await;
        slow.write_all(begun.as_bytes()).await.expect("it is open");
        let ended = tokio::time::timeout(Duration::from_secs(60), slow.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok(), "{begun:?}");
    }
    check_is_well(&gateway).await;
}
