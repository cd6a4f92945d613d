//! A call as the host sees it: what goes to the plugin, and what comes back.

use std::{collections::BTreeMap, future::poll_fn, io, sync::Arc};

use serde_json::Value;

use super::{exchange::Exchange, mailbox::Mailbox};
use crate::trace::Inside;

/// A method and its parameters, in the one buffer in which they cross to the plugin.
#[derive(Debug)]
pub struct Request {
    pub(super) name_len: u32,
    pub(super) data: Vec<u8>,
}

impl Request {
    /// Begins a request for `method`; write its parameters, a JSON object, with [`std::io::Write`].
    pub fn new(method: &'static str) -> Self {
        Self { name_len: method.len() as u32, data: method.as_bytes().to_vec() }
    }
}

impl io::Write for Request {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.data.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a plugin may ask about a call; it is turned into JSON only when the plugin does. What is
/// unknown is absent there.
#[derive(Debug, Clone, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallFacts {
    /// MCP revision the client speaks; `None` for a plain HTTP client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol_version: Option<String>,
    /// The client's own name and version, as it gave them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_info: Option<Value>,
    /// What the client can do, as it declared it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_capabilities: Option<Value>,
    /// Present if the client wants progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress_token: Option<Value>,
    /// Least severe MCP log level the client wants; `None`: it wants none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_level: Option<String>,
    /// The id under which logs, problems and answers speak of this request.
    pub request_id: String,
    /// What an earlier run of this call kept with `set_state`, if it is a replay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Value>,
    /// Where it is in its trace, and what its plugin does there. `None`: it belongs to none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<Arc<Inside>>,
    /// Who is calling. `None`: nobody was asked.
    #[serde(flatten)]
    pub caller: Option<Arc<CallerFacts>>,
}

/// Who is calling, as plugins get to know it: never by what it was known.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CallerFacts {
    /// Who it is.
    pub principal: PrincipalFacts,
    /// What it was allowed to do.
    pub scopes: Vec<String>,
}

/// Who it is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PrincipalFacts {
    /// `key:<name>`, `certificate:<name>`, `token:<issuer>#<subject>`.
    pub id: String,
}

/// How a call is made.
#[derive(Debug, Default)]
pub struct CallOptions {
    /// The method, for the log.
    pub method: &'static str,
    /// What it is about, for the log: a tool's name, a prompt's, a resource's URI.
    pub subject: String,
    /// What the plugin may ask about it.
    pub facts: CallFacts,
    /// Whether anybody listens to what the call emits before its answer.
    pub notifications: Notifications,
    /// Whether the call may go on as a task.
    pub tasks: Tasks,
    /// Answers that earlier runs of this call were given, by key: a replay gets them at once.
    pub answers: BTreeMap<String, ClientAnswer>,
}

/// What the log says of a call beside its server. All that is kept of one that the plugin may never let go of.
#[derive(Debug, Clone)]
pub(super) struct About {
    pub(super) method: &'static str,
    pub(super) subject: String,
    pub(super) request_id: String,
}

impl About {
    pub(super) fn of(options: &CallOptions) -> Self {
        let CallOptions { method, subject, facts, .. } = options;
        Self { method, subject: subject.clone(), request_id: facts.request_id.clone() }
    }
}

/// Whether a call may go on as a task.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Tasks {
    /// The client did not declare tasks, or the method has none.
    #[default]
    Refused,
    /// [`CallEvent::BecameTask`] says when it does.
    Allowed,
}

/// What a client answered to a question of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ClientAnswer {
    /// How it went.
    pub status: AnswerStatus,
    /// The result of the method that asked, or null.
    pub value: Value,
}

/// How a question to a client went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerStatus {
    /// The client gave an answer.
    Accepted,
    /// The user said no.
    Declined,
    /// The user made no choice.
    Cancelled,
    /// This client cannot be asked that.
    Unsupported,
    /// The client took too long.
    TimedOut,
}

/// Whether anybody listens to what a call emits before its answer.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Notifications {
    /// Nobody: the plugin is told `dropped`.
    #[default]
    Dropped,
    /// They come out of [`OpenCall::next`].
    Wanted,
}

/// What a call says.
#[derive(Debug)]
pub enum CallEvent {
    /// Sent before the answer, in the plugin's order.
    Notification {
        /// E.g. `notifications/progress`.
        method: String,
        /// A JSON object.
        params: Vec<u8>,
    },
    /// The plugin asks the client something; to be answered with [`OpenCall::answer`].
    Asked {
        /// Unique within the call.
        key: String,
        /// E.g. `elicitation/create`.
        method: String,
        /// A JSON object.
        params: Vec<u8>,
    },
    /// The call waits for answers to its questions and for nothing else: it may be suspended, that is cancelled
    /// and run again once they are there.
    Parked,
    /// The call goes on as a task; only where [`CallOptions::tasks`] allows it, and once.
    BecameTask {
        /// A JSON object.
        options: Vec<u8>,
    },
    /// The answer: the last event.
    Done(Answer),
}

/// How a call ended.
#[derive(Debug)]
pub enum Answer {
    /// The method's result, JSON, not yet checked.
    Result(Vec<u8>),
    /// A JSON-RPC error.
    Error {
        /// JSON-RPC error code.
        code: i32,
        /// For people.
        message: String,
        /// For programs.
        data: Option<Value>,
    },
    /// The tool panicked; the text is its message, for the log only.
    Panicked(String),
    /// The result had so many bytes, which is more than is taken.
    TooLarge(usize),
    /// The plugin stopped before it answered.
    Gone,
}

/// Why a call is cancelled, as the plugin is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelReason {
    /// The client cancelled it, or went away.
    Client,
    /// It ran longer than the server's `call_timeout`.
    Timeout,
    /// It will be run again when the client has answered its questions.
    Suspended,
}

/// Whether the plugin had taken a call out of its mailbox when that was cancelled.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It had, and is told.
    #[default]
    Yes,
    /// It will never see it.
    No,
}

/// The server takes no more calls.
#[derive(Debug, thiserror::Error)]
#[error("the server is stopping")]
pub struct Closed;

/// A call the plugin is working on. Dropping it cancels it.
#[derive(Debug)]
pub struct OpenCall {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) id: u64,
    pub(super) exchange: Arc<Exchange>,
    /// Whether the answer came, or the call was cancelled.
    pub(super) over: bool,
}

impl OpenCall {
    /// The next thing the call says. After `Done` it says `Done(Answer::Gone)`.
    pub async fn next(&mut self) -> CallEvent {
        if self.over {
            return CallEvent::Done(Answer::Gone);
        }
        let event = poll_fn(|cx| self.exchange.poll_next(cx)).await;
        self.over = matches!(event, CallEvent::Done(_));
        event
    }

    /// Hands the plugin the answer to one of its questions.
    pub fn answer(&self, key: &str, answer: &ClientAnswer) {
        if !self.over {
            self.exchange.unpark();
            self.mailbox.answer_question(self.id, key, answer);
        }
    }

    /// What the call has kept with `set_state`, JSON.
    pub fn state(&self) -> Option<Value> {
        self.exchange.state()
    }

    /// Cancels the call, with a reason that the plugin can see. From then on it says `Done(Answer::Gone)`.
    pub fn cancel(&mut self, reason: CancelReason) -> Taken {
        if std::mem::replace(&mut self.over, true) {
            Taken::Yes
        } else {
            self.mailbox.cancel(self.id, reason)
        }
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.cancel(CancelReason::Client);
    }
}
