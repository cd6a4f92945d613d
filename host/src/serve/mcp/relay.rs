//! The part of a call that is about the client: what the plugin may know of it, and what the client wants to
//! hear before the result.
//!
//! In:   rmcp's request context, the session, what a call emits.
//! Out:  the call's facts; of what it emits, what is to be sent.
//! Never: sends what the client did not ask for.

// Log levels are deprecated in MCP, and so in rmcp, but part of every revision in use.
#![expect(deprecated, reason = "rmcp marks logging as deprecated with the revision that will drop it")]

use http::request::Parts;
use rmcp::{
    RoleServer,
    model::{ClientCapabilities, LoggingLevel, ProgressToken, ProtocolVersion, ServerNotification},
    service::RequestContext,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::SESSION;
use crate::{
    load::{CallFacts, Notifications},
    serve::RequestId,
};

/// Which notifications of one call go to the client.
#[derive(Debug)]
pub(super) struct Relay {
    progress: Option<ProgressToken>,
    /// The least severe level the client wants.
    log: Option<LoggingLevel>,
}

impl Relay {
    /// `session` is what a 2025 client has set; `None`: the server declares no logging, so such a client gets none.
    pub(super) fn new(cx: &RequestContext<RoleServer>, session: Option<LoggingLevel>) -> Self {
        // A 2026 client asks request by request. A 2025 request without a session has no stream worth logging to.
        let log = match client(cx) {
            Client::Modern => cx.meta.log_level(),
            Client::InSession => session,
            Client::Alone => None,
        };
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

    /// The notification in rmcp's model, if the client wants it.
    pub(super) fn admit(&self, method: &str, params: &[u8]) -> Option<ServerNotification> {
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

/// What kind of client a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Client {
    /// 2026-07-28 or later: says all about itself in each request.
    Modern,
    /// 2025 or older, in a session: can be sent requests.
    InSession,
    /// 2025 or older, without one: rmcp makes a client up, with its own name and without capabilities.
    Alone,
}

pub(super) fn client(cx: &RequestContext<RoleServer>) -> Client {
    let in_session = || cx.extensions.get::<Parts>().is_some_and(|parts| parts.headers.contains_key(SESSION));
    match is_modern(cx) {
        true => Client::Modern,
        false if in_session() => Client::InSession,
        false => Client::Alone,
    }
}

/// What the client declared to take.
pub(super) fn declared(cx: &RequestContext<RoleServer>) -> ClientCapabilities {
    let declared = cx.client_capabilities().filter(|_| client(cx) != Client::Alone);
    declared.unwrap_or_default()
}

impl Relay {
    /// What the plugin may ask about the client behind `cx`.
    pub(super) fn facts(
        &self,
        cx: &RequestContext<RoleServer>,
        request_id: &RequestId,
        state: Option<Value>,
    ) -> CallFacts {
        let is_known = client(cx) != Client::Alone;
        let known = |value: Option<Value>| value.filter(|_| is_known);
        CallFacts {
            protocol_version: cx.protocol_version().map(|version| version.to_string()),
            client_info: known(json(cx.client_info())),
            client_capabilities: known(json(cx.client_capabilities())),
            progress_token: json(cx.meta.get_progress_token()),
            log_level: json(self.log).and_then(|level| level.as_str().map(str::to_owned)),
            request_id: request_id.as_str().to_owned(),
            state,
            trace: None,
            caller: None,
        }
    }
}

fn json<T: serde::Serialize>(value: Option<T>) -> Option<Value> {
    value.and_then(|value| serde_json::to_value(value).ok())
}

#[cfg(test)]
mod tests;
