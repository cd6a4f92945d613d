//! Tokens against keys, without a network. The keys are made anew for each run.

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::{self, KeySize},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256},
};
use serde_json::{Value, json};

use super::*;

pub(in crate::serve::auth) const ISSUER: &str = "https://as.example";
pub(in crate::serve::auth) const AUDIENCE: &str = "https://gateway.example/greet";

/// An issuer's private key.
pub(in crate::serve::auth) struct Signer {
    id: &'static str,
    key: PrivateKey,
}

enum PrivateKey {
    Rsa(rsa::KeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    /// A key for RS256, ES256 or EdDSA.
    pub(in crate::serve::auth) fn new(id: &'static str, algorithm: SigningAlgorithm) -> Self {
        let key = match algorithm {
            SigningAlgorithm::RS256 => rsa::KeyPair::generate(KeySize::Rsa2048).map(PrivateKey::Rsa),
            SigningAlgorithm::ES256 => {
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(PrivateKey::P256)
            }
            SigningAlgorithm::EdDSA => Ed25519KeyPair::generate().map(PrivateKey::Ed25519),
            other => panic!("no test signs by {other:?}"),
        };
        Self { id, key: key.expect("a key") }
    }

    /// What the issuer publishes.
    pub(in crate::serve::auth) fn jwk(&self) -> Value {
        let members = match &self.key {
            PrivateKey::Rsa(key) => {
                let (n, e) = (key.public_key().modulus(), key.public_key().exponent());
                let (n, e) = (n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero());
                json!({"kty": "RSA", "alg": "RS256", "n": base64(n), "e": base64(e)})
            }
            PrivateKey::P256(key) => {
                // 4, then the two coordinates.
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "alg": "ES256", "crv": "P-256", "x": base64(x), "y": base64(y)})
            }
            PrivateKey::Ed25519(key) => {
                json!({"kty": "OKP", "alg": "EdDSA", "crv": "Ed25519", "x": base64(key.public_key())})
            }
        };
        with(members, json!({"kid": self.id, "use": "sig"}))
    }

    pub(in crate::serve::auth) fn sign(&self, claims: &Value) -> String {
        self.sign_as(&self.header(), claims)
    }

    fn header(&self) -> Value {
        json!({"alg": self.jwk()["alg"], "kid": self.id, "typ": "at+jwt"})
    }

    /// Signs whatever header this is, with the algorithm that is its own.
    pub(in crate::serve::auth) fn sign_as(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let (random, bytes) = (SystemRandom::new(), message.as_bytes());
        let signature = match &self.key {
            PrivateKey::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, bytes, &mut signature).expect("it can sign");
                signature
            }
            PrivateKey::P256(key) => key.sign(&random, bytes).expect("it can sign").as_ref().to_vec(),
            PrivateKey::Ed25519(key) => key.sign(bytes).as_ref().to_vec(),
        };
        format!("{message}.{}", base64(signature))
    }
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn message(header: &Value, claims: &Value) -> String {
    format!("{}.{}", base64(header.to_string()), base64(claims.to_string()))
}

pub(in crate::serve::auth) fn unix() -> u64 {
    jsonwebtoken::get_current_timestamp()
}

/// Claims of a token that is good.
pub(in crate::serve::auth) fn claims() -> Value {
    let now = unix();
    json!({
        "iss": ISSUER, "sub": "ada", "aud": AUDIENCE, "client_id": "app",
        "iat": now, "exp": now + 600, "scope": "greet greet:echoHai",
    })
}

/// `json` with the members of `other` instead of its own; `null` takes one away.
pub(in crate::serve::auth) fn with(mut json: Value, other: Value) -> Value {
    let members = json.as_object_mut().expect("an object");
    for (name, value) in other.as_object().expect("an object") {
        match value {
            Value::Null => members.remove(name),
            value => members.insert(name.clone(), value.clone()),
        };
    }
    json
}

fn issuer(algorithms: &[SigningAlgorithm]) -> Issuer {
    Issuer { url: ISSUER.into(), jwks_url: None, algorithms: algorithms.to_vec() }
}

fn keys(published: &[Value]) -> Keys {
    Keys::parse(json!({"keys": published}).to_string().as_bytes()).expect("a key set")
}

fn verify(token: &str, published: &[Value]) -> Result<Arc<Claims>, TokenError> {
    let issuer = issuer(&[SigningAlgorithm::RS256, SigningAlgorithm::ES256, SigningAlgorithm::EdDSA]);
    let verified = Unverified::parse(token)?.verify(&issuer, &keys(published), &[AUDIENCE])?;
    Ok(verified.claims)
}

/// Whether a token is taken that differs from a good one in its claims.
fn check_claims(other: Value, expected: Result<(), TokenError>) {
    let signer = Signer::new("a", SigningAlgorithm::ES256);
    let token = signer.sign(&with(claims(), other.clone()));
    assert_eq!(verify(&token, &[signer.jwk()]).map(|_| ()), expected, "{other}");
}

/// Whether a token is taken that differs from a good one in its header.
fn check_header(other: Value, expected: Result<(), TokenError>) {
    let signer = Signer::new("a", SigningAlgorithm::ES256);
    let token = signer.sign_as(&with(signer.header(), other.clone()), &claims());
    assert_eq!(verify(&token, &[signer.jwk()]).map(|_| ()), expected, "{other}");
}

/// Whether a token is taken whose key is published with these members.
fn check_key(other: Value, expected: Result<(), TokenError>) {
    let signer = Signer::new("a", SigningAlgorithm::ES256);
    let published = with(signer.jwk(), other.clone());
    assert_eq!(verify(&signer.sign(&claims()), &[published]).map(|_| ()), expected, "{other}");
}

#[test]
fn what_a_good_token_says_is_believed() {
    for algorithm in [SigningAlgorithm::RS256, SigningAlgorithm::ES256, SigningAlgorithm::EdDSA] {
        let (signer, other) = (Signer::new("a", algorithm), Signer::new("b", SigningAlgorithm::ES256));
        let said = verify(&signer.sign(&claims()), &[other.jwk(), signer.jwk()]).expect("it is good");
        let scopes: Vec<&str> = said.scopes.iter().map(Scope::as_str).collect();
        assert_eq!((said.subject.as_str(), said.client_id.as_deref()), ("ada", Some("app")));
        assert_eq!((said.issuer.as_str(), scopes), (ISSUER, vec!["greet", "greet:echoHai"]));
    }
}

#[test]
fn a_token_is_for_a_time() {
    let now = unix();
    check_claims(json!({"exp": now - 25}), Ok(()));
    check_claims(json!({"exp": now - 35}), Err(TokenError::Expired));
    check_claims(json!({"exp": now as f64 + 0.5}), Ok(()));
    check_claims(json!({"exp": u64::MAX}), Ok(()));
    check_claims(json!({"exp": null}), Err(TokenError::Malformed("it does not say when it expires")));
    check_claims(json!({"exp": 0}), Err(TokenError::Expired));
    let unreadable = Err(TokenError::Malformed("its header or claims are not those of a JWT"));
    check_claims(json!({"exp": "never"}), unreadable);
    check_claims(json!({"nbf": now + 25}), Ok(()));
    check_claims(json!({"nbf": now + 60}), Err(TokenError::NotYetValid));
    check_claims(json!({"nbf": "now"}), unreadable);
}

#[test]
fn a_token_ends_at_a_time_that_there_is() {
    let check = |exp: Value, expected: u64| {
        let signer = Signer::new("a", SigningAlgorithm::ES256);
        let token = signer.sign(&with(claims(), json!({"exp": exp})));
        let expires = verify(&token, &[signer.jwk()]).expect("it is good").expires;
        assert_eq!(expires, expected, "{exp}");
        assert!(std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(expires)).is_some());
    };
    let soon = unix() + 600;
    check(json!(soon), soon);
    check(json!(253_402_300_799_u64), 253_402_300_799);
    check(json!(1e13), 253_402_300_799);
    check(json!(1e19), 253_402_300_799);
    check(json!(u64::MAX >> 1), 253_402_300_799);
}

#[test]
fn a_token_is_for_somebody() {
    let wrong = Err(TokenError::WrongAudience);
    check_claims(json!({"aud": [AUDIENCE]}), Ok(()));
    check_claims(json!({"aud": ["https://other.example", AUDIENCE]}), Ok(()));
    check_claims(json!({"aud": "https://gateway.example/bye"}), wrong);
    check_claims(json!({"aud": "https://gateway.example/greet/"}), wrong);
    check_claims(json!({"aud": "https://gateway.example"}), wrong);
    check_claims(json!({"aud": ""}), wrong);
    check_claims(json!({"aud": []}), wrong);
    check_claims(json!({"aud": null}), wrong);
}

#[test]
fn a_token_is_from_its_issuer_exactly() {
    check_claims(json!({"iss": "https://as.example/"}), Err(TokenError::UnknownIssuer));
    check_claims(json!({"iss": "https://AS.example"}), Err(TokenError::UnknownIssuer));
    let nobody = Err(TokenError::Malformed("its claims name no issuer"));
    check_claims(json!({"iss": [ISSUER]}), nobody);
    check_claims(json!({"iss": null}), nobody);
}

#[test]
fn a_token_names_a_user_or_a_client() {
    fn check(other: Value, expected: Result<(&str, Option<&str>), TokenError>) {
        let signer = Signer::new("a", SigningAlgorithm::ES256);
        let said = verify(&signer.sign(&with(claims(), other.clone())), &[signer.jwk()]);
        let said = said.as_ref().map(|said| (said.subject.as_str(), said.client_id.as_deref()));
        assert_eq!(said, expected.as_ref().copied(), "{other}");
    }
    check(json!({"client_id": null}), Ok(("ada", None)));
    check(json!({"sub": null}), Ok(("client:app", Some("app"))));
    check(json!({"sub": "", "client_id": null, "azp": "by"}), Ok(("client:by", Some("by"))));
    check(json!({"azp": "by"}), Ok(("ada", Some("app"))));
    check(json!({"sub": null, "client_id": null}), Err(TokenError::NoSubject));
    check(json!({"sub": "", "client_id": "", "azp": ""}), Err(TokenError::NoSubject));
    // A client is no user, whatever it calls itself; and no user is a client.
    check(json!({"sub": null, "client_id": "ada"}), Ok(("client:ada", Some("ada"))));
    check(json!({"sub": "ada", "client_id": "ada"}), Ok(("client:ada", Some("ada"))));
    let malformed = "its subject begins with `client:`, as only ids of clients do here";
    check(json!({"sub": "client:app"}), Err(TokenError::Malformed(malformed)));
    check(json!({"sub": "client:eve", "client_id": null}), Err(TokenError::Malformed(malformed)));
}

#[test]
fn scopes_are_read_in_the_ways_they_are_written() {
    fn check(other: Value, expected: &[&str]) {
        let signer = Signer::new("a", SigningAlgorithm::ES256);
        let said = verify(&signer.sign(&with(claims(), other.clone())), &[signer.jwk()]).expect("it is good");
        assert_eq!(said.scopes.iter().map(Scope::as_str).collect::<Vec<_>>(), expected, "{other}");
    }
    check(json!({"scope": null}), &[]);
    check(json!({"scope": ""}), &[]);
    check(json!({"scope": "a  b a"}), &["a", "b"]);
    check(json!({"scope": null, "scp": "a b"}), &["a", "b"]);
    check(json!({"scope": null, "scp": ["a", "b c"]}), &["a", "b", "c"]);
    check(json!({"scope": "a", "scp": ["b", "a"]}), &["a", "b"]);
    check(json!({"scope": "a \"b\" c\\d"}), &["a"]);
}

#[test]
fn only_access_tokens_are_taken() {
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "JWT", "jwt"] {
        check_header(json!({"typ": typ}), Ok(()));
    }
    check_header(json!({"typ": null}), Ok(()));
    for typ in ["id_token+jwt", "logout+jwt", "dpop+jwt", "secevent+jwt", "at", ""] {
        check_header(json!({"typ": typ}), Err(TokenError::WrongType));
    }
    check_claims(json!({"at_hash": "x"}), Err(TokenError::WrongType));
    check_claims(json!({"c_hash": "x"}), Err(TokenError::WrongType));
}

#[test]
fn what_must_be_understood_is_not() {
    let refused = Err(TokenError::Malformed("its header asks for an extension (`crit`)"));
    check_header(json!({"crit": ["exp"]}), refused);
    check_header(json!({"crit": []}), refused);
    check_header(json!({"crit": ["b64"], "b64": false}), refused);
}

#[test]
fn a_token_cannot_choose_how_it_is_checked() {
    let refused = Err(TokenError::AlgorithmNotAllowed);
    for algorithm in
        ["none", "None", "", "HS256", "HS384", "HS512", "ES384", "PS256", "RS1", "EdDSA", "RS256"]
    {
        check_header(json!({"alg": algorithm}), refused);
    }
    let (ours, foreign) =
        (Signer::new("a", SigningAlgorithm::ES256), Signer::new("a", SigningAlgorithm::ES256));
    let brought =
        json!({"jwk": foreign.jwk(), "jku": "https://evil.example/jwks", "x5u": "https://evil.example"});
    let token = foreign.sign_as(&with(foreign.header(), brought), &claims());
    assert_eq!(verify(&token, &[ours.jwk()]), Err(TokenError::BadSignature));
}

#[test]
fn a_public_key_is_no_secret_that_tokens_are_signed_with() {
    let signer = Signer::new("a", SigningAlgorithm::RS256);
    let published = signer.jwk();
    let modulus = published["n"].as_str().expect("it has one").to_owned();
    let secrets = [modulus.clone().into_bytes(), URL_SAFE_NO_PAD.decode(modulus).expect("base64")];
    for secret in secrets {
        let header = json!({"alg": "HS256", "kid": "a", "typ": "at+jwt"});
        let message = message(&header, &claims());
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message.as_bytes());
        let token = format!("{message}.{}", base64(signature));
        assert_eq!(verify(&token, std::slice::from_ref(&published)), Err(TokenError::AlgorithmNotAllowed));
    }
}

#[test]
fn a_secret_in_a_key_set_is_no_key() {
    let published = json!({"kty": "oct", "kid": "a", "alg": "HS256", "k": "c2VjcmV0"});
    assert_eq!(keys(&[published]).len(), 0);
}

#[test]
fn a_changed_token_is_refused() {
    let signer = Signer::new("a", SigningAlgorithm::ES256);
    let token = signer.sign(&claims());
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let other = signer.sign(&with(claims(), json!({"sub": "eve"})));
    let (other, _) = other.rsplit_once('.').expect("three parts");
    let refused = Err(TokenError::BadSignature);
    assert_eq!(verify(&format!("{other}.{signature}"), &[signer.jwk()]), refused);
    assert_eq!(verify(&format!("{message}."), &[signer.jwk()]), refused);
    assert_eq!(verify(&format!("{message}.{}", &signature[4..]), &[signer.jwk()]), refused);
}

#[test]
fn what_is_no_token_is_refused_in_words() {
    fn check(token: &str, expected: &str) {
        let refused = verify(token, &[]).expect_err("it is no token").to_string();
        assert_eq!(refused, format!("the access token is malformed: {expected}"), "{token}");
    }
    let signed = "it is not a signed JWT";
    check("", signed);
    check("opaque", signed);
    check("mgw_abcd_efgh", signed);
    check("a.b", signed);
    check("a.b.c.d.e", signed);
    check("a.b.c", "its header cannot be read");
    check("e30.e30.", "its header cannot be read");
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let twice = part(r#"{"alg": "ES256", "alg": "none"}"#);
    check(&format!("{twice}.e30."), "its header cannot be read");
    let header = part(r#"{"alg": "ES256"}"#);
    check(&format!("{header}.e30."), "its claims name no issuer");
    check(&format!("{header}.{}.", part(r#"{"iss": "a", "iss": "b"}"#)), "its claims name no issuer");
    check(&format!("{header}.{}.", part("[]")), "its claims name no issuer");
}

#[test]
fn a_key_is_for_what_it_says() {
    let unknown = Err(TokenError::UnknownKey);
    check_key(json!({"use": null, "alg": null}), Ok(()));
    check_key(json!({"key_ops": ["verify"]}), Ok(()));
    check_key(json!({"use": "enc"}), unknown);
    check_key(json!({"key_ops": ["sign"]}), unknown);
    check_key(json!({"alg": "ES384"}), unknown);
    check_key(json!({"alg": "ECDH-ES"}), unknown);
    check_key(json!({"kty": "RSA"}), unknown);
    check_key(json!({"crv": "P-384", "alg": null}), Err(TokenError::AlgorithmNotAllowed));
    check_key(json!({"kid": "b"}), unknown);
    check_key(json!({"kid": null}), unknown);
}

#[test]
fn a_token_without_a_kid_is_taken_if_one_key_fits() {
    let [first, second, rsa] = [SigningAlgorithm::ES256, SigningAlgorithm::ES256, SigningAlgorithm::RS256]
        .map(|algorithm| Signer::new("a", algorithm));
    let token = first.sign_as(&with(first.header(), json!({"kid": null})), &claims());
    let check = |published: &[Value], expected: Result<(), TokenError>| {
        assert_eq!(verify(&token, published).map(|_| ()), expected);
    };
    let nameless = with(first.jwk(), json!({"kid": null}));
    check(&[rsa.jwk(), nameless], Ok(()));
    check(&[first.jwk()], Ok(()));
    check(&[first.jwk(), second.jwk()], Err(TokenError::UnknownKey));
    check(&[rsa.jwk()], Err(TokenError::UnknownKey));
    check(&[second.jwk()], Err(TokenError::BadSignature));
}

#[test]
fn a_key_that_cannot_be_read_spoils_nothing() {
    let signer = Signer::new("a", SigningAlgorithm::ES256);
    let strange = json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "x"});
    let published =
        [json!(1), json!({}), json!({"kty": "EC", "crv": "P-256", "x": 1}), strange, signer.jwk()];
    assert!(verify(&signer.sign(&claims()), &published).is_ok());
    assert!(Keys::parse(b"{}").is_err());
    assert!(Keys::parse(b"<html>").is_err());
}

#[test]
fn a_refusal_can_be_put_in_a_header() {
    let all = [
        TokenError::Malformed("it is longer than 16 KiB"),
        TokenError::UnknownIssuer,
        TokenError::AlgorithmNotAllowed,
        TokenError::UnknownKey,
        TokenError::BadSignature,
        TokenError::Expired,
        TokenError::NotYetValid,
        TokenError::WrongAudience,
        TokenError::NoSubject,
        TokenError::WrongType,
        TokenError::IssuerUnreachable,
    ];
    let texts = all.map(|error| error.to_string());
    assert!(
        texts.iter().all(|text| text.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\'))
    );
    insta::assert_snapshot!(texts.join("\n"), @r"
    the access token is malformed: it is longer than 16 KiB
    the access token is from an issuer that this server does not know
    the access token is signed with an algorithm that is not allowed
    the access token is signed with a key that its issuer does not publish
    the signature of the access token is wrong
    the access token has expired
    the access token is not valid yet
    the access token was issued for another audience; ask for one with this server as `resource`
    the access token names neither a subject nor a client
    the token is not an access token
    the keys of the issuer cannot be fetched at present; try again later
    ");
}
