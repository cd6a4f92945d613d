//! Bodies that cost more to read than to send, or that two readers read differently; at both doors.

use insta::assert_snapshot;
use serde_json::json;

use super::{ADA, Ask, ECHO, Site, ada, config, guarded};

/// Just below what a body may be.
const LARGE: usize = (1 << 20) - 4096;

fn nested(open: &str, close: &str) -> String {
    let levels = LARGE / (open.len() + close.len());
    open.repeat(levels) + &close.repeat(levels)
}

/// As a tool's arguments.
fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let text = |name, text: String| (name, text.into_bytes());
    let user = |value: &str| format!("{{\"userName\":{value}}}");
    vec![
        text("500,000 arrays in each other", user(&nested("[", "]"))),
        text("170,000 objects in each other", user(&nested("{\"a\":", "}").replace("{\"a\":}", "{}"))),
        text("as many that never end", "{\"userName\":".to_owned() + &"[".repeat(LARGE)),
        text("120 arrays in each other", user(&("[".repeat(120) + &"]".repeat(120)))),
        text("100,000 members", {
            let members: Vec<String> = (0..LARGE / 12).map(|at| format!("\"{at:06}\":0")).collect();
            format!("{{{},\"userName\":\"Ada\"}}", members.join(","))
        }),
        text("500,000 items", user(&format!("[{}0]", "0,".repeat(LARGE / 2)))),
        text("a number of a million digits", user(&"9".repeat(LARGE))),
        text("a fraction of a million digits", user(&format!("0.{}", "1".repeat(LARGE)))),
        text("1e999", user("1e999")),
        text("1e-999999999", user("1e-999999999")),
        text("a million digits in the exponent", user(&format!("1e{}", "9".repeat(LARGE)))),
        text("NaN", user("NaN")),
        text("hexadecimal", user("0x10")),
        text("a name twice", r#"{"userName":"Ada","userName":"Eve"}"#.into()),
        text("a name twice, once in other letters", r#"{"userName":"Ada","userN\u0061me":"Eve"}"#.into()),
        text("a name twice, inside", r#"{"userName":{"a":1,"a":2}}"#.into()),
        text("a name in capitals besides", r#"{"userName":7,"USERNAME":"Eve"}"#.into()),
        text("half a character", r#"{"userName":"\ud800"}"#.into()),
        ("bytes that are no text", b"{\"userName\":\"\xff\xfe\"}".to_vec()),
        ("letters longer than they need be", b"{\"userName\":\"\xc0\xaf\"}".to_vec()),
        text("a byte order mark", format!("\u{feff}{ADA}")),
        ("UTF-16", ADA.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        text("a control character", "{\"userName\":\"a\nb\"}".into()),
        text("a comment", format!("/* */ {ADA}")),
        text("a comma at the end", r#"{"userName":"Ada",}"#.into()),
        text("two objects", format!("{ADA}{ADA}")),
        text("an object in an array", format!("[{ADA}]")),
        text("an object in a text", json!(ADA).to_string()),
        text("null", "null".into()),
        text("a prototype", r#"{"__proto__":{"userName":"Eve"}}"#.into()),
        text(
            "a member that the parser reserves",
            r#"{"$serde_json::private::RawValue":"{\"userName\":\"Eve\"}"}"#.into(),
        ),
        text(
            "a member that the parser reserves, inside",
            r#"{"userName":{"$serde_json::private::RawValue":"\"Eve\""}}"#.into(),
        ),
        text("a million spaces", format!("{}{ADA}", " ".repeat(LARGE))),
    ]
}

#[tokio::test]
async fn arguments_over_rest() {
    let mut site = Site::start(&config("", &[guarded("greet", "")])).await;
    for (name, body) in bombs() {
        let reply = site.attack(name, Ask::post(ECHO, body).by(&ada())).await;
        assert!(reply.body.len() < 16 << 10, "{name}: the answer is as long as {}", reply.body.len());
    }
    site.attack("nothing", Ask::post(ECHO, "").by(&ada())).await;
    for (name, value) in
        [("content-encoding", "gzip"), ("content-encoding", "br"), ("content-encoding", "deflate, gzip")]
    {
        site.attack(
            &format!("{name}: {value}"),
            Ask::post(ECHO, b"\x1f\x8b\x08".to_vec()).with(name, value).by(&ada()),
        )
        .await;
    }
    let large = format!("{{\"userName\":\"{}\"}}", "a".repeat(2 << 20));
    site.attack("2 MiB", Ask::post(ECHO, large.clone()).by(&ada())).await;
    site.attack("2 MiB with nothing to show for it", Ask::post(ECHO, large.clone())).await;
    site.attack("2 MiB to a tool that is not there", Ask::post("/greet/tools/none", large).by(&ada())).await;
    assert_snapshot!(site.end().await, @r"
    500,000 arrays in each other                               | 400 | malformed_json
    170,000 objects in each other                              | 400 | malformed_json
    as many that never end                                     | 400 | malformed_json
    120 arrays in each other                                   | 400 | invalid_arguments
    100,000 members                                            | 200 | ok
    500,000 items                                              | 400 | invalid_arguments
    a number of a million digits                               | 400 | malformed_json
    a fraction of a million digits                             | 400 | invalid_arguments
    1e999                                                      | 400 | malformed_json
    1e-999999999                                               | 400 | invalid_arguments
    a million digits in the exponent                           | 400 | malformed_json
    NaN                                                        | 400 | malformed_json
    hexadecimal                                                | 400 | malformed_json
    a name twice                                               | 400 | malformed_json
    a name twice, once in other letters                        | 400 | malformed_json
    a name twice, inside                                       | 400 | malformed_json
    a name in capitals besides                                 | 400 | invalid_arguments
    half a character                                           | 400 | malformed_json
    bytes that are no text                                     | 400 | malformed_json
    letters longer than they need be                           | 400 | malformed_json
    a byte order mark                                          | 400 | malformed_json
    UTF-16                                                     | 400 | malformed_json
    a control character                                        | 400 | malformed_json
    a comment                                                  | 400 | malformed_json
    a comma at the end                                         | 400 | malformed_json
    two objects                                                | 400 | malformed_json
    an object in an array                                      | 400 | malformed_json
    an object in a text                                        | 400 | malformed_json
    null                                                       | 400 | malformed_json
    a prototype                                                | 400 | invalid_arguments
    a member that the parser reserves                          | 400 | invalid_arguments
    a member that the parser reserves, inside                  | 400 | invalid_arguments
    a million spaces                                           | 200 | ok
    nothing                                                    | 400 | malformed_json
    content-encoding: gzip                                     | 415 | unsupported_media_type
    content-encoding: br                                       | 415 | unsupported_media_type
    content-encoding: deflate, gzip                            | 415 | unsupported_media_type
    2 MiB                                                      | 413 | payload_too_large
    2 MiB with nothing to show for it                          | 401 | unauthorized
    2 MiB to a tool that is not there                          | 404 | unknown_tool
    ");
}

/// Where in a message the bombs are.
fn message(arguments: &[u8]) -> Vec<u8> {
    let begin = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echoHai","arguments":"#;
    [begin, arguments, b"}}"].concat()
}

#[tokio::test]
async fn arguments_over_mcp() {
    let mut site = Site::start(&config("", &[guarded("greet", "")])).await;
    for (name, body) in bombs() {
        let ask = Ask::post("/greet/mcp", message(&body)).by(&ada());
        let reply = site.attack(name, ask).await;
        assert!(reply.body.len() < 16 << 10, "{name}: the answer is as long as {}", reply.body.len());
    }
    assert_snapshot!(site.end().await, @r"
    500,000 arrays in each other                               | 400 | -32600
    170,000 objects in each other                              | 400 | -32600
    as many that never end                                     | 400 | -32700
    120 arrays in each other                                   | 200 | isError
    100,000 members                                            | 200 | ok
    500,000 items                                              | 200 | isError
    a number of a million digits                               | 400 | -32600
    a fraction of a million digits                             | 200 | isError
    1e999                                                      | 400 | -32600
    1e-999999999                                               | 200 | isError
    a million digits in the exponent                           | 400 | -32600
    NaN                                                        | 400 | -32700
    hexadecimal                                                | 400 | -32700
    a name twice                                               | 200 | isError
    a name twice, once in other letters                        | 200 | isError
    a name twice, inside                                       | 200 | isError
    a name in capitals besides                                 | 200 | isError
    half a character                                           | 400 | -32600
    bytes that are no text                                     | 400 | -32700
    letters longer than they need be                           | 400 | -32700
    a byte order mark                                          | 400 | -32700
    UTF-16                                                     | 400 | -32700
    a control character                                        | 400 | -32700
    a comment                                                  | 400 | -32700
    a comma at the end                                         | 400 | -32700
    two objects                                                | 400 | -32700
    an object in an array                                      | 200 | isError
    an object in a text                                        | 200 | isError
    null                                                       | 200 | isError
    a prototype                                                | 200 | isError
    a member that the parser reserves                          | 200 | isError
    a member that the parser reserves, inside                  | 200 | isError
    a million spaces                                           | 200 | ok
    ");
}

#[tokio::test]
async fn messages() {
    let mut site = Site::start(&config("", &[guarded("greet", ""), guarded("everything", "")])).await;
    let call = |id: &str, method: &str, params: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{method},"params":{params}}}"#)
    };
    let (tools_call, params) = ("\"tools/call\"", r#"{"name":"echoHai","arguments":{"userName":"Ada"}}"#);
    let deep = nested("[", "]");
    let rows = [
        ("a batch", format!("[{}]", call("1", tools_call, params))),
        ("a batch of 20,000", format!("[{}1]", "1,".repeat(20_000))),
        ("deep parameters", call("1", tools_call, &deep)),
        ("deep _meta", call("1", "\"ping\"", &format!("{{\"_meta\":{{\"a\":{deep}}}}}"))),
        ("a deep id", call(&deep, "\"ping\"", "{}")),
        ("a deep method", call("1", &deep, "{}")),
        ("something deep besides", format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","x":{deep}}}"#)),
        ("a deep result that nobody waits for", format!(r#"{{"jsonrpc":"2.0","id":1,"result":{deep}}}"#)),
        ("a result that nobody waits for", r#"{"jsonrpc":"2.0","id":1,"result":{}}"#.into()),
        (
            "an error that nobody waits for",
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}"#.into(),
        ),
        ("a method twice", r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}"#.into()),
        (
            "parameters twice",
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params},"params":{{}}}}"#),
        ),
        (
            "a name twice",
            call("1", tools_call, r#"{"name":"nothing","name":"echoHai","arguments":{"userName":"Ada"}}"#),
        ),
        (
            "a name twice, once in other letters",
            call(
                "1",
                tools_call,
                r#"{"name":"nothing","n\u0061me":"echoHai","arguments":{"userName":"Ada"}}"#,
            ),
        ),
        (
            "arguments twice",
            call("1", tools_call, r#"{"name":"echoHai","arguments":{"userName":"Ada"},"arguments":{}}"#),
        ),
        (
            "_meta twice",
            call(
                "1",
                tools_call,
                r#"{"_meta":{},"_meta":{},"name":"echoHai","arguments":{"userName":"Ada"}}"#,
            ),
        ),
        ("an id twice", r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#.into()),
        ("a method and a result", r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#.into()),
        ("a large number as id", call("99999999999999999999999999", "\"ping\"", "{}")),
        ("1e999 as id", call("1e999", "\"ping\"", "{}")),
        ("half a number as id", call("1.5", "\"ping\"", "{}")),
        ("an object as id", call("{}", "\"ping\"", "{}")),
        ("true as id", call("true", "\"ping\"", "{}")),
        ("null as id", call("null", "\"ping\"", "{}")),
        ("a number as method", call("1", "7", "{}")),
        ("an unknown method", call("1", "\"tools/erase\"", "{}")),
        ("a method in capitals", call("1", "\"TOOLS/CALL\"", params)),
        ("a method of a million letters", call("1", &json!("x".repeat(LARGE)).to_string(), "{}")),
        (
            "a tool of a million letters",
            call("1", tools_call, &json!({"name": "x".repeat(LARGE - 200)}).to_string()),
        ),
        ("a number as tool", call("1", tools_call, r#"{"name":7,"arguments":{}}"#)),
        ("no tool", call("1", tools_call, "{}")),
        ("no parameters", r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#.into()),
        ("parameters in an array", call("1", tools_call, "[\"echoHai\"]")),
        ("another version of JSON-RPC", r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#.into()),
        ("no version of JSON-RPC", r#"{"id":1,"method":"ping"}"#.into()),
        (
            "a call without an id",
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"echoHai"}}"#.into(),
        ),
        (
            "a notification that is none",
            r#"{"jsonrpc":"2.0","method":"notifications/erase","params":{}}"#.into(),
        ),
        (
            "the cancellation of another's call",
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#.into(),
        ),
        ("a page that is none", call("1", "\"tools/list\"", r#"{"cursor":"18446744073709551615"}"#)),
        ("a page of another list", call("1", "\"tools/list\"", r#"{"cursor":"../prompts"}"#)),
        (
            "a version that is to come",
            call(
                "1",
                "\"initialize\"",
                r#"{"protocolVersion":"9999-12-31","capabilities":{},"clientInfo":{"name":"t","version":"1"}}"#,
            ),
        ),
        (
            "a version that is none",
            call("1", "\"initialize\"", r#"{"protocolVersion":7,"capabilities":{},"clientInfo":{}}"#),
        ),
    ];
    for (name, body) in rows {
        let reply = site.attack(name, Ask::post("/greet/mcp", body).by(&ada())).await;
        assert!(reply.body.len() < 2 << 20, "{name}: the answer is as long as {}", reply.body.len());
    }
    assert_snapshot!(site.end().await, @r"
    a batch                                                    | 400 | -32600
    a batch of 20,000                                          | 400 | -32600
    deep parameters                                            | 400 | -32600
    deep _meta                                                 | 400 | -32600
    a deep id                                                  | 400 | -32600
    a deep method                                              | 400 | -32600
    something deep besides                                     | 400 | -32600
    a deep result that nobody waits for                        | 400 | -32600
    a result that nobody waits for                             | 400 | -32600
    an error that nobody waits for                             | 400 | -32600
    a method twice                                             | 400 | -32600
    parameters twice                                           | 400 | -32600
    a name twice                                               | 200 | -32602
    a name twice, once in other letters                        | 200 | -32602
    arguments twice                                            | 200 | -32602
    _meta twice                                                | 400 | -32600
    an id twice                                                | 400 | -32600
    a method and a result                                      | 400 | -32600
    a large number as id                                       | 400 | -32600
    1e999 as id                                                | 400 | -32600
    half a number as id                                        | 400 | -32600
    an object as id                                            | 400 | -32600
    true as id                                                 | 400 | -32600
    null as id                                                 | 400 | -32600
    a number as method                                         | 400 | -32600
    an unknown method                                          | 200 | -32601
    a method in capitals                                       | 200 | -32601
    a method of a million letters                              | 200 | -32601
    a tool of a million letters                                | 200 | -32602
    a number as tool                                           | 200 | -32602
    no tool                                                    | 200 | -32602
    no parameters                                              | 200 | -32602
    parameters in an array                                     | 400 | -32600
    another version of JSON-RPC                                | 400 | -32600
    no version of JSON-RPC                                     | 400 | -32600
    a call without an id                                       | 202 | ok
    a notification that is none                                | 202 | ok
    the cancellation of another's call                         | 202 | ok
    a page that is none                                        | 200 | -32602
    a page of another list                                     | 200 | -32602
    a version that is to come                                  | 200 | ok
    a version that is none                                     | 400 | -32600
    ");
}
