//! What a browser has to hear so that a page of another origin may call the gateway (Fetch, section 3.2).
//!
//! In:   requests whose Origin has been checked.
//! Out:  the answer to a preflight, and headers for the answers to others.
//! Never: lets a page use what the browser keeps of its user: credentials are what the page itself sends.

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

/// What pages may send.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, DELETE, OPTIONS");
/// How long a browser need not ask again, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("3600");
/// What of an answer pages may read, beside what every page may.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "mcp-session-id, mcp-protocol-version, x-request-id, www-authenticate, retry-after, ratelimit, ratelimit-policy, etag",
);
/// The headers that pages may send; and those that begin with `mcp-param-`.
const ALLOWED: [&str; 14] = [
    "accept",
    "authorization",
    "baggage",
    "content-type",
    "if-none-match",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "traceparent",
    "tracestate",
    "x-api-key",
    "x-request-id",
];

/// Whether a browser asks in advance.
pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a preflight of an origin that may call the gateway.
pub(super) fn preflight(headers: &HeaderMap) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let wanted = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).and_then(|wanted| wanted.to_str().ok());
    let wanted = wanted.unwrap_or_default().split(',').map(|name| name.trim().to_ascii_lowercase());
    let is_good = |name: &String| {
        let is_ours = ALLOWED.contains(&name.as_str()) || name.starts_with("mcp-param-");
        is_ours && HeaderName::from_bytes(name.as_bytes()).is_ok()
    };
    let allowed = wanted.filter(is_good).collect::<Vec<_>>().join(", ");
    let answer = response.headers_mut();
    answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    answer.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    if let Ok(allowed) = HeaderValue::from_str(&allowed) {
        answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    }
    response
}

/// Lets pages of `origin` read the answer.
pub(super) fn allow(origin: &HeaderValue, response: &mut Response) {
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    // What everybody may read says so already.
    if !headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preflight_allows_what_clients_send_and_nothing_else() {
        let check = |wanted: &'static str, expected: &str| {
            let wanted = (header::ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static(wanted));
            let response = preflight(&HeaderMap::from_iter([wanted]));
            assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_HEADERS], expected);
        };
        check("Authorization, mcp-session-id,X-Api-Key", "authorization, mcp-session-id, x-api-key");
        check("traceparent, tracestate, baggage", "traceparent, tracestate, baggage");
        check("mcp-param-city, cookie, x-forwarded-for", "mcp-param-city");
        check("mcp-param-a b", "");
        check("", "");
    }
}
