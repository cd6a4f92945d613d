//! Calls of every kind, good ones and bad ones, and changes, so that every family that a gateway exposes has series.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use crate::failure::{Failure, Result};

/// Longest wait for one answer, and for a library to be unloaded.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of `gateway_metrics.toml`.
const KEY: &str = "x-api-key: mgw_e2etests_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n";
const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"xtask","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}"#;

/// A client of one gateway.
pub(super) struct Client {
    pub(super) address: SocketAddr,
}

/// Status, and body.
type Answer = (u16, String);

impl Client {
    fn send(&self, method: &str, path: &str, lines: &str, body: &str) -> Result<Answer> {
        let exchange = || {
            let mut stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            write!(
                stream,
                "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/json\r\n\
                 content-length: {}\r\n{lines}\r\n{body}",
                self.address,
                body.len()
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok::<_, std::io::Error>(answer)
        };
        let failure = |cause: String| Failure::Work(format!("cannot ask the gateway for {path}: {cause}"));
        let answer = exchange().map_err(|e| failure(e.to_string()))?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| failure("no answer".into()))?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        Ok((status, body.to_owned()))
    }

    /// Sends it with the key; `expected` is the status that it has to be answered with.
    fn ask(&self, path: &str, lines: &str, body: &str, expected: u16) -> Result<()> {
        self.expect("POST", path, &format!("{KEY}{lines}"), body, expected).map(drop)
    }

    fn expect(&self, method: &str, path: &str, lines: &str, body: &str, expected: u16) -> Result<String> {
        match self.send(method, path, lines, body)? {
            (status, body) if status == expected => Ok(body),
            (status, body) => {
                Err(Failure::Work(format!("{method} {path} was answered {status}, not {expected}: {body}")))
            }
        }
    }

    /// A request of 2026-07-28. `head`: further lines; `params`: further members.
    fn modern(&self, path: &str, method: &str, name: &str, params: &str) -> Result<()> {
        let name = if name.is_empty() { String::new() } else { format!("mcp-name: {name}\r\n") };
        let lines = format!(
            "accept: application/json, text/event-stream\r\nmcp-protocol-version: 2026-07-28\r\nmcp-method: {method}\r\n{name}"
        );
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}{META}}}}}"#);
        self.ask(path, &lines, &body, 200)
    }

    /// `/metrics` in that format.
    pub(super) fn metrics(&self, accept: &str) -> Result<String> {
        self.expect("GET", "/metrics", &format!("{KEY}accept: {accept}\r\n"), "", 200)
    }
}

/// Calls through every door that end in many ways.
pub(super) fn of_every_kind(client: &Client) -> Result<()> {
    let greet = "/greet/tools/echoHai";
    client.ask(greet, "", r#"{"userName":"Ada"}"#, 200)?;
    client.ask(greet, "", r#"{"userName":7}"#, 400)?;
    client.ask(greet, "", "{", 400)?;
    client.ask(greet, "", r#"{"userName":"Ada"}"#, 429)?;
    client.ask("/greet/tools/none", "", "{}", 404)?;
    client.ask("/calc/tools/divide", "", r#"{"a":1,"b":0}"#, 422)?;
    client.ask("/absent/tools/any", "", "{}", 503)?;
    for status in [500, 500, 503] {
        client.ask("/crashes/tools/panic", "", r#"{"when":"at_once"}"#, status)?;
    }
    client.expect("POST", greet, "", "{}", 401)?;
    client.expect("POST", greet, "x-api-key: mgw_e2etests_wrong\r\n", "{}", 401)?;

    client.modern("/calc/mcp", "tools/call", "add", r#""name":"add","arguments":{"a":1,"b":2},"#)?;
    client.modern("/calc/mcp", "tools/list", "", "")?;
    let prompt = "test_simple_prompt";
    client.modern("/everything/mcp", "prompts/get", prompt, &format!(r#""name":"{prompt}","#))?;
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"xtask","version":"1"}}}"#;
    client.ask("/everything/mcp", "accept: application/json, text/event-stream\r\n", initialize, 200)
}

/// A change of the gateway's file that is served, and one that is refused.
pub(super) fn changes(client: &Client, config: &Path) -> Result<()> {
    let add = |line: &str| {
        let text = fs::read_to_string(config).map_err(|e| Failure::at("cannot read", config, e))?;
        fs::write(config, text + line).map_err(|e| Failure::at("cannot write", config, e))
    };
    add("threads = 2\n")?;
    client.ask("/admin/reload", "", "", 200)?;
    let deadline = Instant::now() + PATIENCE;
    while !client.metrics("text/plain")?.contains("gateway_server_unloads_total{server=\"math\"") {
        if Instant::now() > deadline {
            return Err(Failure::Work(format!(
                "the old generation of math was not unloaded in {PATIENCE:?}"
            )));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    add("nonsense = 1\n")?;
    client.ask("/admin/reload", "", "", 409)
}
