//! What an access token says, and whether that is to be believed: a JWT (RFC 7519, 8725) as RFC 9068 profiles it.
//!
//! In:   the text of a token, the issuer it names, that issuer's keys, and who this server is.
//! Out:  [`Claims`].
//! Fails: with a [`TokenError`]; its text may be shown to the caller.
//! Never: takes a key or an address from the token itself (`jwk`, `jku`, `x5u`, `x5c`), goes to the network, or quotes
//!       the token.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Validation, decode, errors::ErrorKind};
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};

use super::{Principal, issuer::Keys};
use crate::config::{Issuer, Scope, SigningAlgorithm};

/// The longest token that is looked at. Headers of 16 KiB are more than most servers take.
pub(super) const TOKEN_MAX_BYTES: usize = 16 << 10;

/// How far the clocks of the issuer and of this machine may differ, in seconds.
pub(super) const LEEWAY: u64 = 30;

/// The end of the year 9999, in seconds since 1970. Tokens may say that they end later, and no time that the system knows
/// may be so late.
const EXPIRES_MAX: u64 = 253_402_300_799;

/// How the subject begins that is a client and no user.
const CLIENT_BEGINS: &str = "client:";

/// The media types an access token may give itself. ID tokens often say `JWT` too, hence the look at their claims.
const TYPES: [&str; 3] = ["at+jwt", "application/at+jwt", "JWT"];

/// Who a token was issued for, and what they may do. Held to be true: issuer, signature and times were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claims {
    /// The issuer's URL, as in gateway.toml.
    pub(crate) issuer: String,
    /// Who it is; unique at this issuer. For a client that acts for itself: `client:` and its id, which is no user's.
    pub(crate) subject: String,
    /// The client that the token was issued to.
    pub(crate) client_id: Option<String>,
    /// What was granted.
    pub(crate) scopes: Vec<Scope>,
    /// When the token ends, in seconds since 1970; at most the end of the year 9999, which every clock can say.
    pub(crate) expires: u64,
    /// Who that is here.
    pub(crate) principal: Arc<Principal>,
}

/// Why a token is not taken. The text is an `error_description` of RFC 6750: it has neither `"` nor `\`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    /// Not a JWT, or a necessary claim is absent or of the wrong kind.
    #[error("the access token is malformed: {0}")]
    Malformed(&'static str),
    /// No `[[auth.issuer]]` has this `iss`.
    #[error("the access token is from an issuer that this server does not know")]
    UnknownIssuer,
    /// Not in the list of the issuer, or not one for this key.
    #[error("the access token is signed with an algorithm that is not allowed")]
    AlgorithmNotAllowed,
    /// Not in the issuer's key set, which was looked up anew if it was time to.
    #[error("the access token is signed with a key that its issuer does not publish")]
    UnknownKey,
    /// Changed, or signed by somebody else.
    #[error("the signature of the access token is wrong")]
    BadSignature,
    /// `exp` is over.
    #[error("the access token has expired")]
    Expired,
    /// `nbf` is to come.
    #[error("the access token is not valid yet")]
    NotYetValid,
    /// `aud` does not name this server.
    #[error("the access token was issued for another audience; ask for one with this server as `resource`")]
    WrongAudience,
    /// Neither a user nor a client.
    #[error("the access token names neither a subject nor a client")]
    NoSubject,
    /// An ID token, a logout token, or whatever else an issuer signs.
    #[error("the token is not an access token")]
    WrongType,
    /// Nothing can be said about the token now. No fault of the caller: 503, and not 401.
    #[error("the keys of the issuer cannot be fetched at present; try again later")]
    IssuerUnreachable,
}

/// A token that was taken apart. Nothing that it says is believed yet.
#[derive(Debug)]
pub(super) struct Unverified<'a> {
    token: &'a str,
    header: Header,
    /// Whom it says it is from.
    pub(super) issuer: String,
}

/// What was believed once, and for whom it was meant: that is asked again each time.
#[derive(Debug, Clone)]
pub(super) struct Verified {
    pub(super) claims: Arc<Claims>,
    audiences: Arc<[String]>,
}

#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    /// What has to be understood (RFC 7515 section 4.1.11). Nothing is.
    crit: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Named {
    iss: String,
}

#[derive(Deserialize)]
struct Payload {
    iss: String,
    sub: Option<String>,
    client_id: Option<String>,
    azp: Option<String>,
    aud: Option<OneOrMore>,
    exp: Option<f64>,
    scope: Option<OneOrMore>,
    scp: Option<OneOrMore>,
    /// With `c_hash`, what only an ID token has (OpenID Connect Core, 3.1.3.6 and 3.3.2.11).
    at_hash: Option<IgnoredAny>,
    c_hash: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl<'a> Unverified<'a> {
    /// Takes a token of at most [`TOKEN_MAX_BYTES`] apart, and refuses what no issuer could make good.
    pub(super) fn parse(token: &'a str) -> Result<Self, TokenError> {
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Malformed("it is not a signed JWT"));
        };
        let header: Header = json(header).ok_or(TokenError::Malformed("its header cannot be read"))?;
        if header.crit.is_some() {
            return Err(TokenError::Malformed("its header asks for an extension (`crit`)"));
        }
        if header.typ.as_ref().is_some_and(|typ| !TYPES.iter().any(|good| typ.eq_ignore_ascii_case(good))) {
            return Err(TokenError::WrongType);
        }
        let named: Named = json(payload).ok_or(TokenError::Malformed("its claims name no issuer"))?;
        Ok(Self { token, header, issuer: named.iss })
    }

    /// Whether the token leaves open which of the issuer's keys it is signed with.
    pub(super) fn names_no_key(&self) -> bool {
        self.header.kid.is_none()
    }

    /// Checks signature and claims.
    pub(super) fn verify(
        &self,
        issuer: &Issuer,
        keys: &Keys,
        audiences: &[&str],
    ) -> Result<Verified, TokenError> {
        let named = SigningAlgorithm::ALL.into_iter().find(|one| one.as_str() == self.header.alg);
        let algorithm = named.filter(|one| issuer.algorithms.contains(one));
        let algorithm = algorithm.ok_or(TokenError::AlgorithmNotAllowed)?;
        let key = keys.find(self.header.kid.as_deref(), algorithm)?;
        // The one algorithm: it is in the issuer's list and fits the key, whatever else is in the token.
        let mut validation = Validation::new(library_name(algorithm));
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["iss", "aud", "exp"]);
        validation.set_issuer(&[&issuer.url]);
        validation.set_audience(audiences);
        let payload =
            decode::<Payload>(self.token, key, &validation).map_err(|error| refusal(error.kind()))?;
        Verified::of(payload.claims)
    }
}

impl Verified {
    fn of(payload: Payload) -> Result<Self, TokenError> {
        if payload.at_hash.is_some() || payload.c_hash.is_some() {
            return Err(TokenError::WrongType);
        }
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        let client_id = some(payload.client_id).or(some(payload.azp));
        let subject = subject(some(payload.sub), client_id.as_deref())?;
        let texts = [payload.scope, payload.scp].into_iter().flatten().flat_map(OneOrMore::into_list);
        let mut scopes = Vec::new();
        for text in texts {
            // What is not a scope cannot be asked for either.
            let news = text.split_ascii_whitespace().filter_map(Scope::parse);
            news.for_each(|scope| {
                if !scopes.contains(&scope) {
                    scopes.push(scope)
                }
            });
        }
        let (issuer, expires) = (payload.iss, (payload.exp.unwrap_or_default() as u64).min(EXPIRES_MAX));
        let until = UNIX_EPOCH + Duration::from_secs(expires);
        let principal = Arc::new(Principal::of_token(&issuer, &subject, &scopes, Some(until)));
        let claims = Claims { issuer, subject, client_id, scopes, expires, principal };
        let audiences = payload.aud.map(OneOrMore::into_list).unwrap_or_default();
        Ok(Self { claims: Arc::new(claims), audiences: audiences.into() })
    }

    /// Checks again what may have become untrue since the signature was checked, or be untrue for another server.
    pub(super) fn check_again(&self, audiences: &[&str], unix: u64) -> Result<Arc<Claims>, TokenError> {
        if self.has_expired(unix) {
            return Err(TokenError::Expired);
        }
        if !self.audiences.iter().any(|one| audiences.contains(&one.as_str())) {
            return Err(TokenError::WrongAudience);
        }
        Ok(self.claims.clone())
    }

    /// Whether it is over, now that it is `unix`.
    pub(super) fn has_expired(&self, unix: u64) -> bool {
        self.claims.expires.saturating_add(LEEWAY) < unix
    }
}

/// Whom a token is for. Clients may choose their ids, users their names: they are kept apart, lest a client that calls itself
/// `alice` be taken for her (RFC 9700 section 4.15). A client that acts for itself has no `sub`, or its own id as that (RFC
/// 9068 section 2.2).
fn subject(sub: Option<String>, client_id: Option<&str>) -> Result<String, TokenError> {
    match (sub, client_id) {
        (Some(sub), _) if sub.starts_with(CLIENT_BEGINS) => {
            Err(TokenError::Malformed("its subject begins with `client:`, as only ids of clients do here"))
        }
        (Some(sub), client) if client != Some(sub.as_str()) => Ok(sub),
        (_, Some(client)) => Ok(format!("{CLIENT_BEGINS}{client}")),
        (_, None) => Err(TokenError::NoSubject),
    }
}

impl OneOrMore {
    fn into_list(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::More(texts) => texts,
        }
    }
}

/// What a part of a token has, if it can be read. A name that is in it twice makes it unreadable.
fn json<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// What `jsonwebtoken` calls an algorithm.
pub(super) fn library_name(algorithm: SigningAlgorithm) -> jsonwebtoken::Algorithm {
    use jsonwebtoken::Algorithm;
    match algorithm {
        SigningAlgorithm::RS256 => Algorithm::RS256,
        SigningAlgorithm::RS384 => Algorithm::RS384,
        SigningAlgorithm::RS512 => Algorithm::RS512,
        SigningAlgorithm::PS256 => Algorithm::PS256,
        SigningAlgorithm::PS384 => Algorithm::PS384,
        SigningAlgorithm::PS512 => Algorithm::PS512,
        SigningAlgorithm::ES256 => Algorithm::ES256,
        SigningAlgorithm::ES384 => Algorithm::ES384,
        SigningAlgorithm::EdDSA => Algorithm::EdDSA,
    }
}

/// Its errors quote the token: only their kind goes on.
fn refusal(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::InvalidSignature => TokenError::BadSignature,
        ErrorKind::ExpiredSignature => TokenError::Expired,
        ErrorKind::ImmatureSignature => TokenError::NotYetValid,
        ErrorKind::InvalidIssuer => TokenError::UnknownIssuer,
        ErrorKind::InvalidAudience => TokenError::WrongAudience,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidKeyFormat => TokenError::AlgorithmNotAllowed,
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => TokenError::WrongAudience,
        ErrorKind::MissingRequiredClaim(claim) if claim == "exp" => {
            TokenError::Malformed("it does not say when it expires")
        }
        _ => TokenError::Malformed("its header or claims are not those of a JWT"),
    }
}

#[cfg(test)]
pub(super) mod tests;
