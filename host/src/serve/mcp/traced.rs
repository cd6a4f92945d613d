//! What traces are told of a message: those that are calls by their tickets, the others here.
//!
//! In:   a message, as far as the door has read it, and its headers.
//! Out:  the span of a message that is answered without a call. It ends with the answer, which on the stream of a 2025 session comes
//!       after the head of the response; that of a message for which a stream stays open, with the head.
//! Never: holds a body up, or changes it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Body, Bytes, HttpBody};
use http::{Response, StatusCode, header, request::Parts};
use http_body::{Frame, SizeHint};
use rmcp::model::ProtocolVersion;
use serde::{Deserialize, de::IgnoredAny};

use super::{
    Listens, SESSION,
    edge::{Envelope, VERSION, essence},
    handler::Handler,
};
use crate::{
    config::Digest,
    serve::{RequestId, ticket::InRequest},
    trace::{self, About, CallTrace},
};

/// Says of which message, revision and session it is.
pub(super) fn name(about: &mut About, envelope: &Envelope<'_>, parts: &Parts) {
    about.message_id = envelope.id.as_ref().map(ToString::to_string);
    let version = parts.headers.get(VERSION).and_then(|version| version.to_str().ok());
    let known = ProtocolVersion::KNOWN_VERSIONS.iter().find(|known| Some(known.as_str()) == version);
    about.protocol_version = known.map(ToString::to_string);
    about.session = parts.headers.get(SESSION).map(|id| hashed(id.as_bytes()));
}

/// By which the messages of a session are told apart. Its id may be all that it takes to use the session, and stays here.
fn hashed(session: &[u8]) -> String {
    let digits = Digest::of(session).digits();
    String::from_utf8_lossy(&digits[..16]).into_owned()
}

/// Begins the span of a message that is no call. An answer to a question of the server's is none of its own.
pub(super) fn begin(
    handler: &Handler,
    envelope: &Envelope<'_>,
    parts: &Parts,
    request_id: &RequestId,
) -> CallTrace {
    let is_call = parts.extensions.get::<InRequest>().is_some();
    let Some(method) = envelope.method.as_deref().filter(|_| trace::is_on() && !is_call) else {
        return CallTrace::default();
    };
    let mut trace = CallTrace::begin(&envelope.incoming(&parts.headers), trace::known_method(method));
    trace.about(|about| {
        about.server = handler.offer().mount.instance.entry().name.to_string();
        about.door = "mcp";
        about.request_id = request_id.as_str().to_owned();
        name(about, envelope, parts);
    });
    trace
}

/// `response`, which ends `trace` when the answer in it is on its way.
pub(super) fn followed(response: Response<Body>, mut trace: CallTrace) -> Response<Body> {
    if !trace.is_heard() {
        return response;
    }
    let status = response.status();
    let media_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_stream = media_type.is_some_and(|value| essence(value) == "text/event-stream");
    let stays_open = is_stream && response.extensions().get::<Listens>().is_some();
    if stays_open || response.body().is_end_stream() {
        trace.end(&outcome(status));
        return response;
    }
    response.map(|body| Body::new(Followed { body, trace, status, is_stream }))
}

/// How a message went that was answered with `status`, if the answer does not say.
fn outcome(status: StatusCode) -> String {
    if status.is_success() { "ok".to_owned() } else { status.as_str().to_owned() }
}

/// A body that is looked at as it passes. Dropped without an answer, its message was cancelled.
struct Followed {
    body: Body,
    trace: CallTrace,
    status: StatusCode,
    is_stream: bool,
}

impl Followed {
    /// How the message went, if `data` is its answer. The library writes a message whole, be it JSON or an event.
    fn outcome_in(&self, data: &[u8]) -> Option<String> {
        let message = if self.is_stream { event_data(data)? } else { data };
        match serde_json::from_slice(message) {
            Ok(Answer { method: Some(_), .. }) | Err(_) => None,
            Ok(Answer { error: Some(error), .. }) => Some(error.code.to_string()),
            Ok(Answer { result, .. }) => result.map(|_| outcome(self.status)),
        }
    }
}

/// What the one line `data:` of an event says.
fn event_data(event: &[u8]) -> Option<&[u8]> {
    event.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"data:"))
}

/// A JSON-RPC message, as far as it tells whether it is an answer, and which.
#[derive(Deserialize)]
struct Answer {
    method: Option<IgnoredAny>,
    result: Option<IgnoredAny>,
    error: Option<AnswerError>,
}

#[derive(Deserialize)]
struct AnswerError {
    code: i64,
}

impl HttpBody for Followed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
        let said = data.filter(|_| self.trace.is_heard()).and_then(|data| self.outcome_in(data));
        // A stream may end without an answer, when its session does.
        let is_over = !self.is_stream && (frame.is_none() || self.body.is_end_stream());
        if let Some(outcome) = said.or_else(|| is_over.then(|| outcome(self.status))) {
            self.trace.end(&outcome);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_says_how_a_message_went_and_what_comes_before_it_does_not() {
        let check = |is_stream: bool, data: &str, expected: Option<&str>| {
            let (body, trace, status) = (Body::empty(), CallTrace::default(), StatusCode::OK);
            let followed = Followed { body, trace, status, is_stream };
            assert_eq!(followed.outcome_in(data.as_bytes()).as_deref(), expected, "{data}");
        };
        let (result, error) = (
            r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"tools/list"}}"#,
        );
        check(false, result, Some("ok"));
        check(false, error, Some("-32601"));
        check(false, "no JSON", None);
        check(true, &format!("id: 1/0\ndata: {result}\n\n"), Some("ok"));
        check(true, &format!("data: {error}\n\n"), Some("-32601"));
        check(true, "id: 0\nretry: 3000\ndata: \n\n", None);
        check(true, ":\n\n", None);
        check(
            true,
            "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{}}\n\n",
            None,
        );
    }
}
