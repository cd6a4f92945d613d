//! The one function that makes a call, whatever door it came through: find, validate, dispatch, time out or
//! cancel, record. A door only translates what comes out of here.

mod error;
mod outcome;
mod record;

use std::{collections::BTreeMap, io::Write, sync::Arc};

use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{caller::Caller, ticket::Ticket};
use crate::{
    load::{
        AnswerStatus, CallEvent, CallFacts, CallOptions, CancelReason, ClientAnswer, Notifications, OpenCall,
        Request, Tasks, Verdict,
    },
    mount::{Mount, Tool, strict},
};

pub use error::CallError;
pub use outcome::CallOutcome;
use record::Record;

const TOOLS_CALL: &str = "tools/call";

/// What a call is about, as the log names it: clients may send names as long as a body.
fn logged(subject: &str) -> String {
    subject.chars().take(128).collect()
}

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
    /// Whether the call may go on as a task.
    pub tasks: Tasks,
    /// What the client has answered in earlier rounds of this call.
    pub answers: BTreeMap<String, ClientAnswer>,
    /// Which door, for the log: `mcp` or `rest`.
    pub door: &'static str,
}

/// A call of another method, e.g. `prompts/get`: the same but for the checks that only tools have.
#[derive(Debug)]
pub struct MethodCall<'a> {
    /// The method.
    pub method: &'static str,
    /// What it is about, for the log: a prompt's name, a resource's URI.
    pub subject: &'a str,
    /// Its parameters, a JSON object.
    pub params: &'a [u8],
    /// What the plugin may ask about the client.
    pub facts: CallFacts,
    /// Whether the door can pass on what the plugin emits before its answer.
    pub notifications: Notifications,
    /// What the client has answered in earlier rounds of this call.
    pub answers: BTreeMap<String, ClientAnswer>,
    /// Which door, for the log.
    pub door: &'static str,
}

/// A call's answer: JSON text of the method's result; for a tool an MCP `CallToolResult`, checked to be one.
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
    fn of_method(json: Vec<u8>) -> Result<Self, serde_json::Error> {
        serde_json::from_slice::<BTreeMap<String, &RawValue>>(&json)?;
        Ok(Self { json, is_error: false })
    }
}

/// A call under way. Dropping it cancels it.
#[derive(Debug)]
pub struct RunningCall {
    call: OpenCall,
    /// `None`: a task, which has a lifetime of its own.
    deadline: Option<Instant>,
    /// Questions the client has not answered, and since when there is one: that time is not the tool's.
    asked: (usize, Instant),
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
    /// A question to the client; to be answered with [`RunningCall::answer`].
    Asked {
        /// Unique within the call.
        key: String,
        /// E.g. `elicitation/create`.
        method: String,
        /// A JSON object.
        params: Vec<u8>,
    },
    /// The call waits for answers and for nothing else: [`RunningCall::suspend`] may end it.
    Parked,
    /// The call goes on as a task.
    BecameTask {
        /// A JSON object.
        options: Vec<u8>,
    },
    /// The end.
    Done(Result<ToolReply, CallError>),
}

/// Starts `call` on `mount`: everything that can be refused is refused here, before the plugin sees it.
pub(super) fn start(
    mount: &Arc<Mount>,
    mut call: ToolCall<'_>,
    ticket: Ticket,
) -> Result<RunningCall, CallError> {
    let caller = ticket.caller.clone();
    call.facts.caller = caller.facts();
    let mut record = Record::new(mount, call.tool, call.door, &call.facts, ticket);
    call.facts.trace = record.trace.inside();
    let admitted = record.admit();
    admitted
        .and_then(|()| prepare(mount, &caller, call))
        .map(|open| RunningCall::new(open, mount, record.take()))
        .inspect_err(|error| record.end(Err(error)))
}

/// Starts a call of a method other than `tools/call`.
pub(super) fn start_method(
    mount: &Arc<Mount>,
    mut call: MethodCall<'_>,
    ticket: Ticket,
) -> Result<RunningCall, CallError> {
    call.facts.caller = ticket.caller.facts();
    let mut record = Record::new(mount, call.subject, call.door, &call.facts, ticket);
    record.method = call.method;
    call.facts.trace = record.trace.inside();
    let admitted = record.admit();
    admitted
        .and_then(|()| open_method(mount, call))
        .map(|open| RunningCall::new(open, mount, record.take()))
        .inspect_err(|error| record.end(Err(error)))
}

fn open_method(mount: &Mount, call: MethodCall<'_>) -> Result<OpenCall, CallError> {
    let mut request = Request::new(call.method);
    // Memory: writing cannot fail.
    let _ = request.write_all(call.params);
    let MethodCall { method, facts, notifications, answers, .. } = call;
    let subject = logged(call.subject);
    let options = CallOptions { method, subject, facts, notifications, answers, tasks: Tasks::Refused };
    let open = mount.instance.call(request, options);
    open.map_err(|_| CallError::Unavailable { server: mount.instance.entry().name.to_string() })
}

fn prepare(mount: &Arc<Mount>, caller: &Caller, call: ToolCall<'_>) -> Result<OpenCall, CallError> {
    match mount.tool(call.tool) {
        Some(tool) => check_arguments(mount, tool, call.arguments)?,
        // The plugin knows.
        None if mount.manifest.is_dynamic("tools/list") && caller.may_call(call.tool) => {
            drop(parse_arguments(call.tool, call.arguments)?)
        }
        None => return Err(unknown(mount, call.tool)),
    }
    let entry = mount.instance.entry();
    let mut request = Request::new(TOOLS_CALL);
    // Writing into a `Request` cannot fail: it is memory.
    let _ = request.write_all(b"{\"name\":");
    let _ = serde_json::to_writer(&mut request, call.tool);
    let _ = request.write_all(b",\"arguments\":");
    let _ = request.write_all(call.arguments);
    let _ = request.write_all(b"}");
    let (method, subject) = (TOOLS_CALL, logged(call.tool));
    let ToolCall { facts, notifications, tasks, answers, .. } = call;
    let options = CallOptions { method, subject, facts, notifications, tasks, answers };
    let open = mount.instance.call(request, options);
    open.map_err(|_| CallError::Unavailable { server: entry.name.to_string() })
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
    // No slip of the pen, and to compare it takes time with the square of its length.
    if wrong.len() > 256 {
        return None;
    }
    names
        .map(|name| (strsim::jaro_winkler(&wrong.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name.to_owned())
}

fn parse_arguments(tool: &str, arguments: &[u8]) -> Result<serde_json::Value, CallError> {
    let tool = || tool.chars().take(128).collect();
    let malformed = |detail: String| CallError::MalformedArguments { tool: tool(), detail };
    // The plugin gets the bytes, not what is read from them here: both have to be the same to every reader.
    let parsed = strict::parse(arguments).map_err(|error| malformed(error.to_string()))?;
    if !parsed.is_object() {
        return Err(malformed("it is another kind of JSON value".into()));
    }
    Ok(parsed)
}

fn check_arguments(mount: &Mount, tool: &Tool, arguments: &[u8]) -> Result<(), CallError> {
    let parsed = parse_arguments(&tool.spec.name, arguments)?;
    tool.check_arguments(&parsed).map_err(|errors| CallError::InvalidArguments {
        server: mount.instance.entry().name.to_string(),
        tool: tool.spec.name.clone(),
        errors,
    })
}

impl RunningCall {
    fn new(call: OpenCall, mount: &Mount, record: Record) -> Self {
        let now = Instant::now();
        let deadline = Some(now + mount.instance.entry().call_timeout);
        Self { call, deadline, asked: (0, now), record }
    }

    /// What the call says next; after `Done`, nothing more.
    pub async fn next(&mut self) -> Step {
        let result = loop {
            let deadline = self.deadline.filter(|_| self.asked.0 == 0);
            let event = match deadline {
                Some(deadline) => tokio::time::timeout_at(deadline, self.call.next()).await,
                None => Ok(self.call.next().await),
            };
            match event {
                // A tool that never stops notifying is not to escape its time limit: what comes too late is not
                // passed on, so that the loop gets to the answer or to the timer.
                Ok(CallEvent::Notification { .. })
                    if deadline.is_some_and(|limit| Instant::now() >= limit) => {}
                Ok(CallEvent::Notification { method, params }) => {
                    return Step::Notification { method, params };
                }
                Ok(CallEvent::Asked { key, method, params }) => {
                    if self.asked.0 == 0 {
                        self.asked.1 = Instant::now();
                    }
                    self.asked.0 += 1;
                    return Step::Asked { key, method, params };
                }
                Ok(CallEvent::Parked) => return Step::Parked,
                Ok(CallEvent::BecameTask { options }) => {
                    self.deadline = None;
                    self.record.became_task();
                    return Step::BecameTask { options };
                }
                Ok(CallEvent::Done(answer)) => break self.record.judge(answer),
                Err(_) => {
                    self.record.taken = self.call.cancel(CancelReason::Timeout);
                    break Err(self.record.timed_out());
                }
            }
        };
        self.record.end(result.as_ref());
        Step::Done(result)
    }

    /// Hands the plugin the answer to one of its questions.
    pub fn answer(&mut self, key: &str, answer: &ClientAnswer) {
        self.asked.0 = self.asked.0.saturating_sub(1);
        if self.asked.0 == 0 {
            let waited = self.asked.1.elapsed();
            self.deadline = self.deadline.map(|limit| limit + waited);
            self.record.waited += waited;
        }
        self.call.answer(key, answer);
    }

    /// What the call has kept for a replay.
    pub fn state(&self) -> Option<serde_json::Value> {
        self.call.state()
    }

    /// Ends a parked call, to be run again when the client has answered.
    pub fn suspend(mut self) {
        self.call.cancel(CancelReason::Suspended);
        self.record.over(CallOutcome::InputRequired, Verdict::Nothing);
    }

    /// The result, for a client that cannot be asked; what the call emits before it is dropped.
    pub async fn finish(mut self) -> Result<ToolReply, CallError> {
        loop {
            match self.next().await {
                Step::Done(result) => return result,
                Step::Asked { key, .. } => {
                    let value = serde_json::Value::Null;
                    self.answer(&key, &ClientAnswer { status: AnswerStatus::Unsupported, value });
                }
                Step::Notification { .. } | Step::Parked | Step::BecameTask { .. } => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &str, expected: Result<(), &str>) {
        let refused = parse_arguments("echoHai", arguments.as_bytes()).map(drop).map_err(|e| e.to_string());
        assert_eq!(refused, expected.map_err(str::to_owned), "{arguments}");
    }

    #[test]
    fn arguments_are_one_object_that_everybody_reads_the_same_from() {
        check(r#"{"userName": "Ada", "to": {"userName": "Bob"}}"#, Ok(()));
        check(
            r#"{"userName": "Ada", "userName": "Bob"}"#,
            Err(
                "the arguments of `echoHai` are not a JSON object: the member `userName` occurs twice in one object at \
                 line 1 column 30",
            ),
        );
        check(
            "[]",
            Err("the arguments of `echoHai` are not a JSON object: it is another kind of JSON value"),
        );
        check(
            "{",
            Err(
                "the arguments of `echoHai` are not a JSON object: EOF while parsing an object at line 1 column 1",
            ),
        );
    }
}
