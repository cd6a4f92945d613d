//! Who is calling: keys, client certificates, and tokens of OAuth 2.1 authorization servers.
//!
//! In:   a request's headers and its connection, and what it is for.
//! Out:  a [`Principal`]; or 401, with a challenge that says what would do (RFC 6750, RFC 9728).
//! Fails: with 503 if an issuer's keys cannot be had: that is not the caller's doing.
//! Never: says more of a wrong credential than that it is wrong; hands a credential on.

mod issuer;
pub(crate) mod key;
pub(super) mod metadata;
mod principal;
mod token;

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};

pub use principal::Principal;

use super::{Peer, Problem};
use crate::{
    config::{AsksFor, Auth, Guard, Http, Prefix},
    mount::ProblemCode,
};
use issuer::Issuers;
use token::TokenError;

pub(super) const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// How keys begin, so that they are told from tokens (and found where they should not be).
const KEY_BEGINS: &[u8] = b"mgw_";

/// Everybody whom the gateway knows.
#[derive(Debug)]
pub(super) struct Authority {
    auth: Auth,
    keys: Vec<Arc<Principal>>,
    certificates: Vec<Arc<Principal>>,
    issuers: Issuers,
    public_url: Option<String>,
    anyone: Arc<Principal>,
    nobody: Arc<Principal>,
}

/// What a request is for: a server, or the gateway itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resource<'a> {
    /// Empty: the gateway.
    pub(super) prefix: &'a str,
    /// What of the path below it is the client's name for the server: `/mcp`, or nothing.
    pub(super) endpoint: &'a str,
    pub(super) asks_for: AsksFor,
    /// What tokens have as `aud` instead of its URL.
    pub(super) audience: Option<&'a str>,
    /// The scopes that its callers need.
    pub(super) needs: &'a str,
}

/// What a request brings.
enum Credential<'a> {
    Nothing,
    Key(&'a [u8]),
    Token(&'a str),
}

impl<'a> Resource<'a> {
    /// The gateway's own pages.
    pub(super) fn gateway(needs: &'a str) -> Self {
        Self { prefix: "", endpoint: "", asks_for: AsksFor::Any, audience: None, needs }
    }

    pub(super) fn server(prefix: &'a Prefix, endpoint: &'a str, guard: &'a Guard, needs: &'a str) -> Self {
        Self {
            prefix: prefix.as_str(),
            endpoint,
            asks_for: guard.asks_for,
            audience: guard.audience.as_deref(),
            needs,
        }
    }
}

impl Authority {
    /// `before`: who was known until now. What it knows of issuers that stay is kept.
    pub(super) fn new(auth: &Auth, http: &Http, before: Option<&Self>) -> Self {
        let key = |key: &crate::config::ApiKey| Arc::new(Principal::of_key(&key.name, &key.scopes));
        let certificate = |one: &crate::config::ClientCertificate| {
            Arc::new(Principal::of_certificate(&one.name, &one.scopes))
        };
        Self {
            keys: auth.keys.iter().map(key).collect(),
            certificates: auth.certificates.iter().map(certificate).collect(),
            issuers: match before {
                Some(before) => before.issuers.renewed(&auth.issuers),
                None => Issuers::new(&auth.issuers),
            },
            public_url: http.public_url.clone(),
            anyone: Arc::new(Principal::anyone()),
            nobody: Arc::new(Principal::nobody()),
            auth: auth.clone(),
        }
    }

    /// Whether anybody is asked.
    pub(super) fn is_on(&self) -> bool {
        self.auth.is_on()
    }

    /// Whoever it is, where nobody is asked.
    pub(super) fn anyone(&self) -> &Arc<Principal> {
        &self.anyone
    }

    /// Whoever it is, where somebody is asked and has said nothing.
    pub(super) fn nobody(&self) -> &Arc<Principal> {
        &self.nobody
    }

    /// Whether tokens are taken for `resource`.
    fn takes_tokens(&self, resource: Resource<'_>) -> bool {
        !self.auth.issuers.is_empty() && matches!(resource.asks_for, AsksFor::Any | AsksFor::Tokens)
    }

    /// Whether `principal` is somebody whom it would still take for who it is, with the same scopes.
    pub(super) fn knows(&self, principal: &Principal) -> bool {
        if !principal.is_named() {
            return true;
        }
        let has = |known: &Vec<Arc<Principal>>| known.iter().any(|known| **known == *principal);
        let is_of_issuer = |issuer: &str| self.auth.issuers.iter().any(|known| known.url == issuer);
        has(&self.keys) || has(&self.certificates) || principal.issuer().is_some_and(is_of_issuer)
    }

    /// Who sends a request with `headers` by `peer`, or that it has to be said.
    pub(super) async fn require(
        &self,
        headers: &HeaderMap,
        peer: Option<&Peer>,
        resource: Resource<'_>,
    ) -> Result<Arc<Principal>, Problem> {
        let known = self.identify(headers, peer, resource).await?;
        known.ok_or_else(|| self.unauthorized(resource, None))
    }

    /// Who sends a request with `headers` by `peer`. `None`: it does not say. A wrong credential is an error, not nobody.
    pub(super) async fn identify(
        &self,
        headers: &HeaderMap,
        peer: Option<&Peer>,
        resource: Resource<'_>,
    ) -> Result<Option<Arc<Principal>>, Problem> {
        if !self.is_on() || resource.asks_for == AsksFor::Nothing {
            return Ok(Some(self.anyone.clone()));
        }
        let wrong = |why: &str| Err(self.unauthorized(resource, Some(why)));
        match credential(headers) {
            Err(why) => wrong(why),
            Ok(Credential::Nothing) => Ok(self.by_certificate(peer, resource)),
            Ok(Credential::Key(_)) if resource.asks_for == AsksFor::Tokens => {
                wrong("this server takes no keys")
            }
            Ok(Credential::Key(key)) => match self.by_key(key) {
                Some(principal) => Ok(Some(principal)),
                None => wrong("the key is not known"),
            },
            Ok(Credential::Token(_)) if !self.takes_tokens(resource) => {
                wrong("this server takes keys, no tokens")
            }
            Ok(Credential::Token(token)) => self.by_token(token, resource).await.map(Some),
        }
    }

    fn by_key(&self, key: &[u8]) -> Option<Arc<Principal>> {
        let table = key::find(&self.auth.keys, key)?;
        let at = self.auth.keys.iter().position(|known| std::ptr::eq(known, table))?;
        Some(self.keys[at].clone())
    }

    fn by_certificate(&self, peer: Option<&Peer>, resource: Resource<'_>) -> Option<Arc<Principal>> {
        let shown = peer?.certificate.filter(|_| resource.asks_for != AsksFor::Tokens)?;
        let at = self.auth.certificates.iter().position(|known| known.sha256 == shown)?;
        Some(self.certificates[at].clone())
    }

    async fn by_token(&self, token: &str, resource: Resource<'_>) -> Result<Arc<Principal>, Problem> {
        let url = format!("{}{}", self.public_url.as_deref().unwrap_or_default(), resource.prefix);
        // Clients differ in what they think the server's URL is.
        let own = [url.clone(), format!("{url}/"), format!("{url}/mcp")];
        let own = own.each_ref().map(String::as_str);
        let verified = match resource.audience {
            Some(audience) => self.issuers.verify(token, &[audience]).await,
            None => self.issuers.verify(token, &own).await,
        };
        let claims = verified.map_err(|error| {
            if matches!(error, TokenError::IssuerUnreachable) {
                return Problem::new(ProblemCode::AuthUnavailable, error.to_string()).retry_after(5);
            }
            self.unauthorized(resource, Some(&error.to_string()))
        })?;
        Ok(claims.principal.clone())
    }

    /// 401. `why`: what is wrong with the credential; `None`: there is none.
    pub(super) fn unauthorized(&self, resource: Resource<'_>, why: Option<&str>) -> Problem {
        let ways = match (self.takes_tokens(resource), resource.asks_for) {
            (true, AsksFor::Tokens) => "an access token as `Authorization: Bearer`",
            (true, _) => {
                "a key (`X-API-Key` or `Authorization: Bearer`) or an access token (`Authorization: Bearer`)"
            }
            (false, _) => "a key as `X-API-Key` or `Authorization: Bearer`",
        };
        let detail = match why {
            _ if !self.is_on() => {
                "this gateway knows nobody; the operator adds an `[[auth.key]]` to gateway.toml, or uses \
                                   `gateway reload` on the same machine"
                    .to_owned()
            }
            Some(why) => format!("{why}; send {ways}"),
            None => format!("the gateway has to know who is calling; send {ways}"),
        };
        let error = why.map(|why| ("invalid_token", why));
        Problem::new(ProblemCode::Unauthorized, detail)
            .header(header::WWW_AUTHENTICATE, self.challenge(resource, error))
    }

    /// 403 with what it would take (RFC 6750 section 3.1, MCP's step-up).
    pub(super) fn forbidden(&self, resource: Resource<'_>) -> Problem {
        let needs = resource.needs;
        let detail = format!("the caller is known, but lacks a scope that this needs: `{needs}`");
        let error = ("insufficient_scope", "a scope is missing");
        Problem::new(ProblemCode::Forbidden, detail)
            .with("needs", needs.split(' ').collect::<Vec<_>>())
            .header(header::WWW_AUTHENTICATE, self.challenge(resource, Some(error)))
    }

    fn challenge(&self, resource: Resource<'_>, error: Option<(&str, &str)>) -> HeaderValue {
        let mut challenge = String::from("Bearer realm=\"gateway\"");
        let mut add = |name: &str, value: &str| {
            // Inside of quotes, and of what RFC 6750 allows there.
            let good = |c: &char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
            let value: String = value.chars().filter(good).take(300).collect();
            challenge.push_str(&format!(", {name}=\"{value}\""));
        };
        if let Some((error, description)) = error {
            add("error", error);
            add("error_description", description);
        }
        let names_scopes = error.is_none_or(|(error, _)| error == "insufficient_scope");
        if self.takes_tokens(resource) {
            if let Some(url) = &self.public_url {
                add("resource_metadata", &metadata::url(url, resource));
            }
            if !resource.needs.is_empty() {
                add("scope", resource.needs);
            }
        } else if names_scopes && error.is_some() {
            add("scope", resource.needs);
        }
        HeaderValue::from_str(&challenge).expect("only printable ASCII was added")
    }
}

/// The one credential of a request. Two could be two callers, of whom a proxy before this believes the other.
fn credential(headers: &HeaderMap) -> Result<Credential<'_>, &'static str> {
    let one = |name: &HeaderName| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (value, None) => Ok(value.map(HeaderValue::as_bytes)),
            _ => Err("the request carries two credentials"),
        }
    };
    match (one(&header::AUTHORIZATION)?, one(&X_API_KEY)?) {
        (Some(_), Some(_)) => Err("the request carries two credentials"),
        (None, Some(key)) => Ok(Credential::Key(key)),
        (None, None) => Ok(Credential::Nothing),
        (Some(authorization), None) => {
            let bearer = bearer(authorization).ok_or("`Authorization` has to be `Bearer`")?;
            if bearer.starts_with(KEY_BEGINS) {
                return Ok(Credential::Key(bearer));
            }
            std::str::from_utf8(bearer).map(Credential::Token).map_err(|_| "the token is malformed")
        }
    }
}

/// What kind of credential a request shows, be it good or not: `key`, `token` or `none`.
pub(super) fn shown(headers: &HeaderMap) -> &'static str {
    match credential(headers) {
        Ok(Credential::Key(_)) => "key",
        Ok(Credential::Token(_)) => "token",
        Ok(Credential::Nothing) | Err(_) => "none",
    }
}

/// RFC 6750 section 2.1.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

/// Takes out what only this step may see: nothing behind it, least of all a log, is to meet a credential.
pub(super) fn strip(headers: &mut HeaderMap) {
    for name in [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE, X_API_KEY] {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_one_credential_or_none() {
        let check = |headers: &[(&'static str, &'static str)], expected: Result<&str, &str>| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, HeaderValue::from_static(value));
            }
            let found = credential(&map).map(|credential| match credential {
                Credential::Nothing => String::new(),
                Credential::Key(key) => format!("key {}", String::from_utf8_lossy(key)),
                Credential::Token(token) => format!("token {token}"),
            });
            assert_eq!(found.as_deref().map_err(|why| *why), expected, "{headers:?}");
        };
        let two = "the request carries two credentials";
        check(&[], Ok(""));
        check(&[("x-api-key", "mgw_a_b")], Ok("key mgw_a_b"));
        check(&[("authorization", "Bearer mgw_a_b")], Ok("key mgw_a_b"));
        check(&[("authorization", "bearer  a.b.c")], Ok("token a.b.c"));
        check(&[("authorization", "Bearer ")], Err("`Authorization` has to be `Bearer`"));
        check(&[("authorization", "Basic YTpi")], Err("`Authorization` has to be `Bearer`"));
        check(&[("authorization", "Bearer a"), ("x-api-key", "mgw_a_b")], Err(two));
        check(&[("authorization", "Bearer a"), ("authorization", "Bearer b")], Err(two));
        check(&[("x-api-key", "a"), ("x-api-key", "b")], Err(two));
    }
}
