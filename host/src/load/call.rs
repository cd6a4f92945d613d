//! A call as the host sees it: what goes to the plugin, and what comes back.

use std::{io, sync::Arc};

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::mailbox::Mailbox;

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

/// What a plugin may ask about a call; it is turned into JSON only when the plugin does.
#[derive(Debug, Clone, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallFacts {
    /// MCP revision the client speaks; `None` for a plain HTTP client.
    pub protocol_version: Option<String>,
    /// The client's own name and version, as it gave them.
    pub client_info: Option<Value>,
    /// What the client can do, as it declared it.
    pub client_capabilities: Option<Value>,
    /// Present if the client wants progress.
    pub progress_token: Option<Value>,
    /// Least severe MCP log level the client wants; `None`: it wants none.
    pub log_level: Option<String>,
    /// The id under which logs, problems and answers speak of this request.
    pub request_id: String,
}

/// How a call is made.
#[derive(Debug, Default)]
pub struct CallOptions {
    /// What the plugin may ask about it.
    pub facts: CallFacts,
    /// Whether anybody listens to what the call emits before its answer.
    pub notifications: Notifications,
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
    /// `None` once the answer is in `answer`.
    pub(super) reply: Option<oneshot::Receiver<Answer>>,
    pub(super) answer: Option<Answer>,
    pub(super) notifications: Option<mpsc::Receiver<(String, Vec<u8>)>>,
}

impl OpenCall {
    /// The next thing the call says. After `Done` it says `Done(Answer::Gone)`.
    pub async fn next(&mut self) -> CallEvent {
        if let Some(reply) = &mut self.reply {
            let answer = match &mut self.notifications {
                None => reply.await,
                Some(notifications) => tokio::select! {
                    biased;
                    Some((method, params)) = notifications.recv() => {
                        return CallEvent::Notification { method, params };
                    }
                    answer = reply => answer,
                },
            };
            self.reply = None;
            self.answer = Some(answer.unwrap_or(Answer::Gone));
        }
        // What was said before the answer lies in the channel by now: it comes first.
        if let Some(Ok((method, params))) = self.notifications.as_mut().map(mpsc::Receiver::try_recv) {
            return CallEvent::Notification { method, params };
        }
        CallEvent::Done(self.answer.take().unwrap_or(Answer::Gone))
    }

    /// Cancels the call, with a reason that the plugin can see. From then on it says `Done(Answer::Gone)`.
    pub fn cancel(&mut self, reason: CancelReason) {
        if self.reply.take().is_some() {
            self.notifications = None;
            self.mailbox.cancel(self.id, reason);
        }
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.cancel(CancelReason::Client);
    }
}
