//! Who is at the other end of a connection, as far as the connection itself tells.

use std::net::SocketAddr;

use crate::config::Digest;

/// The other end of a connection: in the extensions of every request that came over the network. A request without one came
/// through the control socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Where it connects from; a proxy's address if there is one in between.
    pub address: SocketAddr,
    /// The SHA-256 of the client's own certificate in DER, which `[tls] client_ca` vouches for. `None`: it showed none.
    pub certificate: Option<Digest>,
    /// Whether the connection is encrypted.
    pub is_tls: bool,
}
