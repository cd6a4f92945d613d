//! The tables that say who may do what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{AsksFor, Auth, Guard, SigningAlgorithm};

/// The `[auth]` table.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct AuthTable {
    /// Whether everybody who reaches the gateway may use it, although others than this machine can. It takes this to listen on
    /// such an address without a key, a certificate or an issuer.
    pub(in crate::config) allow_unauthenticated: bool,
    /// Callers who show a key. `gateway key new` makes one.
    pub(in crate::config) key: Vec<KeyTable>,
    /// Callers who show a client certificate; it takes `[tls] client_ca`.
    pub(in crate::config) certificate: Vec<CertificateTable>,
    /// OAuth 2.1 authorization servers whose tokens are taken; it takes `[http] public_url`.
    pub(in crate::config) issuer: Vec<IssuerTable>,
}

/// One `[[auth.key]]` table.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct KeyTable {
    /// Who it is, in logs and audit; unique.
    #[schemars(extend("examples" = ["ci"]))]
    pub(in crate::config) name: String,
    /// The second part of the key, `mgw_<id>_<secret>`.
    #[schemars(regex(pattern = r"^[0-9A-Za-z]{8}$|\$\{"), extend("examples" = ["k3J9x2Qa"]))]
    pub(in crate::config) id: String,
    /// SHA-256 of the whole key, 64 hexadecimal digits; `gateway key new` prints it.
    #[schemars(
        regex(pattern = r"^[0-9A-Fa-f]{64}$|\$\{"),
        extend("examples" = ["ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"])
    )]
    pub(in crate::config) sha256: String,
    /// What its holder may do: `greet` (all of that server), `greet:echoHai` (one tool), `team:*`, `*` (all servers),
    /// `metrics`, `admin`, or what `scopes` of servers and tools name.
    #[serde(default)]
    #[schemars(extend("examples" = [["greet", "calc:add"]]))]
    pub(in crate::config) scopes: Vec<String>,
}

/// One `[[auth.certificate]]` table.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct CertificateTable {
    /// Who it is, in logs and audit; unique.
    #[schemars(extend("examples" = ["batch"]))]
    pub(in crate::config) name: String,
    /// SHA-256 of the certificate in DER, as `openssl x509 -fingerprint -sha256` prints it, with or without colons.
    #[schemars(
        regex(pattern = r"^([0-9A-Fa-f]{2}:?){32}$|\$\{"),
        extend("examples" = ["ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"])
    )]
    pub(in crate::config) sha256: String,
    /// What its holder may do, as in `[[auth.key]]`.
    #[serde(default)]
    #[schemars(extend("examples" = [["greet", "calc:add"]]))]
    pub(in crate::config) scopes: Vec<String>,
}

/// One `[[auth.issuer]]` table.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct IssuerTable {
    /// What its tokens have as `iss`, exactly.
    #[schemars(extend("examples" = ["https://login.example.com/realms/main"]))]
    pub(in crate::config) url: String,
    /// Where its keys are. Empty: its metadata says.
    #[serde(default)]
    #[schemars(extend("examples" = ["https://login.example.com/realms/main/keys"]))]
    pub(in crate::config) jwks_url: String,
    /// The algorithms that its tokens may be signed with.
    #[serde(default = "IssuerTable::algorithms")]
    pub(in crate::config) algorithms: Vec<WrittenAlgorithm>,
}

impl IssuerTable {
    fn algorithms() -> Vec<WrittenAlgorithm> {
        use WrittenAlgorithm::{ES256, EdDSA, PS256, RS256};
        vec![RS256, PS256, ES256, EdDSA]
    }
}

/// How a token may be signed.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub(in crate::config) enum WrittenAlgorithm {
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

/// One `[[server.tool]]` table.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ToolTable {
    /// The tool.
    #[schemars(extend("examples" = ["echoHai"]))]
    pub(in crate::config) name: String,
    /// What its callers need beside what the server asks for.
    #[schemars(extend("examples" = [["greet:write"]]))]
    pub(in crate::config) scopes: Vec<String>,
}

/// How callers of a server say who they are.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum WrittenAsksFor {
    /// By whatever `[auth]` has.
    Any,
    /// By a key or a client certificate.
    Keys,
    /// By a token of an issuer.
    Tokens,
    /// Nobody is asked: everybody who reaches the gateway may call its tools.
    None,
}

impl WrittenAsksFor {
    pub(super) fn any() -> Self {
        Self::Any
    }
}

pub(super) fn calls_max() -> usize {
    Guard::CALLS_MAX
}

impl Default for AuthTable {
    fn default() -> Self {
        let Auth { allow_unauthenticated, .. } = Auth::default();
        Self { allow_unauthenticated, key: Vec::new(), certificate: Vec::new(), issuer: Vec::new() }
    }
}

impl From<WrittenAsksFor> for AsksFor {
    fn from(written: WrittenAsksFor) -> Self {
        match written {
            WrittenAsksFor::Any => Self::Any,
            WrittenAsksFor::Keys => Self::Keys,
            WrittenAsksFor::Tokens => Self::Tokens,
            WrittenAsksFor::None => Self::Nothing,
        }
    }
}

impl From<WrittenAlgorithm> for SigningAlgorithm {
    fn from(written: WrittenAlgorithm) -> Self {
        match written {
            WrittenAlgorithm::RS256 => Self::RS256,
            WrittenAlgorithm::RS384 => Self::RS384,
            WrittenAlgorithm::RS512 => Self::RS512,
            WrittenAlgorithm::PS256 => Self::PS256,
            WrittenAlgorithm::PS384 => Self::PS384,
            WrittenAlgorithm::PS512 => Self::PS512,
            WrittenAlgorithm::ES256 => Self::ES256,
            WrittenAlgorithm::ES384 => Self::ES384,
            WrittenAlgorithm::EdDSA => Self::EdDSA,
        }
    }
}
