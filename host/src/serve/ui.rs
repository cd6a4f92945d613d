//! The status page: one shell and the files that it loads, all of them in the binary.
//!
//! In:   nothing; every byte is compiled in. What the page shows it asks `/admin/status` for.
//! Out:  the shell for `/`, routes for `/ui`.
//! Never: data of this gateway, so that nobody has to say who is asking; a request to another host, an inline script or
//!        style. The policy makes the browser refuse them.
//!
//! Links in the page are relative, so that it also works behind a proxy that adds a path in front.

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
};

use axum::{Router, body::Body, response::Response, routing::get};
use http::{HeaderMap, HeaderValue, header};

use super::{
    Gateway,
    pages::{is_known, not_modified},
};
use crate::config::Digest;

const HTML: &str = "text/html; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

/// A file of the page.
struct File {
    path: &'static str,
    media_type: &'static str,
    text: &'static str,
    etag: LazyLock<HeaderValue>,
}

macro_rules! file {
    ($path:literal, $media_type:ident, $source:literal) => {
        File {
            path: $path,
            media_type: $media_type,
            text: include_str!(concat!("../../assets/pages/", $source)),
            etag: LazyLock::new(|| tag(include_str!(concat!("../../assets/pages/", $source)))),
        }
    };
}

static SHELL: File = file!("/", HTML, "status.html");

static FILES: [File; 14] = [
    file!("/ui/status.css", CSS, "ui/status.css"),
    file!("/ui/status.js", JAVASCRIPT, "ui/status.js"),
    file!("/ui/attention.js", JAVASCRIPT, "ui/attention.js"),
    file!("/ui/calls.js", JAVASCRIPT, "ui/calls.js"),
    file!("/ui/dom.js", JAVASCRIPT, "ui/dom.js"),
    file!("/ui/fields.js", JAVASCRIPT, "ui/fields.js"),
    file!("/ui/gateway.js", JAVASCRIPT, "ui/gateway.js"),
    file!("/ui/result.js", JAVASCRIPT, "ui/result.js"),
    file!("/ui/schema.js", JAVASCRIPT, "ui/schema.js"),
    file!("/ui/servers.js", JAVASCRIPT, "ui/servers.js"),
    file!("/ui/signin.js", JAVASCRIPT, "ui/signin.js"),
    file!("/ui/tabs.js", JAVASCRIPT, "ui/tabs.js"),
    file!("/ui/words.js", JAVASCRIPT, "ui/words.js"),
    file!("/ui/tool.js", JAVASCRIPT, "ui/tool.js"),
];

fn tag(text: &str) -> HeaderValue {
    let tag = format!("\"{}\"", &Digest::of(text.as_bytes()).to_string()[..16]);
    HeaderValue::from_str(&tag).expect("a tag is hexadecimal digits in quotes")
}

/// What is below `/ui`. GET and HEAD.
pub(super) fn routes() -> Router<Arc<Gateway>> {
    FILES.iter().fold(Router::new(), |router, file| {
        router.route(file.path, get(async |headers: HeaderMap| file.answer(&headers, None)))
    })
}

/// The page at `/`. `beside`: where the main listener is, if this is another: tools are called there.
pub(super) fn shell(headers: &HeaderMap, beside: Option<&str>) -> Response {
    let mut response = SHELL.answer(headers, beside);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// `base` as a policy names it. It cannot name an IPv6 address (CSP 3, section 2.3.1: browsers ignore what does), so what is at
/// one is named by its port alone.
fn source(base: &str) -> Cow<'_, str> {
    match base.split_once("://[").map(|(scheme, rest)| (scheme, rest.split_once(']'))) {
        Some((scheme, Some((_, port)))) => format!("{scheme}://*{port}").into(),
        _ => base.into(),
    }
}

/// What the page may do.
fn policy(beside: Option<&str>) -> String {
    let beside = beside.map(|base| format!(" {}", source(base))).unwrap_or_default();
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'{beside}; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

impl File {
    fn answer(&self, headers: &HeaderMap, beside: Option<&str>) -> Response {
        let etag = LazyLock::force(&self.etag);
        let mut response = match is_known(headers, etag.to_str().unwrap_or_default()) {
            true => not_modified(),
            false => Response::new(Body::from(self.text)),
        };
        // The name of a host that was let in has no character that would end the policy, but a URL of gateway.toml may.
        let policy = HeaderValue::from_str(&policy(beside.filter(|base| !base.contains([';', ',', ' ']))));
        let fixed = [
            (header::CONTENT_TYPE, HeaderValue::from_static(self.media_type)),
            // The next start of the gateway may have another page.
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            (header::ETAG, etag.clone()),
        ];
        response.headers_mut().extend(fixed);
        if let Ok(policy) = policy {
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_main_listener_in_a_way_that_browsers_take() {
        let check = |base: &str, expected: &str| assert_eq!(source(base), expected);
        check("http://10.0.0.5:8000", "http://10.0.0.5:8000");
        check("https://tools.example.com/below", "https://tools.example.com/below");
        check("http://[::1]:8000", "http://*:8000");
        check("https://[2001:db8::1]", "https://*");
    }
}
