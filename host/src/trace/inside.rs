//! The inside of a call, as its plugin tells of it: spans below the call's own, and events in them.
//!
//! In:   records of the plugin, from any of its threads, in their order for each thread.
//! Out:  ended spans, on their way to the collector.
//! Never: more than the bounds below for one call, whatever the plugin does; anything after the call is over. What did not fit is
//!        counted on the call's span.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use opentelemetry::{
    Context, KeyValue,
    trace::{Span as _, SpanContext, SpanKind, Status, TraceContextExt, Tracer as _},
};
use opentelemetry_sdk::trace::{SdkTracer, Span};
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::said::{Fields, Kind, LEVEL_MAX, Said, attributes};

/// Most spans that one call may have below its own.
pub(super) const SPANS_MAX: usize = 128;
/// Most events that one call may have.
pub(super) const EVENTS_MAX: usize = 256;
/// Most bytes of names and fields in them.
pub(super) const BYTES_MAX: usize = 64 << 10;

/// A call's place in its trace, and what its plugin does there.
#[derive(Debug)]
pub struct Inside {
    context: SpanContext,
    /// `None`: the call is not recorded.
    spans: Option<Mutex<Spans>>,
}

#[derive(Debug)]
struct Spans {
    tracer: SdkTracer,
    /// The call's own. `None`: it is over.
    call: Option<Span>,
    /// The plugin's, by its numbers.
    open: HashMap<u64, Open>,
    spans: usize,
    events: usize,
    bytes: usize,
    dropped_spans: i64,
    dropped_events: i64,
}

#[derive(Debug)]
struct Open {
    parent: u64,
    /// As they were when it began.
    fields: Fields,
    /// `None`: it is less severe than what traces take, and stands for its parent.
    span: Option<Span>,
}

impl Inside {
    /// The inside of a call whose span is elsewhere, the client's: nothing is recorded.
    pub(super) fn of(context: SpanContext) -> Self {
        Self { context, spans: None }
    }

    /// The inside of `call`.
    pub(super) fn below(call: Span, tracer: &SdkTracer) -> Self {
        let context = call.span_context().clone();
        let spans = call.is_recording().then(|| {
            Mutex::new(Spans {
                tracer: tracer.clone(),
                call: Some(call),
                open: HashMap::new(),
                spans: 0,
                events: 0,
                bytes: 0,
                dropped_spans: 0,
                dropped_events: 0,
            })
        });
        Self { context, spans }
    }

    /// Where the call is in its trace.
    pub(super) fn context(&self) -> &SpanContext {
        &self.context
    }

    pub(super) fn is_recorded(&self) -> bool {
        self.spans.is_some()
    }

    fn spans(&self) -> Option<MutexGuard<'_, Spans>> {
        self.spans.as_ref().map(|spans| spans.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes note of what the call's plugin says.
    pub fn say(&self, said: &Said<'_>) {
        let Some(mut spans) = self.spans() else { return };
        if spans.call.is_none() {
            return;
        }
        match said.kind {
            Kind::Began => spans.began(said),
            Kind::Event if said.level <= LEVEL_MAX => spans.event(said),
            Kind::Event => {}
            Kind::Ended => spans.ended(said),
        }
    }

    /// Ends the call's span, after those of the plugin that are still open. `last` is for what is only known now.
    pub(super) fn end(&self, last: impl FnOnce(&mut Span)) {
        let Some(mut spans) = self.spans() else { return };
        let Some(mut call) = spans.call.take() else { return };
        for (_, open) in std::mem::take(&mut spans.open) {
            if let Some(mut span) = open.span {
                attributes(open.fields).for_each(|attribute| span.set_attribute(attribute));
                span.set_attribute(KeyValue::new("gateway.unfinished", true));
                span.end();
            }
        }
        let dropped = [
            ("gateway.dropped_spans", spans.dropped_spans),
            ("gateway.dropped_events", spans.dropped_events),
        ];
        for (name, count) in dropped.into_iter().filter(|(_, count)| *count > 0) {
            call.set_attribute(KeyValue::new(name, count));
        }
        last(&mut call);
        call.end();
    }
}

impl Spans {
    /// Whether there is room for what was said.
    fn has_room(&mut self, said: &Said<'_>) -> bool {
        let bytes = self.bytes.saturating_add(said.size());
        if bytes > BYTES_MAX {
            return false;
        }
        self.bytes = bytes;
        true
    }

    /// The innermost recorded span from `span` outwards. `None`: the call's.
    fn recorded(&mut self, mut span: u64) -> Option<&mut Span> {
        // The plugin numbers its spans, and may do it so that they go in a circle.
        for _ in 0..SPANS_MAX {
            match self.open.get(&span)? {
                Open { span: Some(_), .. } => return self.open.get_mut(&span)?.span.as_mut(),
                Open { parent, .. } => span = *parent,
            }
        }
        None
    }

    fn began(&mut self, said: &Said<'_>) {
        if self.spans >= SPANS_MAX
            || said.span == 0
            || self.open.contains_key(&said.span)
            || !self.has_room(said)
        {
            self.dropped_spans += i64::from(said.level <= LEVEL_MAX);
            return;
        }
        self.spans += 1;
        let span = (said.level <= LEVEL_MAX).then(|| {
            let parent = match self.recorded(said.parent) {
                Some(parent) => parent.span_context().clone(),
                None => self.call.as_ref().map_or(SpanContext::NONE, |call| call.span_context().clone()),
            };
            let builder = self
                .tracer
                .span_builder(said.name())
                .with_kind(SpanKind::Internal)
                .with_attributes(said.origin());
            self.tracer.build_with_context(builder, &Context::new().with_remote_span_context(parent))
        });
        self.open.insert(said.span, Open { parent: said.parent, fields: said.fields(), span });
    }

    fn event(&mut self, said: &Said<'_>) {
        if self.events >= EVENTS_MAX || !self.has_room(said) {
            self.dropped_events += 1;
            return;
        }
        self.events += 1;
        let mut fields = said.fields();
        // An event brings the fields of the spans it lies in, which have them already.
        let mut at = said.span;
        for _ in 0..SPANS_MAX {
            let Some(open) = self.open.get(&at) else { break };
            fields.retain(|name, value| open.fields.get(name) != Some(value));
            at = open.parent;
        }
        let (name, mut all) = (said.name(), said.origin().to_vec());
        all.extend(attributes(fields));
        match self.recorded(said.span) {
            Some(span) => {
                span.add_event(name, all);
                if said.level == 1 {
                    span.set_status(Status::error(""));
                }
            }
            None => {
                if let Some(call) = &mut self.call {
                    call.add_event(name, all);
                }
            }
        }
    }

    fn ended(&mut self, said: &Said<'_>) {
        let Some(open) = self.open.remove(&said.span) else { return };
        let Some(mut span) = open.span else { return };
        // With what was recorded on it meanwhile, if there is room for that.
        let fields = if self.has_room(said) { said.fields() } else { open.fields };
        attributes(fields).for_each(|attribute| span.set_attribute(attribute));
        span.end();
    }
}

/// As plugins get to know it: W3C Trace Context, to be sent along with what the call asks of others.
impl Serialize for Inside {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { context, .. } = self;
        let (trace, span) = (context.trace_id(), context.span_id());
        let flags = u8::from(context.is_sampled());
        let state = context.trace_state().header();
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("traceparent", &format!("00-{trace}-{span}-{flags:02x}"))?;
        if !state.is_empty() {
            members.serialize_entry("tracestate", &state)?;
        }
        members.end()
    }
}
