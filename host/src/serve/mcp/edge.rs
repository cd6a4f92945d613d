//! The near edge of the MCP door: what is settled before rmcp sees a request.
//!
//! In:   headers and a whole body.
//! Out:  an [`Envelope`] and a [`Route`], or a [`Refusal`] that says why not.
//! Never: looks into a method's parameters beyond `_meta` and `arguments`.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, header};
use rmcp::model::{ProtocolVersion, RequestId as MessageId};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{SESSION, refusal::Refusal};
use crate::trace::{self, Incoming};

/// What rmcp insists on in every POST.
pub(super) const ACCEPT_BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");

pub(super) const VERSION: &str = "mcp-protocol-version";
const METHOD: &str = "mcp-method";
const NAME: &str = "mcp-name";

/// Longest `_meta.traceparent` that is looked at. It has 55 bytes; later versions may have more.
const TRACEPARENT_MAX: usize = 128;
/// The same of `_meta.tracestate`, as of the header.
const TRACESTATE_MAX: usize = 512;

/// A JSON-RPC message, as far as it must be known to route it.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    /// Absent in notifications and in answers that the client gives.
    pub(super) id: Option<MessageId>,
    /// Absent in answers that the client gives.
    pub(super) method: Option<String>,
    /// What a call is about: a tool's or a prompt's name, a resource's URI.
    pub(super) subject: Option<String>,
    /// `params` as the client wrote it.
    pub(super) params: Option<&'a RawValue>,
    /// Whether `_meta` names a protocol version, which only 2026-07-28 does.
    names_version: bool,
    /// `params.arguments` as the client wrote it.
    pub(super) arguments: Option<&'a RawValue>,
    /// `_meta.traceparent` and `_meta.tracestate`.
    trace: [Option<String>; 2],
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: Option<String>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    result: Option<IgnoredAny>,
    error: Option<IgnoredAny>,
}

#[derive(Deserialize, Default)]
struct Params<'a> {
    #[serde(rename = "_meta", default)]
    meta: Option<Meta>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    name: Option<String>,
    uri: Option<String>,
}

#[derive(Deserialize, Default)]
struct Meta {
    #[serde(rename = "io.modelcontextprotocol/protocolVersion")]
    version: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "text::<_, TRACEPARENT_MAX>")]
    traceparent: Option<String>,
    #[serde(default, deserialize_with = "text::<_, TRACESTATE_MAX>")]
    tracestate: Option<String>,
}

/// A text of at most so many bytes, or nothing: what is not as it should be in here is no reason to take the rest for
/// unreadable, and none of it is kept.
fn text<'de, D: Deserializer<'de>, const MAX: usize>(value: D) -> Result<Option<String>, D::Error> {
    value.deserialize_any(ShortText::<MAX>)
}

struct ShortText<const MAX: usize>;

impl<'de, const MAX: usize> Visitor<'de> for ShortText<MAX> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok((text.len() <= MAX).then(|| text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        IgnoredAny.visit_seq(seq).map(|_| None)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        IgnoredAny.visit_map(map).map(|_| None)
    }
}

impl<'a> Envelope<'a> {
    /// Reads the message in `body`; whatever is not one JSON-RPC message is refused here.
    pub(super) fn read(body: &'a [u8]) -> Result<Self, Refusal> {
        let start = body.iter().find(|byte| !byte.is_ascii_whitespace());
        if start != Some(&b'{') {
            // A derived struct would take an array for its members in order.
            return Err(Refusal::not_one_object(body));
        }
        let message: Message<'a> =
            serde_json::from_slice(body).map_err(|error| Refusal::unreadable(&error))?;
        let id = message.id.map(|id| serde_json::from_str::<MessageId>(id.get())).transpose();
        let id = id.map_err(|_| Refusal::invalid("the `id` of a request is a string or an integer"))?;
        if message.jsonrpc.map(RawValue::get) != Some("\"2.0\"") {
            return Err(Refusal::invalid("`jsonrpc` must be \"2.0\"").with_id(id));
        }
        if message.method.is_none() && message.result.is_none() && message.error.is_none() {
            return Err(Refusal::invalid("a message has a `method`, a `result` or an `error`").with_id(id));
        }
        // Parameters of another shape are the method's business: rmcp or the handler refuses them by name.
        let params = message.params.and_then(|raw| serde_json::from_str(raw.get()).ok());
        let Params { meta, arguments, name, uri } = params.unwrap_or_default();
        let meta = meta.unwrap_or_default();
        let (names_version, trace) = (meta.version.is_some(), [meta.traceparent, meta.tracestate]);
        // A client may send the other one as well, which says nothing.
        let subject = match message.method.as_deref() {
            Some("resources/read" | "resources/directory/read" | "skills/get") => uri,
            _ => name,
        };
        let Message { method, params, .. } = message;
        Ok(Self { id, method, subject, params, names_version, arguments, trace })
    }

    /// The trace that the message belongs to.
    pub(super) fn incoming(&self, headers: &HeaderMap) -> Incoming {
        let [traceparent, tracestate] = &self.trace;
        let (traceparent, tracestate) = (traceparent.as_deref(), tracestate.as_deref());
        Incoming::of_message(headers, trace::Message { traceparent, tracestate })
    }
}

/// Which of the door's two services answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// An `initialize`: a session will be made.
    OpensSession,
    /// A message in a session, or one of 2026-07-28.
    Main,
    /// A 2025 message that belongs to no session, e.g. curl's.
    OneShot,
}

pub(super) fn route(headers: &HeaderMap, envelope: &Envelope<'_>) -> Route {
    let method = envelope.method.as_deref();
    // Versions are dates: text order is their order.
    let header_is_modern = headers
        .get(VERSION)
        .is_some_and(|version| version.as_bytes() >= ProtocolVersion::V_2026_07_28.as_str().as_bytes());
    match method {
        _ if headers.contains_key(SESSION) => Route::Main,
        Some("initialize") => Route::OpensSession,
        Some("server/discover") => Route::Main,
        _ if envelope.names_version || header_is_modern => Route::Main,
        _ => Route::OneShot,
    }
}

/// A version in the header that nobody knows: rmcp refuses it in plain text, without the list that tells a
/// client what to try instead. With a version in `_meta` rmcp does that itself.
pub(super) fn require_known_version(headers: &HeaderMap, envelope: &Envelope<'_>) -> Result<(), Refusal> {
    let Some(version) = headers.get(VERSION) else { return Ok(()) };
    let known = ProtocolVersion::KNOWN_VERSIONS;
    if envelope.names_version || known.iter().any(|known| known.as_str().as_bytes() == version.as_bytes()) {
        return Ok(());
    }
    Err(Refusal::unknown_version(&String::from_utf8_lossy(version.as_bytes()), envelope.id.clone()))
}

/// Headers that say something else than the body, or something twice: proxies go by them. The library looks at those of
/// 2026-07-28 messages only, but a proxy need not know of which revision a message is.
pub(super) fn require_agreement(headers: &HeaderMap, envelope: &Envelope<'_>) -> Result<(), Refusal> {
    let differs = |name: &str, why: &str| {
        Err(Refusal::header_mismatch(&format!("the `{name}` header {why}"), envelope.id.clone()))
    };
    for name in [VERSION, SESSION, METHOD, NAME] {
        if headers.get_all(name).iter().nth(1).is_some() {
            return differs(name, "occurs twice");
        }
    }
    let says = |name: &str, subject: Option<&str>| {
        let (Some(told), Some(subject)) = (headers.get(name), subject) else { return true };
        told.as_bytes() == subject.as_bytes() || decoded(told).is_some_and(|told| told == subject.as_bytes())
    };
    if !says(METHOD, envelope.method.as_deref()) {
        return differs(METHOD, "names another method than the body");
    }
    if !says(NAME, envelope.subject.as_deref()) {
        return differs(NAME, "names something else than the body");
    }
    Ok(())
}

/// A value that is no text for a header comes in base64 (SEP-2243).
fn decoded(value: &HeaderValue) -> Option<Vec<u8>> {
    let text = value.as_bytes().strip_prefix(b"=?base64?")?.strip_suffix(b"?=")?;
    STANDARD.decode(text).ok()
}

pub(super) fn require_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let is_json =
        |value: &HeaderValue| value.to_str().is_ok_and(|value| essence(value) == "application/json");
    if headers.get(header::CONTENT_TYPE).is_some_and(is_json) {
        return Ok(());
    }
    Err(Refusal::wrong_media_type())
}

pub(super) fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Which of MCP's two kinds of answer a client takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) json: bool,
    pub(super) event_stream: bool,
}

/// Reads `Accept`. None at all means anything, as HTTP has it and curl counts on.
pub(super) fn accepted(headers: &HeaderMap) -> Accepted {
    let mut accepted = Accepted::default();
    let mut named_any = false;
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for range in values.flat_map(|value| value.split(',')).filter(|range| !range.trim().is_empty()) {
        named_any = true;
        if is_excluded(range) {
            continue;
        }
        let range = essence(range);
        accepted.json |= matches!(&*range, "*/*" | "application/*" | "application/json");
        accepted.event_stream |= matches!(&*range, "*/*" | "text/*" | "text/event-stream");
    }
    if named_any { accepted } else { Accepted { json: true, event_stream: true } }
}

/// Whether the range carries `q=0`.
fn is_excluded(range: &str) -> bool {
    let quality = range.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse::<f32>().ok()).flatten()
    });
    quality == Some(0.0)
}

#[cfg(test)]
mod tests;
