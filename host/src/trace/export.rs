//! What the SDK needs to send traces and metrics: exporters on threads of their own, behind bounded queues.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use opentelemetry::{
    InstrumentationScope, KeyValue,
    metrics::{Histogram, MeterProvider as _},
    trace::TracerProvider as _,
};
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    metrics::{PeriodicReader, SdkMeterProvider},
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider},
};

use super::{
    collector::{Collector, causes},
    variables::{Destination, Pace, Variables},
};

/// As the MCP conventions have them for durations, in seconds.
const BUCKETS: [f64; 14] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// What is exported.
#[derive(Debug)]
pub(super) struct Export {
    traces: Option<Traces>,
    metrics: Option<Metrics>,
}

#[derive(Debug)]
struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    is_never_sampled: bool,
}

#[derive(Debug)]
struct Metrics {
    provider: SdkMeterProvider,
    duration: Histogram<f64>,
}

/// Why a signal cannot be sent.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error(
        "no HTTP client; are certificates of authorities installed (`ca-certificates`, or `SSL_CERT_FILE`)?"
    )]
    Client(#[source] reqwest::Error),
    #[error("the variables do not make an exporter")]
    Exporter(#[source] ExporterBuildError),
}

impl Export {
    /// Starts what is asked for. What cannot be is told, and left out.
    pub(super) fn start(variables: &Variables) -> Option<Self> {
        let Variables { traces, metrics, is_never_sampled, pace, .. } = variables;
        let traces = started("traces", traces.as_ref(), |to| Traces::start(to, pace, *is_never_sampled));
        let metrics = started("metrics", metrics.as_ref(), |to| Metrics::start(to, pace));
        (traces.is_some() || metrics.is_some()).then_some(Self { traces, metrics })
    }

    #[cfg(test)]
    pub(super) fn of_traces(provider: SdkTracerProvider) -> Self {
        Self { traces: Some(Traces::of(provider, false)), metrics: None }
    }

    pub(super) fn tracer(&self) -> Option<&SdkTracer> {
        self.traces.as_ref().map(|traces| &traces.tracer)
    }

    /// Whether what plugins say may become part of a trace.
    pub(super) fn takes_spans(&self) -> bool {
        self.traces.as_ref().is_some_and(|traces| !traces.is_never_sampled)
    }

    pub(super) fn measures(&self) -> bool {
        self.metrics.is_some()
    }

    pub(super) fn measure(&self, took: Duration, labels: &[KeyValue]) {
        if let Some(metrics) = &self.metrics {
            metrics.duration.record(took.as_secs_f64(), labels);
        }
    }

    /// Sends what is left. Each on a thread of its own, which is left alone if it takes longer than `limit`: one of the two has
    /// a limit that cannot be set, and a collector that is down is asked again and again.
    pub(super) fn stop(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let (done, ended) = mpsc::channel();
        let mut waited_for = 0;
        let mut end = |stop: Box<dyn FnOnce() + Send>| {
            let done = done.clone();
            let stopping = thread::Builder::new().name("telemetry stop".to_owned()).spawn(move || {
                stop();
                // Whoever waits may have given up.
                let _ = done.send(());
            });
            waited_for += usize::from(stopping.is_ok());
        };
        if let Some(Traces { provider, .. }) = &self.traces {
            let provider = provider.clone();
            end(Box::new(move || drop(provider.shutdown_with_timeout(limit))));
        }
        if let Some(Metrics { provider, .. }) = &self.metrics {
            let provider = provider.clone();
            end(Box::new(move || drop(provider.shutdown_with_timeout(limit))));
        }
        for _ in 0..waited_for {
            if ended.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_err() {
                tracing::warn!(?limit, "telemetry not sent in time");
                return;
            }
        }
    }
}

fn started<T>(
    signal: &'static str,
    to: Option<&Destination>,
    start: impl FnOnce(&Destination) -> Result<T, ExportError>,
) -> Option<T> {
    let to = to?;
    let endpoint = to.endpoint.as_str();
    match start(to) {
        Ok(started) => {
            tracing::info!(signal, endpoint, "telemetry is sent");
            Some(started)
        }
        Err(error) => {
            let error = told(&error);
            tracing::error!(signal, endpoint, error, "telemetry cannot be sent");
            None
        }
    }
}

/// The whole chain of `error`, without what it quotes: an endpoint as it was written, with the password that may be in it.
fn told(error: &ExportError) -> String {
    let chain = causes(Some(error)).join(": ");
    match (chain.find('\''), chain.rfind('\'')) {
        (Some(start), Some(end)) if start < end => format!("{}…{}", &chain[..=start], &chain[end..]),
        _ => chain,
    }
}

impl Traces {
    fn start(to: &Destination, pace: &Pace, is_never_sampled: bool) -> Result<Self, ExportError> {
        let collector = collector("traces", to)?;
        let exporter = SpanExporter::builder().with_http().with_shared_http_client(collector).build();
        let exporter = exporter.map_err(ExportError::Exporter)?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(pace.queue)
            .with_max_export_batch_size(pace.batch)
            .with_scheduled_delay(pace.delay)
            .build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        let provider = SdkTracerProvider::builder().with_span_processor(processor).with_resource(resource());
        Ok(Self::of(provider.build(), is_never_sampled))
    }

    fn of(provider: SdkTracerProvider, is_never_sampled: bool) -> Self {
        let tracer = provider.tracer_with_scope(scope());
        Self { provider, tracer, is_never_sampled }
    }
}

impl Metrics {
    fn start(to: &Destination, pace: &Pace) -> Result<Self, ExportError> {
        let collector = collector("metrics", to)?;
        let exporter = MetricExporter::builder().with_http().with_shared_http_client(collector).build();
        let exporter = exporter.map_err(ExportError::Exporter)?;
        let reader = PeriodicReader::builder(exporter).with_interval(pace.interval).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).with_resource(resource());
        Ok(Self::of(provider.build()))
    }

    fn of(provider: SdkMeterProvider) -> Self {
        let duration = provider
            .meter_with_scope(scope())
            .f64_histogram("mcp.server.operation.duration")
            .with_unit("s")
            .with_description("How long requests took from when they were received until their answer.")
            .with_boundaries(BUCKETS.to_vec())
            .build();
        Self { provider, duration }
    }
}

fn collector(signal: &'static str, to: &Destination) -> Result<Arc<Collector>, ExportError> {
    Collector::new(signal, to.endpoint.clone(), to.timeout).map(Arc::new).map_err(ExportError::Client)
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("gateway").with_version(env!("CARGO_PKG_VERSION")).build()
}

/// Who sends: `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`, and what they do not say.
fn resource() -> Resource {
    let told = Resource::builder().build();
    let is_named =
        told.get(&"service.name".into()).is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let mut resource = Resource::builder();
    if !is_named {
        resource = resource.with_service_name("gateway");
    }
    if told.get(&"service.version".into()).is_none() {
        resource = resource.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    }
    resource.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_signal_cannot_be_sent_is_told_with_its_causes_and_without_a_password() {
        let check = |cause: &str, expected: &str| {
            let cause = ExporterBuildError::InvalidConfiguration(cause.to_owned());
            let all = "the variables do not make an exporter: invalid exporter configuration: ";
            assert_eq!(told(&ExportError::Exporter(cause)), format!("{all}{expected}"));
        };
        check("it's not one", "it's not one");
        check("E: invalid endpoint 'http://ada:s3'cret@o': bad", "E: invalid endpoint '…': bad");
    }
}
