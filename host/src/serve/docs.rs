//! The pages for people: Swagger UI at `/docs` and ReDoc at `/redoc`, both on `/openapi.json`.
//!
//! In:   nothing; every byte is compiled in.
//! Out:  routes to merge into the gateway's router.
//! Never: a request to another host. The policy in [`POLICY`] makes the browser refuse one.
//!
//! Links in the pages are relative, so that they also work behind a proxy that adds a path in front.

use std::{io::Read, sync::OnceLock};

use axum::{
    Router,
    body::Bytes,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use http::{HeaderMap, HeaderName, header};

/// What the pages may do. Both viewers write styles into the page and draw with `data:` images, and ReDoc searches
/// in a worker made from a blob; that is all they are allowed beyond their own origin.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; \
    frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

/// For what may change with the next start of the gateway.
const ASK_AGAIN: &str = "no-cache";

/// For what carries its version in its path.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

const HTML: &str = "text/html; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

static SWAGGER_JS: Asset =
    Asset::new(JAVASCRIPT, include_bytes!("../../assets/swagger-ui-dist-5.35.0/swagger-ui-bundle.js.gz"));
static SWAGGER_CSS: Asset =
    Asset::new(CSS, include_bytes!("../../assets/swagger-ui-dist-5.35.0/swagger-ui.css.gz"));
static REDOC_JS: Asset =
    Asset::new(JAVASCRIPT, include_bytes!("../../assets/redoc-2.5.4/redoc.standalone.js.gz"));

/// The routes `/docs` and `/redoc` and what the two pages load. GET and HEAD.
pub fn routes() -> Router {
    Router::new()
        .route("/docs", get(async || text(HTML, include_str!("../../assets/pages/docs.html"))))
        .route("/docs/", get(async || Redirect::permanent("../docs")))
        .route("/redoc", get(async || text(HTML, include_str!("../../assets/pages/redoc.html"))))
        .route("/redoc/", get(async || Redirect::permanent("../redoc")))
        .route(
            "/docs/assets/init.js",
            get(async || text(JAVASCRIPT, include_str!("../../assets/pages/init.js"))),
        )
        .route("/docs/assets/page.css", get(async || text(CSS, include_str!("../../assets/pages/page.css"))))
        .route(
            "/docs/assets/swagger-ui-5.35.0/swagger-ui-bundle.js",
            get(async |headers: HeaderMap| SWAGGER_JS.answer(&headers)),
        )
        .route(
            "/docs/assets/swagger-ui-5.35.0/swagger-ui.css",
            get(async |headers: HeaderMap| SWAGGER_CSS.answer(&headers)),
        )
        .route(
            "/docs/assets/redoc-2.5.4/redoc.standalone.js",
            get(async |headers: HeaderMap| REDOC_JS.answer(&headers)),
        )
}

fn text(content_type: &'static str, text: &'static str) -> Response {
    (head(content_type, ASK_AGAIN), text).into_response()
}

fn head(content_type: &'static str, cache: &'static str) -> [(HeaderName, &'static str); 5] {
    [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, cache),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ]
}

/// A vendored file, kept compressed: every browser takes it so, and it is a third of the size.
struct Asset {
    content_type: &'static str,
    gzip: &'static [u8],
    /// Made for the first client that does not take gzip, and kept: inflating per request would let a stranger
    /// turn small requests into much work.
    inflated: OnceLock<Bytes>,
}

impl Asset {
    const fn new(content_type: &'static str, gzip: &'static [u8]) -> Self {
        Self { content_type, gzip, inflated: OnceLock::new() }
    }

    fn answer(&self, request: &HeaderMap) -> Response {
        let head = (head(self.content_type, FOR_EVER), [(header::VARY, "accept-encoding")]);
        if accepts_gzip(request) {
            (head, [(header::CONTENT_ENCODING, "gzip")], self.gzip).into_response()
        } else {
            (head, self.inflated().clone()).into_response()
        }
    }

    fn inflated(&self) -> &Bytes {
        self.inflated.get_or_init(|| {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(self.gzip).read_to_end(&mut plain).expect(
                "a vendored asset is gzip (pinned by `an_asset_is_inflated_for_a_client_without_gzip`)",
            );
            plain.into()
        })
    }
}

/// Whether `Accept-Encoding` asks for gzip, by name or by `*`, with a quality above zero. A client that sends no
/// such header may be sent anything by the letter of RFC 9110, but it would not expect this.
fn accepts_gzip(request: &HeaderMap) -> bool {
    let values = request.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let offers: Vec<&str> = values.flat_map(|value| value.split(',')).collect();
    let quality = |coding: &str| {
        offers.iter().find_map(|offer| {
            let mut parts = offer.split(';').map(str::trim);
            let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(coding));
            let weight = parts.find_map(|p| p.strip_prefix("q=").or(p.strip_prefix("Q=")));
            named.then(|| weight.map_or(1.0, |w| w.parse().unwrap_or(0.0_f32)))
        })
    };
    quality("gzip").or_else(|| quality("*")).is_some_and(|q| q > 0.0)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::{Method, Request, StatusCode};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    const ASSETS: [&str; 3] = [
        "/docs/assets/swagger-ui-5.35.0/swagger-ui-bundle.js",
        "/docs/assets/swagger-ui-5.35.0/swagger-ui.css",
        "/docs/assets/redoc-2.5.4/redoc.standalone.js",
    ];

    struct Answer {
        status: StatusCode,
        headers: HeaderMap,
        body: Bytes,
    }

    impl Answer {
        fn header(&self, name: HeaderName) -> &str {
            self.headers.get(name).map_or("", |value| value.to_str().expect("our headers are ASCII"))
        }
    }

    async fn ask(method: Method, path: &str, accept_encoding: Option<&str>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(codings) = accept_encoding {
            request = request.header(header::ACCEPT_ENCODING, codings);
        }
        let request = request.body(Body::empty()).expect("a well-formed request");
        let (head, body) = routes().oneshot(request).await.expect("a router does not fail").into_parts();
        let body = body.collect().await.expect("a body in memory").to_bytes();
        Answer { status: head.status, headers: head.headers, body }
    }

    #[tokio::test]
    async fn the_pages_are_html_under_a_strict_policy_and_hold_no_inline_script() {
        for path in ["/docs", "/redoc"] {
            let page = ask(Method::GET, path, Some("gzip")).await;
            assert_eq!(page.status, StatusCode::OK);
            assert_eq!(page.header(header::CONTENT_TYPE), HTML);
            assert_eq!(page.header(header::CONTENT_SECURITY_POLICY), POLICY);
            assert_eq!(page.header(header::CACHE_CONTROL), "no-cache");
            assert_eq!(page.header(header::X_CONTENT_TYPE_OPTIONS), "nosniff");
            let html = String::from_utf8(page.body.to_vec()).expect("the page is UTF-8");
            assert!(html.contains("<title>Gateway API"), "{html}");
            assert_eq!(html.matches("<script").count(), html.matches("<script src=\"docs/assets/").count());
            assert!(!html.contains("http://") && !html.contains("https://"), "{html}");
        }
    }

    #[tokio::test]
    async fn what_a_page_links_to_is_served() {
        for path in ["/docs", "/redoc"] {
            let page = ask(Method::GET, path, None).await;
            let html = String::from_utf8(page.body.to_vec()).expect("the page is UTF-8");
            let links: Vec<_> = html.split('"').filter(|text| text.starts_with("docs/assets/")).collect();
            assert!(links.len() >= 2, "{links:?}");
            for link in links {
                let answer = ask(Method::GET, &format!("/{link}"), Some("gzip")).await;
                assert_eq!(answer.status, StatusCode::OK, "{link}");
            }
        }
    }

    #[tokio::test]
    async fn an_asset_is_sent_compressed_and_may_be_kept_for_ever() {
        for path in ASSETS {
            for accepted in ["gzip, deflate, br", "*", "br;q=1, GZIP;q=0.5"] {
                let asset = ask(Method::GET, path, Some(accepted)).await;
                assert_eq!(asset.status, StatusCode::OK);
                assert_eq!(asset.header(header::CONTENT_ENCODING), "gzip", "{accepted}");
                assert_eq!(asset.header(header::CACHE_CONTROL), FOR_EVER);
                assert_eq!(asset.header(header::VARY), "accept-encoding");
                assert!(asset.body.starts_with(&[0x1f, 0x8b]));
            }
        }
    }

    #[tokio::test]
    async fn an_asset_is_inflated_for_a_client_without_gzip() {
        for path in ASSETS {
            for accepted in [None, Some("identity"), Some("gzip;q=0"), Some("*, gzip; q=0.0")] {
                let asset = ask(Method::GET, path, accepted).await;
                assert_eq!(asset.header(header::CONTENT_ENCODING), "", "{accepted:?}");
                assert_eq!(asset.header(header::VARY), "accept-encoding");
                assert!(asset.body.len() > 100_000);
                assert!(std::str::from_utf8(&asset.body).is_ok());
            }
        }
    }

    #[tokio::test]
    async fn head_has_the_headers_of_get_and_no_body() {
        for path in ["/docs", "/redoc", "/docs/assets/init.js", ASSETS[0]] {
            let get = ask(Method::GET, path, Some("gzip")).await;
            let head = ask(Method::HEAD, path, Some("gzip")).await;
            assert_eq!(head.status, StatusCode::OK);
            assert_eq!(head.header(header::CONTENT_LENGTH), get.body.len().to_string(), "{path}");
            assert_eq!(head.header(header::CONTENT_TYPE), get.header(header::CONTENT_TYPE));
            assert!(head.body.is_empty());
        }
    }

    #[tokio::test]
    async fn a_slash_too_many_is_redirected() {
        for (path, to) in [("/docs/", "../docs"), ("/redoc/", "../redoc")] {
            let answer = ask(Method::GET, path, None).await;
            assert_eq!(answer.status, StatusCode::PERMANENT_REDIRECT);
            assert_eq!(answer.header(header::LOCATION), to);
        }
    }

    #[tokio::test]
    async fn an_unknown_asset_and_another_method_are_refused() {
        assert_eq!(ask(Method::GET, "/docs/assets/none.js", None).await.status, StatusCode::NOT_FOUND);
        assert_eq!(ask(Method::POST, "/docs", None).await.status, StatusCode::METHOD_NOT_ALLOWED);
    }
}
