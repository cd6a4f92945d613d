//! A client of the authorization server, and somebody who checks its tokens.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};

use super::*;

const HOME: &str = "http://127.0.0.1:9/home";
const GREET: &str = "http://127.0.0.1:8000/greet";
/// Those of RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// Status, `Location` and body of what it answers.
async fn ask(
    server: &AuthorizationServer,
    method: &str,
    path: &str,
    body: &str,
) -> (StatusCode, String, Value) {
    let request = Request::builder().method(method).uri(format!("{}{path}", server.url()));
    let request = request.body(Full::new(Bytes::from(body.to_owned()))).expect("a request");
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request).await.expect("an answer");
    let (parts, body) = answer.into_parts();
    let location = parts.headers.get("location").map_or("", |value| value.to_str().expect("ASCII"));
    let body = body.collect().await.expect("a body").to_bytes();
    (parts.status, location.to_owned(), serde_json::from_slice(&body).unwrap_or_default())
}

async fn register(server: &AuthorizationServer) -> String {
    let grant_types = ["authorization_code", "refresh_token"];
    let client =
        json!({"client_name": "test", "redirect_uris": [HOME], "grant_types": grant_types}).to_string();
    let (status, _, client) = ask(server, "POST", "/register", &client).await;
    assert_eq!((status, &client["client_name"]), (StatusCode::CREATED, &json!("test")));
    client["client_id"].as_str().expect("an id").to_owned()
}

/// Where a client is sent that asks for this.
async fn authorize(server: &AuthorizationServer, client: &str, scope: &str) -> String {
    let query = form(&[
        ("response_type", "code"),
        ("client_id", client),
        ("redirect_uri", HOME),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("state", "s&t"),
        ("scope", scope),
        ("resource", GREET),
    ]);
    let (status, location, _) = ask(server, "GET", &format!("/authorize?{query}"), "").await;
    assert_eq!(status, StatusCode::FOUND);
    location
}

fn form(parameters: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

async fn redeem(
    server: &AuthorizationServer,
    client: &str,
    code: &str,
    verifier: &str,
) -> Result<Value, String> {
    let body = form(&[
        ("grant_type", "authorization_code"),
        ("client_id", client),
        ("code", code),
        ("redirect_uri", HOME),
        ("code_verifier", verifier),
        ("resource", GREET),
    ]);
    answered(ask(server, "POST", "/token", &body).await)
}

fn answered((status, _, body): (StatusCode, String, Value)) -> Result<Value, String> {
    if status.is_success() { Ok(body) } else { Err(body["error"].as_str().expect("an error").to_owned()) }
}

fn code_in(location: &str) -> String {
    let (home, query) = location.split_once('?').expect("it has a query");
    assert_eq!(home, HOME);
    let find = |name: &str| form_urlencoded::parse(query.as_bytes()).find(|(one, _)| one == name);
    assert_eq!(find("state").expect("it came back").1, "s&t");
    assert!(find("iss").is_some());
    find("code").expect("a code").1.into_owned()
}

fn decoded(part: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(part).expect("base64")
}

/// What a token says, if it is signed with a key that is published now.
async fn checked(server: &AuthorizationServer, token: &str) -> Option<Value> {
    let (_, _, set) = ask(server, "GET", "/jwks", "").await;
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let (header, claims) = message.split_once('.').expect("three parts");
    let header: Value = serde_json::from_slice(&decoded(header)).expect("JSON");
    let key = set["keys"].as_array().expect("keys").iter().find(|key| key["kid"] == header["kid"])?;
    let part = |name: &str| decoded(key[name].as_str().expect("it has it"));
    let (message, signature) = (message.as_bytes(), decoded(signature));
    let is_good = if header["alg"] == "ES256" {
        let point = [vec![4], part("x"), part("y")].concat();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, &signature).is_ok()
    } else {
        let key = RsaPublicKeyComponents { n: part("n"), e: part("e") };
        key.verify(&RSA_PKCS1_2048_8192_SHA256, message, &signature).is_ok()
    };
    is_good.then(|| serde_json::from_slice(&decoded(claims)).expect("JSON"))
}

#[tokio::test]
async fn a_client_gets_a_token_for_what_it_asked_for() {
    let server = AuthorizationServer::start(&["greet", "bye"]).await;
    let client = register(&server).await;
    let code = code_in(&authorize(&server, &client, "greet admin").await);
    let answer = redeem(&server, &client, &code, VERIFIER).await.expect("a token");
    assert_eq!((&answer["scope"], &answer["token_type"]), (&json!("greet"), &json!("Bearer")));
    let token = answer["access_token"].as_str().expect("a token");
    let claims = checked(&server, token).await.expect("it is signed");
    assert_eq!((&claims["aud"], &claims["scope"]), (&json!(GREET), &json!("greet")));
    assert_eq!((&claims["iss"], &claims["client_id"]), (&json!(server.url()), &json!(client)));

    let refresh = answer["refresh_token"].as_str().expect("a refresh token");
    let body = form(&[("grant_type", "refresh_token"), ("client_id", &client), ("refresh_token", refresh)]);
    let again = answered(ask(&server, "POST", "/token", &body).await).expect("a token");
    assert_eq!(again["scope"], "greet");
    assert_eq!(answered(ask(&server, "POST", "/token", &body).await), Err("invalid_grant".into()));
}

#[tokio::test]
async fn some_scopes_are_granted_only_to_a_client_that_comes_again() {
    let server = AuthorizationServer::start(&["math", "math:extra?"]).await;
    let (_, _, metadata) = ask(&server, "GET", "/.well-known/oauth-authorization-server", "").await;
    assert_eq!(metadata["scopes_supported"], json!(["math", "math:extra"]));
    let client = register(&server).await;
    for granted in ["math", "math math:extra"] {
        let code = code_in(&authorize(&server, &client, "math math:extra").await);
        let answer = redeem(&server, &client, &code, VERIFIER).await.expect("a token");
        assert_eq!(answer["scope"], granted);
    }
}

#[tokio::test]
async fn a_code_is_good_once_and_with_its_verifier() {
    let server = AuthorizationServer::start(&["greet"]).await;
    let client = register(&server).await;
    let code = code_in(&authorize(&server, &client, "greet").await);
    redeem(&server, &client, &code, VERIFIER).await.expect("a token");
    let refused = Err("invalid_grant".to_owned());
    assert_eq!(redeem(&server, &client, &code, VERIFIER).await, refused);
    let code = code_in(&authorize(&server, &client, "greet").await);
    assert_eq!(redeem(&server, &client, &code, "another").await, refused);
    let code = code_in(&authorize(&server, &client, "greet").await);
    assert_eq!(redeem(&server, "another", &code, VERIFIER).await, refused);
}

#[tokio::test]
async fn what_a_test_wants_signed_is_signed_like_that() {
    let server = AuthorizationServer::start(&[]).await;
    let claims = server.claims(GREET, "greet");
    let (by_es256, by_rs256) = (server.sign(&claims), server.sign_rs256(&claims));
    for good in [&by_es256, &by_rs256] {
        assert_eq!(checked(&server, good).await.as_ref(), Some(&claims));
    }
    let bad = [
        server.sign_with_public_key(&claims),
        server.sign_with_nothing(&claims),
        server.sign_with_foreign_key(&claims),
        server.sign_with_header(&json!({"kid": "other"}), &claims),
        server.sign_with_header(&json!({"kid": null}), &claims),
    ];
    for bad in bad {
        assert_eq!(checked(&server, &bad).await, None, "{bad}");
    }
    server.rotate();
    assert_eq!(checked(&server, &by_es256).await, None);
    assert_eq!(checked(&server, &server.token(GREET, "")).await.expect("it is signed")["aud"], GREET);
}

#[tokio::test]
async fn keys_are_counted_and_can_fail() {
    let server = AuthorizationServer::start(&[]).await;
    let status = async || ask(&server, "GET", "/jwks", "").await.0;
    assert_eq!(status().await, StatusCode::OK);
    server.fail();
    assert_eq!(status().await, StatusCode::INTERNAL_SERVER_ERROR);
    server.recover();
    assert_eq!(status().await, StatusCode::OK);
    assert_eq!(server.jwks_requests(), 3);
    for document in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] {
        assert_eq!(ask(&server, "GET", document, "").await.2["issuer"], server.url());
    }
}
