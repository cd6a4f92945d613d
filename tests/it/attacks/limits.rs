//! Whoever wants more than their share: by another name, another address, another spelling, another door; or wants others to
//! have less.

use std::net::Ipv4Addr;

use insta::assert_snapshot;
use serde_json::json;
use tests::{Key, key};

use super::{ADA, Ask, ECHO, Site, config, echo, echo_params, guarded};

/// A proxy that is believed. The clients of tests are at 127.0.0.1, and nobody believes them.
const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn rate(name: &str, key: &str, calls: u32, more: &str) -> String {
    format!("[[limits.rate]]\nname = {name:?}\nkey = {key:?}\nrate = \"{calls}/h\"\n{more}\n")
}

#[tokio::test]
async fn addresses() {
    let more = "[http]\ntrusted_proxies = [\"127.0.0.2\", \"10.0.0.0/8\"]\n".to_owned()
        + &rate("by-address", "address", 2, "servers = [\"greet\"]");
    let servers = [guarded("greet", "auth = \"none\""), guarded("math", "")];
    let mut site = Site::start(&config(&more, &servers)).await;
    site.good = Ask::post("/math/tools/add", r#"{"a":1,"b":2}"#).by(&super::bob());
    let claims = |value: &str| echo().with("x-forwarded-for", value);
    site.send(claims("192.0.2.1")).await;
    site.send(claims("192.0.2.2")).await;
    site.attack("X-Forwarded-For of nobody's proxy", claims("192.0.2.3")).await;
    site.attack("Forwarded of nobody's proxy", echo().with("forwarded", "for=192.0.2.4")).await;
    for name in
        ["x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip", "x-cluster-client-ip", "client-ip"]
    {
        site.attack(name, echo().with(name, "192.0.2.5")).await;
    }
    site.attack("an address of another family", claims("2001:db8::1")).await;
    let other = Ipv4Addr::new(127, 0, 0, 3);
    site.attack("another address (good)", echo().from(other)).await;

    let by_proxy = |value: &str| claims(value).from(PROXY);
    site.send(by_proxy("198.51.100.1")).await;
    site.send(by_proxy("198.51.100.1")).await;
    site.attack("the same client, by a proxy", by_proxy("198.51.100.1")).await;
    site.attack("what it says itself on the left", by_proxy("192.0.2.9, 198.51.100.1")).await;
    site.attack("as if by another proxy", by_proxy("192.0.2.9, 10.1.2.3, 198.51.100.1")).await;
    site.attack("by two proxies", by_proxy("192.0.2.9, 198.51.100.1, 10.1.2.3")).await;
    site.attack("in two headers", claims("192.0.2.9").with("x-forwarded-for", "198.51.100.1").from(PROXY))
        .await;
    site.attack("with a port", by_proxy("198.51.100.1:4711")).await;
    site.attack("in IPv6's clothes", by_proxy("::ffff:198.51.100.1")).await;
    site.attack(
        "with Forwarded besides",
        by_proxy("198.51.100.1").with("forwarded", "for=192.0.2.10").from(PROXY),
    )
    .await;
    site.attack("behind a quote that stays open", by_proxy("\"192.0.2.9, 198.51.100.1")).await;
    site.attack("another client, by a proxy (good)", by_proxy("198.51.100.2")).await;
    site.send(by_proxy("unknown")).await;
    site.send(by_proxy("unknown")).await;
    site.attack("whom the proxy does not name counts as the proxy", by_proxy("192.0.2.9, _hidden")).await;
    for at in 1..=2 {
        site.send(by_proxy(&format!("2001:db8:1:1::{at}"))).await;
    }
    site.attack("another address of the same IPv6 network", by_proxy("2001:db8:1:1:ffff::1")).await;
    assert_snapshot!(site.end().await, @r"
    X-Forwarded-For of nobody's proxy                          | 429 | rate_limited
    Forwarded of nobody's proxy                                | 429 | rate_limited
    x-real-ip                                                  | 429 | rate_limited
    x-client-ip                                                | 429 | rate_limited
    true-client-ip                                             | 429 | rate_limited
    cf-connecting-ip                                           | 429 | rate_limited
    x-cluster-client-ip                                        | 429 | rate_limited
    client-ip                                                  | 429 | rate_limited
    an address of another family                               | 429 | rate_limited
    another address (good)                                     | 200 | ok
    the same client, by a proxy                                | 429 | rate_limited
    what it says itself on the left                            | 429 | rate_limited
    as if by another proxy                                     | 429 | rate_limited
    by two proxies                                             | 429 | rate_limited
    in two headers                                             | 429 | rate_limited
    with a port                                                | 429 | rate_limited
    in IPv6's clothes                                          | 429 | rate_limited
    with Forwarded besides                                     | 429 | rate_limited
    behind a quote that stays open                             | 429 | rate_limited
    another client, by a proxy (good)                          | 200 | ok
    whom the proxy does not name counts as the proxy           | 429 | rate_limited
    another address of the same IPv6 network                   | 429 | rate_limited
    ");
}

const ADD: &str = r#"{"a":1,"b":2}"#;

/// Each of a limit's two calls is used up over REST.
async fn used_up(site: &mut Site, key: &Key) {
    for _ in 0..2 {
        let reply = site.send(echo().by(key)).await;
        assert_eq!(reply.outcome(), "200 | ok", "{reply:?}");
    }
}

#[tokio::test]
async fn a_tools_rate() {
    let [eve, part] = [key("eve", &["greet"]), key("part", &["math:add"])];
    let more = rate("echo", "principal", 2, "servers = [\"greet\"]\ntools = [\"echoHai\"]")
        + &rate("divide", "tool", 2, "servers = [\"math\"]\ntools = [\"divide\"]");
    let keys = format!("{more}{}{}", eve.table, part.table);
    let mut site = Site::start(&config(&keys, &[guarded("greet", ""), guarded("math", "")])).await;
    used_up(&mut site, &eve).await;
    let message = |params| Ask::message("/greet/mcp", "tools/call", params).by(&eve);
    site.attack("once more", echo().by(&eve)).await;
    site.attack("over MCP", message(echo_params())).await;
    let modern = || Ask::modern("/greet/mcp", "tools/call", Some("echoHai"), echo_params()).by(&eve);
    site.attack("over MCP, 2026", modern()).await;
    site.attack("with another tool in the header", modern().but("mcp-name", "other")).await;
    site.attack("with another method in the header", modern().but("mcp-method", "tools/list")).await;
    site.attack("in other letters, REST", Ask::post("/greet/tools/ECHOHAI", ADA).by(&eve)).await;
    site.attack("with a letter encoded, REST", Ask::post("/greet/tools/%65choHai", ADA).by(&eve)).await;
    site.attack(
        "in other letters, MCP",
        message(json!({"name": "echohai", "arguments": {"userName": "Ada"}})),
    )
    .await;
    site.attack("with a space", message(json!({"name": "echoHai ", "arguments": {"userName": "Ada"}}))).await;
    let twice = |first: &str, last: &str| {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{first}","name":"{last}","arguments":{ADA}}}}}"#
        );
        Ask::post("/greet/mcp", body).by(&eve)
    };
    site.attack("a name twice, the first another", twice("other", "echoHai")).await;
    site.attack("a name twice, the last another", twice("echoHai", "other")).await;
    let escaped = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"\u0065choHai","arguments":{ADA}}}}}"#
    );
    site.attack("a letter of the name as an escape", Ask::post("/greet/mcp", escaped).by(&eve)).await;
    let method = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools\u002fcall","params":{{"name":"echoHai","arguments":{ADA}}}}}"#
    );
    site.attack("a letter of the method as an escape", Ask::post("/greet/mcp", method).by(&eve)).await;
    let named = json!({"name": "echoHai", "uri": "x", "arguments": {"userName": "Ada"}});
    site.attack("a URI besides", message(named)).await;
    let batch = json!([{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": echo_params()}]);
    site.attack("in a batch", Ask::post("/greet/mcp", batch.to_string()).by(&eve)).await;
    site.attack(
        "as a notification",
        Ask::post(
            "/greet/mcp",
            json!({"jsonrpc": "2.0", "method": "tools/call", "params": echo_params()}).to_string(),
        )
        .by(&eve),
    )
    .await;
    site.attack("arguments that do not fit", message(json!({"name": "echoHai", "arguments": "x"}))).await;
    site.attack(
        "by another endpoint of the same server",
        Ask::message("/greet", "tools/call", echo_params()).by(&eve),
    )
    .await;
    site.attack("by another header for the key", echo().api_key(&eve.text)).await;
    let opened = site
        .send(
            Ask::message(
                "/greet/mcp",
                "initialize",
                json!({
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}),
            )
            .by(&eve),
        )
        .await;
    let id = opened.header("mcp-session-id").expect("a session").to_owned();
    site.attack("in a session", message(echo_params()).with("mcp-session-id", &id)).await;

    // A limit that all callers of a tool share is not used up by who may not call it, and does not tell them of it.
    for at in 0..5 {
        let ask = match at % 2 {
            0 => Ask::post("/math/tools/divide", ADD),
            _ => Ask::message(
                "/math/mcp",
                "tools/call",
                json!({"name": "divide", "arguments": {"a": 1, "b": 2}}),
            ),
        };
        let reply =
            site.pry("a hidden tool's shared limit", ask.by(&part), &["rate_limited", "ratelimit"]).await;
        assert_ne!(reply.status, Some(429), "{reply:?}");
    }
    let others = Ask::post("/math/tools/divide", ADD).by(&super::bob());
    site.attack("and who may call it (good)", others).await;
    assert_snapshot!(site.end().await, @r"
    once more                                                  | 429 | rate_limited
    over MCP                                                   | 429 | rate_limited -32600
    over MCP, 2026                                             | 429 | rate_limited -32600
    with another tool in the header                            | 400 | -32020
    with another method in the header                          | 400 | -32020
    in other letters, REST                                     | 404 | unknown_tool
    with a letter encoded, REST                                | 429 | rate_limited
    in other letters, MCP                                      | 200 | -32602
    with a space                                               | 200 | -32602
    a name twice, the first another                            | 200 | -32602
    a name twice, the last another                             | 200 | -32602
    a letter of the name as an escape                          | 429 | rate_limited -32600
    a letter of the method as an escape                        | 429 | rate_limited -32600
    a URI besides                                              | 429 | rate_limited -32600
    in a batch                                                 | 400 | -32600
    as a notification                                          | 429 | rate_limited -32600
    arguments that do not fit                                  | 429 | rate_limited -32600
    by another endpoint of the same server                     | 429 | rate_limited -32600
    by another header for the key                              | 429 | rate_limited
    in a session                                               | 429 | rate_limited -32600
    a hidden tool's shared limit                               | 404 | unknown_tool
    a hidden tool's shared limit                               | 200 | -32602
    a hidden tool's shared limit                               | 404 | unknown_tool
    a hidden tool's shared limit                               | 200 | -32602
    a hidden tool's shared limit                               | 404 | unknown_tool
    and who may call it (good)                                 | 200 | ok
    ");
}

#[tokio::test]
async fn room() {
    let eve = key("eve", &["everything", "greet"]);
    let more = format!("[limits]\nsessions_max = 2\ncalls_max = 8\n{}", eve.table);
    let servers = [guarded("greet", ""), guarded("everything", "calls_max = 1")];
    let mut site = Site::start(&config(&more, &servers)).await;
    let initialize = || {
        Ask::message(
            "/greet/mcp",
            "initialize",
            json!({
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}),
        )
    };
    for _ in 0..20 {
        let reply = site.send(initialize().by(&eve)).await;
        assert_eq!(reply.outcome(), "200 | ok", "{reply:?}");
    }
    site.attack("the 21st session, where there may be two (good)", initialize().by(&eve)).await;
    // Ten at once, of which one runs at a time.
    let slow = Ask::post("/everything/tools/test_reconnection", "{}").by(&eve);
    let all = (0..10).map(|_| {
        let (sent, address) = (super::Sent::from(slow.clone()), site.address.clone());
        tokio::spawn(async move { sent.send(&address).await.outcome() })
    });
    let mut outcomes = Vec::new();
    for one in all.collect::<Vec<_>>() {
        outcomes.push(one.await.expect("an answer"));
    }
    outcomes.sort();
    outcomes.dedup();
    assert_eq!(outcomes, ["200 | ok", "503 | overloaded"], "ten calls at once of a server that takes one");
    site.attack("another server meanwhile (good)", Ask::post(ECHO, ADA).by(&eve)).await;
    assert_snapshot!(site.end().await, @r"
    the 21st session, where there may be two (good)            | 200 | ok
    another server meanwhile (good)                            | 200 | ok
    ");
}
