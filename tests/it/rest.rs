//! Tools as plain HTTP: what a good call answers, and what every bad one is told.

use std::{
    io::{self, Write as _},
    net::TcpStream,
};

use http::{Method, Request, header};
use insta::assert_snapshot;
use tests::{Gateway, config};

use crate::problem::{self, call, problem, problem_of_call};

async fn check(gateway: &Gateway, path: &str, arguments: &str, expected: &str) {
    let answer = gateway.post(path, arguments).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, expected), "{path}");
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
}

/// A gateway with `greet` that takes bodies of at most 64 bytes.
async fn small() -> Gateway {
    let limit = "[http]\nbody_max_bytes = 64\n[log]";
    Gateway::with_config(&config(&["greet"]).replace("[log]", limit)).await
}

#[tokio::test]
async fn a_call_answers_with_the_tools_result() {
    let gateway = Gateway::start(&["greet", "bye", "math"]).await;
    check(&gateway, "/greet/tools/echoHai", r#"{"userName":"Ada"}"#, r#"{"result":"Hello, Ada!"}"#).await;
    check(&gateway, "/bye/tools/echoBye", r#"{"userName":"Ada"}"#, r#"{"result":"Bye, Ada!"}"#).await;
    check(&gateway, "/math/tools/add", r#"{"a":2,"b":0.5}"#, r#"{"result":2.5}"#).await;
    check(&gateway, "/math/tools/divide", r#"{"a":1,"b":4}"#, r#"{"result":0.25}"#).await;
}

#[tokio::test]
async fn names_and_text_may_be_of_any_script() {
    let gateway = Gateway::start(&["greet"]).await;
    // The same name plain and percent-encoded.
    for path in ["/greet/tools/echoHai", "/greet/tools/echo%48ai"] {
        let text = "Ada \u{1f600} \\ \"\u{5e9}\"";
        let arguments = serde_json::json!({ "userName": text }).to_string();
        let expected = serde_json::json!({ "result": format!("Hello, {text}!") }).to_string();
        check(&gateway, path, &arguments, &expected).await;
    }
}

#[tokio::test]
async fn a_tools_own_error_is_told_in_its_words() {
    let gateway = Gateway::start(&["math"]).await;
    assert_snapshot!(problem_of_call(&gateway, "/math/tools/divide", r#"{"a":1,"b":0}"#).await, @r#"
    422 tool_error: The tool reported an error
    cannot divide 1 by zero
    result: {"content":[{"type":"text","text":"cannot divide 1 by zero"}],"isError":true}
    server: "math"
    tool: "divide"
    "#);
}

#[tokio::test]
async fn a_problem_is_a_document_of_rfc_9457() {
    let gateway = Gateway::start(&["greet"]).await;
    let answer = gateway.post("/greet/tools/echohai", "{}").await;
    assert_snapshot!(answer.summary(), @r#"
    404 Not Found
    {
      "type": "/problems/unknown_tool",
      "title": "Unknown tool",
      "status": 404,
      "detail": "server `greet` has no tool `echohai`; did you mean `echoHai`?",
      "instance": "/greet/tools/echohai",
      "code": "unknown_tool",
      "request_id": "[id]",
      "server": "greet",
      "tool": "echohai",
      "available": [
        "echoHai"
      ]
    }
    "#);
}

#[tokio::test]
async fn an_unknown_tool_is_told_with_the_near_name() {
    let gateway = Gateway::start(&["greet"]).await;
    assert_snapshot!(problem_of_call(&gateway, "/greet/tools/echohai", "{}").await, @r#"
    404 unknown_tool: Unknown tool
    server `greet` has no tool `echohai`; did you mean `echoHai`?
    server: "greet"
    tool: "echohai"
    available: ["echoHai"]
    "#);
    // Nothing is near, and the body, which is no JSON, is not what is wrong.
    assert_snapshot!(problem_of_call(&gateway, "/greet/tools/zzz", "{").await, @r#"
    404 unknown_tool: Unknown tool
    server `greet` has no tool `zzz`
    server: "greet"
    tool: "zzz"
    available: ["echoHai"]
    "#);
}

#[tokio::test]
async fn an_unknown_server_is_told_with_the_near_prefix() {
    let gateway = Gateway::start(&["greet", "bye"]).await;
    assert_snapshot!(problem_of_call(&gateway, "/greeet/tools/echoHai", "{}").await, @r#"
    404 unknown_server: Unknown server
    no server is mounted at `/greeet/tools/echoHai`; did you mean `/greet`?
    available: ["/greet","/bye"]
    "#);
}

#[tokio::test]
async fn an_unknown_path_is_told_with_what_exists() {
    let gateway = Gateway::start(&["greet"]).await;
    // A tool's bare name, below a prefix.
    assert_snapshot!(problem_of_call(&gateway, "/greet/echoHai", "{}").await, @r#"
    404 unknown_path: Unknown path
    nothing is served at `/greet/echoHai`; did you mean `/greet/tools/echoHai`?
    available: ["/greet/mcp","/greet/tools","/greet/openapi.json","/greet/tools/echoHai"]
    "#);
    // Below no prefix.
    let request = Request::get("/reddoc").body(String::new()).expect("a request");
    assert_snapshot!(problem(&gateway, request).await, @r#"
    404 unknown_path: Unknown path
    nothing is served at `/reddoc`; did you mean `/redoc`?
    available: ["/","/servers","/openapi.json","/docs","/redoc","/healthz","/livez","/readyz","/metrics","/problems","/greet"]
    "#);
    // A code that no problem has.
    let request = Request::get("/problems/no_such_code").body(String::new()).expect("a request");
    let listed = problem(&gateway, request).await;
    assert!(listed.contains("there is no problem of that name") && listed.contains("tool_timeout"));
}

#[tokio::test]
async fn arguments_that_do_not_fit_are_told_one_by_one() {
    let gateway = Gateway::start(&["greet", "math"]).await;
    assert_snapshot!(problem_of_call(&gateway, "/greet/tools/echoHai", "{}").await, @r#"
    400 invalid_arguments: Invalid arguments
    1 problem in the arguments of greet/echoHai
    server: "greet"
    tool: "echoHai"
    errors: [{"pointer":"","keyword":"required","detail":"\"userName\" is a required property"}]
    "#);
    assert_snapshot!(problem_of_call(&gateway, "/greet/tools/echoHai", r#"{"userName":3}"#).await, @r#"
    400 invalid_arguments: Invalid arguments
    1 problem in the arguments of greet/echoHai
    server: "greet"
    tool: "echoHai"
    errors: [{"pointer":"/userName","keyword":"type","detail":"3 is not of type \"string\""}]
    "#);
    assert_snapshot!(problem_of_call(&gateway, "/math/tools/add", r#"{"a":"one"}"#).await, @r#"
    400 invalid_arguments: Invalid arguments
    2 problems in the arguments of math/add
    server: "math"
    tool: "add"
    errors: [{"pointer":"","keyword":"required","detail":"\"b\" is a required property"},{"pointer":"/a","keyword":"type","detail":"\"one\" is not of type \"number\""}]
    "#);
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_told_where_it_breaks() {
    let gateway = Gateway::start(&["greet"]).await;
    assert_snapshot!(problem_of_call(&gateway, "/greet/tools/echoHai", r#"{"userName":"#).await, @r#"
    400 malformed_json: Malformed JSON
    the arguments of `echoHai` are not a JSON object: EOF while parsing a value at line 1 column 12
    tool: "echoHai"
    "#);
    assert_snapshot!(problem_of_call(&gateway, "/greet/tools/echoHai", r#"["Ada"]"#).await, @r#"
    400 malformed_json: Malformed JSON
    the arguments of `echoHai` are not a JSON object: it is another kind of JSON value
    tool: "echoHai"
    "#);
    assert_snapshot!(problem_of_call(&gateway, "/greet/tools/echoHai", "").await, @r#"
    400 malformed_json: Malformed JSON
    the body is empty; send the arguments of `echoHai` as a JSON object, `{}` for none
    tool: "echoHai"
    "#);
}

#[tokio::test]
async fn a_body_of_another_media_type_is_refused() {
    let gateway = Gateway::start(&["greet"]).await;
    let check = async |name: &str, value: &str| {
        let request = Request::post("/greet/tools/echoHai").header(name, value);
        let request = request.body(r#"{"userName":"Ada"}"#.to_owned()).expect("a request");
        problem(&gateway, request).await
    };
    assert_snapshot!(check("content-type", "text/plain; charset=utf-8").await, @r"
    415 unsupported_media_type: Unsupported media type
    the body is `text/plain`; send `content-type: application/json`
    ");
    assert_snapshot!(check("x-nothing", "").await, @r"
    415 unsupported_media_type: Unsupported media type
    the request has no content-type; send `content-type: application/json`
    ");
    let mut request = call("/greet/tools/echoHai", "{}");
    request.headers_mut().insert(header::CONTENT_ENCODING, http::HeaderValue::from_static("gzip"));
    assert_snapshot!(problem(&gateway, request).await, @r"
    415 unsupported_media_type: Unsupported media type
    the body is encoded; send it without `content-encoding`
    ");
    // What is taken instead is in a header too.
    let request = Request::post("/greet/tools/echoHai").body(String::new()).expect("a request");
    let answer = gateway.send(request).await.expect("an answer");
    assert_eq!(answer.headers[header::ACCEPT], "application/json");
}

#[tokio::test]
async fn a_media_type_may_have_parameters_and_capitals() {
    let gateway = Gateway::start(&["greet"]).await;
    let request =
        Request::post("/greet/tools/echoHai").header("content-type", "Application/JSON; charset=utf-8");
    let request = request.body(r#"{"userName":"Ada"}"#.to_owned()).expect("a request");
    assert_eq!(gateway.send(request).await.expect("an answer").body, r#"{"result":"Hello, Ada!"}"#);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let gateway = small().await;
    let path = "/greet/tools/echoHai";
    let arguments = |name_bytes: usize| format!(r#"{{"userName":"{}"}}"#, "a".repeat(name_bytes));
    let overhead = arguments(0).len();

    let fits = gateway.post(path, arguments(64 - overhead)).await;
    assert_eq!(fits.status.as_u16(), 200, "64 bytes are allowed");

    let answer = gateway.post(path, arguments(65 - overhead)).await;
    assert_eq!(answer.headers[header::CONNECTION], "close");
    assert_snapshot!(problem::check(&gateway, path, &answer).await, @r"
    413 payload_too_large: Request body too large
    the body is larger than 64 bytes
    max_bytes: 64
    ");
}

#[tokio::test]
async fn a_body_that_does_not_say_how_long_it_is_is_refused_once_it_is_too_large() {
    let gateway = small().await;
    let path = "/greet/tools/echoHai";
    let send = async |pieces: [&str; 3]| {
        let request = Request::post(path).header("content-type", "application/json");
        let request = request.body(pieces.map(str::to_owned).to_vec()).expect("a request");
        gateway.send_in_pieces(request).await.expect("an answer")
    };
    let fits = send([r#"{"user"#, r#"Name":"#, r#""Ada"}"#]).await;
    assert_eq!(fits.body, r#"{"result":"Hello, Ada!"}"#);

    let too_large = send([r#"{"userName":""#, &"a".repeat(64), r#""}"#]).await;
    assert!(problem::check(&gateway, path, &too_large).await.contains("payload_too_large"));
}

#[tokio::test]
async fn a_client_that_sends_a_large_body_to_its_end_learns_that_it_is_too_large() {
    let gateway = small().await;
    let mut connection =
        TcpStream::connect(gateway.base().trim_start_matches("http://")).expect("it listens");
    let length = 12 << 20;
    let head = format!(
        "POST /greet/tools/echoHai HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n"
    );
    let answer = tokio::task::spawn_blocking(move || {
        connection.write_all(head.as_bytes())?;
        connection.write_all(&vec![b' '; length])?;
        io::read_to_string(connection)
    });
    let answer = answer.await.expect("it does not panic").expect("the connection does not break");
    assert!(answer.starts_with("HTTP/1.1 413 Payload Too Large\r\n"), "{answer}");
}

#[tokio::test]
async fn a_tool_is_called_by_post_only() {
    let gateway = Gateway::start(&["greet"]).await;
    let path = "/greet/tools/echoHai";
    let request =
        |method: &Method| Request::builder().method(method).uri(path).body(String::new()).expect("a request");
    assert_snapshot!(problem(&gateway, request(&Method::GET)).await, @r"
    405 method_not_allowed: Method not allowed
    `GET` is not among POST, OPTIONS
    ");
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH] {
        let answer = gateway.send(request(&method)).await.expect("an answer");
        assert_eq!(answer.status.as_u16(), 405, "{method}");
        assert_eq!(answer.headers[header::ALLOW], "POST, OPTIONS", "{method}");
    }
    let options = gateway.send(request(&Method::OPTIONS)).await.expect("an answer");
    assert_eq!((options.status.as_u16(), options.body.as_str()), (204, ""));
    assert_eq!(options.headers[header::ALLOW], "POST, OPTIONS");
}

#[tokio::test]
async fn every_code_has_a_page() {
    let gateway = Gateway::start(&[]).await;
    let list = gateway.get("/problems").await.json();
    let pages = list["problems"].as_array().expect("a list");
    let codes: Vec<&str> = pages.iter().filter_map(|page| page["code"].as_str()).collect();
    assert_eq!(codes, host::mount::ProblemCode::all().map(|code| code.as_str()).collect::<Vec<_>>());
    for page in pages {
        let path = page["type"].as_str().expect("a path");
        assert_eq!(gateway.get(path).await.json(), *page, "{path}");
    }
    assert_snapshot!(gateway.get("/problems/tool_timeout").await.summary(), @r#"
    200 OK
    {
      "type": "/problems/tool_timeout",
      "code": "tool_timeout",
      "status": 504,
      "title": "The tool took too long",
      "meaning": "The tool did not answer within the server's `call_timeout`; the call was cancelled."
    }
    "#);
}
