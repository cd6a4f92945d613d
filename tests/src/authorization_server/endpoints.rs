//! What an authorization server answers.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    Json, Router,
    extract::{RawQuery, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Issuer, keys::base64};

/// Who was promised what.
#[derive(Debug, Default)]
pub(super) struct Grants {
    clients: HashMap<String, Client>,
    /// By code; each is good once.
    codes: HashMap<String, Code>,
    /// By refresh token; each is good once.
    refreshes: HashMap<String, Grant>,
}

#[derive(Debug)]
struct Client {
    /// Where it wants its codes sent.
    redirect_uris: Vec<String>,
    /// Whether it said that it takes refresh tokens.
    refreshes: bool,
    /// Whether it was given a code.
    came_before: bool,
}

/// What a client has been given, and may have a token of.
#[derive(Debug, Clone)]
struct Grant {
    client: String,
    scope: String,
    resource: Option<String>,
}

#[derive(Debug)]
struct Code {
    grant: Grant,
    redirect_uri: String,
    challenge: String,
}

/// Parameters of a query or a form.
struct Parameters(HashMap<String, String>);

/// `error` and `error_description` of RFC 6749.
struct Refusal(&'static str, &'static str);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({"error": self.0, "error_description": self.1});
        (StatusCode::BAD_REQUEST, Json(body)).into_response()
    }
}

impl Parameters {
    fn parse(text: &str) -> Self {
        Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn need(&self, name: &str, refusal: &'static str) -> Result<&str, Refusal> {
        self.get(name).ok_or(Refusal("invalid_request", refusal))
    }
}

pub(super) fn router(issuer: Arc<Issuer>) -> Router {
    Router::new()
        .route("/.well-known/oauth-authorization-server", get(metadata))
        .route("/.well-known/openid-configuration", get(metadata))
        .route("/jwks", get(jwks))
        .route("/register", post(register))
        .route("/authorize", get(authorize))
        .route("/token", post(token))
        .with_state(issuer)
}

async fn metadata(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    let at = |path: &str| format!("{}{path}", issuer.url);
    Json(json!({
        "issuer": issuer.url,
        "jwks_uri": at("/jwks"),
        "registration_endpoint": at("/register"),
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "scopes_supported": issuer.scopes,
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"],
        "authorization_response_iss_parameter_supported": true,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }))
}

async fn jwks(State(issuer): State<Arc<Issuer>>) -> Response {
    issuer.jwks_requests.fetch_add(1, Ordering::SeqCst);
    if issuer.fails.load(Ordering::SeqCst) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    Json(issuer.keys().published()).into_response()
}

/// RFC 7591. A client is public, whatever it would rather be.
async fn register(State(issuer): State<Arc<Issuer>>, body: String) -> Result<Response, Refusal> {
    let no = || Refusal("invalid_redirect_uri", "the client has no `redirect_uris`");
    let mut client: Value = serde_json::from_str(&body).map_err(|_| no())?;
    let redirect_uris: Vec<String> =
        serde_json::from_value(client["redirect_uris"].clone()).map_err(|_| no())?;
    let id = format!("client-{}", Uuid::new_v4());
    let grant_types = client["grant_types"].as_array().map(Vec::as_slice).unwrap_or_default();
    let refreshes = grant_types.iter().any(|one| one == "refresh_token");
    let registered = Client { redirect_uris, refreshes, came_before: false };
    issuer.grants().clients.insert(id.clone(), registered);
    client["client_id"] = id.into();
    client["token_endpoint_auth_method"] = "none".into();
    Ok((StatusCode::CREATED, Json(client)).into_response())
}

/// There is nobody to ask, so everybody agrees.
async fn authorize(
    State(issuer): State<Arc<Issuer>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let asked = Parameters::parse(&query.unwrap_or_default());
    let client = asked.need("client_id", "`client_id` is missing")?;
    let redirect_uri = asked.need("redirect_uri", "`redirect_uri` is missing")?;
    let mut grants = issuer.grants();
    let known = grants.clients.get_mut(client);
    let known = known.filter(|client| client.redirect_uris.iter().any(|uri| uri == redirect_uri));
    let known = known.ok_or(Refusal("invalid_request", "no such client, or it is not to be found there"))?;
    if asked.get("response_type") != Some("code") || asked.get("code_challenge_method") != Some("S256") {
        return Err(Refusal("invalid_request", "only `code` with a challenge by S256 is done"));
    }
    let challenge = asked.need("code_challenge", "`code_challenge` is missing")?.to_owned();
    let comes_again = std::mem::replace(&mut known.came_before, true);
    let has = |list: &[String], scope: &str| list.iter().any(|own| own == scope);
    let is_granted =
        |scope: &&str| has(&issuer.scopes, scope) && (comes_again || !has(&issuer.reluctant, scope));
    let scope: Vec<&str> = asked.get("scope").unwrap_or_default().split(' ').filter(is_granted).collect();
    let resource = asked.get("resource").map(str::to_owned);
    let grant = Grant { client: client.to_owned(), scope: scope.join(" "), resource };
    let code = Uuid::new_v4().to_string();
    let mut answer = form_urlencoded::Serializer::new(String::new());
    answer.append_pair("code", &code).append_pair("iss", &issuer.url);
    if let Some(state) = asked.get("state") {
        answer.append_pair("state", state);
    }
    let joint = if redirect_uri.contains('?') { '&' } else { '?' };
    let location = format!("{redirect_uri}{joint}{}", answer.finish());
    grants.codes.insert(code, Code { grant, redirect_uri: redirect_uri.to_owned(), challenge });
    Ok((StatusCode::FOUND, [(header::LOCATION, location)]).into_response())
}

async fn token(State(issuer): State<Arc<Issuer>>, body: String) -> Result<Response, Refusal> {
    let asked = Parameters::parse(&body);
    let grant = match asked.get("grant_type") {
        Some("authorization_code") => by_code(&issuer, &asked)?,
        Some("refresh_token") => by_refresh_token(&issuer, &asked)?,
        _ => return Err(Refusal("unsupported_grant_type", "only codes and refresh tokens are taken")),
    };
    if asked.get("client_id") != Some(&grant.client) {
        return Err(Refusal("invalid_grant", "it was given to another client"));
    }
    if let (Some(asked), Some(granted)) = (asked.get("resource"), &grant.resource)
        && asked != granted
    {
        return Err(Refusal("invalid_target", "it was granted for another `resource`"));
    }
    let audience = grant.resource.as_deref().or(asked.get("resource")).unwrap_or(&issuer.url);
    let claims = issuer.claims(&grant.client, audience, &grant.scope);
    let mut answer = json!({
        "access_token": issuer.keys().sign(&json!({"alg": "RS256"}), &claims),
        "token_type": "Bearer",
        "expires_in": 600,
        "scope": grant.scope,
    });
    let mut grants = issuer.grants();
    if grants.clients.get(&grant.client).is_some_and(|client| client.refreshes) {
        let refresh = Uuid::new_v4().to_string();
        answer["refresh_token"] = refresh.clone().into();
        grants.refreshes.insert(refresh, grant);
    }
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

fn by_code(issuer: &Issuer, asked: &Parameters) -> Result<Grant, Refusal> {
    let wrong = || Refusal("invalid_grant", "the code is unknown, used, or for another `redirect_uri`");
    let code = issuer.grants().codes.remove(asked.need("code", "`code` is missing")?).ok_or_else(wrong)?;
    if asked.get("redirect_uri") != Some(&code.redirect_uri) {
        return Err(wrong());
    }
    let verifier = asked.need("code_verifier", "`code_verifier` is missing")?;
    if base64(digest(&SHA256, verifier.as_bytes())) != code.challenge {
        return Err(Refusal("invalid_grant", "`code_verifier` does not fit the challenge"));
    }
    Ok(code.grant)
}

fn by_refresh_token(issuer: &Issuer, asked: &Parameters) -> Result<Grant, Refusal> {
    let token = asked.need("refresh_token", "`refresh_token` is missing")?;
    issuer
        .grants()
        .refreshes
        .remove(token)
        .ok_or(Refusal("invalid_grant", "the refresh token is unknown or used"))
}
