//! What a request says of the trace it belongs to (W3C Trace Context).
//!
//! In:   headers, and `params._meta` of an MCP message.
//! Out:  [`Incoming`]: the parent of the request's span, and what else it is linked to.
//! Never: fails. What is not as the standard has it is as if it were not there.

use std::sync::Arc;

use http::HeaderMap;
use opentelemetry::{
    Context, TraceId,
    propagation::{Extractor, TextMapPropagator},
    trace::{SpanContext, TraceContextExt},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// Longest `tracestate` that goes on; the standard asks for no more than this.
const TRACESTATE_MAX: usize = 512;

/// What a request says of the trace it belongs to. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Incoming(Option<Arc<Brought>>);

/// What an MCP message says in its body.
#[derive(Debug, Clone, Copy, Default)]
pub struct Message<'a> {
    /// `params._meta.traceparent`.
    pub traceparent: Option<&'a str>,
    /// `params._meta.tracestate`.
    pub tracestate: Option<&'a str>,
}

#[derive(Debug)]
struct Brought {
    parent: SpanContext,
    link: Option<SpanContext>,
}

/// A `traceparent` with its `tracestate`.
#[derive(Debug, Clone, Copy)]
struct Pair<'a> {
    traceparent: &'a str,
    tracestate: Option<&'a str>,
}

impl Extractor for Pair<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            TRACEPARENT => Some(self.traceparent),
            TRACESTATE => self.tracestate.filter(|state| state.len() <= TRACESTATE_MAX),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT, TRACESTATE]
    }
}

impl Pair<'_> {
    fn context(self) -> Option<SpanContext> {
        if !has_form(self.traceparent) {
            return None;
        }
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &self);
        let span = context.span();
        Some(span.span_context().clone()).filter(SpanContext::is_valid)
    }
}

impl Incoming {
    /// Of a plain HTTP request.
    pub fn of_http(headers: &HeaderMap) -> Self {
        Self::of_message(headers, Message::default())
    }

    /// Of an MCP message: what its body says counts, for one message may take several requests, and a proxy knows of requests
    /// only. Where headers say something else, that is linked.
    pub fn of_message(headers: &HeaderMap, message: Message<'_>) -> Self {
        let told = message
            .traceparent
            .and_then(|traceparent| Pair { traceparent, tracestate: message.tracestate }.context());
        let carried = of_headers(headers);
        let brought = match (told, carried) {
            (None, None) => return Self(None),
            (Some(parent), link) => Brought { link: link.filter(|link| *link != parent), parent },
            (None, Some(parent)) => Brought { parent, link: None },
        };
        Self(Some(Arc::new(brought)))
    }

    /// The trace that the request belongs to.
    pub fn id(&self) -> Option<TraceId> {
        self.parent().map(SpanContext::trace_id)
    }

    /// The span that caused the request.
    pub(super) fn parent(&self) -> Option<&SpanContext> {
        self.0.as_ref().map(|brought| &brought.parent)
    }

    /// Another span that had to do with it.
    pub(super) fn link(&self) -> Option<&SpanContext> {
        self.0.as_ref()?.link.as_ref()
    }
}

/// Version, trace, span and flags in lowercase digits, each as long as it has to be: the library takes shorter ones too.
fn has_form(traceparent: &str) -> bool {
    let mut parts = traceparent.split('-');
    [2, 32, 16, 2].into_iter().all(|length| {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        parts.next().is_some_and(|part| part.len() == length && part.bytes().all(is_digit))
    })
}

fn of_headers(headers: &HeaderMap) -> Option<SpanContext> {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    let traceparent = parents.next()?.to_str().ok()?;
    // Two of them say nothing.
    if parents.next().is_some() {
        return None;
    }
    let states: Vec<_> = headers.get_all(TRACESTATE).iter().filter_map(|state| state.to_str().ok()).collect();
    // One list may come in several headers.
    let tracestate = (!states.is_empty()).then(|| states.join(","));
    Pair { traceparent, tracestate: tracestate.as_deref() }.context()
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const A: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const B: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("ASCII"))
        };
        let mut map = HeaderMap::new();
        lines.iter().map(line).for_each(|(name, value)| {
            map.append(name, value);
        });
        map
    }

    fn short(context: Option<&SpanContext>) -> Option<String> {
        let text = |context: &SpanContext| {
            let sampled = if context.is_sampled() { "sampled" } else { "not" };
            let state = context.trace_state().header();
            format!(
                "{:.4} {:.4} {sampled} {state}",
                context.trace_id().to_string(),
                context.span_id().to_string()
            )
        };
        context.map(text).map(|text| text.trim_end().to_owned())
    }

    fn check(
        lines: &[(&'static str, &str)],
        meta: [Option<&str>; 2],
        parent: Option<&str>,
        link: Option<&str>,
    ) {
        let message = Message { traceparent: meta[0], tracestate: meta[1] };
        let found = Incoming::of_message(&headers(lines), message);
        let found = (short(found.parent()), short(found.link()));
        assert_eq!(found, (parent.map(str::to_owned), link.map(str::to_owned)), "{lines:?} {meta:?}");
    }

    #[test]
    fn the_body_comes_before_the_headers() {
        let (a, b) = (Some("4bf9 00f0 sampled"), Some("0af7 b7ad not"));
        check(&[], [None, None], None, None);
        check(&[(TRACEPARENT, B)], [None, None], b, None);
        check(&[], [Some(A), None], a, None);
        check(&[(TRACEPARENT, B)], [Some(A), None], a, b);
        check(&[(TRACEPARENT, A)], [Some(A), None], a, None);
        check(&[(TRACEPARENT, B)], [Some("00-0-0-00"), None], b, None);
        check(&[(TRACEPARENT, "nonsense")], [Some(A), None], a, None);
    }

    #[test]
    fn what_is_not_as_the_standard_has_it_is_not_there() {
        for wrong in [
            "",
            "00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e47-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-+1",
        ] {
            check(&[(TRACEPARENT, wrong)], [Some(wrong), None], None, None);
        }
        check(&[(TRACEPARENT, A), (TRACEPARENT, B)], [None, None], None, None);
    }

    #[test]
    fn a_vendors_state_goes_along_unless_it_is_too_long() {
        let a = Some("4bf9 00f0 sampled x=1,y=2");
        check(&[(TRACEPARENT, A), (TRACESTATE, "x=1"), (TRACESTATE, "y=2")], [None, None], a, None);
        check(&[], [Some(A), Some("x=1,y=2")], a, None);
        check(&[], [Some(A), Some("nonsense")], Some("4bf9 00f0 sampled"), None);
        let long = format!("x={}", "1".repeat(TRACESTATE_MAX));
        check(&[], [Some(A), Some(&long)], Some("4bf9 00f0 sampled"), None);
    }
}
