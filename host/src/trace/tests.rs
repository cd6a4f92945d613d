//! Spans and measurements of calls, without a collector.

use std::sync::{Mutex, PoisonError};

use http::{HeaderMap, HeaderValue};
use insta::assert_snapshot;
use opentelemetry::trace::{SpanId, Status};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter},
};
use serde_json::json;

use super::{
    export::Export,
    inside::{BYTES_MAX, EVENTS_MAX, SPANS_MAX},
    *,
};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Keeps spans as they end.
#[derive(Debug, Clone, Default)]
struct Kept(std::sync::Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Kept {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(batch);
        Ok(())
    }
}

impl Kept {
    fn export(&self, sampler: Sampler) -> &'static Export {
        let provider = SdkTracerProvider::builder().with_simple_exporter(self.clone()).with_sampler(sampler);
        Box::leak(Box::new(Export::of_traces(provider.build())))
    }

    fn spans(&self) -> Vec<SpanData> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// As a tree, in the order in which they began.
    fn tree(&self) -> String {
        let mut spans = self.spans();
        spans.sort_by_key(|span| span.start_time);
        let mut text = String::new();
        for root in &spans {
            if !spans.iter().any(|span| span.span_context.span_id() == root.parent_span_id) {
                write(&mut text, &spans, root, 0);
            }
        }
        text
    }
}

fn write(text: &mut String, spans: &[SpanData], span: &SpanData, depth: usize) {
    let indent = "  ".repeat(depth);
    let pairs = |pairs: &[opentelemetry::KeyValue]| {
        let mut pairs: Vec<_> = pairs.iter().map(|pair| format!(" {}={}", pair.key, pair.value)).collect();
        pairs.sort();
        pairs.concat()
    };
    let is_error = matches!(span.status, Status::Error { .. });
    let mark = if is_error { " ERROR" } else { "" };
    *text += &format!("{indent}{}{mark}{}\n", span.name, pairs(&span.attributes));
    for event in &span.events.events {
        *text += &format!("{indent}  - {}{}\n", event.name, pairs(&event.attributes));
    }
    for child in spans.iter().filter(|child| child.parent_span_id == span.span_context.span_id()) {
        write(text, spans, child, depth + 1);
    }
}

fn incoming() -> Incoming {
    Incoming::of_http(&HeaderMap::from_iter([(
        "traceparent".parse().expect("a name"),
        HeaderValue::from_static(PARENT),
    )]))
}

/// A sampled call, and what it left.
fn call() -> (CallTrace, std::sync::Arc<Inside>, Kept) {
    let kept = Kept::default();
    let call = CallTrace::begin_in(Some(kept.export(Sampler::AlwaysOn)), &incoming(), "tools/call");
    let inside = call.inside().expect("it is in a trace");
    (call, inside, kept)
}

fn said<'a>(kind: Kind, level: u32, [span, parent]: [u64; 2], text: &'a str, fields: &'a [u8]) -> Said<'a> {
    Said { kind, level, span, parent, target: "plugin", text, fields }
}

#[test]
fn spans_and_events_of_a_plugin_are_where_they_were() {
    let (mut call, inside, kept) = call();
    inside.say(&said(Kind::Began, 3, [1, 0], "outer", br#"{"a":1}"#));
    inside.say(&said(Kind::Event, 3, [1, 0], "in outer", br#"{"a":1,"b":true}"#));
    // Debug is not taken, and what is in it is in what it is in.
    inside.say(&said(Kind::Began, 4, [2, 1], "left out", b"{}"));
    inside.say(&said(Kind::Began, 3, [3, 2], "inner", br#"{"rows":null}"#));
    inside.say(&said(Kind::Event, 1, [3, 0], "went wrong", br#"{"a":1,"of":[1,2]}"#));
    inside.say(&said(Kind::Event, 4, [3, 0], "debug", b"{}"));
    inside.say(&said(Kind::Ended, 3, [3, 2], "inner", br#"{"rows":7}"#));
    inside.say(&said(Kind::Ended, 4, [2, 1], "left out", b"{}"));
    inside.say(&said(Kind::Ended, 3, [1, 0], "outer", br#"{"a":1}"#));
    inside.say(&said(Kind::Event, 2, [0, 0], "in none", b"no JSON"));
    call.end("ok");
    assert_snapshot!(kept.tree(), @r"
    tools/call gen_ai.operation.name=execute_tool mcp.method.name=tools/call network.transport=tcp
      - in none level=WARN target=plugin
      outer a=1 level=INFO target=plugin
        - in outer b=true level=INFO target=plugin
        inner ERROR level=INFO rows=7 target=plugin
          - went wrong level=ERROR of=[1,2] target=plugin
    ");
}

#[test]
fn spans_that_are_open_when_the_call_ends_end_with_it_and_nothing_comes_after() {
    let (mut call, inside, kept) = call();
    inside.say(&said(Kind::Began, 3, [1, 0], "open", br#"{"a":1}"#));
    call.end("tool_timeout");
    inside.say(&said(Kind::Event, 3, [1, 0], "late", b"{}"));
    inside.say(&said(Kind::Ended, 3, [1, 0], "open", b"{}"));
    inside.say(&said(Kind::Began, 3, [2, 0], "later", b"{}"));
    drop((call, inside));
    assert_snapshot!(kept.tree(), @r"
    tools/call ERROR error.type=tool_timeout gen_ai.operation.name=execute_tool mcp.method.name=tools/call network.transport=tcp
      open a=1 gateway.unfinished=true level=INFO target=plugin
    ");
}

#[test]
fn what_a_call_may_say_is_bounded_and_the_rest_is_counted() {
    let (mut call, inside, kept) = call();
    for number in 1..=SPANS_MAX as u64 + 3 {
        inside.say(&said(Kind::Began, 3, [number, number - 1], "span", b"{}"));
        inside.say(&said(Kind::Ended, 3, [number, 0], "span", b"{}"));
    }
    for _ in 0..EVENTS_MAX + 5 {
        inside.say(&said(Kind::Event, 3, [0, 0], "event", b"{}"));
    }
    call.end("ok");
    let spans = kept.spans();
    assert_eq!(spans.len(), SPANS_MAX + 1);
    let of_call = spans.iter().find(|span| span.name == "tools/call").expect("the call's");
    let count = |name: &str| {
        of_call.attributes.iter().find(|pair| pair.key.as_str() == name).map(|pair| pair.value.clone())
    };
    assert_eq!(count("gateway.dropped_spans"), Some(3.into()));
    assert_eq!(count("gateway.dropped_events"), Some(5.into()));
}

#[test]
fn a_call_has_room_for_so_many_bytes_and_an_attribute_for_fewer() {
    let (mut call, inside, kept) = call();
    let large = json!({ "large": "é".repeat(BYTES_MAX / 3) }).to_string();
    inside.say(&said(Kind::Event, 3, [0, 0], "fits", large.as_bytes()));
    inside.say(&said(Kind::Event, 3, [0, 0], "does not", large.as_bytes()));
    inside.say(&said(Kind::Began, 3, [1, 0], "fits too", b"{}"));
    inside.say(&said(Kind::Began, 3, [2, 0], "does not either", large.as_bytes()));
    inside.say(&said(Kind::Ended, 3, [1, 0], "fits too", large.as_bytes()));
    call.end("ok");
    let tree = kept.tree().replace(&"é".repeat(512), "[512 é]");
    assert_snapshot!(tree, @r"
    tools/call gateway.dropped_events=1 gateway.dropped_spans=1 gen_ai.operation.name=execute_tool mcp.method.name=tools/call network.transport=tcp
      - fits large=[512 é]… level=INFO target=plugin
      fits too level=INFO target=plugin
    ");
}

#[test]
fn a_plugin_that_numbers_its_spans_in_a_circle_does_no_harm() {
    let (mut call, inside, kept) = call();
    inside.say(&said(Kind::Began, 4, [1, 2], "one", b"{}"));
    inside.say(&said(Kind::Began, 4, [2, 1], "two", b"{}"));
    inside.say(&said(Kind::Event, 3, [2, 0], "somewhere", b"{}"));
    inside.say(&said(Kind::Began, 3, [3, 3], "its own parent", b"{}"));
    inside.say(&said(Kind::Began, 3, [3, 0], "again", b"{}"));
    inside.say(&said(Kind::Ended, 3, [9, 0], "never begun", b"{}"));
    call.end("ok");
    assert_snapshot!(kept.tree(), @r"
    tools/call gateway.dropped_spans=1 gen_ai.operation.name=execute_tool mcp.method.name=tools/call network.transport=tcp
      - somewhere level=INFO target=plugin
      its own parent gateway.unfinished=true level=INFO target=plugin
    ");
}

#[test]
fn a_span_is_named_for_what_is_offered_only() {
    let check = |method: &'static str, subject: &str, is_offered: bool, expected: &str| {
        let kept = Kept::default();
        let mut call =
            CallTrace::begin_in(Some(kept.export(Sampler::AlwaysOn)), &Incoming::default(), method);
        call.about(|about| (about.subject, about.is_offered) = (subject.to_owned(), is_offered));
        call.end("ok");
        assert_eq!(kept.spans()[0].name, expected);
        assert_eq!(kept.spans()[0].parent_span_id, SpanId::INVALID);
    };
    check("tools/call", "echoHai", true, "tools/call echoHai");
    check("tools/call", "made up", false, "tools/call");
    check("prompts/get", "poem", true, "prompts/get poem");
    check("resources/read", "file:///a", false, "resources/read");
    assert_eq!(known_method("tools/list"), "tools/list");
    assert_eq!(known_method("made/up"), "_OTHER");
}

#[test]
fn a_call_that_is_not_sampled_keeps_no_account_but_knows_its_trace() {
    let kept = Kept::default();
    let mut call = CallTrace::begin_in(Some(kept.export(Sampler::AlwaysOff)), &incoming(), "tools/call");
    call.about(|_| panic!("nobody hears of it"));
    let inside = call.inside().expect("it is in a trace");
    assert!(!inside.is_recorded());
    inside.say(&said(Kind::Began, 3, [1, 0], "span", b"{}"));
    assert_eq!(call.id().map(|id| id.to_string()).as_deref(), Some(&PARENT[3..35]));
    let told =
        serde_json::to_value(&*inside).expect("JSON")["traceparent"].as_str().expect("text").to_owned();
    assert!(
        told.starts_with(&PARENT[..36]) && told.ends_with("-00") && !told.contains("00f067aa0ba902b7"),
        "{told}"
    );
    call.end("ok");
    assert!(kept.spans().is_empty());
}

#[test]
fn where_nothing_is_exported_the_clients_trace_goes_on_as_it_is() {
    let call = CallTrace::begin_in(None, &incoming(), "tools/call");
    let told = serde_json::to_value(&*call.inside().expect("the client's")).expect("JSON");
    assert_eq!(told, json!({ "traceparent": PARENT }));
    let mut none = CallTrace::begin_in(None, &Incoming::default(), "tools/call");
    assert!(none.inside().is_none() && none.id().is_none());
    none.end("ok");
}

#[test]
fn a_call_that_nobody_ends_was_cancelled() {
    let (call, _, kept) = call();
    drop(call);
    assert!(kept.tree().contains("ERROR error.type=cancelled"), "{}", kept.tree());
}
