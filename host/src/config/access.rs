//! Who may do what: keys, certificates and issuers that say who is calling, and the scopes that servers and tools ask for.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::{Digest, ServerName};

/// What a caller is allowed to do, e.g. `greet:echoHai`: a `scope-token` of RFC 6749 section 3.3.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope(Arc<str>);

/// The `[auth]` table. Without keys, certificates and issuers nobody is asked who they are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Auth {
    /// The `[[auth.key]]` tables.
    pub keys: Vec<ApiKey>,
    /// The `[[auth.certificate]]` tables.
    pub certificates: Vec<ClientCertificate>,
    /// The `[[auth.issuer]]` tables.
    pub issuers: Vec<Issuer>,
    /// Whether the operator has said that everybody who reaches the gateway may use it.
    pub allow_unauthenticated: bool,
}

/// One `[[auth.key]]` table: somebody who shows a key.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiKey {
    /// Who it is, in logs and audit; unique among keys.
    pub name: String,
    /// The part of the key that finds it: `mgw_<id>_<secret>`.
    pub id: String,
    /// SHA-256 of the whole key.
    pub sha256: Digest,
    /// What its holder may do.
    pub scopes: Vec<Scope>,
}

/// One `[[auth.certificate]]` table: somebody who shows a client certificate.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientCertificate {
    /// Who it is, in logs and audit; unique among certificates.
    pub name: String,
    /// SHA-256 of the certificate in DER.
    pub sha256: Digest,
    /// What its holder may do.
    pub scopes: Vec<Scope>,
}

/// One `[[auth.issuer]]` table: an OAuth 2.1 authorization server whose tokens are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// What its tokens have as `iss`, exactly (RFC 9068 section 4).
    pub url: String,
    /// Where its keys are. `None`: its metadata says (RFC 8414, OpenID Connect Discovery).
    pub jwks_url: Option<String>,
    /// The algorithms that its tokens may be signed with; none of them symmetric.
    pub algorithms: Vec<SigningAlgorithm>,
}

/// How a token may be signed (RFC 7518 section 3.1, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the RFCs")]
pub enum SigningAlgorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// What of a `[[server]]` table is about its callers: it holds from the next request on, without another generation.
#[derive(Debug, Clone, PartialEq)]
pub struct Guard {
    /// How callers of this server say who they are.
    pub asks_for: AsksFor,
    /// What every call needs. Empty: the server's name, or the server's name, a colon and the tool's.
    pub scopes: Vec<Scope>,
    /// What calls of single tools need beside that, by name.
    pub tools: BTreeMap<String, Vec<Scope>>,
    /// What tokens have as `aud` instead of the server's URL.
    pub audience: Option<String>,
    /// Most calls that are open at once.
    pub calls_max: usize,
}

/// How callers of a server say who they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AsksFor {
    /// By whatever `[auth]` has.
    #[default]
    Any,
    /// By a key or a certificate: its metadata names no authorization server.
    Keys,
    /// By a token of an issuer.
    Tokens,
    /// Nobody is asked.
    Nothing,
}

/// In which ways callers can say who they are. In none: nobody is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ways {
    /// By a key.
    pub keys: bool,
    /// By a client certificate.
    pub certificates: bool,
    /// By a token of an issuer.
    pub tokens: bool,
}

/// The guards of servers, by name. A server without one has the default.
pub type Guards = BTreeMap<ServerName, Guard>;

impl Scope {
    /// What it takes to look after the gateway.
    pub const ADMIN: &str = "admin";
    /// What it takes to read `/metrics`, and nothing else.
    pub const METRICS: &str = "metrics";

    /// One or more of the printable characters of ASCII but space, `"` and `\`.
    pub fn parse(text: &str) -> Option<Self> {
        let good = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        (!text.is_empty() && text.len() <= 256 && text.bytes().all(good)).then(|| Self(text.into()))
    }

    /// The scope as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Auth {
    /// Whether anybody is asked who they are.
    pub fn is_on(&self) -> bool {
        !(self.keys.is_empty() && self.certificates.is_empty() && self.issuers.is_empty())
    }

    /// In which ways callers of what asks for that can say who they are.
    pub fn ways(&self, asks_for: AsksFor) -> Ways {
        let by_key = matches!(asks_for, AsksFor::Any | AsksFor::Keys);
        let by_token = matches!(asks_for, AsksFor::Any | AsksFor::Tokens);
        Ways {
            keys: by_key && !self.keys.is_empty(),
            certificates: by_key && !self.certificates.is_empty(),
            tokens: by_token && !self.issuers.is_empty(),
        }
    }
}

impl Ways {
    /// Whether anybody is asked.
    pub fn is_any(self) -> bool {
        self != Self::default()
    }
}

impl Auth {
    /// Whether it may be asked for at `listen`: others can reach that only if they are asked, or the operator has said that
    /// they need not be.
    pub fn allows(&self, listen: std::net::SocketAddr) -> bool {
        listen.ip().to_canonical().is_loopback() || self.is_on() || self.allow_unauthenticated
    }
}

impl Guard {
    /// Most calls of one server that are open at once if nothing else is said.
    pub const CALLS_MAX: usize = 256;
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            asks_for: AsksFor::default(),
            scopes: Vec::new(),
            tools: BTreeMap::new(),
            audience: None,
            calls_max: Self::CALLS_MAX,
        }
    }
}

impl SigningAlgorithm {
    /// All there are.
    pub const ALL: [Self; 9] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];

    /// The name in a token's header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }
}
