//! What attackers send, byte for byte, and what they get.
//!
//! In:   a request, or bytes that are none.
//! Out:  the first answer on a connection of its own, read until the gateway closes it.
//! Never: an HTTP client, which would put right what is meant to be wrong.

use std::{fmt::Write as _, net::Ipv4Addr, time::Duration};

use serde_json::{Value, json};
use tests::Key;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{interval, timeout},
};

/// How long an answer may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two bytes of an attacker who takes its time: shorter than any limit of a gateway under test.
const BEAT: Duration = Duration::from_millis(40);

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    line: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    /// What nobody but the gateway is to see.
    pub(super) secrets: Vec<String>,
    from: Ipv4Addr,
}

/// What goes over the wire.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    bytes: Vec<u8>,
    /// Sent after it, byte by byte, for as long as the gateway takes it.
    drip: Option<u8>,
    pub(super) secrets: Vec<String>,
    from: Ipv4Addr,
}

/// What comes back.
#[derive(Debug)]
pub(super) struct Reply {
    /// `None`: the connection ends without an answer.
    pub(super) status: Option<u16>,
    pub(super) head: String,
    pub(super) body: String,
    /// How many answers there are on the connection.
    pub(super) answers: usize,
}

/// An answer that has begun.
#[derive(Debug)]
pub(super) struct Opened {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Ask {
    /// `line`: method and target.
    pub(super) fn new(line: &str) -> Self {
        let headers = [("host", "localhost"), ("connection", "close")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).to_vec();
        let (line, body, secrets) = (line.to_owned(), Vec::new(), Vec::new());
        Self { line, headers, body, secrets, from: Ipv4Addr::LOCALHOST }
    }

    pub(super) fn get(path: &str) -> Self {
        Self::new(&format!("GET {path}"))
    }

    /// A POST of JSON.
    pub(super) fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let length = body.len().to_string();
        let post = Self { body, ..Self::new(&format!("POST {path}")) };
        post.with("content-type", "application/json").with("content-length", &length)
    }

    /// A message of 2025, without a session.
    pub(super) fn message(path: &str, method: &str, params: Value) -> Self {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        Self::post(path, message.to_string())
    }

    /// A message of 2026-07-28; `name`: what its `Mcp-Name` says, if it is to have one.
    pub(super) fn modern(path: &str, method: &str, name: Option<&str>, mut params: Value) -> Self {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "attacker", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {
                "elicitation": {"form": {}}, "extensions": {"io.modelcontextprotocol/tasks": {}}},
        });
        let ask = Self::message(path, method, params)
            .with("accept", "application/json, text/event-stream")
            .with("mcp-protocol-version", "2026-07-28")
            .with("mcp-method", method);
        match name {
            Some(name) => ask.with("mcp-name", name),
            None => ask,
        }
    }

    /// One more header.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.as_bytes().to_vec()));
        self
    }

    /// One more header, which need not be text.
    pub(super) fn with_bytes(mut self, name: &str, value: &[u8]) -> Self {
        self.headers.push((name.to_owned(), value.to_vec()));
        self
    }

    /// Without headers of that name.
    pub(super) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self
    }

    /// With that header instead of what it has.
    pub(super) fn but(self, name: &str, value: &str) -> Self {
        self.without(name).with(name, value)
    }

    /// From the holder of `key`.
    pub(super) fn by(self, key: &Key) -> Self {
        self.bearer(&key.text)
    }

    /// From whoever has `token`.
    pub(super) fn bearer(mut self, token: &str) -> Self {
        self.secrets.push(token.to_owned());
        self.with("authorization", &format!("Bearer {token}"))
    }

    /// From whoever has `key`.
    pub(super) fn api_key(mut self, key: &str) -> Self {
        self.secrets.push(key.to_owned());
        self.with("x-api-key", key)
    }

    /// A secret is somewhere in it.
    pub(super) fn holds(mut self, secret: &str) -> Self {
        self.secrets.push(secret.to_owned());
        self
    }

    /// From another address of this machine.
    pub(super) fn from(mut self, address: Ipv4Addr) -> Self {
        self.from = address;
        self
    }

    /// With these bytes after its head, whatever that says of them.
    pub(super) fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} HTTP/1.1\r\n", self.line).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        bytes.extend(b"\r\n");
        bytes.extend(&self.body);
        bytes
    }
}

impl From<Ask> for Sent {
    fn from(ask: Ask) -> Self {
        Self { bytes: ask.bytes(), drip: None, secrets: ask.secrets, from: ask.from }
    }
}

impl From<String> for Sent {
    fn from(text: String) -> Self {
        Self::of(text.into_bytes())
    }
}

impl From<&str> for Sent {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl Sent {
    /// These bytes.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self { bytes, drip: None, secrets: Vec::new(), from: Ipv4Addr::LOCALHOST }
    }

    /// And then this byte again and again, each before the patience of a server that counts from byte to byte is over.
    pub(super) fn then_slowly(mut self, byte: u8) -> Self {
        self.drip = Some(byte);
        self
    }

    /// Sends it to `address`, which is a host and a port.
    pub(super) async fn send(&self, address: &str) -> Reply {
        timeout(PATIENCE, self.exchange(address)).await.expect("the gateway answers or closes")
    }

    async fn exchange(&self, address: &str) -> Reply {
        let stream = self.connect(address).await;
        let (mut reader, mut writer) = stream.into_split();
        let sending = async {
            // The gateway may close before all of it is sent: what it has answered by then counts.
            let sent = writer.write_all(&self.bytes).await;
            let mut beat = interval(BEAT);
            while let (Ok(()), Some(byte)) = (&sent, self.drip) {
                beat.tick().await;
                if writer.write_all(&[byte]).await.is_err() {
                    break;
                }
            }
            std::future::pending().await
        };
        let reading = async {
            let mut bytes = Vec::new();
            // As far as it came: a connection that is reset has ended too.
            let _ = reader.read_to_end(&mut bytes).await;
            Reply::parse(&bytes)
        };
        tokio::select! {
            reply = reading => reply,
            reply = sending => reply,
        }
    }

    /// Sends it, and waits until the answer begins: for one that has no end.
    pub(super) async fn open(&self, address: &str) -> Opened {
        let mut stream = self.connect(address).await;
        stream.write_all(&self.bytes).await.expect("the gateway reads it");
        let mut received = Vec::new();
        timeout(PATIENCE, stream.read_buf(&mut received)).await.expect("in time").expect("an answer");
        Opened { stream, received }
    }

    async fn connect(&self, address: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((self.from, 0).into()).expect("an address of this machine");
        socket.connect(address.parse().expect("an address")).await.expect("the gateway listens")
    }
}

impl Opened {
    /// Waits until the gateway ends it.
    pub(super) async fn ended(mut self) -> Reply {
        let ended = timeout(PATIENCE, self.stream.read_to_end(&mut self.received)).await;
        ended.expect("the gateway ends it").expect("as it should");
        Reply::parse(&self.received)
    }
}

impl Reply {
    fn parse(received: &[u8]) -> Self {
        let text = String::from_utf8_lossy(received);
        // Leave to send a body is not an answer yet.
        let text = text.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&text);
        let answers = text.matches("HTTP/1.1 ").count();
        let (head, rest) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let body = match length.and_then(|length| length.parse().ok()) {
            Some(length) => rest.get(..length).unwrap_or(rest).to_owned(),
            None if head.contains("transfer-encoding: chunked") => unchunked(rest),
            None => String::new(),
        };
        Self { status, head, body, answers }
    }

    /// Its body as JSON; of a stream, the last message.
    pub(super) fn json(&self) -> Value {
        let last = self.body.lines().rev().find_map(|line| line.strip_prefix("data: "));
        serde_json::from_str(last.unwrap_or(&self.body)).unwrap_or_default()
    }

    /// A header of it.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Status and code, as the tables have them.
    pub(super) fn outcome(&self) -> String {
        let Some(status) = self.status else { return "ended | -".into() };
        let json = self.json();
        let mut code = String::new();
        for part in [&json["code"], &json["error"]["data"]["code"], &json["error"]["code"]] {
            let between = if code.is_empty() { "" } else { " " };
            match part {
                Value::Null => {}
                Value::String(word) => code += &format!("{between}{word}"),
                // Writing into a string cannot fail.
                number => drop(write!(code, "{between}{number}")),
            }
        }
        if json["result"]["isError"] == true {
            code = "isError".into();
        }
        if code.is_empty() {
            code = if status < 400 { "ok".into() } else { "-".into() };
        }
        format!("{status} | {code}")
    }
}

fn unchunked(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, more)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap_or(0);
        let Some(chunk) = more.get(..size).filter(|chunk| !chunk.is_empty()) else { break };
        body += chunk;
        rest = more[size..].trim_start_matches("\r\n");
    }
    body
}
