//! The part of a call that is about the client: what the plugin may know of it, and what the client wants to
//! hear before the result.
//!
//! In:   rmcp's request context and a running call.
//! Out:  the call's facts; its notifications, in the plugin's order and before the result; the result.
//! Never: sends what the client did not ask for.

// Log levels are deprecated in MCP, and so in rmcp, but part of every revision in use.
#![expect(deprecated, reason = "rmcp marks logging as deprecated with the revision that will drop it")]

use http::request::Parts;
use rmcp::{
    ErrorData, RoleServer,
    model::{LoggingLevel, ProgressToken, ProtocolVersion, ServerNotification},
    service::RequestContext,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::SESSION;
use crate::{
    load::{CallFacts, Notifications},
    serve::{
        RequestId,
        call::{CallError, RunningCall, Step, ToolReply},
    },
};

/// Which notifications of one call go to the client.
#[derive(Debug)]
pub(super) struct Relay {
    progress: Option<ProgressToken>,
    /// The least severe level the client wants.
    log: Option<LoggingLevel>,
}

impl Relay {
    pub(super) fn new(cx: &RequestContext<RoleServer>) -> Self {
        // A 2025 client sets a level for its session by `logging/setLevel`. That method is refused and the
        // client gets no log messages as long as no server here declares the `logging` capability; a 2026
        // client asks request by request, and gets what it asked for.
        let log = is_modern(cx).then(|| cx.meta.log_level()).flatten();
        Self { progress: cx.meta.get_progress_token(), log }
    }

    /// Whether the plugin has any use for emitting something.
    pub(super) fn notifications(&self) -> Notifications {
        if self.progress.is_some() || self.log.is_some() {
            Notifications::Wanted
        } else {
            Notifications::Dropped
        }
    }

    /// Runs the call to its end, in the handler's own task: rmcp finds the stream of what is sent by a
    /// task-local. Dropping the call, on any way out, cancels it.
    pub(super) async fn pump(
        &self,
        mut call: RunningCall,
        cx: &RequestContext<RoleServer>,
    ) -> Result<Result<ToolReply, CallError>, ErrorData> {
        let cancelled = || ErrorData::internal_error("the call was cancelled", None);
        loop {
            let step = tokio::select! {
                biased;
                () = cx.ct.cancelled() => return Err(cancelled()),
                step = call.next() => step,
            };
            let (method, params) = match step {
                Step::Notification { method, params } => (method, params),
                Step::Done(result) => return Ok(result),
            };
            let Some(notification) = self.admit(&method, &params) else { continue };
            // rmcp sends from a task of its own: only awaiting keeps the order, and a slow client slows the
            // tool down instead of filling memory.
            tokio::select! {
                biased;
                () = cx.ct.cancelled() => return Err(cancelled()),
                sent = cx.peer.send_notification(notification) => if let Err(error) = sent {
                    tracing::debug!(%error, "notification not delivered");
                },
            }
        }
    }

    /// The notification in rmcp's model, if the client wants it.
    fn admit(&self, method: &str, params: &[u8]) -> Option<ServerNotification> {
        let mut params: Map<String, Value> = serde_json::from_slice(params).ok()?;
        match method {
            // The token is the host's: a plugin can neither forget it nor use another call's.
            "notifications/progress" => {
                let token = serde_json::to_value(self.progress.as_ref()?).ok()?;
                params.insert("progressToken".into(), token);
            }
            "notifications/message" => {
                let level = params.get("level").and_then(|level| LoggingLevel::deserialize(level).ok())?;
                if severity(level) < severity(self.log?) {
                    return None;
                }
            }
            _ => return None,
        }
        let notification = ServerNotification::deserialize(&serde_json::json!({
            "method": method,
            "params": params,
        }));
        // What the method's own type cannot hold, rmcp reads as a custom notification: no client could
        // use it.
        notification.ok().filter(|notification| {
            matches!(
                notification,
                ServerNotification::ProgressNotification(_)
                    | ServerNotification::LoggingMessageNotification(_)
            )
        })
    }
}

fn severity(level: LoggingLevel) -> u8 {
    match level {
        LoggingLevel::Debug => 0,
        LoggingLevel::Info => 1,
        LoggingLevel::Notice => 2,
        LoggingLevel::Warning => 3,
        LoggingLevel::Error => 4,
        LoggingLevel::Critical => 5,
        LoggingLevel::Alert => 6,
        LoggingLevel::Emergency => 7,
    }
}

/// Whether the request is of 2026-07-28 or later.
pub(super) fn is_modern(cx: &RequestContext<RoleServer>) -> bool {
    cx.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28)
}

/// What the plugin may ask about the client behind `cx`.
pub(super) fn facts(cx: &RequestContext<RoleServer>, request_id: &RequestId) -> CallFacts {
    // For a 2025 request without a session rmcp makes a client up: its own name, no capabilities.
    let in_session = cx.extensions.get::<Parts>().is_some_and(|parts| parts.headers.contains_key(SESSION));
    let client_is_known = in_session || is_modern(cx);
    let known = |value: Option<Value>| value.filter(|_| client_is_known);
    CallFacts {
        protocol_version: cx.protocol_version().map(|version| version.to_string()),
        client_info: known(json(cx.client_info())),
        client_capabilities: known(json(cx.client_capabilities())),
        progress_token: json(cx.meta.get_progress_token()),
        log_level: match json(cx.meta.log_level()) {
            Some(Value::String(level)) if is_modern(cx) => Some(level),
            _ => None,
        },
        request_id: request_id.as_str().to_owned(),
    }
}

fn json<T: serde::Serialize>(value: Option<T>) -> Option<Value> {
    value.and_then(|value| serde_json::to_value(value).ok())
}

#[cfg(test)]
mod tests;
