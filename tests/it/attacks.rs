//! Attacks on a gateway that others can reach, by theme: a table each of what is sent and what becomes of it.
//!
//! In:   requests as nobody but an attacker sends them, and good ones out of place.
//! Out:  for each its status and its code (a problem's, JSON-RPC's, or both), in a snapshot that is there to be read.
//! Fails: also if the gateway does not answer a good call afterwards, has grown beyond reason, does not end as it should, or
//!       has written to its log or its audit log what is nobody's business.

mod ask;

mod bodies;
mod browsers;
mod credentials;
mod headers;
mod hidden;
mod limits;
mod paths;
mod secrets;
mod sessions;
mod wire;

use std::fs;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::{Gateway, Key, admin_key, key, server};

use ask::{Ask, Opened, Reply, Sent};

/// Much more than a gateway with a few plugins needs in a debug build, and much less than what attackers send in all.
const RSS_MAX_KIB: u64 = 400 << 10;

/// Secrets shorter than this may be in a log by chance.
const SECRET_MIN: usize = 16;

/// The arguments of greet's tool.
const ADA: &str = r#"{"userName":"Ada"}"#;
const ECHO: &str = "/greet/tools/echoHai";

/// A gateway under attack.
struct Site {
    gateway: Gateway,
    address: String,
    /// What is answered with 200 whatever happened before.
    good: Ask,
    rows: Vec<String>,
    secrets: Vec<String>,
}

/// Who may use all of greet, and one tool of math.
fn ada() -> Key {
    key("ada", &["greet", "math:add"])
}

/// Who may use all servers.
fn bob() -> Key {
    key("bob", &["*"])
}

/// A call of greet's tool over REST.
fn echo() -> Ask {
    Ask::post(ECHO, ADA)
}

/// The parameters of a `tools/call` of greet's tool.
fn echo_params() -> Value {
    json!({"name": "echoHai", "arguments": {"userName": "Ada"}})
}

/// A gateway.toml with everything that protects on. `more`: tables before those of the servers; `servers`: those, as
/// [`guarded`] makes them.
fn config(more: &str, servers: &[String]) -> String {
    let keys = [ada(), bob(), admin_key()].map(|key| key.table).concat();
    format!(
        "listen = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\nfilter = \"debug\"\n[audit]\npath = \"audit.jsonl\"\n\
         {more}\n{keys}{}",
        servers.concat()
    )
}

/// A server of that plugin, with `more` in its table.
fn guarded(name: &str, more: &str) -> String {
    server(name, name) + more + "\n"
}

impl Site {
    async fn start(config: &str) -> Self {
        let gateway = Gateway::with_config(config).await;
        let address = gateway.base().trim_start_matches("http://").to_owned();
        Self { gateway, address, good: echo().by(&ada()), rows: Vec::new(), secrets: Vec::new() }
    }

    /// Sends it, without a row in the table.
    async fn send(&mut self, sent: impl Into<Sent>) -> Reply {
        let sent = sent.into();
        self.secrets.extend(sent.secrets.iter().cloned());
        sent.send(&self.address).await
    }

    /// Sends what is answered without an end.
    async fn open(&mut self, ask: Ask) -> Opened {
        let sent = Sent::from(ask);
        self.secrets.extend(sent.secrets.iter().cloned());
        sent.open(&self.address).await
    }

    /// One row of the table.
    async fn attack(&mut self, name: &str, sent: impl Into<Sent>) -> Reply {
        let reply = self.send(sent).await;
        self.row(name, &reply);
        reply
    }

    /// Rows of attacks that come at the same time.
    async fn attack_at_once(&mut self, attacks: Vec<(&str, Sent)>) {
        self.secrets.extend(attacks.iter().flat_map(|(_, sent)| sent.secrets.clone()));
        let replies = join_all(attacks.iter().map(|(_, sent)| sent.send(&self.address))).await;
        for ((name, _), reply) in attacks.iter().zip(&replies) {
            self.row(name, reply);
        }
    }

    fn row(&mut self, name: &str, reply: &Reply) {
        self.rows.push(format!("{name:<58} | {}", reply.outcome()));
    }

    /// One row, of an answer that is not to have these words in it.
    async fn pry(&mut self, name: &str, sent: impl Into<Sent>, hidden: &[&str]) -> Reply {
        let reply = self.attack(name, sent).await;
        for word in hidden {
            assert!(!reply.body.contains(word) && !reply.head.contains(word), "{name}: {word} in {reply:?}");
        }
        reply
    }

    /// The table, once the gateway has shown that it is as well as before.
    async fn end(mut self) -> String {
        let good = self.send(self.good.clone()).await;
        assert_eq!(good.outcome(), "200 | ok", "{good:?}");
        let rss = self.rss_kib();
        println!("{} attacks, RSS {rss} KiB", self.rows.len());
        assert!(rss < RSS_MAX_KIB, "RSS is {rss} KiB");
        let audit = self.gateway.folder().join("audit.jsonl");
        let folder = self.gateway.files().clone();
        self.gateway.signal("TERM");
        let (code, events) = self.gateway.ended().await;
        assert_eq!(code, Some(0), "{events:#?}");
        let log = events.iter().map(|event| format!("{event}\n")).collect::<String>();
        let written = [("log", log), ("audit log", fs::read_to_string(audit).expect("it is on"))];
        drop(folder);
        for (what, text) in &written {
            for line in text.lines() {
                let said: Value = serde_json::from_str(line).unwrap_or_default();
                assert!(
                    said.is_object() && said["message"] != "forged",
                    "not the gateway's own, in the {what}: {line}"
                );
            }
        }
        for (what, text) in &written {
            assert!(!text.contains("panicked"), "the {what}: {text}");
            for secret in self.secrets.iter().flat_map(|secret| parts(secret)) {
                let line = text.lines().find(|line| line.contains(secret));
                assert_eq!(line, None, "`{secret}` is in the {what}");
            }
        }
        let table = self.rows.join("\n");
        println!("{table}");
        table
    }

    fn rss_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.gateway.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

/// A secret, and what of it is as good: the last part of a key, or of a token.
fn parts(secret: &str) -> impl Iterator<Item = &str> {
    let last = secret.rsplit(['.', '_']).next();
    std::iter::once(secret).chain(last).filter(|part| part.len() >= SECRET_MIN)
}
