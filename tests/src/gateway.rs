//! A gateway under test: the built binary as a child process, with a gateway.toml of the test's own.

use std::{
    convert::Infallible,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

use crate::{Folder, Key, artifacts};

/// How long a test waits for an event that has to come before it gives up. Long, because it is never waited for
/// when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running gateway. Killed when dropped.
pub struct Gateway {
    child: Child,
    base: String,
    log: Arc<Log>,
    folder: Folder,
    client: Client<HttpConnector, BoxBody<Bytes, Infallible>>,
    /// What requests say that do not say who they are from.
    authorization: Option<HeaderValue>,
}

/// What a gateway writes to its log, line by line.
#[derive(Default)]
struct Log {
    lines: Mutex<Lines>,
    grown: Condvar,
}

#[derive(Default)]
struct Lines {
    events: Vec<Value>,
    ended: bool,
}

/// A place in a gateway's log: what comes after it counts.
#[derive(Debug, Clone, Copy)]
pub struct Mark(usize);

/// Asks again and again until it is so: for what no event tells. `what` is to come true.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let asked = async {
        while !is_so().await {
            // For the sake of who has to answer; nothing depends on how long this is.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, asked).await.is_ok(), "it never came to be: {what}");
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: String,
}

impl Answer {
    /// Its body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e} in `{}`", self.body))
    }

    /// Status and pretty body, without what differs from run to run or from build to build.
    pub fn summary(&self) -> String {
        let Ok(mut body) = serde_json::from_str::<Value>(&self.body) else {
            return format!("{}\n{}", self.status, self.body);
        };
        if let Some(id) = body.get_mut("request_id") {
            *id = "[id]".into();
        }
        for server in body.get_mut("servers").and_then(Value::as_array_mut).into_iter().flatten() {
            for varies in ["sha256", "heap_bytes"] {
                if let Some(value) = server.get_mut(varies) {
                    *value = format!("[{varies}]").into();
                }
            }
        }
        format!("{}\n{}", self.status, serde_json::to_string_pretty(&body).expect("JSON"))
    }
}

/// The text of a gateway.toml that mounts each of `servers` at a prefix of its own name, on a free port.
pub fn config(servers: &[&str]) -> String {
    let mut text = String::from("listen = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n");
    for name in servers {
        text += &server(name, name);
    }
    text
}

/// A `[[server]]` table for the built plugin `plugin`.
pub fn server(name: &str, plugin: &str) -> String {
    let file = artifacts().join(format!("{plugin}.so"));
    format!("[[server]]\nname = \"{name}\"\nplugin = {file:?}\nprefix = \"/{name}\"\n")
}

/// The gateway as a command, to be run in `folder`, which takes its temporary files too.
pub fn command(folder: &Path) -> Command {
    command_of("gateway", folder)
}

/// As [`command`], of another gateway among the artifacts.
pub fn command_of(gateway: &str, folder: &Path) -> Command {
    let mut command = Command::new(artifacts().join(gateway));
    command
        .current_dir(folder)
        // It keeps copies of its plugins there, 8 MB each, and a gateway that is killed cannot remove them.
        .env("TMPDIR", folder)
        .env_remove("GATEWAY_CONFIG")
        .env_remove("GATEWAY_LISTEN")
        // The control socket is in there too, and not where another test's or the developer's own gateway has its.
        .env_remove("XDG_RUNTIME_DIR")
        .stdin(Stdio::null());
    // Nor is it to send to the developer's collector.
    let telemetry = std::env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| name.as_encoded_bytes().starts_with(b"OTEL_"));
    telemetry.for_each(|name| {
        command.env_remove(name);
    });
    command
}

impl Gateway {
    /// Starts a gateway with the built plugins of these names, each at a prefix of its own name.
    pub async fn start(servers: &[&str]) -> Self {
        Self::with_config(&config(servers)).await
    }

    /// Starts a gateway with this gateway.toml, which has to say `listen = "127.0.0.1:0"` and `format = "json"`.
    pub async fn with_config(text: &str) -> Self {
        Self::of_program("gateway", text).await
    }

    /// As [`Gateway::with_config`], of another gateway among the artifacts.
    pub async fn of_program(gateway: &str, text: &str) -> Self {
        let folder = Folder::empty();
        folder.replace("gateway.toml", text);
        Self::of_command(command_of(gateway, folder.path()), folder).await
    }

    /// Starts a gateway on the gateway.toml in `folder`.
    pub async fn in_folder(folder: &Folder) -> Self {
        Self::of_command(command(folder.path()), folder.clone()).await
    }

    /// As [`Gateway::in_folder`], by a command that may have been given more.
    pub async fn of_command(mut command: Command, folder: Folder) -> Self {
        // Clients of tests look for it in the process. Refused only if another test was first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the gateway can be started");
        let stderr = child.stderr.take().expect("piped");
        let log = Arc::new(Log::default());
        let reader = log.clone();
        std::thread::spawn(move || reader.read(BufReader::new(stderr)));
        let client = Client::builder(TokioExecutor::new()).build_http();
        let mut gateway = Self { child, base: String::new(), log, folder, client, authorization: None };
        let ready = gateway.event("gateway ready").await;
        gateway.base = ready["url"].as_str().expect("its address").to_owned();
        gateway
    }

    /// From now on requests that do not say who they are from are from the holder of `key`.
    #[must_use]
    pub fn asked_with(mut self, key: &Key) -> Self {
        self.authorization = Some(HeaderValue::from_str(&key.bearer()).expect("a key is ASCII"));
        self
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its URL, without a path.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Where its main listener is.
    pub fn address(&self) -> SocketAddr {
        let address = self.base.split_once("://").map(|(_, address)| address.parse());
        address.expect("it is a URL").expect("of an address")
    }

    /// The URL of `path`.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// A folder that lives as long as the gateway; its gateway.toml is there.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The same folder, for who changes what is in it.
    pub fn files(&self) -> &Folder {
        &self.folder
    }

    /// Waits for the first event of this message.
    pub async fn event(&self, message: &str) -> Value {
        self.event_with(message, &[]).await
    }

    /// Waits for the first event of this message that has these fields.
    pub async fn event_with(&self, message: &str, fields: &[(&str, &str)]) -> Value {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), Value::from(*value));
        let wanted: Vec<(String, Value)> = fields.iter().map(owned).collect();
        self.event_where(message, move |event| wanted.iter().all(|(name, value)| event[name] == *value)).await
    }

    /// Waits for the first event of this message that is so.
    pub async fn event_where(&self, message: &str, is_so: impl Fn(&Value) -> bool + Send + 'static) -> Value {
        self.event_since(Mark(0), message, is_so).await
    }

    /// Where its log is now.
    pub fn mark(&self) -> Mark {
        Mark(self.log.lock().events.len())
    }

    /// What it has logged since `mark`.
    pub fn logged_since(&self, mark: Mark) -> Vec<Value> {
        self.log.lock().events[mark.0..].to_vec()
    }

    /// Waits for the first event after `mark` of this message that is so.
    pub async fn event_since(
        &self,
        mark: Mark,
        message: &str,
        is_so: impl Fn(&Value) -> bool + Send + 'static,
    ) -> Value {
        let (log, message) = (self.log.clone(), message.to_owned());
        let found = tokio::task::spawn_blocking(move || {
            log.wait_for(mark, &message, |event| event["message"] == message.as_str() && is_so(event))
        });
        found.await.expect("it waits or panics").expect("an event")
    }

    /// Sends a request and reads its answer. Dropping the future closes the connection.
    pub async fn send(&self, request: Request<String>) -> Result<Answer> {
        let request = request.map(|body| Full::new(Bytes::from(body)).boxed());
        self.send_any(request).await
    }

    /// Sends a request whose body comes in pieces and does not say how long it is.
    pub async fn send_in_pieces(&self, request: Request<Vec<String>>) -> Result<Answer> {
        let frame = |piece: String| Ok(Frame::data(Bytes::from(piece)));
        let request =
            request.map(|pieces| StreamBody::new(stream::iter(pieces.into_iter().map(frame))).boxed());
        self.send_any(request).await
    }

    /// Sends a request to `base` instead, e.g. to a proxy in front of this gateway, on a connection of its own.
    pub async fn send_by(&self, base: &str, mut request: Request<String>) -> Result<Answer> {
        request.headers_mut().insert("connection", http::HeaderValue::from_static("close"));
        self.send_to(base, request.map(|body| Full::new(Bytes::from(body)).boxed())).await
    }

    async fn send_any(&self, request: Request<BoxBody<Bytes, Infallible>>) -> Result<Answer> {
        self.send_to(&self.base, request).await
    }

    async fn send_to(&self, base: &str, request: Request<BoxBody<Bytes, Infallible>>) -> Result<Answer> {
        let (mut parts, body) = request.into_parts();
        parts.uri = format!("{base}{}", parts.uri).parse()?;
        if let Some(authorization) = self.authorization.clone() {
            parts.headers.entry(header::AUTHORIZATION).or_insert(authorization);
        }
        let answer = self.client.request(Request::from_parts(parts, body)).await?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).context("the body is text")?,
        })
    }

    /// `GET path`.
    pub async fn get(&self, path: &str) -> Answer {
        let request = Request::get(path).body(String::new()).expect("a request");
        self.send(request).await.expect("an answer")
    }

    /// `POST path` with a JSON body.
    pub async fn post(&self, path: &str, body: impl Into<String>) -> Answer {
        let request = Request::post(path).header("content-type", "application/json");
        self.send(request.body(body.into()).expect("a request")).await.expect("an answer")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "the signal was not sent");
    }

    /// Waits until the gateway has ended: its exit code (`None`: a signal) and its whole log.
    pub async fn ended(mut self) -> (Option<i32>, Vec<Value>) {
        let log = self.log.clone();
        tokio::task::spawn_blocking(move || {
            let events = log.whole().expect("the log ends");
            let status = self.child.wait().expect("it was started");
            (status.code(), events)
        })
        .await
        .expect("it waits or panics")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Log {
    fn read(&self, stderr: impl BufRead) {
        for line in stderr.lines().map_while(Result::ok) {
            let event = serde_json::from_str(&line).unwrap_or_else(|_| {
                // Not from its log: a panic, a complaint of the linker. Tests that fail show it.
                eprintln!("{line}");
                Value::String(line)
            });
            self.lock().events.push(event);
            self.grown.notify_all();
        }
        self.lock().ended = true;
        self.grown.notify_all();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.lines.lock().expect("no reader panics")
    }

    fn wait_for(&self, mark: Mark, message: &str, is_it: impl Fn(&Value) -> bool) -> Result<Value> {
        let found = |lines: &Lines| lines.events[mark.0..].iter().find(|event| is_it(event)).cloned();
        let waiting = |lines: &mut Lines| found(lines).is_none() && !lines.ended;
        let (lines, _) =
            self.grown.wait_timeout_while(self.lock(), PATIENCE, waiting).expect("no reader panics");
        match found(&lines) {
            Some(event) => Ok(event),
            None => bail!("no such event `{message}` in {:#?}", lines.events),
        }
    }

    fn whole(&self) -> Result<Vec<Value>> {
        let running = |lines: &mut Lines| !lines.ended;
        let (lines, timeout) =
            self.grown.wait_timeout_while(self.lock(), PATIENCE, running).expect("no reader panics");
        if timeout.timed_out() {
            bail!("the gateway did not end: {:#?}", lines.events);
        }
        Ok(lines.events.clone())
    }
}
