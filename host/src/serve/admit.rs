//! What happens to every request before and after its answer is made: it gets an id, its Host and Origin are checked,
//! a panic becomes a problem, and a few headers are added.
//!
//! The checks are what keeps a web page from using a gateway on the visitor's own machine. A page can make its own name
//! resolve to 127.0.0.1 (DNS rebinding), but then the request carries that name as its Host; a page can send requests
//! across origins, but then the browser adds its Origin.

use std::{
    net::{IpAddr, SocketAddr},
    panic::AssertUnwindSafe,
    sync::Arc,
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Method, Uri, header};

use super::{
    Gateway,
    asked::{Asked, RequestId, X_REQUEST_ID},
    auth::metadata,
    cors,
    framing::is_ambiguous,
    problem::Problem,
};
use crate::{config::Http, mount::ProblemCode};

/// The outermost layer of the router.
pub(super) async fn admit(State(gateway): State<Arc<Gateway>>, mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    let asked = Asked::of(&request);
    let origin = request.headers().get(header::ORIGIN).cloned();
    let checked = gateway.served().admission.check(&request);
    // What every page may read says so to every page; no other origin is named that has not been checked.
    let origin = origin.filter(|_| checked.is_ok()).map(|origin| match is_for_all(&request) {
        true => HeaderValue::from_static("*"),
        false => origin,
    });
    let mut response = match checked {
        Err(problem) => problem.answer(&gateway, &asked),
        Ok(()) if cors::is_preflight(&asked.method, request.headers()) => cors::preflight(request.headers()),
        // Nothing that the handlers share is left half-changed by a panic: the table is replaced as a whole, and the
        // count of calls is kept by guards.
        Ok(()) => match AssertUnwindSafe(next.run(request)).catch_unwind().await {
            Ok(response) => response,
            Err(_) => {
                tracing::error!(request_id = id.as_str(), path = asked.uri.path(), "request panicked");
                Problem::new(ProblemCode::Internal, "the gateway failed on this request; the log has more")
                    .answer(&gateway, &asked)
            }
        },
    };
    if let Some(origin) = origin {
        cors::allow(&origin, &mut response);
    }
    gateway.seen().statuses.count(response.status());
    let headers = response.headers_mut();
    headers.insert(X_REQUEST_ID, id.header());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Who may ask.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    /// The addresses of the listeners.
    listen: Vec<IpAddr>,
    /// Where the pages for operators are, if not beside the tools that they call.
    admin: Option<SocketAddr>,
    hosts: Vec<String>,
    origins: Vec<String>,
}

/// The host that a request is for: `name` or `name:port`.
pub(super) fn host_of<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let mut named = headers.get_all(header::HOST).iter();
    match (named.next(), named.next()) {
        (Some(host), None) => host.to_str().ok(),
        (None, None) => uri.authority().map(|authority| authority.as_str()),
        // Two Hosts: this gateway and a proxy before it might each believe another one.
        _ => None,
    }
}

impl Admission {
    /// `listen`: the address of the main listener; `admin`: of that of `[admin]`.
    pub(super) fn new(http: &Http, listen: IpAddr, admin: Option<SocketAddr>) -> Self {
        let origins = http.allowed_origins.iter().chain(&http.public_url);
        let origins = origins.map(|origin| origin.trim_end_matches('/').to_owned()).collect();
        // A client that is told to dial it names it as its host.
        let own =
            http.public_url.iter().filter_map(|url| url.split_once("://")).map(|(_, host)| host.to_owned());
        let hosts = http.allowed_hosts.iter().cloned().chain(own).collect();
        let listen = std::iter::once(listen).chain(admin.map(|admin| admin.ip())).collect();
        Self { listen, admin, hosts, origins }
    }

    fn check(&self, request: &Request) -> Result<(), Problem> {
        let (uri, headers) = (request.uri(), request.headers());
        if let Some(why) = is_ambiguous(uri, headers) {
            let detail = format!("the request can be read in two ways: {why}");
            let problem = Problem::new(ProblemCode::AmbiguousRequest, detail);
            // Nobody can tell where the next request on this connection would begin.
            return Err(problem.header(header::CONNECTION, HeaderValue::from_static("close")));
        }
        let host = host_of(uri, headers).unwrap_or_default();
        if !self.knows_host(host) {
            return Err(refused(ProblemCode::HostNotAllowed, "host", host, "[http] allowed_hosts"));
        }
        if is_for_all(request) {
            return Ok(());
        }
        let key = "[http] allowed_origins";
        for origin in headers.get_all(header::ORIGIN) {
            let origin = origin.to_str().unwrap_or("(not text)");
            if !self.knows_origin(origin, host) {
                return Err(refused(ProblemCode::OriginNotAllowed, "origin", origin, key));
            }
        }
        // Some browsers leave the Origin out where they should not; all that are in use say this.
        if !headers.contains_key(header::ORIGIN) && is_from_elsewhere(request.method(), headers) {
            return Err(refused(ProblemCode::OriginNotAllowed, "origin", "(another site)", key));
        }
        Ok(())
    }

    fn knows_host(&self, host: &str) -> bool {
        let Some(name) = name_of(host) else { return false };
        is_loopback(name)
            || self.is_listened_at(name)
            || self.hosts.iter().any(|allowed| {
                allowed.eq_ignore_ascii_case(host)
                    || allowed.trim_matches(['[', ']']).eq_ignore_ascii_case(name)
            })
    }

    /// An address cannot be rebound, so a gateway that listens on every address of its machine answers to each.
    fn is_listened_at(&self, name: &str) -> bool {
        let asked_for = name.parse::<IpAddr>();
        let is_at =
            |ip: IpAddr| self.listen.iter().any(|own| own.is_unspecified() || ip.to_canonical() == *own);
        asked_for.is_ok_and(is_at)
    }

    fn knows_origin(&self, origin: &str, host: &str) -> bool {
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        let web = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
        let near = name_of(authority).is_some_and(is_loopback) || authority.eq_ignore_ascii_case(host);
        (web && (near || self.is_admins(scheme, authority, host)))
            || self.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
    }

    /// Whether a page of the listener of `[admin]` asks, for a form of it calls tools at the main one: it is at that
    /// listener's own address, or at the host by which its client came here as well.
    fn is_admins(&self, scheme: &str, authority: &str, host: &str) -> bool {
        let (Some(admin), Some(name)) = (self.admin, name_of(authority)) else { return false };
        // Browsers leave out the port that the scheme has anyway.
        let usual = if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 };
        let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(usual);
        let is_own = name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical() == admin.ip().to_canonical());
        let is_same = || name_of(host).is_some_and(|host| host.eq_ignore_ascii_case(name));
        port == admin.port() && (is_own || is_same())
    }
}

/// RFC 9728: whoever has been refused may read whom to ask.
fn is_for_all(request: &Request) -> bool {
    let below = request.uri().path().strip_prefix(metadata::PATH);
    request.method().is_safe() && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a page of another site makes the browser change something (Fetch Metadata, `Sec-Fetch-Site`).
fn is_from_elsewhere(method: &Method, headers: &HeaderMap) -> bool {
    let is_near = |site: &HeaderValue| site == "same-origin" || site == "none";
    !method.is_safe() && !headers.get_all("sec-fetch-site").iter().all(is_near)
}

fn refused(code: ProblemCode, what: &'static str, value: &str, key: &str) -> Problem {
    let value: String = value.chars().take(200).collect();
    let detail = format!(
        "the {what} `{value}` is not one that this gateway answers to; if it should be, the operator adds it to \
         `{key}` in gateway.toml"
    );
    Problem::new(code, detail).with(what, value)
}

/// `authority` without its port and without the brackets of an IPv6 address; `None` if it is not well-formed.
pub(super) fn name_of(authority: &str) -> Option<&str> {
    let (name, port) = if let Some(rest) = authority.strip_prefix('[') {
        rest.split_once(']')?
    } else {
        authority.find(':').map_or((authority, ""), |colon| authority.split_at(colon))
    };
    let port_is_one =
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    (port_is_one && !name.is_empty()).then_some(name)
}

fn is_loopback(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::state::tests::gateway;

    fn check_host(host: &str, allowed: bool) {
        assert_eq!(gateway().served().admission.knows_host(host), allowed, "{host}");
    }

    #[test]
    fn only_own_names_and_addresses_are_answered() {
        for own in ["localhost", "LocalHost:1234", "127.0.0.1", "127.8.8.8:80", "[::1]", "[::1]:8000"] {
            check_host(own, true);
        }
        for listed in ["tools.example.com", "Tools.example.com:443", "other.example.com:8443"] {
            check_host(listed, true);
        }
        for other in ["", "evil.example", "localhost.evil.example", "other.example.com", "192.0.2.1", "::1"] {
            check_host(other, false);
        }
        for malformed in ["localhost:port", "[::1", "[::1]8000", ":80", "localhost:99999", "u@localhost"] {
            check_host(malformed, false);
        }
    }

    #[test]
    fn a_gateway_on_every_address_answers_to_addresses_but_not_to_names() {
        let everywhere = Admission::new(&gateway().settings().http, IpAddr::from([0, 0, 0, 0]), None);
        assert!(everywhere.knows_host("192.0.2.1:8000"));
        assert!(!everywhere.knows_host("evil.example"));
    }

    #[test]
    fn only_near_and_listed_origins_may_ask() {
        let check = |origin: &str, host: &str, allowed: bool| {
            assert_eq!(
                gateway().served().admission.knows_origin(origin, host),
                allowed,
                "{origin} at {host}"
            );
        };
        check("http://localhost:3000", "localhost:8000", true);
        check("http://127.0.0.1:3000", "localhost:8000", true);
        check("https://app.example.com", "localhost:8000", true);
        check("https://tools.example.com", "tools.example.com", true);
        check("https://tools.example.com", "localhost:8000", false);
        check("http://app.example.com", "localhost:8000", false);
        check("https://evil.example", "localhost:8000", false);
        check("null", "localhost:8000", false);
        check("ftp://localhost", "localhost:8000", false);
    }

    #[test]
    fn a_page_of_the_admin_listener_may_call_tools_at_the_main_one() {
        let check = |admin: &str, origin: &str, host: &str, allowed: bool| {
            let http = &gateway().settings().http;
            let listen = IpAddr::from([10, 0, 0, 5]);
            let admission = Admission::new(http, listen, Some(admin.parse().expect("an address")));
            assert_eq!(admission.knows_origin(origin, host), allowed, "{origin} at {host}, admin {admin}");
        };
        check("10.0.0.5:9000", "http://10.0.0.5:9000", "10.0.0.5:8000", true);
        check("10.0.0.5:9000", "https://10.0.0.5:9000", "tools.example.com", true);
        check("10.0.0.5:9000", "http://10.0.0.5:9001", "10.0.0.5:8000", false);
        check("10.0.0.5:9000", "http://10.0.0.5", "10.0.0.5:8000", false);
        check("10.0.0.5:9000", "http://10.0.0.6:9000", "10.0.0.5:8000", false);
        check("10.0.0.5:443", "https://10.0.0.5", "10.0.0.5:8443", true);
        check("10.0.0.5:9000", "ftp://10.0.0.5:9000", "10.0.0.5:8000", false);
        check("0.0.0.0:9000", "http://10.0.0.5:9000", "10.0.0.5:8000", true);
        check("0.0.0.0:9000", "http://Tools.example.com:9000", "tools.example.com:8000", true);
        check("0.0.0.0:9000", "http://192.0.2.1:9000", "10.0.0.5:8000", false);
        check("[::]:9000", "http://[2001:db8::1]:9000", "[2001:db8::1]:8000", true);
        check("[2001:db8::1]:9000", "http://[2001:db8::1]:9000", "[2001:db8::1]:8000", true);
        // A name that has no port says nothing of 9000, whatever its last part is.
        check("[2001:db8::9000]:9000", "http://[2001:db8::9000]", "[2001:db8::9000]:8000", false);
    }

    #[test]
    fn a_page_of_another_site_changes_nothing() {
        let check = |method: Method, headers: &[(&'static str, &'static str)], allowed: bool| {
            let mut request = Request::builder().method(&method).uri("/").header("host", "localhost");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.body(axum::body::Body::empty()).expect("a request");
            let admitted = gateway().served().admission.check(&request).is_ok();
            assert_eq!(admitted, allowed, "{method} {headers:?}");
        };
        let site = "sec-fetch-site";
        check(Method::POST, &[(site, "same-origin")], true);
        check(Method::POST, &[(site, "none")], true);
        check(Method::GET, &[(site, "cross-site")], true);
        check(Method::POST, &[(site, "cross-site")], false);
        check(Method::DELETE, &[(site, "same-site")], false);
        check(Method::POST, &[(site, "Cross-Site")], false);
        check(Method::POST, &[(site, "same-origin"), (site, "cross-site")], false);
        let near = ("origin", "http://localhost:3000");
        check(Method::POST, &[near, (site, "same-site")], true);
        check(Method::POST, &[near, ("origin", "https://evil.example")], false);
    }

    #[test]
    fn a_request_with_two_hosts_has_none() {
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        assert_eq!(host_of(&Uri::from_static("/"), &headers), Some("localhost"));
        headers.append(header::HOST, HeaderValue::from_static("evil.example"));
        assert_eq!(host_of(&Uri::from_static("/"), &headers), None);
    }
}
