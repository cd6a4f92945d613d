//! HTML pages without a script: a head, a body whose texts are escaped, and a policy that lets nothing else run.

use std::fmt;

use axum::{body::Body, response::Response};
use http::{HeaderValue, header};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem;\
    color:#1c1c1c;background:#fff}code,pre{font:14px/1.5 ui-monospace,monospace}\
    pre{background:#f3f3f3;padding:.75rem;overflow-x:auto}dt{font-weight:600}dd{margin:0 0 .75rem}\
    @media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#181818}pre{background:#262626}a{color:#8ab4f8}}";

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// Text that is safe between tags and in quoted attributes.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
            f.write_str(&rest[..at])?;
            f.write_str(match rest.as_bytes()[at] {
                b'&' => "&amp;",
                b'<' => "&lt;",
                b'>' => "&gt;",
                b'"' => "&quot;",
                _ => "&#39;",
            })?;
            rest = &rest[at + 1..];
        }
        f.write_str(rest)
    }
}

/// A page. `body` is HTML already.
pub(super) fn page(title: &str, body: &str) -> Response {
    let title = Escaped(title);
    let page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>{STYLE}</style></head>\n<body>\n{body}</body></html>\n"
    );
    let mut response = Response::new(Body::from(page));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_plugin_says_becomes_markup() {
        assert_eq!(Escaped("a <b> & \"c\" 'é'").to_string(), "a &lt;b&gt; &amp; &quot;c&quot; &#39;é&#39;");
    }
}
