//! Traces and one metric, sent to a collector over OTLP/HTTP with the names of OpenTelemetry's MCP conventions.
//!
//! In:   the standard variables (`OTEL_*`), what requests say of the trace they belong to, calls as they begin and end, and what
//!       plugins say inside them.
//! Out:  a span for each request and call with the plugin's own spans in it, `mcp.server.operation.duration`, and the ids by which
//!       logs, audit lines and plugins know the trace.
//! Fails: never. What cannot be used is told at the start; a collector that is down is told once in a while.
//! Never: holds a call up or keeps more than its bounds (what does not fit is dropped); tells arguments, results, credentials, the
//!        principal who calls, or the id of a session; keeps anything of a plugin's memory.
//!
//! Not by way of the log's subscriber: names of plugins' spans are only known while it runs, and a layer would cost every event.

mod call;
mod collector;
mod export;
mod incoming;
mod inside;
mod said;
#[cfg(test)]
mod tests;
mod variables;

use std::{sync::OnceLock, time::Duration};

pub use self::{
    call::{About, CallTrace, METHODS, known_method},
    incoming::{Incoming, Message},
    inside::Inside,
    said::{Kind, Said},
};
pub use opentelemetry::TraceId;

use self::export::Export;

/// What is exported. Not set: nothing was asked for.
static EXPORT: OnceLock<Export> = OnceLock::new();

/// Starts what the standard variables ask for. To be called once, after the log and before the first call.
pub fn start() {
    let variables = variables::Variables::read(&|name| std::env::var(name).ok());
    for wrong in &variables.wrong {
        let (variable, problem) = (wrong.variable, wrong.problem.as_str());
        tracing::warn!(variable, problem, "telemetry variable not used as it is");
    }
    if let Some(export) = Export::start(&variables) {
        // Only a second start finds one, and then that one serves.
        let _ = EXPORT.set(export);
    }
}

/// Sends what is left, for as long as `limit`. From then on nothing is exported.
pub fn stop(limit: Duration) {
    if let Some(export) = EXPORT.get() {
        export.stop(limit);
    }
}

/// Whether anything is exported.
pub fn is_on() -> bool {
    export().is_some()
}

/// The least severe level that traces take of plugins' spans and events, as the ABI counts them; 0: none.
pub fn level() -> u32 {
    if export().is_some_and(Export::takes_spans) { said::LEVEL_MAX } else { 0 }
}

fn export() -> Option<&'static Export> {
    EXPORT.get()
}
