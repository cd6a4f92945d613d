//! The gateway's log: one line per event on stderr, for people on a terminal and as JSON for machines.

mod banner;

use std::{
    io::{self, IsTerminal},
    sync::OnceLock,
};

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

pub use banner::Banner;

/// What rmcp says is about single requests, and each call has its own line already. Named in `filter`, it is heard.
const QUIET: &str = "rmcp=error,rmcp::service=off";

/// Replaces the filter of the running log.
type SetFilter = Box<dyn Fn(EnvFilter) + Send + Sync>;

static SET_FILTER: OnceLock<SetFilter> = OnceLock::new();

/// Starts the log. To be called once, before anything else happens.
pub fn start(log: &Log) {
    let format = match log.format {
        LogFormat::Auto if io::stderr().is_terminal() => LogFormat::Text,
        LogFormat::Auto => LogFormat::Json,
        chosen => chosen,
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter(log)).with_writer(io::stderr);
    // It would complain about a broken stderr on stderr, by way of a panic, which in a plugin's call of `log` ends
    // the process.
    let lines = lines.log_internal_errors(false);
    match format {
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_current_span(false).with_filter_reloading();
            let handle = lines.reload_handle();
            begin(lines.try_init().is_ok(), move |filter| drop(handle.reload(filter)));
        }
        LogFormat::Auto | LogFormat::Text => {
            let is_coloured = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let lines = lines.with_ansi(is_coloured).with_filter_reloading();
            let handle = lines.reload_handle();
            begin(lines.try_init().is_ok(), move |filter| drop(handle.reload(filter)));
        }
    }
}

/// Refused only if a log was started before, and then that one serves.
fn begin(is_started: bool, set: impl Fn(EnvFilter) + Send + Sync + 'static) {
    if is_started {
        let _ = SET_FILTER.set(Box::new(set));
    }
}

/// Has the running log filter as `log` says from now on. Its format stays.
pub fn change_filter(log: &Log) {
    if let Some(set) = SET_FILTER.get() {
        set(filter(log));
    }
}

/// The config step has parsed it already.
fn filter(log: &Log) -> EnvFilter {
    let text =
        if log.filter.contains("rmcp") { log.filter.clone() } else { format!("{QUIET},{}", log.filter) };
    EnvFilter::try_new(text).unwrap_or_else(|_| EnvFilter::new("info"))
}
