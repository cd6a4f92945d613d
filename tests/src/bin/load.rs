//! `load ADDRESS CONNECTIONS KIND=AMOUNT..`: sends requests to a gateway that serves `greet`, one kind after the other, and counts
//! the answers. `cargo xtask bench` builds and runs it.
//!
//! In:   for each kind how many requests each connection sends (`rest=200`), or for how long (`rest=1.5s`); in `LOAD_HEADER` a
//!       line that the head of every request gets.
//! Out:  a line for each kind: its name, and how many answers there were.
//! Fails: exit code 1 if an answer is not 200, or not the right one. All answers of a kind are the same, byte for byte.
//!
//! Requests are made before the first is sent, and threads block: what it takes to ask is not what is measured.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::ExitCode,
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};

/// Longest wait for one answer. Under valgrind everything takes fifty times as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is asked for.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// `POST /greet/tools/echoHai`.
    Rest,
    /// `tools/call` of 2026-07-28.
    Modern,
    /// `tools/call` of 2025-11-25, without a session.
    OneShot,
    /// `tools/list` of 2026-07-28.
    List,
}

/// How much of it.
#[derive(Debug, Clone, Copy)]
enum Amount {
    Requests(u64),
    Time(Duration),
}

impl Kind {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "rest" => Self::Rest,
            "mcp-2026" => Self::Modern,
            "mcp-2025" => Self::OneShot,
            "list-2026" => Self::List,
            _ => return None,
        })
    }

    /// Path, further lines of the head, body, and what a right answer has in it.
    fn parts(self) -> (&'static str, &'static str, String, &'static str) {
        const CALL: &str = r#""name":"echoHai","arguments":{"userName":"Ada"}"#;
        const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"load","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}"#;
        let message = |method: &str, params: &str| {
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}}}}}"#)
        };
        const GREETED: &str = r#""result":"Hello, Ada!""#;
        const MCP: &str = "/greet/mcp";
        match self {
            Self::Rest => ("/greet/tools/echoHai", "", r#"{"userName":"Ada"}"#.into(), GREETED),
            Self::Modern => (
                MCP,
                "mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: echoHai\r\n",
                message("tools/call", &format!("{CALL},{META}")),
                GREETED,
            ),
            Self::OneShot => {
                (MCP, "mcp-protocol-version: 2025-11-25\r\n", message("tools/call", CALL), GREETED)
            }
            Self::List => (
                MCP,
                "mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/list\r\n",
                message("tools/list", META),
                r#""name":"echoHai""#,
            ),
        }
    }

    fn request(self, address: SocketAddr, header: &str) -> Vec<u8> {
        let (path, lines, body, _) = self.parts();
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\ncontent-length: {length}\r\n{lines}{header}\r\n"
        );
        (head + &body).into_bytes()
    }
}

impl FromStr for Amount {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text.strip_suffix('s') {
            Some(seconds) => Self::Time(Duration::try_from_secs_f64(seconds.parse()?)?),
            None => Self::Requests(text.parse()?),
        })
    }
}

fn main() -> ExitCode {
    match load() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn load() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, connections, kinds @ ..] = args.as_slice() else {
        bail!("usage: load ADDRESS CONNECTIONS KIND=AMOUNT..");
    };
    let (address, connections): (SocketAddr, usize) = (address.parse()?, connections.parse()?);
    let header = std::env::var("LOAD_HEADER").map_or_else(|_| String::new(), |line| format!("{line}\r\n"));
    let connect = |_| Connection::open(address).with_context(|| format!("cannot connect to {address}"));
    let mut connections: Vec<Connection> = (0..connections).map(connect).collect::<Result<_>>()?;
    for asked in kinds {
        let (name, amount) = asked.split_once('=').context("KIND=AMOUNT")?;
        let kind = Kind::parse(name).with_context(|| format!("there is no kind `{name}`"))?;
        let (request, amount) = (kind.request(address, &header), amount.parse::<Amount>()?);
        let answers = thread::scope(|scope| {
            let run = |connection| scope.spawn(|| send(connection, &request, kind, amount));
            let threads: Vec<_> = connections.iter_mut().map(run).collect();
            let counts =
                threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("it panicked"))?);
            counts.sum::<Result<u64>>()
        });
        println!("{name} {}", answers.with_context(|| name.to_owned())?);
    }
    Ok(())
}

/// Sends `amount` of `request`, each when the last is answered. How many there were.
fn send(connection: &mut Connection, request: &[u8], kind: Kind, amount: Amount) -> Result<u64> {
    let began = Instant::now();
    let goes_on = |sent: u64| match amount {
        Amount::Requests(requests) => sent < requests,
        Amount::Time(time) => began.elapsed() < time,
    };
    let (.., right) = kind.parts();
    let (mut sent, mut first) = (0, Vec::new());
    while goes_on(sent) {
        let body = connection.exchange(request)?;
        if sent == 0 {
            let text = String::from_utf8_lossy(body);
            ensure!(text.contains(right) && !text.contains(r#""isError":true"#), "answered {text}");
            first = body.to_vec();
        }
        ensure!(body == first, "answered otherwise than before: {}", String::from_utf8_lossy(body));
        sent += 1;
    }
    Ok(sent)
}

struct Connection {
    stream: TcpStream,
    /// The last answer.
    answer: Vec<u8>,
}

impl Connection {
    fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, answer: Vec::new() })
    }

    /// Sends `request`; the body of its answer.
    fn exchange(&mut self, request: &[u8]) -> Result<&[u8]> {
        self.stream.write_all(request)?;
        self.answer.clear();
        let body = loop {
            self.read_more()?;
            if let Some(end) = self.answer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let head = std::str::from_utf8(&self.answer[..body]).context("the head is text")?;
        let length = length_of(head).with_context(|| format!("an answer without a length: {head}"));
        let is_good = head.starts_with("HTTP/1.1 200 ");
        let end = body + length?;
        while self.answer.len() < end {
            self.read_more()?;
        }
        ensure!(is_good, "answered {}", String::from_utf8_lossy(&self.answer));
        ensure!(self.answer.len() == end, "answered more than once");
        Ok(&self.answer[body..])
    }

    fn read_more(&mut self) -> Result<()> {
        let mut chunk = [0; 16 << 10];
        let read = self.stream.read(&mut chunk)?;
        ensure!(read > 0, "the gateway has closed the connection");
        self.answer.extend_from_slice(&chunk[..read]);
        Ok(())
    }
}

fn length_of(head: &str) -> Option<usize> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })
}
