//! MCP headers that say something else than the body: a proxy that guards by them would let pass what it should not.

use insta::assert_snapshot;
use serde_json::{Value, json};
use tests::until;

use super::{Ask, Site, ada, config, echo_params, guarded};

const META: &str = "io.modelcontextprotocol/protocolVersion";

#[tokio::test]
async fn headers_and_bodies() {
    let mut site = Site::start(&config("", &[guarded("greet", ""), guarded("everything", "")])).await;
    let call = || Ask::modern("/greet/mcp", "tools/call", Some("echoHai"), echo_params()).by(&ada());
    let control = site.send(call()).await;
    assert_eq!(control.outcome(), "200 | ok", "{control:?}");
    site.attack("another tool in the header", call().but("mcp-name", "harmless")).await;
    site.attack("the tool in capitals in the header", call().but("mcp-name", "ECHOHAI")).await;
    site.attack("the tool in base64 (good)", call().but("mcp-name", "=?base64?ZWNob0hhaQ==?=")).await;
    site.attack("another tool in base64", call().but("mcp-name", "=?base64?aGFybWxlc3M=?=")).await;
    site.attack("no base64", call().but("mcp-name", "=?base64?***?=")).await;
    site.attack("no tool in the header", call().without("mcp-name")).await;
    site.attack("an empty tool in the header", call().but("mcp-name", "")).await;
    site.attack("two tools in headers, the first good", call().with("mcp-name", "harmless")).await;
    site.attack(
        "two tools in headers, the last good",
        call().but("mcp-name", "harmless").with("mcp-name", "echoHai"),
    )
    .await;
    site.attack("the same tool twice", call().with("mcp-name", "echoHai")).await;
    site.attack("another method in the header", call().but("mcp-method", "tools/list")).await;
    site.attack("the method in capitals", call().but("mcp-method", "TOOLS/CALL")).await;
    site.attack("no method in the header", call().without("mcp-method")).await;
    site.attack("two methods, the first good", call().with("mcp-method", "tools/list")).await;
    site.attack(
        "bytes that are no text as method",
        call().without("mcp-method").with_bytes("mcp-method", b"\xff\xfe"),
    )
    .await;
    site.attack("another version in the header", call().but("mcp-protocol-version", "2025-11-25")).await;
    site.attack("no version in the header", call().without("mcp-protocol-version")).await;
    site.attack(
        "no version in the header, and another tool",
        call().without("mcp-protocol-version").but("mcp-name", "harmless"),
    )
    .await;
    site.attack(
        "an old version, and another tool",
        call().but("mcp-protocol-version", "2025-11-25").but("mcp-name", "harmless"),
    )
    .await;
    site.attack("two versions, the first good", call().with("mcp-protocol-version", "2025-11-25")).await;
    site.attack(
        "two versions, the last good",
        call().but("mcp-protocol-version", "2025-11-25").with("mcp-protocol-version", "2026-07-28"),
    )
    .await;
    site.attack("a version that is to come", call().but("mcp-protocol-version", "9999-12-31")).await;
    site.attack("a version that is none", call().but("mcp-protocol-version", "latest")).await;
    let old = || Ask::message("/greet/mcp", "tools/call", echo_params()).by(&ada());
    site.attack("an old message, and another tool", old().with("mcp-name", "harmless")).await;
    site.attack("an old message, and another method", old().with("mcp-method", "tools/list")).await;
    site.attack(
        "an old message, and two tools",
        old().with("mcp-name", "echoHai").with("mcp-name", "harmless"),
    )
    .await;
    site.attack(
        "an old message in a new header",
        old()
            .with("mcp-protocol-version", "2026-07-28")
            .with("mcp-method", "tools/call")
            .with("mcp-name", "echoHai"),
    )
    .await;
    let mut numbered = echo_params();
    numbered["_meta"] = json!({META: 20_260_728});
    site.attack(
        "a version that is a number in the body",
        Ask::message("/greet/mcp", "tools/call", numbered).by(&ada()),
    )
    .await;

    let value = |argument: &str| json!({"name": "test_custom_header", "arguments": {"value": argument}});
    let custom = |argument: &str| {
        Ask::modern("/everything/mcp", "tools/call", Some("test_custom_header"), value(argument))
            .by(&super::bob())
    };
    site.attack("an argument that is also a header, without it", custom("eu")).await;
    site.attack("an argument that is also a header, another", custom("eu").with("mcp-param-value", "us"))
        .await;
    site.attack(
        "an argument that is also a header, twice",
        custom("eu").with("mcp-param-value", "eu").with("mcp-param-value", "us"),
    )
    .await;
    let read = |name: &str| {
        Ask::modern(
            "/everything/mcp",
            "resources/read",
            Some(name),
            json!({"uri": "test://static-text", "name": "harmless"}),
        )
        .by(&super::bob())
    };
    site.attack("another resource in the header", read("harmless")).await;
    site.attack(
        "a resource with a name besides (good)",
        read("test://static-text").with("x-request-id", "read-1"),
    )
    .await;
    let discover = Ask::modern("/greet/mcp", "server/discover", None, json!({})).by(&ada());
    site.attack("a call that says it only looks", discover.but("mcp-method", "tools/call")).await;

    let audit = site.gateway.folder().join("audit.jsonl");
    let mut recorded = Value::Null;
    let read = async || {
        let lines = std::fs::read_to_string(&audit).unwrap_or_default();
        let line = lines.lines().find(|line| line.contains("read-1"));
        recorded = line.and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
        recorded.is_object()
    };
    until("the call is recorded", read).await;
    assert_eq!(recorded["subject"], "test://static-text", "not what else was said: {recorded}");
    assert_snapshot!(site.end().await, @r"
    another tool in the header                                 | 400 | -32020
    the tool in capitals in the header                         | 400 | -32020
    the tool in base64 (good)                                  | 200 | ok
    another tool in base64                                     | 400 | -32020
    no base64                                                  | 400 | -32020
    no tool in the header                                      | 400 | -32020
    an empty tool in the header                                | 400 | -32020
    two tools in headers, the first good                       | 400 | -32020
    two tools in headers, the last good                        | 400 | -32020
    the same tool twice                                        | 400 | -32020
    another method in the header                               | 400 | -32020
    the method in capitals                                     | 400 | -32020
    no method in the header                                    | 400 | -32020
    two methods, the first good                                | 400 | -32020
    bytes that are no text as method                           | 400 | -32020
    another version in the header                              | 400 | -32020
    no version in the header                                   | 400 | -32020
    no version in the header, and another tool                 | 400 | -32020
    an old version, and another tool                           | 400 | -32020
    two versions, the first good                               | 400 | -32020
    two versions, the last good                                | 400 | -32020
    a version that is to come                                  | 400 | -32020
    a version that is none                                     | 400 | -32020
    an old message, and another tool                           | 400 | -32020
    an old message, and another method                         | 400 | -32020
    an old message, and two tools                              | 400 | -32020
    an old message in a new header                             | 400 | -32602
    a version that is a number in the body                     | 400 | -32600
    an argument that is also a header, without it              | 400 | -32020
    an argument that is also a header, another                 | 400 | -32020
    an argument that is also a header, twice                   | 400 | -32020
    another resource in the header                             | 400 | -32020
    a resource with a name besides (good)                      | 200 | ok
    a call that says it only looks                             | 400 | -32020
    ");
}
