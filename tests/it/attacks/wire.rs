//! Connections: requests that never end, requests that are too large, and requests that hide another behind them.

use insta::assert_snapshot;
use tests::admin_key;

use super::{ADA, Ask, ECHO, Sent, Site, ada, config, echo, guarded};

/// A request that is to be taken for a body, and no more.
const HIDDEN: &str = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Patience that a test can outlast, and no more than 1 KiB of body.
const LIMITS: &str = "[http]\nbody_max_bytes = 1024\n[limits]\nhead_timeout = \"1s\"\nbody_timeout = \"1s\"";

async fn site() -> Site {
    Site::start(&config(LIMITS, &[guarded("greet", "")])).await
}

/// A POST of greet's tool that says this of its body, and the body.
fn body(headers: &[(&str, &str)], body: &[u8]) -> Sent {
    let ask = headers
        .iter()
        .fold(echo().by(&ada()).without("content-length"), |ask, (name, value)| ask.with(name, value));
    ask.body(body).into()
}

#[tokio::test]
async fn slow_clients() {
    let mut site = site().await;
    let head = format!("POST {ECHO} HTTP/1.1\r\nhost: localhost\r\n");
    let long = [("content-length", "1000")];
    let chunked = [("transfer-encoding", "chunked")];
    // What a body is promised for, and does not come.
    let promised = |ask: Ask| Sent::from(ask.but("content-length", "1000")).then_slowly(b' ');
    let expects = Ask::post(ECHO, "").but("content-length", "1000").with("expect", "100-continue").by(&ada());
    let attacks: Vec<(&str, Sent)> = vec![
        ("nothing at all", "".into()),
        ("half a line", "POST /gre".into()),
        ("half a head", head.clone().into()),
        ("a head, letter by letter", Sent::from(head + "x-slow: ").then_slowly(b'a')),
        ("empty lines before a head, one by one", Sent::from("\r\n").then_slowly(b'\n')),
        ("a body that does not come", body(&long, b"")),
        ("a body, letter by letter", body(&long, b"").then_slowly(b' ')),
        ("a body, letter by letter, MCP", promised(Ask::post("/greet/mcp", "").by(&ada()))),
        ("chunks that do not come", body(&chunked, b"")),
        ("a chunk, letter by letter", body(&chunked, b"3ff\r\n").then_slowly(b' ')),
        ("a chunk's size, digit by digit", body(&chunked, b"").then_slowly(b'0')),
        ("a chunk's extension, letter by letter", body(&chunked, b"1;").then_slowly(b'a')),
        ("trailers, letter by letter", body(&chunked, b"0\r\nx: ").then_slowly(b'a')),
        ("a slow body with nothing to show for it", promised(Ask::post(ECHO, ""))),
        ("a slow body to a page", promised(Ask::new("POST /healthz"))),
        ("a slow body to a tool that is not there", promised(Ask::post("/greet/tools/none", "").by(&ada()))),
        ("a slow body to a reload (good)", promised(Ask::post("/admin/reload", "").by(&admin_key()))),
        ("a body that waits for leave, and does not come", expects.into()),
        (
            "a connection that is kept for nothing (good)",
            echo().by(&ada()).but("connection", "keep-alive").into(),
        ),
    ];
    site.attack_at_once(attacks).await;
    assert_snapshot!(site.end().await, @r"
    nothing at all                                             | ended | -
    half a line                                                | ended | -
    half a head                                                | ended | -
    a head, letter by letter                                   | ended | -
    empty lines before a head, one by one                      | ended | -
    a body that does not come                                  | 408 | body_timeout
    a body, letter by letter                                   | 408 | body_timeout
    a body, letter by letter, MCP                              | 408 | body_timeout -32600
    chunks that do not come                                    | 408 | body_timeout
    a chunk, letter by letter                                  | 408 | body_timeout
    a chunk's size, digit by digit                             | 408 | body_timeout
    a chunk's extension, letter by letter                      | 408 | body_timeout
    trailers, letter by letter                                 | 408 | body_timeout
    a slow body with nothing to show for it                    | 401 | unauthorized
    a slow body to a page                                      | 405 | method_not_allowed
    a slow body to a tool that is not there                    | 404 | unknown_tool
    a slow body to a reload (good)                             | 200 | ok
    a body that waits for leave, and does not come             | 408 | body_timeout
    a connection that is kept for nothing (good)               | 200 | ok
    ");
}

#[tokio::test]
async fn too_large() {
    let mut site = site().await;
    let ask = || echo().by(&ada());
    let path = |length: usize| Ask::post(&format!("{ECHO}{}", "a".repeat(length)), ADA).by(&ada());
    site.attack("a path of 32 KiB", path(32 << 10)).await;
    site.attack("a path of 128 KiB", path(128 << 10)).await;
    site.attack(
        "a query of 128 KiB",
        Ask::post(&format!("{ECHO}?{}", "a".repeat(128 << 10)), ADA).by(&ada()),
    )
    .await;
    site.attack("a header of 128 KiB", ask().with("x-large", &"a".repeat(128 << 10))).await;
    site.attack("a header's name of 70,000 letters", ask().with(&"a".repeat(70_000), "x")).await;
    let many = |count: usize| (0..count).fold(ask(), |ask, at| ask.with(&format!("x-{at}"), "x"));
    site.attack("200 headers", many(200)).await;
    site.attack("10,000 headers", many(10_000)).await;
    site.attack("a method of 10,000 letters", Ask::new(&format!("{} /", "A".repeat(10_000)))).await;
    site.attack("a length of a byte too many", body(&[("content-length", "1025")], &[b' '; 1025])).await;
    site.attack("a length of 16 EiB", body(&[("content-length", "18446744073709551615")], b"")).await;
    site.attack("a length of more", body(&[("content-length", "18446744073709551616")], b"")).await;
    let leave = [("content-length", "99999999"), ("expect", "100-continue")];
    let reply = site.attack("a length that waits for leave", body(&leave, b"")).await;
    assert_eq!(reply.answers, 1, "it gets none: {reply:?}");
    let chunk = |size: usize| format!("{size:x}\r\n{}\r\n", " ".repeat(size));
    let chunked = [("transfer-encoding", "chunked")];
    let ended = chunk(2_000) + "0\r\n\r\n";
    site.attack("a chunk of 2,000 bytes", body(&chunked, ended.as_bytes())).await;
    let small = chunk(1).repeat(2_000) + "0\r\n\r\n";
    site.attack("2,000 chunks of a byte", body(&chunked, small.as_bytes())).await;
    site.attack("a chunk that says it is 16 EiB", body(&chunked, b"ffffffffffffffff\r\n{}")).await;
    let extended = format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "a".repeat(64 << 10));
    site.attack("an extension of 64 KiB", body(&chunked, extended.as_bytes())).await;
    let trailers = format!("2\r\n{{}}\r\n0\r\n{}\r\n", "x: y\r\n".repeat(20_000));
    site.attack("20,000 trailers", body(&chunked, trailers.as_bytes())).await;
    site.attack("64 KiB of id", ask().with("x-request-id", &"a".repeat(60 << 10))).await;
    site.attack(
        "a body for a page",
        Ask::new("GET /servers").with("content-length", "2").by(&ada()).body(b"{}"),
    )
    .await;
    assert_snapshot!(site.end().await, @r"
    a path of 32 KiB                                           | 404 | unknown_tool
    a path of 128 KiB                                          | 431 | -
    a query of 128 KiB                                         | 431 | -
    a header of 128 KiB                                        | 431 | -
    a header's name of 70,000 letters                          | 431 | -
    200 headers                                                | 431 | -
    10,000 headers                                             | 431 | -
    a method of 10,000 letters                                 | 405 | method_not_allowed
    a length of a byte too many                                | 413 | payload_too_large
    a length of 16 EiB                                         | 431 | -
    a length of more                                           | 400 | -
    a length that waits for leave                              | 413 | payload_too_large
    a chunk of 2,000 bytes                                     | 413 | payload_too_large
    2,000 chunks of a byte                                     | 413 | payload_too_large
    a chunk that says it is 16 EiB                             | 408 | body_timeout
    an extension of 64 KiB                                     | 400 | incomplete_body
    20,000 trailers                                            | 400 | incomplete_body
    64 KiB of id                                               | 200 | ok
    a body for a page                                          | 200 | ok
    ");
}

/// Sends `first` and behind it, on the same connection, a request for a page; says whether that is answered too.
async fn hide(site: &mut Site, name: &str, first: impl Into<Vec<u8>>) {
    let behind = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let both = [first.into(), behind.to_vec()].concat();
    let reply = site.send(Sent::of(both)).await;
    let more = if reply.answers > 1 { format!(", then {} more", reply.answers - 1) } else { String::new() };
    site.rows.push(format!("{name:<58} | {}{more}", reply.outcome()));
}

#[tokio::test]
async fn one_request_behind_another() {
    let mut site = site().await;
    let line = format!("POST {ECHO} HTTP/1.1");
    let common = format!("host: localhost\r\nx-api-key: {}\r\ncontent-type: application/json", ada().text);
    site.secrets.push(ada().text);
    let post = |headers: &str, body: &str| format!("{line}\r\n{common}\r\n{headers}\r\n\r\n{body}");
    let length = format!("content-length: {}", ADA.len());
    let chunks = format!("{:x}\r\n{ADA}\r\n0\r\n\r\n", ADA.len());
    let rows = [
        ("two requests (good)", post(&length, ADA)),
        ("a length and an encoding", post(&format!("{length}\r\ntransfer-encoding: chunked"), &chunks)),
        ("an encoding and a length", post(&format!("transfer-encoding: chunked\r\n{length}"), &chunks)),
        ("an encoding and no length", post("transfer-encoding: chunked\r\ncontent-length: 0", &chunks)),
        ("two lengths", post(&format!("{length}\r\ncontent-length: 0"), ADA)),
        ("two lengths in one", post(&format!("{length}, 0"), ADA)),
        ("a length with a sign", post(&format!("content-length: +{}", ADA.len()), ADA)),
        ("a length with a space before the colon", post(&format!("content-length : {}", ADA.len()), ADA)),
        ("a length over two lines", post(&format!("content-length:\r\n {}", ADA.len()), ADA)),
        ("an encoding in odd letters", post("transfer-encoding: xchunked", &chunks)),
        ("an encoding behind a tab and a vertical one", post("transfer-encoding: \u{b}chunked", &chunks)),
        ("an encoding behind another", post("transfer-encoding: gzip, chunked", &chunks)),
        ("an encoding before another", post("transfer-encoding: chunked, identity", &chunks)),
        ("two encodings", post("transfer-encoding: chunked\r\ntransfer-encoding: identity", &chunks)),
        (
            "two encodings, the last good",
            post("transfer-encoding: identity\r\ntransfer-encoding: chunked", &chunks),
        ),
        ("chunked twice", post("transfer-encoding: chunked\r\ntransfer-encoding: chunked", &chunks)),
        ("an encoding with a space before the colon", post("transfer-encoding : chunked", &chunks)),
        ("an encoding with a null", post("transfer-encoding: chunked\0", &chunks)),
        ("a header's name with a null", post(&format!("x\0y: z\r\n{length}"), ADA)),
        (
            "a header's value with a bare CR",
            post(&format!("x: y\rtransfer-encoding: chunked\r\n{length}"), ADA),
        ),
        ("a bare CR as the end of a line", post(&length, ADA).replacen("\r\n", "\r", 1)),
        (
            "a chunk's size that overflows",
            post("transfer-encoding: chunked", "10000000000000002\r\n{}\r\n0\r\n\r\n"),
        ),
        ("a chunk's size with 0x", post("transfer-encoding: chunked", "0x2\r\n{}\r\n0\r\n\r\n")),
        ("a chunk that is longer than it says", post("transfer-encoding: chunked", "1\r\n{}\r\n0\r\n\r\n")),
        ("a chunk's size that ends in LF", post("transfer-encoding: chunked", "2\n{}\r\n0\r\n\r\n")),
        ("a chunk's extension with a bare LF", post("transfer-encoding: chunked", "2;\n\r\n{}\r\n0\r\n\r\n")),
        ("an encoding in HTTP/1.0", post("transfer-encoding: chunked", &chunks).replacen("1.1", "1.0", 1)),
        ("HTTP/0.9", format!("GET {ECHO}\r\n\r\n")),
        ("HTTP/2 in an HTTP/1 line", post(&length, ADA).replacen("1.1", "2.0", 1)),
        ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into()),
        ("two spaces in the line", post(&length, ADA).replacen(" /", "  /", 1)),
        ("a header before the line", format!(" x: y\r\n{}", post(&length, ADA))),
        (
            "a request in a GET's body",
            format!("GET /servers HTTP/1.1\r\n{common}\r\ncontent-length: {}\r\n\r\n{HIDDEN}", HIDDEN.len()),
        ),
        (
            "a request in a refused body",
            post(&format!("x-api-key: again\r\ncontent-length: {}", HIDDEN.len()), HIDDEN),
        ),
        (
            "an upgrade",
            post(
                &format!(
                    "connection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n{length}"
                ),
                ADA,
            ),
        ),
        (
            "an upgrade to a socket",
            format!(
                "GET /greet/mcp HTTP/1.1\r\n{common}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
            ),
        ),
        ("headers that the connection takes away", post(&format!("connection: x-api-key\r\n{length}"), ADA)),
        ("bytes of TLS", "\u{16}\u{3}\u{1}\0\u{5}\u{1}\0\0\u{1}\u{3}\u{3}\r\n\r\n".into()),
    ];
    for (name, first) in rows {
        hide(&mut site, name, first).await;
    }
    assert_snapshot!(site.end().await, @r"
    two requests (good)                                        | 200 | ok, then 1 more
    a length and an encoding                                   | 200 | ok
    an encoding and a length                                   | 200 | ok
    an encoding and no length                                  | 200 | ok
    two lengths                                                | 400 | -
    two lengths in one                                         | 400 | -
    a length with a sign                                       | 400 | -
    a length with a space before the colon                     | 400 | -
    a length over two lines                                    | 400 | -
    an encoding in odd letters                                 | 400 | -
    an encoding behind a tab and a vertical one                | 400 | -
    an encoding behind another                                 | 400 | ambiguous_request
    an encoding before another                                 | 400 | -
    two encodings                                              | 400 | -
    two encodings, the last good                               | 400 | ambiguous_request
    chunked twice                                              | 400 | ambiguous_request
    an encoding with a space before the colon                  | 400 | -
    an encoding with a null                                    | 400 | -
    a header's name with a null                                | 400 | -
    a header's value with a bare CR                            | 400 | -
    a bare CR as the end of a line                             | 400 | -
    a chunk's size that overflows                              | 400 | incomplete_body
    a chunk's size with 0x                                     | 400 | incomplete_body
    a chunk that is longer than it says                        | 400 | incomplete_body
    a chunk's size that ends in LF                             | 400 | incomplete_body
    a chunk's extension with a bare LF                         | 400 | incomplete_body
    an encoding in HTTP/1.0                                    | 400 | -
    HTTP/0.9                                                   | 400 | -
    HTTP/2 in an HTTP/1 line                                   | 400 | -
    the preface of HTTP/2                                      | ended | -
    two spaces in the line                                     | 400 | -
    a header before the line                                   | 400 | -
    a request in a GET's body                                  | 200 | ok, then 1 more
    a request in a refused body                                | 401 | unauthorized, then 1 more
    an upgrade                                                 | 200 | ok, then 1 more
    an upgrade to a socket                                     | 200 | ok, then 1 more
    headers that the connection takes away                     | 200 | ok, then 1 more
    bytes of TLS                                               | 400 | -
    ");
}
