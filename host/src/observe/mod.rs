//! The gateway's log: one line per event on stderr, for people on a terminal and as JSON for machines.

mod banner;

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

pub use banner::Banner;

/// What rmcp says is about single requests, and each call has its own line already. Named in `filter`, it is heard.
const QUIET: &str = "rmcp=error,rmcp::service=off";

/// Starts the log. To be called once, before anything else happens.
pub fn start(log: &Log) {
    let filter =
        if log.filter.contains("rmcp") { log.filter.clone() } else { format!("{QUIET},{}", log.filter) };
    let format = match log.format {
        LogFormat::Auto if io::stderr().is_terminal() => LogFormat::Text,
        LogFormat::Auto => LogFormat::Json,
        chosen => chosen,
    };
    // The config step has parsed the filter already.
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // It would complain about a broken stderr on stderr, by way of a panic, which in a plugin's call of `log` ends
    // the process.
    let lines = lines.log_internal_errors(false);
    // Refused only if a log was started before, and then that one serves.
    let _ = match format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).try_init(),
        LogFormat::Auto | LogFormat::Text => {
            lines.with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()).try_init()
        }
    };
}
