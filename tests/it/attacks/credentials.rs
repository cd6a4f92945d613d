//! Whoever is not who they say they are: no credential, a wrong one, two, one in the wrong place; tokens that are not for
//! this server, not for now, or of nobody whom it knows.

use insta::assert_snapshot;
use serde_json::{Value, json};
use tests::{AuthorizationServer, Key};

use super::{Ask, Site, ada, config, echo, echo_params, guarded};

const GREET: &str = "https://tools.example.com/greet";

#[tokio::test]
async fn keys() {
    let mut site = Site::start(&config("", &[guarded("greet", "")])).await;
    let text = ada().text;
    let (id, secret) = text[4..].split_once('_').expect("mgw_<id>_<secret>");
    let key = |id: &str, secret: &str| format!("mgw_{id}_{secret}");
    site.attack("nothing", echo()).await;
    site.attack("nothing, MCP", Ask::message("/greet/mcp", "tools/call", echo_params())).await;
    site.attack("an empty bearer", echo().with("authorization", "Bearer ")).await;
    site.attack("an empty key", echo().with("x-api-key", "")).await;
    site.attack("a good key, Basic", echo().with("authorization", &format!("Basic {text}")).holds(&text))
        .await;
    site.attack("a good key without a scheme", echo().with("authorization", &text).holds(&text)).await;
    site.attack("the right id, a wrong secret", echo().bearer(&key(id, &secret.replace('A', "B")))).await;
    site.attack("the right secret, a wrong id", echo().bearer(&key("ada00001", secret))).await;
    site.attack("the id in capitals", echo().bearer(&key(&id.to_uppercase(), secret))).await;
    site.attack("a letter short", echo().bearer(&text[..text.len() - 1])).await;
    site.attack("a letter long", echo().bearer(&format!("{text}A"))).await;
    site.attack("64 KiB of key", echo().api_key(&"A".repeat(60 << 10))).await;
    site.attack("bytes that are no text", echo().with_bytes("authorization", b"Bearer \xff\xfe\xfd")).await;
    site.attack("two bearers, the first good", echo().bearer(&text).bearer(&key("eve00000", secret))).await;
    site.attack("two bearers, the last good", echo().bearer(&key("eve00000", secret)).bearer(&text)).await;
    site.attack("the same bearer twice", echo().bearer(&text).bearer(&text)).await;
    site.attack("a good bearer, a wrong X-API-Key", echo().bearer(&text).api_key(&key("eve00000", secret)))
        .await;
    site.attack("two X-API-Keys", echo().api_key(&text).api_key(&text)).await;
    site.attack("two keys in one header", echo().api_key(&format!("{text}, {text}"))).await;
    for name in ["api_key", "access_token", "x-api-key"] {
        let ask = Ask::post(&format!("/greet/tools/echoHai?{name}={text}"), super::ADA).holds(&text);
        site.attack(&format!("a good key in the query, {name}"), ask).await;
    }
    site.attack("a good key in a cookie", echo().with("cookie", &format!("x-api-key={text}")).holds(&text))
        .await;
    let proxy = echo().with("proxy-authorization", &format!("Bearer {text}")).holds(&text);
    site.attack("a good key for a proxy", proxy).await;
    let underscore = echo().with("x_api_key", &text).holds(&text);
    site.attack("a good key in X_API_KEY, as CGI would have it", underscore).await;
    site.attack("a name instead of a key", echo().with("x-forwarded-user", "ada")).await;
    assert_snapshot!(site.end().await, @r"
    nothing                                                    | 401 | unauthorized
    nothing, MCP                                               | 401 | unauthorized -32600
    an empty bearer                                            | 401 | unauthorized
    an empty key                                               | 401 | unauthorized
    a good key, Basic                                          | 401 | unauthorized
    a good key without a scheme                                | 401 | unauthorized
    the right id, a wrong secret                               | 401 | unauthorized
    the right secret, a wrong id                               | 401 | unauthorized
    the id in capitals                                         | 401 | unauthorized
    a letter short                                             | 401 | unauthorized
    a letter long                                              | 401 | unauthorized
    64 KiB of key                                              | 401 | unauthorized
    bytes that are no text                                     | 401 | unauthorized
    two bearers, the first good                                | 401 | unauthorized
    two bearers, the last good                                 | 401 | unauthorized
    the same bearer twice                                      | 401 | unauthorized
    a good bearer, a wrong X-API-Key                           | 401 | unauthorized
    two X-API-Keys                                             | 401 | unauthorized
    two keys in one header                                     | 401 | unauthorized
    a good key in the query, api_key                           | 401 | unauthorized
    a good key in the query, access_token                      | 401 | unauthorized
    a good key in the query, x-api-key                         | 401 | unauthorized
    a good key in a cookie                                     | 401 | unauthorized
    a good key for a proxy                                     | 401 | unauthorized
    a good key in X_API_KEY, as CGI would have it              | 401 | unauthorized
    a name instead of a key                                    | 401 | unauthorized
    ");
}

/// The header of a token, changed.
type Change<'a> = (&'a str, Value);

#[tokio::test]
async fn tokens() {
    let issuer = AuthorizationServer::start(&["greet"]).await;
    let stranger = AuthorizationServer::start(&["greet"]).await;
    let more = format!(
        "[http]\npublic_url = \"https://tools.example.com\"\n[[auth.issuer]]\nurl = {:?}\nalgorithms = [\"RS256\", \"ES256\"]\n",
        issuer.url()
    );
    let keys_only = guarded("math", "auth = \"keys\"");
    let mut site = Site::start(&config(&more, &[guarded("greet", ""), keys_only])).await;
    let good = || issuer.claims(GREET, "greet");
    let with = |name: &str, value: Value| {
        let mut claims = good();
        claims[name] = value;
        claims
    };
    let now = good()["iat"].as_u64().expect("a time");
    site.good = echo().bearer(&issuer.sign(&good()));
    let control = site.send(site.good.clone()).await;
    assert_eq!(control.outcome(), "200 | ok", "{control:?}");

    let claims: &[(&str, Value)] = &[
        ("expired", with("exp", json!(now - 60))),
        ("expired long ago", with("exp", json!(1))),
        ("never expires", with("exp", Value::Null)),
        ("expires in words", with("exp", json!("never"))),
        ("not valid yet", with("nbf", json!(now + 600))),
        ("for another server", with("aud", json!("https://tools.example.com/math"))),
        ("for the gateway, not for the server", with("aud", json!("https://tools.example.com"))),
        ("for a longer name", with("aud", json!("https://tools.example.com/greetings"))),
        ("for the same path elsewhere", with("aud", json!("https://evil.example/greet"))),
        ("for others", with("aud", json!(["https://a.example", "https://b.example"]))),
        ("for nobody", with("aud", Value::Null)),
        ("for an empty list", with("aud", json!([]))),
        ("by another issuer", with("iss", json!("https://evil.example"))),
        ("by the issuer with a slash", with("iss", json!(format!("{}/", issuer.url())))),
        ("by two issuers", with("iss", json!([issuer.url(), "https://evil.example"]))),
        ("by nobody", with("iss", Value::Null)),
        ("of nobody", {
            let mut claims = with("sub", Value::Null);
            claims["client_id"] = Value::Null;
            claims
        }),
        ("an ID token", with("at_hash", json!("x"))),
        ("without a scope", with("scope", Value::Null)),
        ("with a scope for everything", with("scope", json!("*"))),
        ("with another server's scope", with("scope", json!("math"))),
        ("with a scope in other letters", with("scope", json!("Greet GREET greet* gree greet:"))),
    ];
    for (name, claims) in claims {
        site.attack(&format!("claims: {name}"), echo().bearer(&issuer.sign(claims))).await;
    }

    let headers: &[(&str, &[Change<'_>])] = &[
        ("no key id, where one key fits (good)", &[("kid", Value::Null)]),
        ("a key that nobody has", &[("kid", json!("es256-9"))]),
        ("a key in a file", &[("kid", json!("../../../../dev/null"))]),
        ("the key of another algorithm", &[("alg", json!("RS256")), ("kid", json!("es256-1"))]),
        ("the type of an ID token", &[("alg", json!("ES256")), ("typ", json!("ID+JWT"))]),
        ("a key of its own, which nobody looks at (good)", &[("jwk", json!({"kty": "oct", "k": "AAAA"}))]),
        (
            "a place for keys, and a key that is there",
            &[("jku", json!(stranger.url())), ("kid", json!("evil-1"))],
        ),
        ("a certificate of its own", &[("x5c", json!(["AAAA"])), ("kid", json!("evil-2"))]),
        ("what has to be understood", &[("crit", json!(["b64"])), ("b64", json!(false))]),
    ];
    for (name, changes) in headers {
        let header = changes.iter().cloned().map(|(name, value)| (name.to_owned(), value)).collect();
        let token = issuer.sign_with_header(&Value::Object(header), &good());
        site.attack(&format!("header: {name}"), echo().bearer(&token)).await;
    }

    let token = issuer.sign(&good());
    let parts: Vec<&str> = token.split('.').collect();
    let mallory = issuer.sign(&with("sub", json!("mallory")));
    let payload = mallory.split('.').nth(1).expect("three parts");
    let flipped = if parts[2].starts_with('A') { "B" } else { "A" };
    let odd = [
        ("alg: none", issuer.sign_with_nothing(&good())),
        ("HS256 with the public key", issuer.sign_with_public_key(&good())),
        ("a stranger's key of the same name", issuer.sign_with_foreign_key(&good())),
        ("a stranger's token", stranger.token(GREET, "greet")),
        ("another's claims under a good signature", format!("{}.{payload}.{}", parts[0], parts[2])),
        (
            "a signature with one letter changed",
            format!("{}.{}.{flipped}{}", parts[0], parts[1], &parts[2][1..]),
        ),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{token}.{}", parts[2])),
        ("padded", format!("{token}==")),
        ("not a token", "password".to_owned()),
        ("three dots", "...".to_owned()),
        ("32 KiB of token", format!("{}.{}.{}", parts[0], "A".repeat(32 << 10), parts[2])),
    ];
    for (name, token) in &odd {
        site.attack(name, echo().bearer(token)).await;
    }
    let math = || Ask::post("/math/tools/add", r#"{"a":1,"b":2}"#);
    site.attack("a token where keys are asked for", math().bearer(&token)).await;
    site.attack(
        "a token in the query",
        Ask::post(&format!("{}?access_token={token}", super::ECHO), super::ADA).holds(&token),
    )
    .await;
    site.attack("a token as X-API-Key", echo().api_key(&token)).await;
    let form =
        Ask::new(&format!("POST {}", super::ECHO)).with("content-type", "application/x-www-form-urlencoded");
    site.attack("a token in a form", form.with("content-length", "0").holds(&token)).await;
    let key: Key = ada();
    site.attack("a token and a key", echo().bearer(&token).api_key(&key.text)).await;

    let asked_before = issuer.jwks_requests();
    for at in 0..200 {
        let flood = issuer.sign_with_header(&json!({"kid": format!("flood-{at}")}), &good());
        let reply = site.send(echo().bearer(&flood)).await;
        assert_eq!(reply.outcome(), "401 | unauthorized");
    }
    let last = issuer.sign_with_header(&json!({"kid": "flood-last"}), &good());
    site.attack("200 keys that nobody has, and one more", echo().bearer(&last)).await;
    let asked = issuer.jwks_requests() - asked_before;
    assert!(asked <= 1, "the issuer was asked for its keys {asked} times");
    assert_eq!(stranger.jwks_requests(), 0, "nobody asks where a token says");
    assert_snapshot!(site.end().await, @r"
    claims: expired                                            | 401 | unauthorized
    claims: expired long ago                                   | 401 | unauthorized
    claims: never expires                                      | 401 | unauthorized
    claims: expires in words                                   | 401 | unauthorized
    claims: not valid yet                                      | 401 | unauthorized
    claims: for another server                                 | 401 | unauthorized
    claims: for the gateway, not for the server                | 401 | unauthorized
    claims: for a longer name                                  | 401 | unauthorized
    claims: for the same path elsewhere                        | 401 | unauthorized
    claims: for others                                         | 401 | unauthorized
    claims: for nobody                                         | 401 | unauthorized
    claims: for an empty list                                  | 401 | unauthorized
    claims: by another issuer                                  | 401 | unauthorized
    claims: by the issuer with a slash                         | 401 | unauthorized
    claims: by two issuers                                     | 401 | unauthorized
    claims: by nobody                                          | 401 | unauthorized
    claims: of nobody                                          | 401 | unauthorized
    claims: an ID token                                        | 401 | unauthorized
    claims: without a scope                                    | 403 | forbidden
    claims: with a scope for everything                        | 403 | forbidden
    claims: with another server's scope                        | 403 | forbidden
    claims: with a scope in other letters                      | 404 | unknown_tool
    header: no key id, where one key fits (good)               | 200 | ok
    header: a key that nobody has                              | 401 | unauthorized
    header: a key in a file                                    | 401 | unauthorized
    header: the key of another algorithm                       | 401 | unauthorized
    header: the type of an ID token                            | 401 | unauthorized
    header: a key of its own, which nobody looks at (good)     | 200 | ok
    header: a place for keys, and a key that is there          | 401 | unauthorized
    header: a certificate of its own                           | 401 | unauthorized
    header: what has to be understood                          | 401 | unauthorized
    alg: none                                                  | 401 | unauthorized
    HS256 with the public key                                  | 401 | unauthorized
    a stranger's key of the same name                          | 401 | unauthorized
    a stranger's token                                         | 401 | unauthorized
    another's claims under a good signature                    | 401 | unauthorized
    a signature with one letter changed                        | 401 | unauthorized
    no signature                                               | 401 | unauthorized
    two parts                                                  | 401 | unauthorized
    four parts                                                 | 401 | unauthorized
    padded                                                     | 401 | unauthorized
    not a token                                                | 401 | unauthorized
    three dots                                                 | 401 | unauthorized
    32 KiB of token                                            | 401 | unauthorized
    a token where keys are asked for                           | 401 | unauthorized
    a token in the query                                       | 401 | unauthorized
    a token as X-API-Key                                       | 401 | unauthorized
    a token in a form                                          | 401 | unauthorized
    a token and a key                                          | 401 | unauthorized
    200 keys that nobody has, and one more                     | 401 | unauthorized
    ");
}
