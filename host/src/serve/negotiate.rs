//! Which form of a page a client wants.

use http::{HeaderMap, header};

/// The forms that a server's prefix has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// An MCP client wants the stream.
    EventStream,
    /// A browser.
    Html,
    /// Everybody else.
    Json,
}

/// How much `Accept` likes a media type, of the ranges that name it.
fn quality(headers: &HeaderMap, wanted: &str) -> f32 {
    let lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let ranges = lines.flat_map(|line| line.split(','));
    ranges.filter_map(|range| quality_of(range, wanted)).fold(0.0_f32, f32::max)
}

/// Whether a scraper asks for OpenMetrics: it names it, and likes plain text no better.
pub(super) fn prefers_open_metrics(headers: &HeaderMap) -> bool {
    let open_metrics = quality(headers, "application/openmetrics-text");
    open_metrics > 0.0 && open_metrics >= quality(headers, "text/plain")
}

/// The form that `Accept` asks for. HTML only if it is named and liked at least as much as JSON: `*/*` is a program.
pub(super) fn form(headers: &HeaderMap) -> Form {
    let quality = |wanted: &str| quality(headers, wanted);
    let html = quality("text/html");
    if quality("text/event-stream") > 0.0 {
        Form::EventStream
    } else if html > 0.0 && html >= quality("application/json") {
        Form::Html
    } else {
        Form::Json
    }
}

fn quality_of(range: &str, wanted: &str) -> Option<f32> {
    let mut parts = range.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case(wanted) {
        return None;
    }
    let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    Some(quality.and_then(|q| q.parse().ok()).unwrap_or(1.0))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(accept: &'static str, expected: Form) {
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
        assert_eq!(form(&headers), expected, "{accept}");
    }

    #[test]
    fn browsers_get_html_streams_go_to_mcp_and_the_rest_gets_json() {
        check("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Form::Html);
        check("application/json, text/event-stream", Form::EventStream);
        check("Text/Event-Stream", Form::EventStream);
        check("*/*", Form::Json);
        check("application/json", Form::Json);
        check("application/json, text/html;q=0.5", Form::Json);
        check("text/html;q=0, application/json;q=0.1", Form::Json);
        check("text/event-stream;q=0, text/html", Form::Html);
        assert_eq!(form(&HeaderMap::new()), Form::Json);
    }

    #[test]
    fn open_metrics_is_for_those_who_ask_for_it() {
        let check = |accept: &'static str, expected: bool| {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(prefers_open_metrics(&headers), expected, "{accept}");
        };
        // What Prometheus sends.
        check(
            "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            true,
        );
        check("application/openmetrics-text", true);
        check("text/plain, application/openmetrics-text;q=0.5", false);
        check("application/openmetrics-text;q=0", false);
        check("*/*", false);
    }
}
