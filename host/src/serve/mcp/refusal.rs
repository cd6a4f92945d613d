//! The far edge of the MCP door: every error leaves as a JSON-RPC object with a fitting HTTP status.
//!
//! In:   what the near edge refuses, and rmcp's answers.
//! Out:  HTTP answers.
//! Never: buffers a stream; shows what rmcp says of its own faults.

use std::borrow::Cow;

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use rmcp::model::{ErrorCode, ErrorData, JsonRpcError, ProtocolVersion, RequestId as MessageId};
use serde_json::value::RawValue;

use super::edge::essence;
use crate::serve::RequestId;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// How rmcp words that a session's worker has ended, after what it was doing at the time.
const LOST_SESSION: [&str; 2] = ["Session service terminated", "Channel closed: None"];

/// A request that is answered at the edge.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    id: Option<MessageId>,
    /// Boxed: a `Result` should not grow by what is rare.
    error: Box<ErrorData>,
    allow: Option<&'static str>,
}

fn invalid_request(text: impl Into<Cow<'static, str>>) -> ErrorData {
    ErrorData::invalid_request(text, None)
}

impl Refusal {
    fn new(status: StatusCode, error: ErrorData) -> Self {
        Self { status, id: None, error: Box::new(error), allow: None }
    }

    pub(super) fn with_id(mut self, id: Option<MessageId>) -> Self {
        self.id = id;
        self
    }

    pub(super) fn invalid(text: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, invalid_request(text))
    }

    pub(super) fn unreadable(error: &serde_json::Error) -> Self {
        let error = if error.is_data() {
            invalid_request(format!("this is not a JSON-RPC message: {error}"))
        } else {
            ErrorData::parse_error(format!("the body is not JSON: {error}"), None)
        };
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    pub(super) fn not_one_object(body: &[u8]) -> Self {
        match serde_json::from_slice::<&RawValue>(body) {
            Err(error) => Self::unreadable(&error),
            Ok(json) if json.get().starts_with('[') => {
                Self::invalid("batches are not part of MCP; send one message per request")
            }
            Ok(_) => Self::invalid("a JSON-RPC message is a JSON object"),
        }
    }

    pub(super) fn wrong_media_type() -> Self {
        let text = "the Content-Type of a message must be application/json";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, invalid_request(text))
    }

    pub(super) fn unknown_version(version: &str, id: Option<MessageId>) -> Self {
        let known = ProtocolVersion::KNOWN_VERSIONS;
        let data = serde_json::json!({ "requested": version, "supported": known });
        let code = ErrorCode::UNSUPPORTED_PROTOCOL_VERSION;
        let error = ErrorData::new(code, "Unsupported protocol version", Some(data));
        Self::new(StatusCode::BAD_REQUEST, error).with_id(id)
    }

    pub(super) fn header_mismatch(text: &str, id: Option<MessageId>) -> Self {
        let error = ErrorData::header_mismatch(text.to_owned(), None);
        Self::new(StatusCode::BAD_REQUEST, error).with_id(id)
    }

    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        let text =
            "MCP messages are sent by POST; GET opens the event stream of a 2025 session, DELETE ends it";
        let refusal = Self::new(StatusCode::METHOD_NOT_ALLOWED, invalid_request(text));
        Self { allow: Some(allow), ..refusal }
    }

    pub(super) fn not_acceptable(id: Option<MessageId>) -> Self {
        let text = "the Accept header must name both application/json and text/event-stream";
        Self::new(StatusCode::NOT_ACCEPTABLE, invalid_request(text)).with_id(id)
    }

    pub(super) fn unknown_session(id: Option<MessageId>) -> Self {
        let text = "no such session; it may have ended or expired: send `initialize` again";
        Self::new(StatusCode::NOT_FOUND, invalid_request(text)).with_id(id)
    }

    pub(super) fn too_many_sessions(id: Option<MessageId>) -> Self {
        let text = "this server has as many sessions as it can keep; try again later, or use 2026-07-28, \
                    which needs none";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, ErrorData::internal_error(text, None)).with_id(id)
    }

    pub(super) fn into_response(self) -> Response<Body> {
        // Without an id that could be read the member is left out, as 2025-11-25 and 2026-07-28 have it;
        // no revision of MCP allows JSON-RPC's `null`.
        let body = serde_json::to_vec(&JsonRpcError::new(self.id, *self.error));
        let mut response = Response::new(Body::from(body.expect("an error object is plain JSON")));
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, JSON);
        if let Some(allow) = self.allow {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
        }
        response
    }
}

fn is_json<B>(response: &Response<B>) -> bool {
    response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.to_str().is_ok_and(|value| essence(value) == "application/json"))
}

/// Turns the errors that rmcp words in plain text into JSON-RPC objects; all else passes untouched, streams
/// above all.
pub(super) async fn polish(
    response: Response<Body>,
    id: Option<MessageId>,
    request_id: &RequestId,
) -> Response<Body> {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) || is_json(&response) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let text = axum::body::to_bytes(body, 4096).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    // Between the end of a session and its removal rmcp answers 500; clients start anew only on 404.
    let session_lost = LOST_SESSION.iter().any(|lost| text.ends_with(lost));
    if status == StatusCode::NOT_FOUND || session_lost {
        return Refusal::unknown_session(id).into_response();
    }
    if status.is_server_error() {
        // rmcp has logged the cause; its text names internals.
        let text = format!("the gateway could not answer (request {})", request_id.as_str());
        return Refusal::new(status, ErrorData::internal_error(text, None)).with_id(id).into_response();
    }
    // The media type was right, or the door would have refused it: rmcp could not read the message.
    let unreadable = status == StatusCode::UNSUPPORTED_MEDIA_TYPE;
    let status = if unreadable { StatusCode::BAD_REQUEST } else { status };
    let text = match text.strip_prefix("Bad Request: ") {
        _ if unreadable => "this is not a JSON-RPC message that MCP knows".to_owned(),
        Some(reason) => reason.to_owned(),
        None => text.into_owned(),
    };
    let mut answer = Refusal::new(status, invalid_request(text)).with_id(id).into_response();
    if let Some(allow) = parts.headers.get(header::ALLOW) {
        answer.headers_mut().insert(header::ALLOW, allow.clone());
    }
    answer
}

#[cfg(test)]
mod tests;
