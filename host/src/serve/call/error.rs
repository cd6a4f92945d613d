//! Why a call has no result.

use std::{borrow::Cow, time::Duration};

use serde_json::{Map, Value, json};

use super::CallOutcome;
use crate::{load::Quarantined, mount::ArgumentError};

/// Why a call has no result. Texts are fit for clients: no path, no panic message, no secret.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The server has no such tool.
    #[error("server `{server}` has no tool `{tool}`{}", did_you_mean(.near))]
    UnknownTool {
        /// Which server.
        server: String,
        /// What was asked for.
        tool: String,
        /// The existing name it looks like.
        near: Option<String>,
        /// Every tool there is.
        available: Vec<String>,
    },
    /// The arguments are not a JSON object.
    #[error("the arguments of `{tool}` are not a JSON object: {detail}")]
    MalformedArguments {
        /// Which tool.
        tool: String,
        /// What the parser said, with line and column.
        detail: String,
    },
    /// The arguments do not fit the tool's schema.
    #[error("{} in the arguments of {server}/{tool}", count(.errors.len()))]
    InvalidArguments {
        /// Which server.
        server: String,
        /// Which tool.
        tool: String,
        /// At most 20.
        errors: Vec<ArgumentError>,
    },
    /// The tool panicked. The message is in the log.
    #[error(
        "the tool {server}/{tool} crashed on this call; other calls are not affected and the crash was logged"
    )]
    Panicked {
        /// Which server.
        server: String,
        /// Which tool.
        tool: String,
    },
    /// The plugin's answer is not a tool result.
    #[error("the tool {server}/{tool} answered with something that is not a tool result")]
    BadResult {
        /// Which server.
        server: String,
        /// Which tool.
        tool: String,
    },
    /// The plugin let the call go without an answer.
    #[error("the tool {server}/{tool} ended without an answer")]
    Lost {
        /// Which server.
        server: String,
        /// Which tool.
        tool: String,
    },
    /// The tool did not answer in time.
    #[error("{server}/{tool} did not answer within {limit:?}")]
    TimedOut {
        /// Which server.
        server: String,
        /// Which tool.
        tool: String,
        /// The server's `call_timeout`.
        limit: Duration,
    },
    /// The server is stopping, or stopped before it answered.
    #[error("server `{server}` is stopping; try again later")]
    Unavailable {
        /// Which server.
        server: String,
    },
    /// Too many calls in a row went wrong; this one was not tried.
    #[error("server `{server}` is quarantined after {why}; try again in {} s", .why.retry_in_seconds())]
    Quarantined {
        /// Which server.
        server: String,
        /// What went wrong, and until when.
        why: Quarantined,
    },
    /// The plugin answered with a JSON-RPC error.
    #[error("{message}")]
    Protocol {
        /// JSON-RPC error code.
        code: i32,
        /// The plugin's words.
        message: String,
        /// The plugin's data.
        data: Option<serde_json::Value>,
    },
}

fn did_you_mean(near: &Option<String>) -> Cow<'static, str> {
    near.as_ref().map_or(Cow::Borrowed(""), |name| format!("; did you mean `{name}`?").into())
}

fn count(problems: usize) -> String {
    if problems == 1 { "1 problem".into() } else { format!("{problems} problems") }
}

impl CallError {
    /// What a program needs to know about a server that takes no call, at whatever door it asks.
    pub fn unavailable(&self) -> Option<Map<String, Value>> {
        let facts = match self {
            Self::Unavailable { server } => json!({"server": server, "reason": "stopping"}),
            Self::Quarantined { server, why } => json!({
                "server": server,
                "reason": "quarantined",
                "faults": why.faults,
                "last_fault": why.last.code(),
                "retry_in_ms": why.retry_in_ms(),
            }),
            _ => return None,
        };
        facts.as_object().cloned()
    }

    /// How a call with this error has ended.
    pub fn outcome(&self) -> CallOutcome {
        match self {
            Self::UnknownTool { .. } => CallOutcome::UnknownTool,
            Self::MalformedArguments { .. } => CallOutcome::MalformedJson,
            Self::InvalidArguments { .. } => CallOutcome::InvalidArguments,
            Self::Panicked { .. } => CallOutcome::PluginPanicked,
            Self::BadResult { .. } | Self::Lost { .. } => CallOutcome::BadPluginResult,
            Self::TimedOut { .. } => CallOutcome::ToolTimeout,
            Self::Unavailable { .. } | Self::Quarantined { .. } => CallOutcome::PluginUnavailable,
            // Only -32602 (invalid params) is the caller's doing.
            Self::Protocol { code: -32602, .. } => CallOutcome::InvalidArguments,
            // The call needs the client's input, and the client cannot give any.
            Self::Protocol { code: -32021, .. } => CallOutcome::ClientInputRequired,
            Self::Protocol { .. } => CallOutcome::PluginError,
        }
    }

    /// The stable word for this kind of error: the `code` of problems.
    pub fn code(&self) -> &'static str {
        self.outcome().word()
    }
}
