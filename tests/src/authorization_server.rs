//! An OAuth 2.1 authorization server on this machine, for tests: who asks is who they say, and gets what they ask for.
//!
//! In:   the scopes that it grants, those with a `?` behind them only to a client that comes a second time.
//! Out:  its metadata (RFC 8414, OpenID Connect Discovery), keys, registration of clients (RFC 7591), codes (with PKCE
//!       and `iss`) and tokens (for the `resource` of RFC 8707); and any token that a test wants signed.
//! Never: anything that is worth protecting.

mod endpoints;
mod keys;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use endpoints::Grants;
use keys::{Algorithm, Keys};

/// A running authorization server. Ends when dropped.
pub struct AuthorizationServer {
    issuer: Arc<Issuer>,
    task: JoinHandle<()>,
}

/// What its endpoints and the test share.
struct Issuer {
    url: String,
    scopes: Vec<String>,
    /// Those of `scopes` that a client is not granted at first.
    reluctant: Vec<String>,
    keys: Mutex<Keys>,
    grants: Mutex<Grants>,
    jwks_requests: AtomicUsize,
    fails: AtomicBool,
}

impl AuthorizationServer {
    /// Starts one on a free port that grants these scopes: `"a"` to everybody, `"b?"` to a client that has got a code before.
    pub async fn start(scopes: &[&str]) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), scopes).await
    }

    /// As [`AuthorizationServer::start`], at this address.
    pub async fn start_at(address: SocketAddr, scopes: &[&str]) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let reluctant = scopes.iter().filter_map(|scope| scope.strip_suffix('?'));
        let issuer = Arc::new(Issuer {
            url: format!("http://{address}"),
            scopes: scopes.iter().map(|scope| scope.trim_end_matches('?').to_owned()).collect(),
            reluctant: reluctant.map(str::to_owned).collect(),
            keys: Mutex::new(Keys::new("1")),
            grants: Mutex::default(),
            jwks_requests: AtomicUsize::new(0),
            fails: AtomicBool::new(false),
        });
        let router = endpoints::router(issuer.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { issuer, task }
    }

    /// What its tokens have as `iss`, and where it listens.
    pub fn url(&self) -> &str {
        &self.issuer.url
    }

    /// How often its keys were asked for.
    pub fn jwks_requests(&self) -> usize {
        self.issuer.jwks_requests.load(Ordering::SeqCst)
    }

    /// New keys; nobody can check with the old ones any more.
    pub fn rotate(&self) {
        let mut keys = self.issuer.keys();
        *keys = keys.next();
    }

    /// From now on its keys cannot be had: 500.
    pub fn fail(&self) {
        self.issuer.fails.store(true, Ordering::SeqCst);
    }

    /// From now on they can be had again.
    pub fn recover(&self) {
        self.issuer.fails.store(false, Ordering::SeqCst);
    }

    /// The claims of a token that is good for ten minutes: `ada`, by the client `app`. Change what you like.
    pub fn claims(&self, audience: &str, scope: &str) -> Value {
        self.issuer.claims("app", audience, scope)
    }

    /// A good token for `audience`.
    pub fn token(&self, audience: &str, scope: &str) -> String {
        self.sign(&self.claims(audience, scope))
    }

    /// Signs by ES256.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with_header(&json!({"alg": "ES256"}), claims)
    }

    /// Signs by RS256.
    pub fn sign_rs256(&self, claims: &Value) -> String {
        self.sign_with_header(&json!({"alg": "RS256"}), claims)
    }

    /// Signs with what this header has instead of what a good one has: `null` leaves something out.
    ///
    /// `alg` says how: ES256, RS256, HS256 (the secret is the RSA key that everybody can read), none.
    pub fn sign_with_header(&self, header: &Value, claims: &Value) -> String {
        self.issuer.keys().sign(header, claims)
    }

    /// Signs with the RSA key that everybody can read, as if it were a secret.
    pub fn sign_with_public_key(&self, claims: &Value) -> String {
        self.sign_with_header(&json!({"alg": Algorithm::Hs256.name()}), claims)
    }

    /// Signs with nothing: `alg` is `none`.
    pub fn sign_with_nothing(&self, claims: &Value) -> String {
        self.sign_with_header(&json!({"alg": Algorithm::None.name()}), claims)
    }

    /// Signs with a key that is not one of its own but is called like one.
    pub fn sign_with_foreign_key(&self, claims: &Value) -> String {
        let foreign = self.issuer.keys().namesake();
        foreign.sign(&json!({"alg": "ES256"}), claims)
    }
}

impl Drop for AuthorizationServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Issuer {
    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn grants(&self) -> MutexGuard<'_, Grants> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claims(&self, client: &str, audience: &str, scope: &str) -> Value {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970");
        let now = since_1970.as_secs();
        json!({
            "iss": self.url, "sub": "ada", "client_id": client, "aud": audience,
            "iat": now, "exp": now + 600, "scope": scope,
        })
    }
}

#[cfg(test)]
mod tests;
