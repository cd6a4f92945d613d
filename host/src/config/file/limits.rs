//! The tables that say how much callers may take, how connections are encrypted, and what is recorded.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{Audit, Limits, RateKey, duration::WrittenDuration};

/// The `[tls]` table.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct TlsTable {
    /// The certificate and those of its issuers, PEM. Relative to gateway.toml; read again when the file changes. Empty: the
    /// listeners speak plain HTTP.
    #[schemars(extend("examples" = ["/etc/gateway/tls.crt"]))]
    pub(in crate::config) cert: String,
    /// Its private key, PEM. Relative to gateway.toml; read again when the file changes.
    #[schemars(extend("examples" = ["/etc/gateway/tls.key"]))]
    pub(in crate::config) key: String,
    /// The certificates that client certificates must be issued by, PEM. Empty: clients are not asked for one.
    #[schemars(extend("examples" = ["/etc/gateway/clients.crt"]))]
    pub(in crate::config) client_ca: String,
    /// Whether a client without a certificate may connect.
    pub(in crate::config) client_certificates: WrittenClientCertificates,
}

/// Whether a client without a certificate may connect.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum WrittenClientCertificates {
    /// It may not.
    #[default]
    Required,
    /// It may; it says who it is by other means.
    Optional,
}

/// The `[limits]` table.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct LimitsTable {
    /// Most calls that are open at once. More are answered with 503.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) calls_max: usize,
    /// Most connections of a listener. At more, the one that is idle for longest ends; if none is idle, requests are answered
    /// with 503.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) connections_max: usize,
    /// Most sessions of 2025 clients that one server keeps. At more, the one that is idle for longest ends.
    #[schemars(range(min = 1, max = 100_000))]
    pub(in crate::config) sessions_max: usize,
    /// Longest time that the head of a request may take to arrive; also ends connections without a request.
    pub(in crate::config) head_timeout: WrittenDuration,
    /// Longest time that the body of a request may take to arrive.
    pub(in crate::config) body_timeout: WrittenDuration,
    /// How often something may be called.
    pub(in crate::config) rate: Vec<RateTable>,
}

/// One `[[limits.rate]]` table.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RateTable {
    /// Shown in answers; unique.
    #[schemars(extend("examples" = ["per-caller"]))]
    pub(in crate::config) name: String,
    /// Whose calls are counted together.
    pub(in crate::config) key: WrittenRateKey,
    /// How many calls in which time: a number, a slash, and `s`, `min` or `h`.
    #[schemars(regex(pattern = r"^[0-9]+/(s|min|h)$|\$\{"), extend("examples" = ["60/min"]))]
    pub(in crate::config) rate: String,
    /// How many of them may come at once; 0: all of them.
    #[serde(default)]
    pub(in crate::config) burst: u32,
    /// The servers it is about. Empty: every one.
    #[serde(default)]
    #[schemars(extend("examples" = [["greet"]]))]
    pub(in crate::config) servers: Vec<String>,
    /// The tools it is about. Empty: every one, and calls of prompts, resources and all else.
    #[serde(default)]
    #[schemars(extend("examples" = [["echoHai"]]))]
    pub(in crate::config) tools: Vec<String>,
}

/// Whose calls are counted together.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum WrittenRateKey {
    /// Those of one caller; of callers without a name, those of one address.
    Principal,
    /// Those from one address.
    Address,
    /// Those of one server.
    Server,
    /// Those of one tool.
    Tool,
}

/// The `[audit]` table.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct AuditTable {
    /// The file that a line is appended to for every call and every refusal: JSON, without arguments and secrets. Relative to
    /// gateway.toml; opened again on SIGHUP, or once it was moved away. Empty: nothing is recorded.
    #[schemars(extend("examples" = ["/var/log/gateway/audit.jsonl"]))]
    pub(in crate::config) path: String,
    /// Whether a call that cannot be recorded is refused.
    pub(in crate::config) required: bool,
}

impl Default for LimitsTable {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            calls_max: limits.calls_max,
            connections_max: limits.connections_max,
            sessions_max: limits.sessions_max,
            head_timeout: limits.head_timeout.into(),
            body_timeout: limits.body_timeout.into(),
            rate: Vec::new(),
        }
    }
}

impl Default for AuditTable {
    fn default() -> Self {
        let Audit { path, required } = Audit::default();
        Self { path: path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default(), required }
    }
}

impl From<WrittenRateKey> for RateKey {
    fn from(written: WrittenRateKey) -> Self {
        match written {
            WrittenRateKey::Principal => Self::Principal,
            WrittenRateKey::Address => Self::Address,
            WrittenRateKey::Server => Self::Server,
            WrittenRateKey::Tool => Self::Tool,
        }
    }
}
