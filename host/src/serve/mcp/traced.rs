//! What traces are told of a message: those that are calls by their tickets, the others here.
//!
//! In:   a message, as far as the door has read it, and its headers.
//! Out:  the span of a request that is answered without a call, to be ended with the answer.

use http::{StatusCode, request::Parts};
use rmcp::model::ProtocolVersion;

use super::{
    SESSION,
    edge::{Envelope, VERSION},
    handler::Handler,
};
use crate::{
    serve::{RequestId, ticket::InRequest},
    trace::{self, About, CallTrace},
};

/// Says of which message, revision and session it is.
pub(super) fn name(about: &mut About, envelope: &Envelope<'_>, parts: &Parts) {
    about.message_id = envelope.id.as_ref().map(ToString::to_string);
    let version = parts.headers.get(VERSION).and_then(|version| version.to_str().ok());
    let known = ProtocolVersion::KNOWN_VERSIONS.iter().find(|known| Some(known.as_str()) == version);
    about.protocol_version = known.map(ToString::to_string);
    about.session = parts.headers.get(SESSION).and_then(|id| id.to_str().ok()).map(str::to_owned);
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

/// How a message went that was answered with `status`.
pub(super) fn outcome(status: StatusCode) -> String {
    if status.is_success() { "ok".to_owned() } else { status.as_str().to_owned() }
}
