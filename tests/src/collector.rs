//! A collector of OpenTelemetry on this machine: takes what is sent over OTLP/HTTP, and shows it as a tree.
//!
//! In:   `POST /v1/traces` and `/v1/metrics`, protobuf.
//! Out:  the spans and metrics that came, and their listing, with ids that are the same in each run.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{Router, extract::State, routing::post};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, KeyValue, any_value::Value},
    metrics::v1::Metric,
    resource::v1::Resource,
    trace::v1::{Span, span::SpanKind, status::StatusCode as SpanStatus},
};
use prost::Message as _;
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};

use crate::gateway::PATIENCE;

/// A running collector. Ends when dropped.
pub struct Collector {
    address: SocketAddr,
    taken: Arc<Taken>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Taken {
    all: Mutex<All>,
    more: Notify,
}

/// What came.
#[derive(Debug, Default, Clone)]
pub struct All {
    /// As they ended.
    pub spans: Vec<Span>,
    /// Every export has all of them.
    pub metrics: Vec<Metric>,
    /// Of the last export.
    pub resource: Option<Resource>,
    /// Of the last export.
    pub headers: HeaderMap,
}

impl Taken {
    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One waits; should nobody wait just now, whoever does so next finds that something has come.
    fn tell(&self) {
        self.more.notify_one();
    }
}

async fn traces(State(taken): State<Arc<Taken>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    {
        let mut all = taken.all();
        all.headers = headers;
        for of_resource in request.resource_spans {
            all.resource = of_resource.resource;
            all.spans.extend(of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }
    taken.tell();
    StatusCode::OK
}

async fn metrics(State(taken): State<Arc<Taken>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let Ok(request) = ExportMetricsServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    {
        let mut all = taken.all();
        all.headers = headers;
        for of_resource in request.resource_metrics {
            all.resource = of_resource.resource;
            all.metrics = of_resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics).collect();
        }
    }
    taken.tell();
    StatusCode::OK
}

impl Collector {
    /// Starts one on a free port.
    pub async fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// As [`Collector::start`], at this address.
    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let taken = Arc::new(Taken::default());
        let router = Router::new().route("/v1/traces", post(traces)).route("/v1/metrics", post(metrics));
        let router = router.with_state(taken.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { address, taken, task }
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` is to say.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What has come by now.
    pub fn all(&self) -> All {
        self.taken.all().clone()
    }

    /// The spans that have come since they were last taken.
    pub fn take_spans(&self) -> Vec<Span> {
        std::mem::take(&mut self.taken.all().spans)
    }

    /// Waits for more, once.
    pub async fn more(&self) {
        self.taken.more.notified().await;
    }

    /// Waits until what came is so.
    pub async fn until(&self, what: &str, mut is_so: impl FnMut(&All) -> bool) -> All {
        let came = async {
            loop {
                let more = self.taken.more.notified();
                tokio::pin!(more);
                // Before the look: what comes between the two is not to be missed.
                more.as_mut().enable();
                let all = self.all();
                if is_so(&all) {
                    return all;
                }
                more.await;
            }
        };
        let came = tokio::time::timeout(PATIENCE, came).await;
        came.unwrap_or_else(|_| panic!("{what} never came to the collector: {:#?}", self.all().spans))
    }

    /// Waits until so many spans have come, and lists them.
    pub async fn listing(&self, spans: usize) -> String {
        listing(&self.until(&format!("{spans} spans"), |all| all.spans.len() >= spans).await.spans)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The spans as trees, in the order in which they began. A trace is told by a number, and a parent that did not come by `?`.
pub fn listing(spans: &[Span]) -> String {
    list(spans, For::Tests)
}

/// The same, with ids and durations.
pub fn listing_for_people(spans: &[Span]) -> String {
    list(spans, For::People)
}

/// Whom a listing is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    /// The same in each run.
    Tests,
    People,
}

fn list(spans: &[Span], reader: For) -> String {
    let mut spans: Vec<&Span> = spans.iter().collect();
    // Those that began at the same time in the order in which they came, parents first.
    spans.sort_by_key(|span| span.start_time_unix_nano);
    let mut listing = Listing { reader, spans, traces: HashMap::new(), text: String::new() };
    let is_root = |span: &&Span| !listing.spans.iter().any(|other| other.span_id == span.parent_span_id);
    for root in listing.spans.clone().into_iter().filter(is_root).collect::<Vec<_>>() {
        listing.write(root, 0);
    }
    listing.text
}

struct Listing<'a> {
    reader: For,
    spans: Vec<&'a Span>,
    traces: HashMap<Vec<u8>, usize>,
    text: String,
}

impl<'a> Listing<'a> {
    fn trace(&mut self, id: &[u8]) -> String {
        let next = self.traces.len() + 1;
        let number = *self.traces.entry(id.to_vec()).or_insert(next);
        match self.reader {
            For::Tests => number.to_string(),
            For::People => id.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    fn attributes(&self, attributes: &[KeyValue]) -> Vec<String> {
        let mut lines: Vec<_> = attributes.iter().map(|attribute| line(attribute, self.reader)).collect();
        lines.sort();
        lines
    }

    fn write(&mut self, span: &'a Span, depth: usize) {
        let indent = "  ".repeat(depth);
        let trace = self.trace(&span.trace_id);
        let below = match (depth, span.parent_span_id.is_empty()) {
            (0, false) => " below ?",
            _ => "",
        };
        let kind = if span.kind() == SpanKind::Internal { "" } else { span.kind().as_str_name() };
        let kind = kind.strip_prefix("SPAN_KIND_").map(|kind| format!(" {kind}")).unwrap_or_default();
        let took = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
        let took = match self.reader {
            For::Tests => String::new(),
            For::People => format!(" {:.3} ms", took as f64 / 1e6),
        };
        let is_error = span.status.as_ref().is_some_and(|status| status.code() == SpanStatus::Error);
        let error = if is_error { " ERROR" } else { "" };
        self.text += &format!("{indent}{}{kind}{error}{took} trace {trace}{below}\n", span.name);
        for link in &span.links {
            let linked = self.trace(&link.trace_id);
            self.text += &format!("{indent}    link: trace {linked}\n");
        }
        for attribute in self.attributes(&span.attributes) {
            self.text += &format!("{indent}    {attribute}\n");
        }
        for event in &span.events {
            let attributes = self.attributes(&event.attributes).join(" ");
            self.text += &format!("{indent}  - {} {attributes}\n", event.name);
        }
        let is_child =
            |other: &&&Span| other.parent_span_id == span.span_id && other.trace_id == span.trace_id;
        for child in self.spans.iter().filter(is_child).copied().collect::<Vec<_>>() {
            self.write(child, depth + 1);
        }
    }
}

/// Without the values that differ from run to run, unless for people.
fn line(attribute: &KeyValue, reader: For) -> String {
    let masked =
        reader == For::Tests && ["gateway.request_id", "mcp.session.id"].contains(&attribute.key.as_str());
    let value = if masked { "[…]".to_owned() } else { text(attribute.value.as_ref()) };
    format!("{}={value}", attribute.key)
}

/// The value of an attribute, as text.
pub fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

/// The attribute of that name, as text.
pub fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    attributes.iter().find(|attribute| attribute.key == name).map(|attribute| text(attribute.value.as_ref()))
}
