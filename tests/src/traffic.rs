//! A steady load on the tool of `greet`, through every door, while somebody swaps one build of it for another.
//!
//! In:   a gateway; which build is installed, as far as that is certain.
//! Out:  how many calls, how long each took, and every one that was not answered by a build that could have answered it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// What the two builds say.
pub const WORDS: [&str; 2] = ["Hello, Ada!", "Good day, Ada!"];

/// How a call goes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// `POST /greet/tools/echoHai`.
    Rest,
    /// A call of 2026-07-28.
    Modern,
    /// A call in a session of 2025-11-25, one for each connection, for as long as the load lasts.
    Session,
}

impl Door {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Rest, Self::Modern, Self::Session];

    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rest => "REST",
            Self::Modern => "MCP 2026-07-28",
            Self::Session => "MCP 2025-11-25",
        }
    }
}

/// Which build answers: `WORDS[swaps % 2]` once that many are done. While one is under way either may.
#[derive(Debug, Default)]
pub struct Swaps(AtomicU64);

impl Swaps {
    /// A swap begins.
    pub fn begin(&self) {
        self.0.fetch_add(1, SeqCst);
    }

    /// It is done, or was not done at all.
    pub fn end(&self) {
        self.0.fetch_add(1, SeqCst);
    }

    /// The build that is certain to answer a call which is made now, and a mark to compare after it.
    fn now(&self) -> (Option<usize>, u64) {
        let steps = self.0.load(SeqCst);
        // Two steps for each swap.
        (steps.is_multiple_of(2).then_some((steps / 2 % 2) as usize), steps)
    }
}

/// What one door saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// How long each call took.
    pub took: Vec<Duration>,
    /// Calls that were answered by each build.
    pub answered: [u64; 2],
    /// What went wrong.
    pub failed: Vec<String>,
}

impl Seen {
    /// The part of the calls that were at most so slow, sorted before: `0.99` for p99.
    pub fn quantile(&self, part: f64) -> Duration {
        let mut took = self.took.clone();
        took.sort_unstable();
        let last = took.len().saturating_sub(1);
        took.get((part * last as f64).round() as usize).copied().unwrap_or_default()
    }
}

/// A load that goes on until it is told to stop.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    workers: Vec<(Door, JoinHandle<Result<Seen>>)>,
}

impl Traffic {
    /// Begins a load on the gateway at `base`; each of the connections sends its next call when the last is answered.
    pub fn start(base: &str, connections: usize, swaps: &Arc<Swaps>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let worker = |number: usize| {
            let door = Door::ALL[number % Door::ALL.len()];
            let worker = Worker { base: base.to_owned(), door, swaps: swaps.clone(), stop: stop.clone() };
            (door, tokio::spawn(worker.run()))
        };
        Self { workers: (0..connections).map(worker).collect(), stop }
    }

    /// Ends the load; what each door saw.
    pub async fn stop(self) -> Result<Vec<(Door, Seen)>> {
        self.stop.store(true, SeqCst);
        let mut doors: Vec<(Door, Seen)> = Door::ALL.map(|door| (door, Seen::default())).into();
        for (door, worker) in self.workers {
            let seen = worker.await??;
            let (_, all) = doors.iter_mut().find(|(other, _)| *other == door).context("it is among them")?;
            all.took.extend(seen.took);
            all.failed.extend(seen.failed);
            all.answered.iter_mut().zip(seen.answered).for_each(|(all, one)| *all += one);
        }
        Ok(doors)
    }
}

struct Worker {
    base: String,
    door: Door,
    swaps: Arc<Swaps>,
    stop: Arc<AtomicBool>,
}

type Http = Client<HttpConnector, Full<Bytes>>;

impl Worker {
    async fn run(self) -> Result<Seen> {
        // A connection of its own, and no call sent twice.
        let http: Http = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(1)
            .retry_canceled_requests(false)
            .build_http();
        let session = match self.door {
            Door::Session => Some(self.begin_session(&http).await.context("a session")?),
            _ => None,
        };
        let mut seen = Seen::default();
        while !self.stop.load(SeqCst) {
            let (certain, mark) = self.swaps.now();
            let began = Instant::now();
            let said = self.call(&http, session.as_ref()).await;
            seen.took.push(began.elapsed());
            let certain = certain.filter(|_| self.swaps.now().1 == mark);
            match said.and_then(|said| build_of(&said, certain)) {
                Ok(build) => seen.answered[build] += 1,
                Err(error) => seen.failed.push(format!("{}: {error:#}", self.door.name())),
            }
        }
        Ok(seen)
    }

    async fn begin_session(&self, http: &Http) -> Result<HeaderValue> {
        let hello = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "traffic", "version": "1" } } });
        let answer = self.send(http, "/greet/mcp", &[], hello.to_string()).await?;
        let session = answer.headers().get("mcp-session-id").context("a session's id")?.clone();
        let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string();
        self.send(http, "/greet/mcp", &[("mcp-session-id", &session)], ready).await?;
        Ok(session)
    }

    /// What the tool said.
    async fn call(&self, http: &Http, session: Option<&HeaderValue>) -> Result<String> {
        let arguments = json!({ "userName": "Ada" });
        let mut params = json!({ "name": "echoHai", "arguments": arguments });
        let call = |params: Value| {
            json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string()
        };
        let answer = match (self.door, session) {
            (Door::Rest, _) => {
                let answer = self.send(http, "/greet/tools/echoHai", &[], arguments.to_string()).await?;
                return Ok(text(&json_of(&answer)?["result"]));
            }
            (_, Some(session)) => {
                let version = HeaderValue::from_static("2025-11-25");
                let headers = [("mcp-session-id", session), ("mcp-protocol-version", &version)];
                self.send(http, "/greet/mcp", &headers, call(params)).await?
            }
            (_, None) => {
                params["_meta"] = json!({
                    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                    "io.modelcontextprotocol/clientInfo": { "name": "traffic", "version": "1" },
                    "io.modelcontextprotocol/clientCapabilities": {},
                });
                let [version, method, name] =
                    ["2026-07-28", "tools/call", "echoHai"].map(HeaderValue::from_static);
                let headers =
                    [("mcp-protocol-version", &version), ("mcp-method", &method), ("mcp-name", &name)];
                self.send(http, "/greet/mcp", &headers, call(params)).await?
            }
        };
        Ok(text(&json_of(&answer)?["result"]["structuredContent"]["result"]))
    }

    async fn send(
        &self,
        http: &Http,
        path: &str,
        headers: &[(&'static str, &HeaderValue)],
        body: String,
    ) -> Result<Response<Bytes>> {
        let mut request = Request::post(format!("{}{path}", self.base))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, body) = http.request(request.body(Full::new(Bytes::from(body)))?).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        ensure!(parts.status.is_success(), "{}: {}", parts.status, String::from_utf8_lossy(&body));
        Ok(Response::from_parts(parts, body))
    }
}

/// The JSON of an answer, or of the last event of one that is a stream.
fn json_of(answer: &Response<Bytes>) -> Result<Value> {
    let body = String::from_utf8_lossy(answer.body());
    let line = body.lines().rev().find(|line| line.starts_with('{') || line.starts_with("data: {"));
    let line = line.with_context(|| format!("no JSON: {body}"))?;
    Ok(serde_json::from_str(line.trim_start_matches("data: "))?)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Which build said that; an error if neither did, or the one that could not.
fn build_of(said: &str, certain: Option<usize>) -> Result<usize> {
    let Some(build) = WORDS.iter().position(|words| *words == said) else { bail!("answered {said}") };
    match certain {
        Some(certain) if certain != build => bail!("build {certain} serves, and build {build} has answered"),
        _ => Ok(build),
    }
}
