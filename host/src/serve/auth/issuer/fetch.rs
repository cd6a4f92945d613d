//! How an issuer's keys are got: from `jwks_url`, or from where the issuer's metadata says (RFC 8414, OpenID Connect
//! Discovery).
//!
//! In:   an `[[auth.issuer]]` table.
//! Out:  its keys and for how long they are good.
//! Fails: with a [`FetchError`], which goes to the log and to no caller.
//! Never: follows a redirect, reads more than 64 KiB, waits for an answer for more than 5 seconds, speaks plain HTTP with
//!       another machine, or with this one because an https issuer says so.

use std::{net::IpAddr, time::Duration};

use reqwest::{
    Client, Response, StatusCode, Url,
    header::{ACCEPT, CACHE_CONTROL, HeaderMap},
    redirect::Policy,
};
use serde::Deserialize;

use super::keys::Keys;
use crate::config::Issuer;

const ANSWER_MAX_BYTES: usize = 64 << 10;
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// How long keys are good if the issuer says nothing, and between what its word counts.
const FRESH: Duration = Duration::from_secs(60 * 60);
const FRESH_MIN: Duration = Duration::from_secs(5 * 60);
/// Half of how long they are used at most: the other half is for an issuer that does not answer when it is time.
const FRESH_MAX: Duration = Duration::from_secs(12 * 60 * 60);

/// What an issuer had to give.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) keys: Keys,
    pub(super) fresh_for: Duration,
}

/// Why there are no keys to be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error(
        "`{url}` is not an https URL; plain http is for this machine only (`localhost`, 127.0.0.0/8, ::1)"
    )]
    Insecure { url: String },
    #[error(
        "the issuer is at an https URL, but its metadata has its keys at `{url}`; have it name an https URL"
    )]
    Downgrade { url: String },
    #[error(
        "no HTTPS client; are certificates of authorities installed (`ca-certificates`, or `SSL_CERT_FILE`)?"
    )]
    Client { source: Box<dyn std::error::Error + Send + Sync> },
    #[error("`{url}` cannot be read")]
    Unreadable { url: String, source: reqwest::Error },
    #[error("`{url}` answered {status}")]
    Status { url: String, status: StatusCode },
    #[error("`{url}` answered with more than 64 KiB")]
    TooLarge { url: String },
    #[error("`{url}` does not answer with {what}")]
    NotJson { url: String, what: &'static str, source: serde_json::Error },
    #[error(
        "`{url}` is the metadata of the issuer `{found}`; gateway.toml must have `url` exactly like that"
    )]
    OtherIssuer { url: String, found: String },
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

/// Fetches the keys of `issuer`. Nothing is remembered from one time to the next: the keys may have moved.
pub(super) async fn fetch(issuer: &Issuer) -> Result<Fetched, FetchError> {
    let url = match &issuer.jwks_url {
        Some(url) => url.clone(),
        None => discover(&issuer.url).await?,
    };
    let answer = get(&url).await?;
    let fresh_for = fresh_for(answer.headers());
    let body = read(&url, answer).await?;
    let keys = Keys::parse(&body).map_err(|source| FetchError::NotJson { url, what: "a JWK Set", source })?;
    Ok(Fetched { keys, fresh_for })
}

/// Where the issuer's metadata says that its keys are. The first place that has metadata of this issuer counts.
async fn discover(issuer: &str) -> Result<String, FetchError> {
    let mut first = None;
    for url in metadata_urls(issuer)? {
        match jwks_uri(&url, issuer).await {
            Ok(jwks_uri) => return Ok(jwks_uri),
            // Who does not answer at one path of an address does not at another either.
            Err(error @ (FetchError::Unreadable { .. } | FetchError::Client { .. })) => return Err(error),
            Err(error) => {
                // That a place has nothing says less than what is wrong with what another place has.
                let says_little = |error: &FetchError| matches!(error, FetchError::Status { .. });
                if first.as_ref().is_none_or(|first| says_little(first) && !says_little(&error)) {
                    first = Some(error);
                }
            }
        }
    }
    Err(first.expect("there is always a place to look at"))
}

async fn jwks_uri(url: &str, issuer: &str) -> Result<String, FetchError> {
    let body = read(url, get(url).await?).await?;
    let metadata: Metadata = serde_json::from_slice(&body).map_err(|source| {
        let what = "metadata that has `issuer` and `jwks_uri`";
        FetchError::NotJson { url: url.to_owned(), what, source }
    })?;
    if metadata.issuer != issuer {
        return Err(FetchError::OtherIssuer { url: url.to_owned(), found: metadata.issuer });
    }
    not_less_secure(metadata.jwks_uri, issuer)
}

/// A `jwks_uri` that is as well protected as the `issuer` that names it. That plain HTTP does between two programs on this
/// machine is for the operator to say, in the issuer's URL or in `jwks_url`, and not for an issuer elsewhere.
fn not_less_secure(jwks_uri: String, issuer: &str) -> Result<String, FetchError> {
    let is_plain = secure(&jwks_uri)?.scheme() == "http";
    if is_plain && secure(issuer)?.scheme() != "http" {
        return Err(FetchError::Downgrade { url: jwks_uri });
    }
    Ok(jwks_uri)
}

/// Where metadata may be, in the order that the MCP specification has them tried.
fn metadata_urls(issuer: &str) -> Result<Vec<String>, FetchError> {
    let url = secure(issuer)?;
    let path = url.path().trim_end_matches('/');
    let at = |path: &str| {
        let mut url = url.clone();
        url.set_path(path);
        url.to_string()
    };
    let mut urls = vec![
        at(&format!("/.well-known/oauth-authorization-server{path}")),
        at(&format!("/.well-known/openid-configuration{path}")),
        at(&format!("{path}/.well-known/openid-configuration")),
    ];
    urls.dedup();
    Ok(urls)
}

/// A URL that keys may come from.
fn secure(url: &str) -> Result<Url, FetchError> {
    let insecure = || FetchError::Insecure { url: url.to_owned() };
    let parsed = Url::parse(url).map_err(|_| insecure())?;
    let is_good = match parsed.scheme() {
        "https" => parsed.has_host(),
        "http" => parsed.host_str().is_some_and(is_this_machine),
        _ => false,
    };
    is_good.then_some(parsed).ok_or_else(insecure)
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// Begins to read `url`.
async fn get(url: &str) -> Result<Response, FetchError> {
    let parsed = secure(url)?;
    let unreadable = |source: reqwest::Error| unreadable(url, source);
    let client = client(&parsed).await?;
    let answer = client.get(parsed).header(ACCEPT, "application/json").send().await.map_err(unreadable)?;
    match answer.status() {
        StatusCode::OK => Ok(answer),
        status => Err(FetchError::Status { url: url.to_owned(), status }),
    }
}

/// A client for one request: there are few of them, and authorities that were installed since count.
async fn client(url: &Url) -> Result<Client, FetchError> {
    let builder = Client::builder()
        .user_agent(concat!("gateway/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .timeout(ANSWER_LIMIT);
    let failed = |source| FetchError::Client { source };
    if url.scheme() == "http" {
        // This machine: no proxy is asked for it, and there need be no authorities.
        return builder.no_proxy().tls_certs_only([]).build().map_err(|error| failed(error.into()));
    }
    // Reads the authorities from disk.
    let built =
        tokio::task::spawn_blocking(|| builder.build()).await.map_err(|error| failed(error.into()))?;
    built.map_err(|error| failed(error.into()))
}

async fn read(url: &str, mut answer: Response) -> Result<Vec<u8>, FetchError> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|source| unreadable(url, source))? {
        if body.len() + chunk.len() > ANSWER_MAX_BYTES {
            return Err(FetchError::TooLarge { url: url.to_owned() });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn unreadable(url: &str, source: reqwest::Error) -> FetchError {
    FetchError::Unreadable { url: url.to_owned(), source: source.without_url() }
}

/// For how long an answer says that it is good.
fn fresh_for(headers: &HeaderMap) -> Duration {
    let texts = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut directives = texts.flat_map(|text| text.split(',')).filter_map(|one| one.trim().split_once('='));
    let age = directives.find(|(name, _)| name.eq_ignore_ascii_case("max-age"));
    let seconds = age.and_then(|(_, seconds)| seconds.trim_matches('"').parse().ok());
    seconds.map_or(FRESH, Duration::from_secs).clamp(FRESH_MIN, FRESH_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_looked_for_where_the_specification_says() {
        fn check(issuer: &str, expected: &[&str]) {
            assert_eq!(metadata_urls(issuer).expect("a good issuer"), expected, "{issuer}");
        }
        check(
            "https://as.example/tenant",
            &[
                "https://as.example/.well-known/oauth-authorization-server/tenant",
                "https://as.example/.well-known/openid-configuration/tenant",
                "https://as.example/tenant/.well-known/openid-configuration",
            ],
        );
        for issuer in ["https://as.example", "https://as.example/"] {
            check(
                issuer,
                &[
                    "https://as.example/.well-known/oauth-authorization-server",
                    "https://as.example/.well-known/openid-configuration",
                ],
            );
        }
    }

    #[test]
    fn keys_come_over_https_or_from_this_machine() {
        fn check(url: &str, is_good: bool) {
            assert_eq!(secure(url).is_ok(), is_good, "{url}");
        }
        check("https://as.example/jwks", true);
        check("http://localhost:9000/jwks", true);
        check("http://127.8.9.1/jwks", true);
        check("http://[::1]:9000/jwks", true);
        check("http://as.example/jwks", false);
        check("http://localhost.as.example/jwks", false);
        check("http://127.0.0.1.as.example/jwks", false);
        check("http://[::ffff:8.8.8.8]/jwks", false);
        check("http://user@localhost@as.example/jwks", false);
        check("file:///etc/passwd", false);
        check("unix:/run/socket", false);
        check("jwks.json", false);
    }

    #[test]
    fn an_https_issuer_does_not_have_its_keys_fetched_over_http() {
        fn check(issuer: &str, jwks_uri: &str, expected: Result<(), &str>) {
            let found =
                not_less_secure(jwks_uri.to_owned(), issuer).map(drop).map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(str::to_owned), "{issuer} {jwks_uri}");
        }
        check("https://as.example", "https://keys.example/jwks", Ok(()));
        check("http://127.0.0.1:9000", "http://localhost:9000/jwks", Ok(()));
        check("http://127.0.0.1:9000", "https://keys.example/jwks", Ok(()));
        check(
            "https://as.example",
            "http://127.0.0.1:9000/jwks",
            Err(
                "the issuer is at an https URL, but its metadata has its keys at `http://127.0.0.1:9000/jwks`; have it \
                 name an https URL",
            ),
        );
        check(
            "http://127.0.0.1:9000",
            "http://as.example/jwks",
            Err(
                "`http://as.example/jwks` is not an https URL; plain http is for this machine only (`localhost`, \
                 127.0.0.0/8, ::1)",
            ),
        );
    }

    #[test]
    fn keys_are_good_for_as_long_as_the_issuer_says_within_limits() {
        fn check(cache_control: Option<&str>, seconds: u64) {
            let mut headers = HeaderMap::new();
            if let Some(text) = cache_control {
                headers.insert(CACHE_CONTROL, text.parse().expect("a header"));
            }
            assert_eq!(fresh_for(&headers), Duration::from_secs(seconds), "{cache_control:?}");
        }
        check(None, 3600);
        check(Some("public, max-age=7200, must-revalidate"), 7200);
        check(Some("Max-Age=\"7200\""), 7200);
        check(Some("max-age=1"), 300);
        check(Some("max-age=31536000"), 43200);
        check(Some("max-age=soon"), 3600);
        check(Some("no-store"), 3600);
    }
}
