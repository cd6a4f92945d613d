//! Step 1 of 5, config: turns the text of gateway.toml into a checked [`Config`].
//!
//! In:   the file's text, where the file lies, the environment's variables, the files it names.
//! Out:  [`Config`]: only checked types; no later step checks a string again.
//! Fails: with every problem at once, each with line, caret and remedy.
//! Never: opens a plugin, binds a socket, starts a thread.

mod read;

mod document;
mod syntax;
mod variable;

mod schema;

mod access;
mod digest;
mod duration;
mod file;
mod limits;
mod name;
mod tls;
mod validate;
mod web;

mod excerpt;
mod problem;

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;

pub use access::{
    ApiKey, AsksFor, Auth, ClientCertificate, Guard, Guards, Issuer, Scope, SigningAlgorithm, Ways,
};
pub use digest::Digest;
pub use limits::{Audit, Limits, RateKey, RateLimit};
pub use name::{Prefix, Refusal, ServerName};
pub use problem::{Problem, Problems};
pub use read::{ConfigError, read};
pub use schema::schema;
pub use tls::{ClientCertificates, Tls, TlsError, TlsFile};
pub use validate::{parse_duration, parse_listen};

use document::{At, Document};
use file::GatewayFile;

/// What a gateway.toml is read together with.
#[derive(Clone, Copy)]
pub struct Outside<'a> {
    /// Looks up a variable of the environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Reads a file that gateway.toml names.
    pub file: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// Where the command line says to listen, whatever the file does.
    pub listen: Option<SocketAddr>,
}

impl Outside<'_> {
    /// No variable is set, no file is there.
    pub const NOTHING: Outside<'static> = Outside {
        variable: &|_| None,
        file: &|_| Err(io::Error::from(io::ErrorKind::NotFound)),
        listen: None,
    };
}

impl std::fmt::Debug for Outside<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outside").field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// Checks `text`, the content of `path`. Touches nothing but what `outside` does.
pub fn parse(text: &str, path: &Path, outside: Outside<'_>) -> Result<Config, Problems> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let problems = |list, files| Problems::new(path.to_owned(), text.to_owned(), list, files);
    let mut document = Document::parse(text, outside.variable).map_err(|list| problems(list, Vec::new()))?;
    let refused = schema::check(&mut document);
    let (config, files) = match serde_json::from_value::<GatewayFile>(document.value.clone()) {
        Ok(file) => validate::validate(file, path, outside, &mut document),
        Err(error) => {
            // Only if the schema accepts what the types refuse; still better told than lost.
            let message = format!("not what the types accept: {error}");
            document.report("", At::Value, message, "");
            (None, Vec::new())
        }
    };
    refused.report(&mut document);
    match config {
        Some(config) if document.problems.is_empty() => Ok(config),
        _ => Err(problems(document.problems, files)),
    }
}

/// A checked gateway.toml.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file this came from, as the operator named it.
    pub path: PathBuf,
    /// Where the one listener binds. Port 0 lets the system pick.
    pub listen: SocketAddr,
    /// The `[http]` table.
    pub http: Http,
    /// The `[shutdown]` table.
    pub shutdown: Shutdown,
    /// The `[log]` table.
    pub log: Log,
    /// The `[admin]` table.
    pub admin: Admin,
    /// The `[metrics]` table.
    pub metrics: Metrics,
    /// The `[plugins]` table.
    pub plugins: Plugins,
    /// The `[tls]` table. `None`: connections are not encrypted.
    pub tls: Option<Tls>,
    /// The `[auth]` table.
    pub auth: Auth,
    /// The `[limits]` table.
    pub limits: Limits,
    /// The `[audit]` table.
    pub audit: Audit,
    /// What of the `[[server]]` tables is about callers.
    pub guards: Guards,
    /// Files beside the libraries that were read for this: what they say holds, so a change of one is a change of this.
    pub files: Vec<PathBuf>,
    /// The `[[server]]` tables in file order, which is load order; unload is the reverse.
    pub servers: Vec<ServerEntry>,
}

/// One checked `[[server]]` table.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerEntry {
    /// Shown in logs, errors and metrics.
    pub name: ServerName,
    /// The library, already joined to the directory of gateway.toml.
    pub plugin: PathBuf,
    /// Where the server is mounted.
    pub prefix: Prefix,
    /// The only content its library may have; `None`: any, if the file's owner and mode make it trustworthy.
    pub sha256: Option<Digest>,
    /// Shared libraries beside the C runtime that the plugin may bring.
    pub needs: Vec<String>,
    /// Whether the gateway refuses to start without it.
    pub required: bool,
    /// Workers of the plugin's own runtime.
    pub threads: u16,
    /// Longest time from opening the library to its `ready`.
    pub start_timeout: Duration,
    /// Longest one call may run.
    pub call_timeout: Duration,
    /// Heap of the plugin from which on the log warns, in bytes; 0: never.
    pub heap_warn_bytes: u64,
    /// Most records of the plugin that are logged in a second; 0: no limit.
    pub log_max_per_second: u32,
    /// So many faults in a row quarantine the server; 0: never.
    pub quarantine_after: u32,
    /// How long a quarantine lasts until the first retry.
    pub quarantine: Duration,
    /// `[server.settings]`, handed to the plugin.
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// Whether it has no table, but was found in `[plugins] dir`.
    pub discovered: bool,
    /// The line of its `[[server]]` in gateway.toml, counted from 1.
    pub line: usize,
    /// Where each setting stands.
    pub settings_lines: SettingsLines,
}

/// The lines of a server's settings, so that what the plugin refuses can be shown where it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettingsLines(BTreeMap<String, usize>);

impl Config {
    /// Where the gateway listens if nothing else is said: on this machine only.
    pub const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8000);
}

impl ServerEntry {
    /// Workers of a plugin's own runtime if nothing else is said.
    pub const THREADS: u16 = 1;
    /// Longest start if nothing else is said.
    pub const START_TIMEOUT: Duration = Duration::from_secs(10);
    /// Longest call if nothing else is said.
    pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);
    /// Heap from which on the log warns if nothing else is said.
    pub const HEAP_WARN_BYTES: u64 = 256 << 20;
    /// Records a second if nothing else is said.
    pub const LOG_MAX_PER_SECOND: u32 = 1000;
    /// Faults in a row before a quarantine if nothing else is said.
    pub const QUARANTINE_AFTER: u32 = 5;
    /// Time to the first retry if nothing else is said.
    pub const QUARANTINE: Duration = Duration::from_secs(30);

    /// A server with the default of every key that may be left out.
    pub fn new(name: ServerName, plugin: PathBuf, prefix: Prefix) -> Self {
        Self {
            name,
            plugin,
            prefix,
            sha256: None,
            needs: Vec::new(),
            required: false,
            threads: Self::THREADS,
            start_timeout: Self::START_TIMEOUT,
            call_timeout: Self::CALL_TIMEOUT,
            heap_warn_bytes: Self::HEAP_WARN_BYTES,
            log_max_per_second: Self::LOG_MAX_PER_SECOND,
            quarantine_after: Self::QUARANTINE_AFTER,
            quarantine: Self::QUARANTINE,
            settings: serde_json::Map::new(),
            discovered: false,
            line: 1,
            settings_lines: SettingsLines::default(),
        }
    }

    /// Whether `other` says the same, wherever in the file it stands.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        let (line, settings_lines) = (other.line, other.settings_lines.clone());
        Self { line, settings_lines, ..self.clone() } == *other
    }

    /// The line, counted from 1, of the setting at `pointer`, a JSON pointer into `settings`. Of a setting that is
    /// not there: the line of what should hold it, at last of the `[[server]]` table.
    pub fn settings_line(&self, pointer: &str) -> usize {
        let mut pointer = pointer;
        loop {
            match (self.settings_lines.0.get(pointer), pointer.rsplit_once('/')) {
                (Some(line), _) => return *line,
                (None, Some((parent, _))) => pointer = parent,
                (None, None) => return self.line,
            }
        }
    }
}

/// What the HTTP side accepts.
#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    /// Largest request body, in bytes.
    pub body_max_bytes: usize,
    /// Host names (or `name:port`) that requests may carry beside loopback and the listen address.
    pub allowed_hosts: Vec<String>,
    /// Origins, e.g. `https://app.example.com`, that browsers may call from beside loopback ones.
    pub allowed_origins: Vec<String>,
    /// How clients reach the gateway: an origin, e.g. `https://tools.example.com`. `None`: by the Host they name.
    pub public_url: Option<String>,
    /// Whose word on where a request comes from is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// What the state that clients carry between the rounds of a call is signed with. `None`: a random one for
    /// each process.
    pub state_secret: Option<Secret>,
}

/// Text that is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Shortest secret that keys are made from, in bytes.
    pub const LEAST: usize = 32;

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            body_max_bytes: 1024 * 1024,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            public_url: None,
            trusted_proxies: Vec::new(),
            state_secret: None,
        }
    }
}

/// How the gateway stops.
#[derive(Debug, Clone, PartialEq)]
pub struct Shutdown {
    /// How long after the first signal calls are still taken, while `/readyz` says that it ends.
    pub notice: Duration,
    /// Longest wait for calls in flight after that.
    pub drain: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { notice: Duration::ZERO, drain: Duration::from_secs(25) }
    }
}

/// What is counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Metrics {
    /// Whether calls are counted and timed, by server and tool.
    pub calls: bool,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { calls: true }
    }
}

/// What is logged and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// A `tracing` filter such as `info` or `info,gateway::plugin=debug`.
    pub filter: String,
    /// How a line looks.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".into(), format: LogFormat::Auto }
    }
}

/// What holds for every plugin.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plugins {
    /// Where it is remembered which files have passed their trial, already joined to the directory of gateway.toml.
    /// `None`: only this process remembers.
    pub cache_dir: Option<PathBuf>,
    /// The folder whose plugins are mounted although no `[[server]]` table names them, already joined to the directory of
    /// gateway.toml. `None`: there is none.
    pub autoload_from: Option<PathBuf>,
}

impl Plugins {
    /// Where `autoload` looks if nothing else is said.
    pub const DIR: &str = "plugins";
}

/// Where a running gateway is looked after.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Admin {
    /// Where the status page, `/admin`, `/metrics` and the probes are, if not on the main listener.
    pub listen: Option<SocketAddr>,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// One readable line per event.
    Text,
    /// One JSON object per line.
    Json,
}
