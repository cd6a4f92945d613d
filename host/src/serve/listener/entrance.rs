//! From an accepted socket to a connection that is served: it gets its place, its handshake if there is TLS, and its peer.
//!
//! In:   sockets, the router, the certificate that holds at the moment.
//! Out:  a stream and what answers its requests.
//! Fails: without a place, and if the handshake fails or takes too long. The socket is closed; the log is told at `debug`,
//! because on a public address that is what most of those who knock come to.

use std::{
    fmt,
    future::{Ready, ready},
    io,
    sync::Arc,
    time::Duration,
};

use axum::Router;
use axum_server::{
    accept::Accept,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use futures_util::future::BoxFuture;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::{
    connections::{Connections, Taken},
    visit::Visit,
    wire::Wire,
};
use crate::{
    config::{Digest, Tls},
    serve::Peer,
};

/// How long a client may take for the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Where listeners find the certificate for their next handshake. Its clones are the same.
#[derive(Clone)]
pub struct TlsSwitch(RustlsConfig);

impl TlsSwitch {
    /// One that begins with `tls`.
    pub fn new(tls: &Tls) -> Self {
        Self(RustlsConfig::from_config(tls.server_config()))
    }

    /// From now on handshakes are taken with `tls`. Connections under way go on.
    pub fn replace(&self, tls: &Tls) {
        self.0.reload_from_config(tls.server_config());
    }
}

impl fmt::Debug for TlsSwitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsSwitch")
    }
}

/// Gives every socket its place.
#[derive(Debug, Clone)]
pub(super) struct Entrance {
    connections: Arc<Connections>,
    /// What answers those for which there is no place.
    shedding: Router,
}

impl Entrance {
    pub(super) fn new(connections: Connections, shedding: Router) -> Self {
        Self { connections: Arc::new(connections), shedding }
    }

    fn enter(&self, socket: TcpStream, router: Router) -> io::Result<(Wire, Visit)> {
        // A client that is gone already has none.
        let address = socket.peer_addr()?;
        socket.set_nodelay(true)?;
        let (place, router) = match self.connections.take() {
            Some(Taken::Served(place)) => (place, router),
            Some(Taken::Shed(place)) => (place, self.shedding.clone()),
            None => return Err(io::Error::other("there is no place for one more connection")),
        };
        let peer = Peer { address, certificate: None, is_tls: false };
        let visit = Visit::new(router, peer, place.connection().clone());
        Ok((Wire::new(socket, place), visit))
    }
}

impl Accept<TcpStream, Router> for Entrance {
    type Stream = Wire;
    type Service = Visit;
    type Future = Ready<io::Result<(Wire, Visit)>>;

    fn accept(&self, socket: TcpStream, router: Router) -> Self::Future {
        ready(self.enter(socket, router))
    }
}

/// The same, with a handshake.
#[derive(Debug, Clone)]
pub(super) struct TlsEntrance(RustlsAcceptor<Entrance>);

impl TlsEntrance {
    pub(super) fn new(entrance: Entrance, switch: TlsSwitch) -> Self {
        let handshakes = RustlsAcceptor::new(switch.0).handshake_timeout(HANDSHAKE_TIMEOUT);
        Self(handshakes.acceptor(entrance))
    }
}

impl Accept<TcpStream, Router> for TlsEntrance {
    type Stream = TlsStream<Wire>;
    type Service = Visit;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Visit)>>;

    fn accept(&self, socket: TcpStream, router: Router) -> Self::Future {
        let address = socket.peer_addr();
        let handshake = self.0.accept(socket, router);
        Box::pin(async move {
            let (stream, visit) = handshake.await.inspect_err(|error| {
                let address = address.map(tracing::field::display).ok();
                tracing::debug!(address, %error, "no handshake");
            })?;
            let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            let certificate = shown.map(|certificate| Digest::of(certificate));
            Ok((stream, visit.over_tls(certificate)))
        })
    }
}
