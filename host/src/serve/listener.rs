//! The listening sockets: the main one, that of `[admin]`, and the control socket. Bound before any plugin is loaded, so that
//! a port in use costs nothing.
//!
//! In:   addresses, and on which terms connections are taken.
//! Out:  requests for the router, each with its [`Peer`](super::Peer), on no more connections than agreed.
//! Fails: only if an address cannot be bound. A connection that is none ends alone.

mod connections;
mod descriptors;
mod entrance;
mod shed;
mod unread;
mod visit;
mod wire;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use axum_server::{Handle, accept::Accept};
use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinHandle,
};

use super::{
    ControlSocket, Gateway,
    router::{self, Place},
};
use connections::Connections;
use entrance::{Entrance, TlsEntrance};
use visit::Visit;

pub use connections::ConnectionLimits;
pub use descriptors::raise_descriptor_limit;
pub use entrance::TlsSwitch;

/// On which terms connections are taken. The same for every listener of the network.
#[derive(Debug, Clone)]
pub struct Terms {
    /// How many there may be, and how slow.
    pub limits: Arc<ConnectionLimits>,
    /// `None`: they are not encrypted.
    pub tls: Option<TlsSwitch>,
}

/// How many connections may wait to be accepted; the system may allow fewer. std's 128 fill up in a moment when many come at
/// once, and who finds no room tries again a second later.
const BACKLOG: i32 = 4096;

/// A bound socket on which nobody answers yet; clients that connect wait.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
}

/// Why the gateway cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process has the port.
    #[error(
        "cannot listen on `{address}`: another process has the port; stop it, or choose another with {keys}"
    )]
    InUse {
        /// What says where to listen.
        keys: &'static str,
        /// The address of gateway.toml or `--listen`.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The port is for privileged processes.
    #[error(
        "cannot listen on `{address}`: ports below 1024 need the capability CAP_NET_BIND_SERVICE; choose a higher one"
    )]
    Privileged {
        /// The address of gateway.toml or `--listen`.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No interface has the address.
    #[error("cannot listen on `{address}`: this machine does not have that address")]
    NotOurs {
        /// The address of gateway.toml or `--listen`.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Something else.
    #[error("cannot listen on `{address}`")]
    Other {
        /// The address of gateway.toml or `--listen`.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

impl Listening {
    /// Binds `address`, of the main listener; port 0 lets the system pick.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        Self::bind_as(address, "`listen` in gateway.toml or `--listen`")
    }

    /// The same for the listener of `[admin]`.
    pub fn bind_admin(address: SocketAddr) -> Result<Self, BindError> {
        Self::bind_as(address, "`[admin] listen` in gateway.toml")
    }

    /// `keys`: what says where to listen.
    fn bind_as(address: SocketAddr, keys: &'static str) -> Result<Self, BindError> {
        let bound = TcpListener::bind(address).and_then(|listener| {
            // Tokio takes only sockets that never block.
            listener.set_nonblocking(true)?;
            // To listen again changes the length of the queue alone.
            rustix::net::listen(&listener, BACKLOG)?;
            Ok(Self { address: listener.local_addr()?, listener })
        });
        bound.map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { keys, address, source },
            io::ErrorKind::PermissionDenied => BindError::Privileged { address, source },
            io::ErrorKind::AddrNotAvailable => BindError::NotOurs { address, source },
            _ => BindError::Other { address, source },
        })
    }

    /// The address really bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to answer everything. Must be called inside of a tokio runtime.
    pub fn serve(self, gateway: &Arc<Gateway>, terms: &Terms) -> io::Result<Serving> {
        self.serve_at(gateway, Place::Main, terms)
    }

    /// Begins to answer what is for operators. Must be called inside of a tokio runtime.
    pub fn serve_operators(self, gateway: &Arc<Gateway>, terms: &Terms) -> io::Result<Serving> {
        self.serve_at(gateway, Place::Admin, terms)
    }

    fn serve_at(self, gateway: &Arc<Gateway>, place: Place, terms: &Terms) -> io::Result<Serving> {
        gateway.seen().listens_on(&terms.limits);
        let router = router::router(gateway, place);
        let shedding = shed::shedding(gateway, &router);
        self.serve_routers(router, shedding, terms)
    }

    /// `shedding` answers connections for which there is no place.
    fn serve_routers(self, router: Router, shedding: Router, terms: &Terms) -> io::Result<Serving> {
        let entrance = Entrance::new(Connections::new(terms.limits.clone()), shedding);
        let head_timeout = terms.limits.head_timeout();
        match terms.tls.clone() {
            None => self.serve_through(entrance, router, head_timeout),
            Some(tls) => self.serve_through(TlsEntrance::new(entrance, tls), router, head_timeout),
        }
    }

    fn serve_through<A>(self, entrance: A, router: Router, head_timeout: Duration) -> io::Result<Serving>
    where
        A: Accept<TcpStream, Router, Service = Visit> + Clone + Send + Sync + 'static,
        A::Stream: AsyncRead + AsyncWrite + Unpin + Send,
        A::Future: Send,
    {
        let handle = Handle::new();
        let server = axum_server::from_tcp(self.listener)?.acceptor(entrance);
        let mut server = server.handle(handle.clone()).http1_only();
        limit(server.http_builder(), head_timeout);
        let task = tokio::spawn(server.serve(router.into_make_service()));
        Ok(Serving::new(task, move |grace| handle.graceful_shutdown(Some(grace))))
    }
}

impl ControlSocket {
    /// Begins to answer the gateway's own user. Must be called inside of a tokio runtime.
    pub fn serve(&mut self, gateway: &Arc<Gateway>) -> io::Result<Serving> {
        let listener = self.take().ok_or_else(|| io::Error::other("it is served already"))?;
        let handle = Handle::new();
        let mut server = axum_server::from_unix(listener)?.handle(handle.clone()).http1_only();
        limit(server.http_builder(), CONTROL_HEAD_TIMEOUT);
        let task = tokio::spawn(server.serve(router::router(gateway, Place::Control).into_make_service()));
        Ok(Serving::new(task, move |grace| handle.graceful_shutdown(Some(grace))))
    }
}

/// How long the gateway's own user may take to send the head of a request.
const CONTROL_HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Most bytes of a request's head; also how much of an answer waits for a slow client in memory. hyper's own limit is six
/// times that. At more than 100 headers, which is hyper's limit, or more bytes the answer is 431.
const HEAD_MAX_BYTES: usize = 64 << 10;

/// Every client speaks HTTP/1 (looking for an HTTP/2 preface first would wait without end for a client that sends nothing),
/// and has so long for its request's head. That ends idle connections too.
fn limit(builder: &mut Builder<TokioExecutor>, head_timeout: Duration) {
    // Without `max_headers`: to name hyper's own limit would make it take memory for every request.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head_timeout).max_buf_size(HEAD_MAX_BYTES);
}

/// A listener that answers.
pub struct Serving {
    stop: Box<dyn FnOnce(Duration) + Send>,
    /// `None`: it has ended by itself.
    task: Option<JoinHandle<io::Result<()>>>,
}

impl Serving {
    fn new(task: JoinHandle<io::Result<()>>, stop: impl FnOnce(Duration) + Send + 'static) -> Self {
        Self { stop: Box::new(stop), task: Some(task) }
    }

    /// Closes the listener, lets requests under way finish for at most `grace`, then cuts what is left.
    pub async fn stop(self, grace: Duration) -> io::Result<()> {
        let Some(task) = self.task else { return Ok(()) };
        (self.stop)(grace);
        task.await.unwrap_or_else(|panicked| Err(io::Error::other(panicked)))
    }

    /// Waits for a listener that ends by itself, which it does only after an error.
    pub async fn failed(&mut self) -> io::Error {
        let Some(task) = &mut self.task else { return std::future::pending().await };
        let ended = task.await;
        self.task = None;
        match ended {
            Ok(Ok(())) => io::Error::other("the listener ended"),
            Ok(Err(error)) => error,
            Err(panicked) => io::Error::other(panicked),
        }
    }
}

#[cfg(test)]
mod tests;
