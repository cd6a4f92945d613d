//! Issuers on this machine that answer what a test says, at a time that the test says.

mod server;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{
    super::token::tests::{AUDIENCE, Signer, claims, unix, with},
    *,
};
use crate::config::SigningAlgorithm;
use server::Server;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

fn table(url: &str, jwks_url: Option<String>) -> config::Issuer {
    let algorithms = vec![SigningAlgorithm::ES256];
    config::Issuer { url: url.to_owned(), jwks_url, algorithms }
}

/// An issuer whose keys are at `/jwks`.
fn issuers(server: &Server) -> Issuers {
    Issuers::new(&[table(&server.url(""), Some(server.url("/jwks")))])
}

fn signer(id: &'static str) -> Signer {
    Signer::new(id, SigningAlgorithm::ES256)
}

/// A good token; no two are the same.
fn token(server: &Server, signer: &Signer) -> String {
    signer.sign(&claims_of(server))
}

fn claims_of(server: &Server) -> Value {
    with(claims(), json!({"iss": server.url("")}))
}

/// The whole test happens at this moment, or at one that is counted from it.
struct Clock(Moment);

impl Clock {
    fn start() -> Self {
        Self(Moment::now())
    }

    fn after(&self, time: Duration) -> Moment {
        Moment { instant: self.0.instant + time, unix: self.0.unix }
    }
}

/// Waits until no keys are being fetched.
async fn settled(issuers: &Issuers) {
    for issuer in &issuers.0 {
        let ended = issuer.attempts().ended.clone();
        if let Some(mut ended) = ended {
            while ended.changed().await.is_ok() {}
        }
    }
}

async fn check(issuers: &Issuers, now: Moment, token: &str, expected: Result<(), TokenError>) {
    assert_eq!(issuers.verify_at(now, token, &[AUDIENCE]).await.map(|_| ()), expected);
}

#[tokio::test]
async fn keys_are_fetched_when_there_is_a_token_and_kept() {
    let (server, key) = (Server::start().await, signer("a"));
    server.publish(&[&key]);
    let issuers = issuers(&server);
    assert_eq!(server.requests("/jwks"), 0);
    for _ in 0..3 {
        let said = issuers.verify(&token(&server, &key), &[AUDIENCE]).await.expect("it is good");
        assert_eq!(said.subject, "ada");
    }
    assert_eq!(server.requests("/jwks"), 1);
}

#[tokio::test]
async fn keys_are_found_by_any_of_the_three_kinds_of_metadata() {
    async fn check_found(path: &str, metadata: &str) {
        let (server, key) = (Server::start().await, signer("a"));
        server.publish(&[&key]);
        let issuer = server.url(path);
        server.answer(metadata, json!({"issuer": issuer, "jwks_uri": server.url("/jwks")}));
        let issuers = Issuers::new(&[table(&issuer, None)]);
        let token = key.sign(&with(claims(), json!({"iss": issuer})));
        check(&issuers, Moment::now(), &token, Ok(())).await;
    }
    check_found("", "/.well-known/oauth-authorization-server").await;
    check_found("", "/.well-known/openid-configuration").await;
    check_found("/tenant", "/.well-known/oauth-authorization-server/tenant").await;
    check_found("/tenant", "/.well-known/openid-configuration/tenant").await;
    check_found("/tenant/", "/tenant/.well-known/openid-configuration").await;
}

#[tokio::test]
async fn a_new_key_is_found_and_an_old_one_forgotten() {
    let (server, clock) = (Server::start().await, Clock::start());
    let (old, new) = (signer("old"), signer("new"));
    server.publish(&[&old]);
    let issuers = issuers(&server);
    let by_old = token(&server, &old);
    check(&issuers, clock.0, &by_old, Ok(())).await;

    server.publish(&[&new]);
    let by_new = token(&server, &new);
    check(&issuers, clock.after(PAUSE / 2), &by_new, Err(TokenError::UnknownKey)).await;
    check(&issuers, clock.after(PAUSE / 2), &by_old, Ok(())).await;
    check(&issuers, clock.after(2 * PAUSE), &by_new, Ok(())).await;
    check(&issuers, clock.after(2 * PAUSE), &by_old, Err(TokenError::UnknownKey)).await;
    assert_eq!(server.requests("/jwks"), 2);
}

#[tokio::test]
async fn a_new_key_without_a_kid_is_found_too() {
    let (server, clock) = (Server::start().await, Clock::start());
    let nameless = |signer: &Signer| with(signer.jwk(), json!({"kid": null}));
    let (old, new) = (signer("old"), signer("new"));
    server.answer("/jwks", json!({"keys": [nameless(&old)]}));
    let issuers = issuers(&server);
    let sign = |signer: &Signer| signer.sign_as(&json!({"alg": "ES256"}), &claims_of(&server));
    check(&issuers, clock.0, &sign(&old), Ok(())).await;
    server.answer("/jwks", json!({"keys": [nameless(&new)]}));
    check(&issuers, clock.after(MINUTE), &sign(&new), Ok(())).await;
    check(&issuers, clock.after(MINUTE), &sign(&old), Err(TokenError::BadSignature)).await;
}

#[tokio::test]
async fn a_flood_of_unknown_keys_is_one_request_in_half_a_minute() {
    let (server, clock) = (Server::start().await, Clock::start());
    let (ours, foreign) = (signer("ours"), signer("foreign"));
    server.publish(&[&ours]);
    let issuers = issuers(&server);
    check(&issuers, clock.0, &token(&server, &ours), Ok(())).await;
    let flood = async |seconds: u64, expected: TokenError| {
        let now = clock.after(Duration::from_secs(seconds));
        let tokens: Vec<_> = (0..100).map(|_| token(&server, &foreign)).collect();
        join_all(tokens.iter().map(|token| check(&issuers, now, token, Err(expected)))).await;
        server.requests("/jwks")
    };
    assert_eq!(flood(29, TokenError::UnknownKey).await, 1);
    assert_eq!(flood(31, TokenError::UnknownKey).await, 2);
    assert_eq!(flood(60, TokenError::UnknownKey).await, 2);
    // Whether the key is unknown cannot be told now; but no more is asked.
    server.fail("/jwks");
    assert_eq!(flood(70, TokenError::IssuerUnreachable).await, 3);
    assert_eq!(flood(99, TokenError::IssuerUnreachable).await, 3);
    assert_eq!(flood(110, TokenError::IssuerUnreachable).await, 4);
}

#[tokio::test]
async fn callers_at_once_wait_for_one_fetch() {
    let (server, key, clock) = (Server::start().await, signer("a"), Clock::start());
    server.publish(&[&key]);
    let issuers = issuers(&server);
    server.hold();
    let tokens: Vec<_> = (0..20).map(|_| token(&server, &key)).collect();
    let calls = join_all(tokens.iter().map(|token| check(&issuers, clock.0, token, Ok(()))));
    let release = async {
        server.asked("/jwks", 1).await;
        server.release();
    };
    tokio::join!(calls, release);
    assert_eq!(server.requests("/jwks"), 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_end_the_fetch() {
    let (server, key, clock) = (Server::start().await, signer("a"), Clock::start());
    server.publish(&[&key]);
    let issuers = issuers(&server);
    server.hold();
    let token = token(&server, &key);
    tokio::select! {
        _ = issuers.verify_at(clock.0, &token, &[AUDIENCE]) => panic!("there are no keys yet"),
        () = server.asked("/jwks", 1) => {}
    }
    server.release();
    check(&issuers, clock.0, &token, Ok(())).await;
    assert_eq!(server.requests("/jwks"), 1);
}

#[tokio::test]
async fn keys_are_kept_when_they_cannot_be_fetched_again() {
    let (server, key, clock) = (Server::start().await, signer("a"), Clock::start());
    server.publish(&[&key]);
    let issuers = issuers(&server);
    let first = token(&server, &key);
    check(&issuers, clock.0, &first, Ok(())).await;
    server.fail("/jwks");
    for hours in 2..5 {
        check(&issuers, clock.after(hours * HOUR), &first, Ok(())).await;
        check(&issuers, clock.after(hours * HOUR), &token(&server, &key), Ok(())).await;
        assert_eq!(server.requests("/jwks"), hours as usize);
    }
}

#[tokio::test]
async fn keys_that_the_issuer_gave_more_than_a_day_ago_are_not_used() {
    let (server, key, clock) = (Server::start().await, signer("a"), Clock::start());
    server.publish(&[&key]);
    let issuers = issuers(&server);
    let (known, new) = (token(&server, &key), token(&server, &key));
    check(&issuers, clock.0, &known, Ok(())).await;
    server.fail("/jwks");
    check(&issuers, clock.after(23 * HOUR), &known, Ok(())).await;
    // However recently it has been tried, and whether the token is remembered or not.
    for minutes in 1..5 {
        let now = clock.after(24 * HOUR + minutes * MINUTE);
        check(&issuers, now, &known, Err(TokenError::IssuerUnreachable)).await;
        check(&issuers, now, &new, Err(TokenError::IssuerUnreachable)).await;
    }
    server.publish(&[&key]);
    let back = 24 * HOUR + 5 * MINUTE;
    check(&issuers, clock.after(back), &known, Ok(())).await;
    check(&issuers, clock.after(back + 23 * HOUR), &new, Ok(())).await;
}

#[tokio::test]
async fn due_keys_are_fetched_while_the_old_ones_are_used() {
    let (server, clock) = (Server::start().await, Clock::start());
    let (old, new) = (signer("old"), signer("new"));
    server.publish(&[&old]);
    let issuers = issuers(&server);
    let by_old = token(&server, &old);
    check(&issuers, clock.0, &by_old, Ok(())).await;
    server.publish(&[&new]);
    server.hold();
    let now = clock.after(HOUR + MINUTE);
    check(&issuers, now, &by_old, Ok(())).await;
    server.release();
    settled(&issuers).await;
    check(&issuers, now, &by_old, Err(TokenError::UnknownKey)).await;
    check(&issuers, now, &token(&server, &new), Ok(())).await;
    assert_eq!(server.requests("/jwks"), 2);
}

#[tokio::test]
async fn tokens_stay_remembered_when_the_keys_are_found_to_be_the_same() {
    let (server, key, clock) = (Server::start().await, signer("a"), Clock::start());
    server.publish(&[&key]);
    let issuers = issuers(&server);
    let token = token(&server, &key);
    check(&issuers, clock.0, &token, Ok(())).await;
    let issuer = &issuers.0[0];
    let before = issuer.current_keys().expect("they were fetched");
    check(&issuers, clock.after(2 * HOUR), &token, Ok(())).await;
    assert_eq!(server.requests("/jwks"), 2);
    assert!(Arc::ptr_eq(&before, &issuer.current_keys().expect("they were fetched")));
    assert_eq!(issuer.remembered.len(), 1);
}

#[tokio::test]
async fn after_a_long_silence_a_withdrawn_key_is_not_used_once_more() {
    let (server, clock) = (Server::start().await, Clock::start());
    let (old, new) = (signer("old"), signer("new"));
    server.publish(&[&old]);
    let issuers = issuers(&server);
    let by_old = token(&server, &old);
    check(&issuers, clock.0, &by_old, Ok(())).await;
    server.publish(&[&new]);
    check(&issuers, clock.after(2 * HOUR), &by_old, Err(TokenError::UnknownKey)).await;
}

#[tokio::test]
async fn an_issuer_without_keys_is_asked_again_after_seconds() {
    let (server, key, clock) = (Server::start().await, signer("a"), Clock::start());
    server.fail("/jwks");
    let issuers = issuers(&server);
    let token = token(&server, &key);
    let unreachable = Err(TokenError::IssuerUnreachable);
    let tokens = vec![token.clone(); 20];
    join_all(tokens.iter().map(|token| check(&issuers, clock.0, token, unreachable))).await;
    server.publish(&[&key]);
    check(&issuers, clock.after(PAUSE_WITHOUT_KEYS / 2), &token, unreachable).await;
    assert_eq!(server.requests("/jwks"), 1);
    check(&issuers, clock.after(MINUTE), &token, Ok(())).await;
    assert_eq!(server.requests("/jwks"), 2);
}

#[tokio::test]
async fn a_token_that_is_remembered_is_checked_again_for_what_can_change() {
    let (server, key, clock) = (Server::start().await, signer("a"), Clock::start());
    server.publish(&[&key]);
    let issuers = issuers(&server);
    let end = unix() + 600;
    let token = key.sign(&with(claims_of(&server), json!({"aud": [AUDIENCE, "other"], "exp": end})));
    let verify = async |unix: u64, audience: &str| {
        let now = Moment { instant: clock.0.instant, unix };
        issuers.verify_at(now, &token, &[audience]).await.map(|claims| claims.subject.clone())
    };
    for _ in 0..2 {
        assert_eq!(verify(clock.0.unix, AUDIENCE).await, Ok("ada".into()));
        assert_eq!(verify(clock.0.unix, "other").await, Ok("ada".into()));
        assert_eq!(verify(clock.0.unix, "another").await, Err(TokenError::WrongAudience));
    }
    assert_eq!(issuers.0[0].remembered.len(), 1);
    assert_eq!(verify(end + 30, AUDIENCE).await, Ok("ada".into()));
    assert_eq!(verify(end + 31, AUDIENCE).await, Err(TokenError::Expired));
}

#[tokio::test]
async fn only_good_tokens_are_remembered_and_not_too_many() {
    let (server, key, clock) = (Server::start().await, signer("a"), Clock::start());
    server.publish(&[&key]);
    let issuers = issuers(&server);
    let remembered = &issuers.0[0].remembered;
    let good = token(&server, &key);
    let bad = format!("{}AAAA", &good[..good.len() - 4]);
    check(&issuers, clock.0, &bad, Err(TokenError::BadSignature)).await;
    assert!(issuers.verify_at(clock.0, &good, &["another"]).await.is_err());
    assert_eq!(remembered.len(), 0);

    check(&issuers, clock.0, &good, Ok(())).await;
    let entry = remembered.get(&Digest::of(good.as_bytes())).expect("it is remembered");
    let fill = |unix: u64| {
        for number in 0..25_000_u32 {
            remembered.put(Digest::of(&number.to_le_bytes()), entry.clone(), unix);
            assert!(remembered.len() <= 10_000);
        }
    };
    fill(clock.0.unix);
    assert!(remembered.len() >= 9_000);
    fill(clock.0.unix + 3600);
    check(&issuers, clock.0, &good, Ok(())).await;
}

#[tokio::test]
async fn an_issuer_whose_table_stays_keeps_its_keys() {
    let (server, key, clock) = (Server::start().await, signer("a"), Clock::start());
    server.publish(&[&key]);
    let before = issuers(&server);
    let token = token(&server, &key);
    check(&before, clock.0, &token, Ok(())).await;

    let same = before.0[0].table.clone();
    let added = table("https://other.example", None);
    let after = before.renewed(&[added, same.clone()]);
    check(&after, clock.0, &token, Ok(())).await;
    assert_eq!(server.requests("/jwks"), 1);

    let changed = config::Issuer { algorithms: vec![SigningAlgorithm::RS256], ..same };
    let after = after.renewed(&[changed]);
    check(&after, clock.0, &token, Err(TokenError::AlgorithmNotAllowed)).await;
    check(&after.renewed(&[]), clock.0, &token, Err(TokenError::UnknownIssuer)).await;
}

#[tokio::test]
async fn one_issuer_cannot_speak_for_another() {
    let (one, other) = (Server::start().await, Server::start().await);
    let (key, foreign) = (signer("a"), signer("a"));
    one.publish(&[&key]);
    other.publish(&[&foreign]);
    let table = |server: &Server| table(&server.url(""), Some(server.url("/jwks")));
    let issuers = Issuers::new(&[table(&one), table(&other)]);
    let now = Moment::now();
    check(&issuers, now, &token(&one, &key), Ok(())).await;
    check(&issuers, now, &token(&other, &foreign), Ok(())).await;
    check(&issuers, now, &token(&one, &foreign), Err(TokenError::BadSignature)).await;
}

#[tokio::test]
async fn a_token_that_is_too_long_is_not_looked_at() {
    let issuers = Issuers::new(&[]);
    let long = Err(TokenError::Malformed("it is longer than 16 KiB"));
    check(&issuers, Moment::now(), &"a".repeat(16 * 1024 + 1), long).await;
    let short = Err(TokenError::Malformed("it is not a signed JWT"));
    check(&issuers, Moment::now(), &"a".repeat(16 * 1024), short).await;
}

/// What the log says about an issuer that answers like that; `[..]` is its address.
async fn refusal(server: &Server, path: &str, jwks_url: Option<String>) -> String {
    let refused = fetch::fetch(&table(&server.url(path), jwks_url)).await.expect_err("there are no keys");
    chain(&refused).replace(&server.url(""), "[..]")
}

#[tokio::test]
async fn the_log_says_why_keys_cannot_be_fetched() {
    let server = Server::start().await;
    let mut said = Vec::new();
    let by_url = |path: &str| refusal(&server, "", Some(server.url(path)));
    said.push(by_url("/nothing").await);
    server.answer("/jwks", json!({"keys": [], "more": "x".repeat(64 * 1024)}));
    said.push(by_url("/jwks").await);
    server.answer("/jwks", json!({"keys": "none"}));
    said.push(by_url("/jwks").await);
    server.redirect("/moved", &server.url("/jwks"));
    said.push(by_url("/moved").await);
    said.push(refusal(&server, "", Some("http://as.example/jwks".into())).await);

    let metadata = "/.well-known/oauth-authorization-server";
    said.push(refusal(&server, "", None).await);
    server.answer(metadata, json!({"issuer": server.url("/"), "jwks_uri": server.url("/jwks")}));
    said.push(refusal(&server, "", None).await);
    server.answer(metadata, json!({"issuer": server.url(""), "jwks_uri": "http://as.example/jwks"}));
    said.push(refusal(&server, "", None).await);
    server.answer(metadata, json!({"issuer": server.url("")}));
    said.push(refusal(&server, "", None).await);
    insta::assert_snapshot!(said.join("\n"), @r#"
    `[..]/nothing` answered 404 Not Found
    `[..]/jwks` answered with more than 64 KiB
    `[..]/jwks` does not answer with a JWK Set: invalid type: string "none", expected a sequence at line 1 column 14
    `[..]/moved` answered 302 Found
    `http://as.example/jwks` is not an https URL; plain http is for this machine only (`localhost`, 127.0.0.0/8, ::1)
    `[..]/.well-known/oauth-authorization-server` answered 404 Not Found
    `[..]/.well-known/oauth-authorization-server` is the metadata of the issuer `[..]/`; gateway.toml must have `url` exactly like that
    `http://as.example/jwks` is not an https URL; plain http is for this machine only (`localhost`, 127.0.0.0/8, ::1)
    `[..]/.well-known/oauth-authorization-server` does not answer with metadata that has `issuer` and `jwks_uri`: missing field `jwks_uri` at line 1 column 35
    "#);
}

#[tokio::test]
async fn an_issuer_that_is_not_there_is_told_from_a_bad_token() {
    let server = Server::start().await;
    let (key, gone) = (signer("a"), server.url(""));
    server.stop().await;
    let issuers = Issuers::new(&[table(&gone, None)]);
    let token = key.sign(&with(claims(), json!({"iss": gone})));
    check(&issuers, Moment::now(), &token, Err(TokenError::IssuerUnreachable)).await;
}
