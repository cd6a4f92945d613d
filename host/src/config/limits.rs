//! How much callers may take, and where it is recorded what they did.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use super::ServerName;

/// The `[limits]` table.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Most calls that are open at once, at every door.
    pub calls_max: usize,
    /// Most connections of a listener. At more, the one that is idle for longest ends.
    pub connections_max: usize,
    /// Most 2025 sessions of one server. At more, the one that is idle for longest ends: of all, or of the caller's own if it
    /// has a quarter of them.
    pub sessions_max: usize,
    /// Longest time that the head of a request may take to arrive; also ends connections without a request.
    pub head_timeout: Duration,
    /// Longest time that the body of a request may take to arrive.
    pub body_timeout: Duration,
    /// The `[[limits.rate]]` tables; a call has to pass every one that is about it.
    pub rates: Vec<RateLimit>,
}

/// One `[[limits.rate]]` table: how often something may be called, by GCRA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// Shown in the answer; unique. A key of RFC 9651 structured fields.
    pub name: String,
    /// Whose calls are counted together.
    pub key: RateKey,
    /// How many calls are let through per `window`.
    pub calls: NonZeroU32,
    /// The time in which `calls` are let through.
    pub window: Duration,
    /// How many calls may come at once.
    pub burst: NonZeroU32,
    /// The servers it is about. Empty: every one.
    pub servers: Vec<ServerName>,
    /// The tools it is about. Empty: every one, and calls of other methods.
    pub tools: Vec<String>,
}

/// Whose calls are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateKey {
    /// Those of one principal; of callers without a name, those of one address.
    Principal,
    /// Those from one address; of IPv6, from one /64.
    Address,
    /// Those of one server.
    Server,
    /// Those of one tool of one server.
    Tool,
}

/// The `[audit]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// The file that decisions are appended to, already joined to the directory of gateway.toml. `None`: they are not
    /// recorded.
    pub path: Option<PathBuf>,
    /// Whether a call that cannot be recorded is refused.
    pub required: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls_max: 1024,
            connections_max: 4096,
            sessions_max: 1024,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            rates: Vec::new(),
        }
    }
}
