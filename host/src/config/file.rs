//! gateway.toml exactly as written. Nothing here has been checked; `validate` turns it into `Config`.
//!
//! These types are also the JSON schema that editors get: their doc lines are what an operator reads there.
//! Patterns let `${` through, because an editor sees the text before variables are replaced.

mod access;
mod limits;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Admin, Config, Http, Log, LogFormat, Metrics, Plugins, ServerEntry, Shutdown, duration::WrittenDuration,
};

pub(super) use access::{AuthTable, CertificateTable, IssuerTable, KeyTable, ToolTable, WrittenAsksFor};
pub(super) use limits::{AuditTable, LimitsTable, RateTable, TlsTable, WrittenClientCertificates};

/// Which servers the gateway runs, and how. Strings may hold `${VAR}` and `${VAR:-default}`; `$${` is a plain `${`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GatewayFile {
    /// Address and port of the main listener. Port 0 lets the system pick one.
    #[schemars(extend("examples" = ["127.0.0.1:8000", "0.0.0.0:8000", "[::1]:8000"]))]
    pub(super) listen: String,
    /// What the HTTP side accepts.
    pub(super) http: HttpTable,
    /// How connections are encrypted.
    pub(super) tls: TlsTable,
    /// Who may use the gateway.
    pub(super) auth: AuthTable,
    /// How much callers may take.
    pub(super) limits: LimitsTable,
    /// What is recorded of calls.
    pub(super) audit: AuditTable,
    /// How the gateway stops.
    pub(super) shutdown: ShutdownTable,
    /// What is logged and how.
    pub(super) log: LogTable,
    /// Who may look after a running gateway, and where.
    pub(super) admin: AdminTable,
    /// What is counted.
    pub(super) metrics: MetricsTable,
    /// What holds for every plugin.
    pub(super) plugins: PluginsTable,
    /// The servers, in load order; they are unloaded in reverse.
    pub(super) server: Vec<ServerTable>,
}

/// The `[http]` table.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HttpTable {
    /// Largest request body, in bytes. A larger one is answered with 413.
    #[schemars(range(min = 1, max = 1_073_741_824))]
    pub(super) body_max_bytes: u32,
    /// Hosts that requests may name beside loopback and the listen address; without a port, good for every port.
    #[schemars(extend("examples" = [["gateway.example.com", "gateway.example.com:8443"]]))]
    pub(super) allowed_hosts: Vec<String>,
    /// How clients reach the gateway, if not at its own address: scheme, host and port. Names the gateway to OAuth clients.
    #[schemars(extend("examples" = ["https://tools.example.com"]))]
    pub(super) public_url: String,
    /// Web origins whose pages may call the gateway beside pages of the gateway itself.
    #[schemars(extend("examples" = [["https://app.example.com"]]))]
    pub(super) allowed_origins: Vec<String>,
    /// What the state that clients carry between the rounds of a call is signed with, at least 32 bytes. Replicas
    /// share one; empty: a random one for each process.
    #[schemars(extend("examples" = ["${GATEWAY_STATE_SECRET}"]))]
    pub(super) state_secret: String,
    /// A file that holds `state_secret`. Relative to gateway.toml; read again when it changes.
    #[schemars(extend("examples" = ["/run/secrets/state_secret"]))]
    pub(super) state_secret_file: String,
    /// Proxies, as addresses or networks, whose `X-Forwarded-For` or `Forwarded` says where a request comes from.
    #[schemars(extend("examples" = [["10.0.0.0/8", "::1"]]))]
    pub(super) trusted_proxies: Vec<String>,
}

/// The `[shutdown]` table.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ShutdownTable {
    /// How long after the first signal /readyz says `draining` while calls are still taken: time for load balancers to send
    /// calls elsewhere. May be "0s".
    pub(super) notice: WrittenDuration,
    /// Longest wait for calls in flight after that. A second signal ends the gateway at once.
    pub(super) drain: WrittenDuration,
}

/// The `[log]` table.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LogTable {
    /// A level, then exceptions as `target=level`. The MCP library is quiet unless named: `info,rmcp=debug`.
    #[schemars(extend("examples" = ["info", "debug", "info,rmcp=debug"]))]
    pub(super) filter: String,
    /// How a log line looks.
    pub(super) format: WrittenLogFormat,
}

/// The `[plugins]` table.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PluginsTable {
    /// Where it is remembered which files have passed their trial in a child process, so that the next start need
    /// not try them again. Relative to gateway.toml; empty: nowhere.
    #[schemars(extend("examples" = ["/var/cache/gateway"]))]
    pub(super) cache_dir: String,
    /// Where `autoload` looks. Relative to gateway.toml.
    #[schemars(extend("examples" = ["plugins"]))]
    pub(super) dir: String,
    /// Whether every `*.so` in `dir` that no `[[server]]` table names is mounted as well, at its own name, and unmounted
    /// when it goes.
    pub(super) autoload: bool,
}

/// The `[admin]` table.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AdminTable {
    /// An address of its own for the status page, /admin, /metrics, /healthz, /livez and /readyz. Empty: they are on the main listener.
    #[schemars(extend("examples" = ["127.0.0.1:9000"]))]
    pub(super) listen: String,
}

/// The `[metrics]` table.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct MetricsTable {
    /// Whether calls are counted and timed, by server and tool.
    pub(super) calls: bool,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum WrittenLogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// One readable line per event.
    Text,
    /// One JSON object per line.
    Json,
}

/// One `[[server]]` table: a plugin, mounted.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ServerTable {
    /// Shown in logs, errors and metrics; unique. Never guessed from the file name.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$|\$\{"), extend("examples" = ["greet"]))]
    pub(super) name: String,
    /// The library. Relative to gateway.toml, not to the working directory.
    #[schemars(extend("examples" = ["plugins/greet.so"]))]
    pub(super) plugin: String,
    /// Where the server is mounted. No server's prefix may contain another's.
    #[schemars(regex(pattern = r"^(/[A-Za-z0-9._~-]+)+$|\$\{"), extend("examples" = ["/greet"]))]
    pub(super) prefix: String,
    /// SHA-256 of the library, 64 hexadecimal digits: any other file is refused. Empty: any file that its owner and
    /// mode make trustworthy.
    #[serde(default)]
    #[schemars(regex(pattern = r"^([0-9A-Fa-f]{64})?$|\$\{"))]
    pub(super) sha256: String,
    /// Shared libraries beside the C runtime that the plugin may bring into the process. They are not checked.
    #[serde(default)]
    #[schemars(extend("examples" = [["libz.so.1"]]))]
    pub(super) needs: Vec<String>,
    /// Whether the gateway refuses to start without it.
    #[serde(default)]
    pub(super) required: bool,
    /// Workers of the plugin's own runtime.
    #[serde(default = "ServerTable::threads")]
    #[schemars(range(min = 1, max = 64))]
    pub(super) threads: u16,
    /// Longest time from opening the library to the moment it serves.
    #[serde(default = "ServerTable::start_timeout")]
    pub(super) start_timeout: WrittenDuration,
    /// Longest one call may run.
    #[serde(default = "ServerTable::call_timeout")]
    pub(super) call_timeout: WrittenDuration,
    /// Heap of the plugin, in bytes, from which on the log warns, once for each doubling; 0: never.
    #[serde(default = "ServerTable::heap_warn_bytes")]
    pub(super) heap_warn_bytes: u64,
    /// Most records of the plugin that are logged in a second, lines that it prints among them, a long one counted once for
    /// each 4 KiB; what is beyond is dropped, and counted. 0: no limit.
    #[serde(default = "ServerTable::log_max_per_second")]
    #[schemars(range(max = 1_000_000))]
    pub(super) log_max_per_second: u32,
    /// After so many faults in a row (panics, answers that are none, timeouts, calls lost) the server is quarantined:
    /// calls are refused, over REST with 503. 0: never.
    #[serde(default = "ServerTable::quarantine_after")]
    #[schemars(range(max = 1_000_000))]
    pub(super) quarantine_after: u32,
    /// Time until one call is let through to a quarantined server as a retry. It doubles each time the retry fails, up
    /// to 16 times this.
    #[serde(default = "ServerTable::quarantine")]
    pub(super) quarantine: WrittenDuration,
    /// How callers say who they are, where `[auth]` asks them.
    #[serde(default = "WrittenAsksFor::any")]
    pub(super) auth: WrittenAsksFor,
    /// What every call needs. Empty: the server's name, or the server's name, a colon and the tool's.
    #[serde(default)]
    #[schemars(extend("examples" = [["greet:use"]]))]
    pub(super) scopes: Vec<String>,
    /// What tokens have as `aud`. Empty: the server's URL.
    #[serde(default)]
    #[schemars(extend("examples" = ["api://greet"]))]
    pub(super) audience: String,
    /// Most calls of this server that are open at once. More are answered with 503.
    #[serde(default = "access::calls_max")]
    #[schemars(range(min = 1, max = 100_000))]
    pub(super) calls_max: usize,
    /// Tools that ask for more than the server does.
    #[serde(default)]
    pub(super) tool: Vec<ToolTable>,
    /// Handed to the plugin, which declares what may stand here.
    #[serde(default)]
    pub(super) settings: Map<String, Value>,
}

impl ServerTable {
    fn threads() -> u16 {
        ServerEntry::THREADS
    }

    fn start_timeout() -> WrittenDuration {
        ServerEntry::START_TIMEOUT.into()
    }

    fn call_timeout() -> WrittenDuration {
        ServerEntry::CALL_TIMEOUT.into()
    }

    fn heap_warn_bytes() -> u64 {
        ServerEntry::HEAP_WARN_BYTES
    }

    fn log_max_per_second() -> u32 {
        ServerEntry::LOG_MAX_PER_SECOND
    }

    fn quarantine_after() -> u32 {
        ServerEntry::QUARANTINE_AFTER
    }

    fn quarantine() -> WrittenDuration {
        ServerEntry::QUARANTINE.into()
    }
}

// The written defaults are the checked ones, written down: there is one place to change a default.

impl Default for GatewayFile {
    fn default() -> Self {
        Self {
            listen: Config::LISTEN.to_string(),
            http: HttpTable::default(),
            tls: TlsTable::default(),
            auth: AuthTable::default(),
            limits: LimitsTable::default(),
            audit: AuditTable::default(),
            shutdown: ShutdownTable::default(),
            log: LogTable::default(),
            admin: AdminTable::default(),
            metrics: MetricsTable::default(),
            plugins: PluginsTable::default(),
            server: Vec::new(),
        }
    }
}

impl Default for HttpTable {
    fn default() -> Self {
        let http = Http::default();
        Self {
            body_max_bytes: u32::try_from(http.body_max_bytes).unwrap_or(u32::MAX),
            allowed_hosts: http.allowed_hosts,
            public_url: http.public_url.unwrap_or_default(),
            allowed_origins: http.allowed_origins,
            state_secret: http.state_secret.map(|secret| secret.reveal().to_owned()).unwrap_or_default(),
            state_secret_file: String::new(),
            trusted_proxies: http.trusted_proxies.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Default for ShutdownTable {
    fn default() -> Self {
        let Shutdown { notice, drain } = Shutdown::default();
        Self { notice: notice.into(), drain: drain.into() }
    }
}

impl Default for LogTable {
    fn default() -> Self {
        let Log { filter, format } = Log::default();
        let format = match format {
            LogFormat::Auto => WrittenLogFormat::Auto,
            LogFormat::Text => WrittenLogFormat::Text,
            LogFormat::Json => WrittenLogFormat::Json,
        };
        Self { filter, format }
    }
}

impl Default for PluginsTable {
    fn default() -> Self {
        let Plugins { cache_dir, autoload_from } = Plugins::default();
        let cache_dir = cache_dir.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        Self { cache_dir, dir: Plugins::DIR.into(), autoload: autoload_from.is_some() }
    }
}

impl Default for AdminTable {
    fn default() -> Self {
        let Admin { listen } = Admin::default();
        Self { listen: listen.map(|address| address.to_string()).unwrap_or_default() }
    }
}

impl Default for MetricsTable {
    fn default() -> Self {
        Self { calls: Metrics::default().calls }
    }
}

impl From<WrittenLogFormat> for LogFormat {
    fn from(written: WrittenLogFormat) -> Self {
        match written {
            WrittenLogFormat::Auto => Self::Auto,
            WrittenLogFormat::Text => Self::Text,
            WrittenLogFormat::Json => Self::Json,
        }
    }
}
