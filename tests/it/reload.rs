//! Change while it runs: gateway.toml and plugins are edited, and the gateway follows, or says why it does not.

mod broken;
mod discovered;
mod followed;
mod libraries;
mod remote;
mod stopping;

use std::time::Instant;

use host::config::Digest;
use serde_json::Value;
use tests::{Folder, Gateway, Mark, built};

/// What every gateway.toml here begins with.
const HEAD: &str = "listen = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n";

/// A `[[server]]` table for a plugin in `plugins/`, at a prefix of its name.
fn table(name: &str) -> String {
    format!("[[server]]\nname = \"{name}\"\nplugin = \"plugins/{name}.so\"\nprefix = \"/{name}\"\n")
}

/// A gateway.toml with a table for each of `names`.
fn toml(names: &[&str]) -> String {
    HEAD.to_owned() + &names.iter().map(|name| table(name)).collect::<String>()
}

/// A gateway with copies of these plugins, which the test may replace.
async fn start(names: &[&str]) -> Gateway {
    start_with(names, &toml(names)).await
}

/// The same with another gateway.toml.
async fn start_with(plugins: &[&str], toml: &str) -> Gateway {
    let folder = Folder::empty();
    folder.built(plugins).replace("gateway.toml", toml);
    Gateway::in_folder(&folder).await
}

/// A build of greet that says another word, of five letters, instead of "Hello".
fn greet_that_says(word: &str) -> Vec<u8> {
    let mut library = built("greet");
    let at = library.windows(7).position(|bytes| bytes == b"Hello, ").expect("greet says it");
    library[at..at + 5].copy_from_slice(word.as_bytes());
    library
}

/// What greet says at `prefix`.
async fn greeting(gateway: &Gateway, prefix: &str) -> String {
    let answer = gateway.post(&format!("{prefix}/tools/echoHai"), r#"{"userName":"Ada"}"#).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    answer.json()["result"].as_str().expect("a text").to_owned()
}

/// `/servers`.
async fn servers(gateway: &Gateway) -> Value {
    gateway.get("/servers").await.json()
}

/// Each server with the generation that serves.
async fn generations(gateway: &Gateway) -> Vec<(String, u64)> {
    let servers = servers(gateway).await;
    let row = |server: &Value| {
        assert_eq!(server["state"], "running", "{server}");
        (text(&server["name"]), server["generation"].as_u64().expect("a number"))
    };
    servers["servers"].as_array().expect("a list").iter().map(row).collect()
}

/// The value of a series in `/metrics`.
async fn metric(gateway: &Gateway, series: &str) -> Option<String> {
    let metrics = gateway.get("/metrics").await.body;
    let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned);
    metrics.lines().find_map(value)
}

fn text(value: &Value) -> String {
    value.as_str().map(str::to_owned).unwrap_or_default()
}

/// `text` without what differs from run to run, or from build to build.
fn steady(gateway: &Gateway, text: &str) -> String {
    let folder = gateway.folder().canonicalize().expect("it is there");
    let text = text
        .replace(&*folder.to_string_lossy(), "[folder]")
        .replace(&*gateway.folder().to_string_lossy(), "[folder]")
        .replace(&*tests::artifacts().to_string_lossy(), "[artifacts]")
        .replace(&Digest::of(&built("greet")).to_string(), "[sha256]")
        .replace(&"0".repeat(64), "[0000…]");
    let is_size =
        |word: &str| word.len() > 5 && word.bytes().all(|byte| byte.is_ascii_digit() || byte == b';');
    let word = |word| if is_size(word) { "[size];" } else { word };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ").replace("[size]; bytes", "[size] bytes")
}

/// Writes gateway.toml and waits for the gateway to follow by itself; what it logs then.
async fn follow(gateway: &Gateway, toml: &str) -> Value {
    follow_edit(gateway, |folder| _ = folder.replace("gateway.toml", toml)).await
}

/// The same of any edit.
async fn follow_edit(gateway: &Gateway, edit: impl FnOnce(&Folder)) -> Value {
    let mark = gateway.mark();
    edit(gateway.files());
    let began = Instant::now();
    let event = gateway.event_since(mark, "reloaded", |_| true).await;
    // For whoever wants to know, with --nocapture.
    println!("followed after {} ms: {} {}", began.elapsed().as_millis(), event["changes"], event["settings"]);
    assert_eq!(event["trigger"], "change");
    event
}

/// What a library's end is told as, once it has come.
async fn fate(gateway: &Gateway, mark: Mark, server: &str) -> String {
    let server = server.to_owned();
    let event = gateway.event_since(mark, "server unloaded", move |event| event["server"] == *server).await;
    format!("{} {}", text(&event["library"]), text(&event["reason"])).trim_end().to_owned()
}

/// What a verb says, without how long something took.
fn without_times(said: &str) -> String {
    let mut words: Vec<&str> = said.split(' ').collect();
    for at in 1..words.len() {
        if words[at].starts_with("ms") {
            words[at - 1] = "[…]";
        }
    }
    words.join(" ")
}
