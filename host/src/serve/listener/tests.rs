//! Listeners with a small router, asked over sockets.

mod crowd;
mod framing;
mod tls;
mod unread;

use axum::{Extension, body::Bytes, routing::get};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Semaphore,
};

use super::*;
use crate::{
    config::{Limits, Tls},
    serve::{Peer, framing::is_ambiguous, state::tests::gateway},
};

/// A listener with pages for tests.
struct Site {
    address: SocketAddr,
    terms: Terms,
    /// Each permit lets one answer of `/held` go.
    held: Arc<Semaphore>,
    serving: Serving,
}

/// What `/large` answers: more than sockets and hyper take off a handler's hands.
const LARGE: usize = 32 << 20;

impl Site {
    fn start(limits: Limits, tls: Option<&Tls>) -> Self {
        let terms = Terms { limits: ConnectionLimits::of(&limits), tls: tls.map(TlsSwitch::new) };
        let listening = Listening::bind(([127, 0, 0, 1], 0).into()).expect("some port is free");
        let (address, held) = (listening.address(), Arc::new(Semaphore::new(0)));
        let router = pages(held.clone());
        let shedding = shed::shedding(&gateway(), &router);
        let serving = listening.serve_routers(router, shedding, &terms).expect("it is bound");
        Self { address, terms, held, serving }
    }

    fn with_places(connections_max: usize) -> Self {
        Self::start(Limits { connections_max, ..Limits::default() }, None)
    }

    async fn connect(&self) -> Client<TcpStream> {
        Client::new(TcpStream::connect(self.address).await.expect("it listens"))
    }

    /// Lets one answer of `/held` go.
    fn release(&self) {
        self.held.add_permits(1);
    }
}

fn pages(held: Arc<Semaphore>) -> Router {
    let wait = move || async move { held.acquire().await.map(|permit| permit.forget()).is_ok().to_string() };
    let echo = |parts: http::request::Parts, body: Bytes| async move {
        let told = is_ambiguous(&parts.uri, &parts.headers).map_or("taken", |_| "refused");
        format!("{told} {} bytes", body.len())
    };
    Router::new()
        .route("/healthz", get(|| async { "well" }))
        .route("/peer", get(|Extension(peer): Extension<Peer>| async move { format!("{peer:?}") }))
        .route("/held", get(wait))
        .route("/large", get(|| async { vec![0; LARGE] }))
        .fallback(echo)
}

/// One end of a connection, which says what it is told to and no more.
struct Client<S> {
    stream: S,
    /// What has arrived and is not read yet.
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    /// In lowercase.
    head: String,
    body: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    async fn send(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).await.expect("the connection is open");
    }

    /// `false`: the connection has ended.
    async fn read(&mut self) -> bool {
        self.stream.read_buf(&mut self.buffer).await.is_ok_and(|read| read > 0)
    }

    /// The next answer. `None`: the connection ended without.
    async fn next(&mut self) -> Option<Answer> {
        let head = loop {
            let end = self.buffer.windows(4).position(|end| end == b"\r\n\r\n");
            match end {
                Some(end) => break self.buffer.drain(..end + 4).collect::<Vec<u8>>(),
                None if self.read().await => {}
                None => return None,
            }
        };
        let head = String::from_utf8(head).expect("heads are ASCII").to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.parse().expect("a number"));
        while self.buffer.len() < length {
            assert!(self.read().await, "the answer was cut");
        }
        let body = String::from_utf8(self.buffer.drain(..length).collect()).expect("text");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Some(Answer { status, head, body })
    }

    async fn get(&mut self, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
        self.next().await.expect("an answer")
    }

    /// Waits until the other side closes; what came before is lost.
    async fn ended(&mut self) {
        while self.read().await {}
    }
}

#[test]
fn a_port_in_use_is_said_to_be() {
    let first = Listening::bind(([127, 0, 0, 1], 0).into()).expect("some port is free");
    let error = Listening::bind(first.address()).expect_err("the port is taken");
    assert_eq!(
        error.to_string(),
        format!(
            "cannot listen on `{}`: another process has the port; stop it, or choose another with `listen` in \
             gateway.toml or `--listen`",
            first.address()
        )
    );
}

#[tokio::test]
async fn every_request_says_where_it_comes_from() {
    let site = Site::with_places(8);
    let mut client = site.connect().await;
    let own = client.stream.local_addr().expect("it is connected");
    let expected = format!("{:?}", Peer { address: own, certificate: None, is_tls: false });
    for _ in 0..2 {
        assert_eq!(client.get("/peer").await.body, expected);
    }
}
