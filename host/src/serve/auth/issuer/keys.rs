//! The keys that an issuer publishes: a JWK Set (RFC 7517), of which only what can check a signature counts.

use jsonwebtoken::{
    DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

use super::super::token::{TokenError, library_name};
use crate::config::SigningAlgorithm;

/// An issuer's keys. A set that was fetched again and is the same is the same `Arc`.
#[derive(Debug, Default)]
pub(in crate::serve::auth) struct Keys(Vec<Key>);

#[derive(Debug)]
struct Key {
    published: Jwk,
    /// What it may be used with, by its type and by what it says of itself; never empty.
    algorithms: Vec<SigningAlgorithm>,
    key: DecodingKey,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

impl Keys {
    /// Reads a JWK Set. A key of an unknown kind, or for another use, is left out and spoils nothing.
    pub(in crate::serve::auth) fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        let set: Set = serde_json::from_slice(text)?;
        Ok(Self(set.keys.into_iter().filter_map(Key::parse).collect()))
    }

    /// The key that a token with this `kid` and `alg` is signed with. Without `kid` only if there is no choice.
    pub(in crate::serve::auth) fn find(
        &self,
        id: Option<&str>,
        algorithm: SigningAlgorithm,
    ) -> Result<&DecodingKey, TokenError> {
        let named =
            || self.0.iter().filter(|key| id.is_none() || key.published.common.key_id.as_deref() == id);
        let mut fitting = named().filter(|key| key.algorithms.contains(&algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => Ok(&only.key),
            (None, _) if id.is_some() && named().next().is_some() => Err(TokenError::AlgorithmNotAllowed),
            _ => Err(TokenError::UnknownKey),
        }
    }

    /// How many there are.
    pub(in crate::serve::auth) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the issuer published the same when it was asked for `other`.
    pub(super) fn are(&self, other: &Self) -> bool {
        let published = |keys: &'_ Self| keys.0.iter().map(|key| key.published.clone()).collect::<Vec<_>>();
        published(self) == published(other)
    }
}

impl Key {
    fn parse(published: Value) -> Option<Self> {
        let published: Jwk = serde_json::from_value(published).ok()?;
        let algorithms = algorithms(&published);
        let key = DecodingKey::from_jwk(&published).ok()?;
        (!algorithms.is_empty()).then_some(Self { published, algorithms, key })
    }
}

/// What a key may be used with. Nothing symmetric: that would let everybody sign who can read the key.
fn algorithms(jwk: &Jwk) -> Vec<SigningAlgorithm> {
    use SigningAlgorithm::*;
    let by_type: &[SigningAlgorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &[RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => &[ES256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => &[ES384],
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[EdDSA],
        _ => &[],
    };
    let common = &jwk.common;
    let signs = common.public_key_use.as_ref().is_none_or(|one| *one == PublicKeyUse::Signature)
        && common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
    let says = |one: &SigningAlgorithm| {
        common.key_algorithm.is_none_or(|own| own == KeyAlgorithm::from(library_name(*one)))
    };
    by_type.iter().copied().filter(|one| signs && says(one)).collect()
}
