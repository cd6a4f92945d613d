//! What is logged of a call: one line, however it ends.

use std::{sync::Arc, time::Duration};

use super::{CallError, ToolReply};
use crate::{
    load::{Answer, CallFacts},
    mount::Mount,
};

/// What is logged of a call: one line, however it ends.
#[derive(Debug, Default)]
pub(super) struct Record {
    mount: Option<Arc<Mount>>,
    /// Empty: `tools/call`.
    pub(super) method: &'static str,
    tool: String,
    door: &'static str,
    request_id: String,
    began: Option<std::time::Instant>,
}

impl Record {
    pub(super) fn new(mount: &Arc<Mount>, subject: &str, door: &'static str, facts: &CallFacts) -> Self {
        Self {
            mount: Some(mount.clone()),
            method: "",
            tool: subject.chars().take(128).collect(),
            door,
            request_id: facts.request_id.clone(),
            began: Some(std::time::Instant::now()),
        }
    }

    pub(super) fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    fn server(&self) -> &str {
        self.mount.as_ref().map_or("", |m| m.instance.entry().name.as_str())
    }

    pub(super) fn judge(&self, answer: Answer) -> Result<ToolReply, CallError> {
        let (server, tool) = (self.server().to_owned(), self.tool.clone());
        let request_id = &self.request_id;
        match answer {
            Answer::Result(json) => self.parse(json).map_err(|error| {
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

    fn parse(&self, json: Vec<u8>) -> Result<ToolReply, serde_json::Error> {
        if self.method.is_empty() { ToolReply::parse(json) } else { ToolReply::of_method(json) }
    }

    pub(super) fn timed_out(&self) -> CallError {
        let limit = self.mount.as_ref().map_or(Duration::ZERO, |m| m.instance.entry().call_timeout);
        CallError::TimedOut { server: self.server().to_owned(), tool: self.tool.clone(), limit }
    }

    pub(super) fn end(&mut self, result: Result<&ToolReply, &CallError>) {
        let outcome = match result {
            Ok(reply) if reply.is_error => "tool_error",
            Ok(_) => "ok",
            Err(error) => error.code(),
        };
        self.log(outcome);
    }

    pub(super) fn log(&mut self, outcome: &str) {
        let Some(began) = self.began.take() else { return };
        let elapsed_ms = began.elapsed().as_micros() as f64 / 1000.0;
        let (server, subject, door, request_id) = (self.server(), &self.tool, self.door, &self.request_id);
        if self.method.is_empty() {
            tracing::info!(server, tool = subject, door, outcome, elapsed_ms, request_id, "call finished");
        } else {
            let method = self.method;
            tracing::info!(server, method, subject, door, outcome, elapsed_ms, request_id, "call finished");
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.log("cancelled");
    }
}
