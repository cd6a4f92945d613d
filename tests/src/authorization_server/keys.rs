//! The keys of an authorization server, and what is signed with them.

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// One key for each algorithm, called `es256-1` and `rs256-1`, then `es256-2`, and so on.
pub(super) struct Keys {
    number: String,
    es256: EcdsaKeyPair,
    rs256: RsaKeyPair,
}

/// How something is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Es256,
    Rs256,
    Hs256,
    None,
}

impl Algorithm {
    const ALL: [Self; 4] = [Self::Es256, Self::Rs256, Self::Hs256, Self::None];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::Hs256 => "HS256",
            Self::None => "none",
        }
    }
}

impl Keys {
    pub(super) fn new(number: &str) -> Self {
        let es256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let rs256 = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        Self { number: number.to_owned(), es256, rs256 }
    }

    /// Others, called otherwise.
    pub(super) fn next(&self) -> Self {
        let number: usize = self.number.parse().expect("a number");
        Self::new(&(number + 1).to_string())
    }

    /// Others that are called the same.
    pub(super) fn namesake(&self) -> Self {
        Self::new(&self.number)
    }

    /// What everybody may see of them: a JWK Set.
    pub(super) fn published(&self) -> Value {
        // 4, then the two coordinates.
        let point = self.es256.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        let rsa = self.rs256.public_key();
        let (n, e) = (rsa.modulus(), rsa.exponent());
        json!({"keys": [
            {
                "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id(Algorithm::Es256),
                "x": base64(x), "y": base64(y),
            },
            {
                "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.id(Algorithm::Rs256),
                "n": base64(n.big_endian_without_leading_zero()),
                "e": base64(e.big_endian_without_leading_zero()),
            },
        ]})
    }

    fn id(&self, algorithm: Algorithm) -> String {
        match algorithm {
            Algorithm::Es256 => format!("es256-{}", self.number),
            Algorithm::Rs256 | Algorithm::Hs256 | Algorithm::None => format!("rs256-{}", self.number),
        }
    }

    /// A token with these claims. Its header is a good one for the `alg` in `changes`, and then changed like that.
    pub(super) fn sign(&self, changes: &Value, claims: &Value) -> String {
        let named = |algorithm: &Algorithm| changes["alg"].as_str().unwrap_or("ES256") == algorithm.name();
        let algorithm = Algorithm::ALL.into_iter().find(named).expect("an algorithm that it can");
        let mut header = json!({"alg": algorithm.name(), "kid": self.id(algorithm), "typ": "at+jwt"});
        let members = header.as_object_mut().expect("an object");
        for (name, value) in changes.as_object().expect("an object") {
            members.insert(name.clone(), value.clone());
        }
        members.retain(|_, value| !value.is_null());
        let message = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
        let signature = self.signature(algorithm, message.as_bytes());
        format!("{message}.{}", base64(signature))
    }

    fn signature(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match algorithm {
            Algorithm::Es256 => self.es256.sign(&random, message).expect("it can sign").as_ref().to_vec(),
            Algorithm::Rs256 => {
                let mut signature = vec![0; self.rs256.public_modulus_len()];
                self.rs256.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect("it can sign");
                signature
            }
            Algorithm::Hs256 => {
                let secret = hmac::Key::new(hmac::HMAC_SHA256, self.rs256.public_key().as_ref());
                hmac::sign(&secret, message).as_ref().to_vec()
            }
            Algorithm::None => Vec::new(),
        }
    }
}

/// As JOSE has it: for URLs, unpadded.
pub(super) fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
