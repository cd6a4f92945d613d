//! The gateway's log: one line per event on stderr, for people on a terminal and as JSON for machines.

mod lines;
mod text;
mod time;

use std::{
    io::{self, IsTerminal, Write as _},
    sync::OnceLock,
};

use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _};

use crate::config::{Log, LogFormat};
use lines::{Form, Lines};

pub(crate) use lines::PLUGIN;
pub use time::{rfc_3339_micros, rfc_3339_millis};

/// What rmcp says is about single requests, and each call has its own line already. Named in `filter`, it is heard.
const QUIET: &str = "rmcp=error,rmcp::service=off";

/// Replaces the filter of the running log.
type SetFilter = Box<dyn Fn(EnvFilter) + Send + Sync>;

static SET_FILTER: OnceLock<SetFilter> = OnceLock::new();

/// Starts the log. To be called once, before anything else happens.
pub fn start(log: &Log) {
    let form = match log.format {
        LogFormat::Auto if io::stderr().is_terminal() => text(),
        LogFormat::Auto | LogFormat::Json => Form::Json,
        LogFormat::Text => text(),
    };
    let (filter, handle) = reload::Layer::new(filter(log));
    let is_started = tracing_subscriber::registry().with(filter).with(Lines(form)).try_init().is_ok();
    // Refused only if a log was started before, and then that one serves.
    if is_started {
        let _ = SET_FILTER.set(Box::new(move |filter| drop(handle.reload(filter))));
    }
}

fn text() -> Form {
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|asked| !asked.is_empty());
    Form::Text { is_coloured: io::stderr().is_terminal() && !is_plain }
}

/// Has the running log filter as `log` says from now on. Its format stays.
pub fn change_filter(log: &Log) {
    if let Some(set) = SET_FILTER.get() {
        set(filter(log));
    }
}

/// Whether the log has a place for what plugins log at that level, 1 error to 5 trace. Its most verbose level may be for others, or for traces.
pub(crate) fn hears_plugins(level: u32) -> bool {
    use tracing::{Level, enabled};
    match level {
        0 | 1 => enabled!(target: PLUGIN, Level::ERROR),
        2 => enabled!(target: PLUGIN, Level::WARN),
        3 => enabled!(target: PLUGIN, Level::INFO),
        4 => enabled!(target: PLUGIN, Level::DEBUG),
        _ => enabled!(target: PLUGIN, Level::TRACE),
    }
}

/// Says why a plugin is about to end the process, where the log has no place for that.
pub(crate) fn tell_last_words(server: &str, text: &str) {
    let mut line = format!("server `{server}`: ").into_bytes();
    lines::escape(&mut line, lines::Escape::Controls, text);
    line.push(b'\n');
    // Nobody can be told that stderr is gone.
    let _ = io::stderr().write_all(&line);
}

/// The config step has parsed it already.
fn filter(log: &Log) -> EnvFilter {
    let text =
        if log.filter.contains("rmcp") { log.filter.clone() } else { format!("{QUIET},{}", log.filter) };
    EnvFilter::try_new(text).unwrap_or_else(|_| EnvFilter::new("info"))
}
