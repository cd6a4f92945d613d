//! How calls end, each in one stable word.

/// How a call ended: the `outcome` of log lines, of the audit log and of metrics. Where it is an error it is also the `code` of
/// the problem that the caller gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallOutcome {
    /// The plugin gave a result.
    Ok,
    /// The tool reports an error of its own.
    ToolError,
    /// There is no such tool.
    UnknownTool,
    /// The arguments are no JSON object.
    MalformedJson,
    /// The arguments do not fit.
    InvalidArguments,
    /// The plugin panicked.
    PluginPanicked,
    /// The plugin's answer is none, or it lost the call.
    BadPluginResult,
    /// The plugin took too long.
    ToolTimeout,
    /// The server takes no calls: it stops, or is quarantined.
    PluginUnavailable,
    /// The plugin answered with a JSON-RPC error.
    PluginError,
    /// The call needs the client's input, and the client cannot give any.
    ClientInputRequired,
    /// The call ends for now, with questions to the client.
    InputRequired,
    /// The client cancelled it, or went away.
    Cancelled,
    /// Refused: the caller has used up what it may.
    RateLimited,
    /// Refused: too many calls are open.
    Overloaded,
    /// Refused: it cannot be recorded.
    AuditUnavailable,
    /// Refused behind the door: its parameters or headers were wrong.
    InvalidRequest,
}

impl CallOutcome {
    /// Every outcome; each at the place of its number.
    pub const ALL: [Self; 17] = [
        Self::Ok,
        Self::ToolError,
        Self::UnknownTool,
        Self::MalformedJson,
        Self::InvalidArguments,
        Self::PluginPanicked,
        Self::BadPluginResult,
        Self::ToolTimeout,
        Self::PluginUnavailable,
        Self::PluginError,
        Self::ClientInputRequired,
        Self::InputRequired,
        Self::Cancelled,
        Self::RateLimited,
        Self::Overloaded,
        Self::AuditUnavailable,
        Self::InvalidRequest,
    ];

    /// The stable word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ToolError => "tool_error",
            Self::UnknownTool => "unknown_tool",
            Self::MalformedJson => "malformed_json",
            Self::InvalidArguments => "invalid_arguments",
            Self::PluginPanicked => "plugin_panicked",
            Self::BadPluginResult => "bad_plugin_result",
            Self::ToolTimeout => "tool_timeout",
            Self::PluginUnavailable => "plugin_unavailable",
            Self::PluginError => "plugin_error",
            Self::ClientInputRequired => "client_input_required",
            Self::InputRequired => "input_required",
            Self::Cancelled => "cancelled",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::AuditUnavailable => "audit_unavailable",
            Self::InvalidRequest => "invalid_request",
        }
    }

    /// Whether the caller did not get what it asked for, and did not itself end the call.
    pub fn is_failure(self) -> bool {
        !matches!(self, Self::Ok | Self::InputRequired | Self::Cancelled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_is_at_its_own_number_and_has_a_word_of_its_own() {
        let mut words: Vec<_> = CallOutcome::ALL.iter().map(|outcome| outcome.word()).collect();
        assert!(CallOutcome::ALL.iter().enumerate().all(|(at, outcome)| *outcome as usize == at));
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), CallOutcome::ALL.len());
    }
}
