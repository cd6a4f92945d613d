//! What a plugin asks its client, in the forms in which the two kinds of client are asked.
//!
//! In:   a question's method and parameters, what the client declared, what it answered.
//! Out:  whether it may be asked; the request for it; a [`ClientAnswer`].
//! Never: asks what the client did not declare.

use std::time::Duration;

use rmcp::{
    ErrorData, Peer, RoleServer,
    model::{
        CancelledNotification, CancelledNotificationParam, ClientCapabilities, CustomRequest, ErrorCode,
        InputRequest, RequestId, ServerRequest,
    },
    service::{PeerRequestOptions, ServiceError},
};
use serde_json::{Value, json};

use crate::load::{AnswerStatus, ClientAnswer};

/// Longest wait for one answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// Whether a client that declared `declared` takes this question.
pub(super) fn is_declared(declared: &ClientCapabilities, method: &str, params: &Value) -> bool {
    match method {
        "elicitation/create" => declared.elicitation.as_ref().is_some_and(|elicitation| {
            // A client that names no mode means forms: there was nothing else when it was written.
            if params["mode"] == "url" {
                elicitation.url.is_some()
            } else {
                elicitation.form.is_some() || elicitation.url.is_none()
            }
        }),
        "sampling/createMessage" => declared.sampling.as_ref().is_some_and(|sampling| {
            let wants_tools = params.get("tools").is_some() || params.get("toolChoice").is_some();
            !wants_tools || sampling.tools.is_some()
        }),
        "roots/list" => declared.roots.is_some(),
        _ => false,
    }
}

/// The question as 2026-07-28 and tasks carry it; `None` if it does not fit MCP.
pub(super) fn to_input(method: &str, params: &Value) -> Option<InputRequest> {
    let request = match method {
        "roots/list" => json!({ "method": method }),
        _ => json!({ "method": method, "params": params }),
    };
    serde_json::from_value(request).ok()
}

/// Asks a client in a session, by a request of its own. To be awaited in the task of the call's handler: rmcp
/// finds the stream by a task-local.
pub(super) async fn ask(peer: Peer<RoleServer>, method: String, params: Value) -> ClientAnswer {
    // A custom request carries the plugin's words as they are; rmcp's model of them leaves out what it does not know.
    let params = if method == "roots/list" { None } else { Some(params) };
    let request = ServerRequest::CustomRequest(CustomRequest::new(method, params));
    let options = PeerRequestOptions::with_timeout(PATIENCE);
    let answered = match peer.send_cancellable_request(request, options).await {
        Ok(asked) => {
            let open = Open { peer: asked.peer.clone(), id: Some(asked.id.clone()) };
            let answered = asked.await_response().await;
            open.close();
            answered
        }
        Err(error) => Err(error),
    };
    match answered {
        Ok(result) => serde_json::to_value(result).ok().and_then(of_result).unwrap_or_else(cancelled),
        Err(ServiceError::Timeout { .. }) => without_value(AnswerStatus::TimedOut),
        Err(ServiceError::McpError(error)) => of_refusal(&error),
        Err(error) => {
            tracing::debug!(%error, "client not reached");
            cancelled()
        }
    }
}

/// A request that the client has not answered. When the call ends without the answer, the client is told: or it would
/// go on asking its user, and rmcp go on waiting.
struct Open {
    peer: Peer<RoleServer>,
    id: Option<RequestId>,
}

impl Open {
    fn close(mut self) {
        self.id = None;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let peer = self.peer.clone();
        let reason = Some("the call has ended".to_owned());
        tokio::spawn(async move {
            let cancelled = CancelledNotification::new(CancelledNotificationParam::new(Some(id), reason));
            // A client that is gone has nothing left to cancel.
            let _ = peer.send_notification(cancelled.into()).await;
        });
    }
}

/// A client that says no by an error: it cannot do what it declared, or its user did not want to.
fn of_refusal(error: &ErrorData) -> ClientAnswer {
    match error.code {
        ErrorCode::METHOD_NOT_FOUND | ErrorCode::INVALID_PARAMS => without_value(AnswerStatus::Unsupported),
        _ => cancelled(),
    }
}

/// What a client gave as a result; `None` if it is none.
pub(super) fn of_result(value: Value) -> Option<ClientAnswer> {
    let status = match value.as_object()?.get("action") {
        // Only elicitation has actions.
        None => AnswerStatus::Accepted,
        Some(action) => match action.as_str()? {
            "accept" => AnswerStatus::Accepted,
            "decline" => AnswerStatus::Declined,
            "cancel" => AnswerStatus::Cancelled,
            _ => return None,
        },
    };
    Some(ClientAnswer { status, value })
}

pub(super) fn cancelled() -> ClientAnswer {
    without_value(AnswerStatus::Cancelled)
}

pub(super) fn without_value(status: AnswerStatus) -> ClientAnswer {
    ClientAnswer { status, value: Value::Null }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_asked_only_what_it_declared() {
        let check = |declared: Value, method: &str, params: Value, expected: bool| {
            let declared = serde_json::from_value(declared).expect("the test's own capabilities");
            assert_eq!(is_declared(&declared, method, &params), expected, "{method} {params}");
        };
        check(json!({}), "elicitation/create", json!({}), false);
        check(json!({ "elicitation": {} }), "elicitation/create", json!({ "mode": "form" }), true);
        check(json!({ "elicitation": {} }), "elicitation/create", json!({ "mode": "url" }), false);
        check(json!({ "elicitation": { "url": {} } }), "elicitation/create", json!({ "mode": "url" }), true);
        check(json!({ "elicitation": { "url": {} } }), "elicitation/create", json!({}), false);
        check(json!({ "sampling": {} }), "sampling/createMessage", json!({}), true);
        check(json!({ "sampling": {} }), "sampling/createMessage", json!({ "tools": [] }), false);
        check(json!({ "roots": {} }), "roots/list", json!({}), true);
        check(json!({ "roots": {} }), "ping", json!({}), false);
    }

    #[test]
    fn an_answer_says_by_its_action_how_it_went() {
        let status = |value: Value| of_result(value).map(|answer| answer.status);
        assert_eq!(status(json!({ "action": "accept", "content": {} })), Some(AnswerStatus::Accepted));
        assert_eq!(status(json!({ "action": "decline" })), Some(AnswerStatus::Declined));
        assert_eq!(status(json!({ "action": "cancel" })), Some(AnswerStatus::Cancelled));
        assert_eq!(status(json!({ "roots": [] })), Some(AnswerStatus::Accepted));
        for nonsense in
            [json!("yes"), json!(null), json!([]), json!({ "action": "maybe" }), json!({ "action": 1 })]
        {
            assert_eq!(status(nonsense), None);
        }
    }

    #[test]
    fn what_does_not_fit_mcp_is_no_question() {
        let form = json!({ "message": "?", "requestedSchema": { "type": "object", "properties": {} } });
        assert!(matches!(to_input("elicitation/create", &form), Some(InputRequest::Elicitation(_))));
        assert!(matches!(to_input("roots/list", &json!({})), Some(InputRequest::ListRoots(_))));
        assert!(to_input("elicitation/create", &json!({ "message": 5 })).is_none());
        assert!(to_input("ping", &json!({})).is_none());
    }
}
