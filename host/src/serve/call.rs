//! The one function that makes a call, whatever door it came through: find, validate, dispatch, time out or
//! cancel, record. A door only translates what comes out of here.

use std::{borrow::Cow, io::Write, sync::Arc, time::Duration};

use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::{
    load::{Answer, CallEvent, CallFacts, CallOptions, CancelReason, Notifications, OpenCall, Request},
    mount::{ArgumentError, Mount, Tool},
};

/// A tool call as a door understood it.
#[derive(Debug)]
pub struct ToolCall<'a> {
    /// The tool's name as the client wrote it.
    pub tool: &'a str,
    /// A JSON object, byte for byte as the client sent it.
    pub arguments: &'a [u8],
    /// What the plugin may ask about the client.
    pub facts: CallFacts,
    /// Whether the door can pass on what the tool emits before its answer.
    pub notifications: Notifications,
    /// Which door, for the log: `mcp` or `rest`.
    pub door: &'static str,
}

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

/// A tool's answer: JSON text of an MCP `CallToolResult`, checked to be one.
#[derive(Debug)]
pub struct ToolReply {
    json: Vec<u8>,
    is_error: bool,
}

/// The members of a `CallToolResult`, still as text.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplyParts<'a> {
    /// The content blocks.
    #[serde(borrow)]
    pub content: &'a RawValue,
    /// The result as data, if the tool has an output schema.
    #[serde(borrow)]
    pub structured_content: Option<&'a RawValue>,
    /// Whether the tool reports an error of its own.
    #[serde(default)]
    pub is_error: bool,
}

impl ToolReply {
    /// The whole `CallToolResult`.
    pub fn json(&self) -> &[u8] {
        &self.json
    }
    /// The whole `CallToolResult`, to be sent without a copy.
    pub fn into_json(self) -> Vec<u8> {
        self.json
    }
    /// Whether the tool reports an error of its own.
    pub fn is_error(&self) -> bool {
        self.is_error
    }
    /// Its members.
    pub fn parts(&self) -> ReplyParts<'_> {
        serde_json::from_slice(&self.json).expect("`parse` read the same bytes")
    }
    pub(super) fn parse(json: Vec<u8>) -> Result<Self, serde_json::Error> {
        let is_error = serde_json::from_slice::<ReplyParts<'_>>(&json)?.is_error;
        Ok(Self { json, is_error })
    }
}

/// A call under way. Dropping it cancels it.
#[derive(Debug)]
pub struct RunningCall {
    call: OpenCall,
    deadline: Instant,
    record: Record,
}

/// What a running call says.
#[derive(Debug)]
pub enum Step {
    /// To be passed on, in this order, before the result.
    Notification {
        /// E.g. `notifications/progress`.
        method: String,
        /// A JSON object.
        params: Vec<u8>,
    },
    /// The end.
    Done(Result<ToolReply, CallError>),
}

/// Starts `call` on `mount`: everything that can be refused is refused here, before the plugin sees it.
pub fn start(mount: &Arc<Mount>, call: ToolCall<'_>) -> Result<RunningCall, CallError> {
    let mut record = Record::new(mount, &call);
    prepare(mount, call)
        .map(|(open, limit)| RunningCall {
            call: open,
            deadline: Instant::now() + limit,
            record: record.take(),
        })
        .inspect_err(|error| record.end(Err(error)))
}

fn prepare(mount: &Arc<Mount>, call: ToolCall<'_>) -> Result<(OpenCall, Duration), CallError> {
    let tool = mount.tool(call.tool).ok_or_else(|| unknown(mount, call.tool))?;
    check_arguments(mount, tool, call.arguments)?;
    let entry = mount.instance.entry();
    let mut request = Request::new("tools/call");
    // Writing into a `Request` cannot fail: it is memory.
    let _ = request.write_all(b"{\"name\":");
    let _ = serde_json::to_writer(&mut request, call.tool);
    let _ = request.write_all(b",\"arguments\":");
    let _ = request.write_all(call.arguments);
    let _ = request.write_all(b"}");
    let options = CallOptions { facts: call.facts, notifications: call.notifications };
    let open = mount
        .instance
        .call(request, options)
        .map_err(|_| CallError::Unavailable { server: entry.name.to_string() })?;
    Ok((open, entry.call_timeout))
}

fn unknown(mount: &Mount, tool: &str) -> CallError {
    let available: Vec<String> = mount.tools.iter().map(|t| t.spec.name.clone()).collect();
    CallError::UnknownTool {
        server: mount.instance.entry().name.to_string(),
        tool: tool.chars().take(128).collect(),
        near: nearest(tool, available.iter().map(String::as_str)),
        available,
    }
}

/// The name that a slip of the pen would have turned into `wrong`, if there is one.
pub fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    names
        .map(|name| (strsim::jaro_winkler(&wrong.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name.to_owned())
}

fn check_arguments(mount: &Mount, tool: &Tool, arguments: &[u8]) -> Result<(), CallError> {
    let malformed = |detail: String| CallError::MalformedArguments { tool: tool.spec.name.clone(), detail };
    let parsed: serde_json::Value =
        serde_json::from_slice(arguments).map_err(|e| malformed(e.to_string()))?;
    if !parsed.is_object() {
        return Err(malformed("it is another kind of JSON value".into()));
    }
    tool.check_arguments(&parsed).map_err(|errors| CallError::InvalidArguments {
        server: mount.instance.entry().name.to_string(),
        tool: tool.spec.name.clone(),
        errors,
    })
}

impl RunningCall {
    /// What the call says next; after `Done`, nothing more.
    pub async fn next(&mut self) -> Step {
        let result = loop {
            match tokio::time::timeout_at(self.deadline, self.call.next()).await {
                // A tool that never stops notifying is not to escape its time limit: what comes too late is not
                // passed on, so that the loop gets to the answer or to the timer.
                Ok(CallEvent::Notification { .. }) if Instant::now() >= self.deadline => {}
                Ok(CallEvent::Notification { method, params }) => {
                    return Step::Notification { method, params };
                }
                Ok(CallEvent::Done(answer)) => break self.record.judge(answer),
                Err(_) => {
                    self.call.cancel(CancelReason::Timeout);
                    break Err(self.record.timed_out());
                }
            }
        };
        self.record.end(result.as_ref());
        Step::Done(result)
    }

    /// The result; what the call emits before it is dropped.
    pub async fn finish(mut self) -> Result<ToolReply, CallError> {
        loop {
            if let Step::Done(result) = self.next().await {
                return result;
            }
        }
    }
}

/// What is logged of a call: one line, however it ends.
#[derive(Debug, Default)]
struct Record {
    mount: Option<Arc<Mount>>,
    tool: String,
    door: &'static str,
    request_id: String,
    began: Option<std::time::Instant>,
}

impl Record {
    fn new(mount: &Arc<Mount>, call: &ToolCall<'_>) -> Self {
        Self {
            mount: Some(mount.clone()),
            tool: call.tool.chars().take(128).collect(),
            door: call.door,
            request_id: call.facts.request_id.clone(),
            began: Some(std::time::Instant::now()),
        }
    }

    fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    fn server(&self) -> &str {
        self.mount.as_ref().map_or("", |m| m.instance.entry().name.as_str())
    }

    fn judge(&self, answer: Answer) -> Result<ToolReply, CallError> {
        let (server, tool) = (self.server().to_owned(), self.tool.clone());
        let request_id = &self.request_id;
        match answer {
            Answer::Result(json) => ToolReply::parse(json).map_err(|error| {
                tracing::warn!(server, tool, %error, request_id, "bad tool result");
                CallError::BadResult { server, tool }
            }),
            Answer::Error { code, message, data } => Err(CallError::Protocol { code, message, data }),
            Answer::Panicked(text) => {
                tracing::error!(server, tool, panic = text, request_id, "tool panicked");
                Err(CallError::Panicked { server, tool })
            }
            Answer::TooLarge(bytes) => {
                tracing::warn!(server, tool, bytes, request_id, "tool result too large");
                Err(CallError::BadResult { server, tool })
            }
            Answer::Gone => Err(CallError::Unavailable { server }),
        }
    }

    fn timed_out(&self) -> CallError {
        let limit = self.mount.as_ref().map_or(Duration::ZERO, |m| m.instance.entry().call_timeout);
        CallError::TimedOut { server: self.server().to_owned(), tool: self.tool.clone(), limit }
    }

    fn end(&mut self, result: Result<&ToolReply, &CallError>) {
        let outcome = match result {
            Ok(reply) if reply.is_error => "tool_error",
            Ok(_) => "ok",
            Err(error) => error.code(),
        };
        self.log(outcome);
    }

    fn log(&mut self, outcome: &str) {
        let Some(began) = self.began.take() else { return };
        let elapsed_ms = began.elapsed().as_micros() as f64 / 1000.0;
        let (server, tool, door, request_id) = (self.server(), &self.tool, self.door, &self.request_id);
        tracing::info!(server, tool, door, outcome, elapsed_ms, request_id, "call finished");
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.log("cancelled");
    }
}

impl CallError {
    /// The stable word for this kind of error: the `code` of problems, the `outcome` of log lines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownTool { .. } => "unknown_tool",
            Self::MalformedArguments { .. } => "malformed_json",
            Self::InvalidArguments { .. } => "invalid_arguments",
            Self::Panicked { .. } => "plugin_panicked",
            Self::BadResult { .. } => "bad_plugin_result",
            Self::TimedOut { .. } => "tool_timeout",
            Self::Unavailable { .. } => "plugin_unavailable",
            // Only -32602 (invalid params) is the caller's doing.
            Self::Protocol { code: -32602, .. } => "invalid_arguments",
            // The call needs the client's input, and the client cannot give any.
            Self::Protocol { code: -32021, .. } => "client_input_required",
            Self::Protocol { .. } => "plugin_error",
        }
    }
}
