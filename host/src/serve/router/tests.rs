//! Requests through the whole router, to a gateway whose servers did not start.

use http::{HeaderMap, HeaderName};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;
use crate::{
    mount::{MountTable, tests::failed},
    serve::state::tests::gateway,
};

/// A gateway with one failed server at `/greet`.
fn with_a_failed_server() -> Arc<Gateway> {
    let gateway = gateway();
    gateway.install(MountTable::of(vec![failed("greet", "/greet")]));
    gateway
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    /// Status, code and detail, on one line.
    fn problem(&self) -> String {
        let json = self.json();
        format!("{} {}: {}", self.status, json["code"].as_str().unwrap_or("-"), json["detail"])
    }
}

async fn ask(gateway: &Arc<Gateway>, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = http::Request::new(Body::empty());
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().expect("the test's own path");
    request.headers_mut().insert(header::HOST, HeaderValue::from_static("localhost:8000"));
    for (name, value) in headers {
        let name: HeaderName = name.parse().expect("the test's own header");
        request.headers_mut().insert(name, HeaderValue::from_str(value).expect("the test's own header"));
    }
    let response = router(gateway, Place::Main).oneshot(request).await.unwrap_or_else(|never| match never {});
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("the body is in memory").to_bytes();
    Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).expect("answers are UTF-8"),
    }
}

async fn get(path: &str) -> Answer {
    ask(&with_a_failed_server(), Method::GET, path, &[]).await
}

#[tokio::test]
async fn a_failed_server_answers_503_with_its_reason() {
    let answer = get("/greet/tools/echoHai").await;
    assert_eq!(
        answer.problem(),
        r#"503 plugin_unavailable: "server `greet` does not serve: `unreadable`; `/servers` says more""#
    );
    assert_eq!(answer.json()["reason"], "unreadable");
    assert_eq!(answer.header("retry-after"), "30");
}

#[tokio::test]
async fn an_mcp_client_gets_json_rpc_even_for_faults_of_the_gateway() {
    let answer = ask(&with_a_failed_server(), Method::POST, "/greet/mcp", &[]).await;
    assert_eq!((answer.status, answer.header("content-type")), (503, "application/json"));
    let json = answer.json();
    assert_eq!(json["error"]["code"], -32603);
    assert_eq!(json["error"]["data"]["code"], "plugin_unavailable");
    assert!(json.get("id").is_none());
}

#[tokio::test]
async fn an_unknown_path_says_what_exists() {
    let check = async |path, expected: &str| assert_eq!(get(path).await.problem(), expected, "{path}");
    check(
        "/greeet/tools/echoHai",
        "404 unknown_server: \"no server is mounted at `/greeet/tools/echoHai`; did you mean `/greet`?\"",
    )
    .await;
    check("/other/mcp", "404 unknown_server: \"no server is mounted at `/other/mcp`\"").await;
    check("/helthz", "404 unknown_path: \"nothing is served at `/helthz`; did you mean `/healthz`?\"").await;
    check("/docs/mcp", "404 unknown_path: \"nothing is served at `/docs/mcp`; did you mean `/docs`?\"").await;
    check("/x", "404 unknown_path: \"nothing is served at `/x`\"").await;
    assert_eq!(get("/greeet/mcp").await.json()["available"], json!(["/greet"]));
    let available = get("/x").await.json()["available"].to_string();
    assert!(available.contains("\"/readyz\"") && available.ends_with("\"/greet\"]"), "{available}");
}

#[tokio::test]
async fn health_pages_follow_the_life_of_the_gateway() {
    let gateway = gateway();
    let ready = async |gateway: &Arc<Gateway>| {
        let answer = ask(gateway, Method::GET, "/readyz", &[]).await;
        format!("{} {}", answer.status, answer.body)
    };
    assert_eq!(ready(&gateway).await, r#"503 {"status":"starting","failed":[]}"#);
    assert_eq!(
        ask(&gateway, Method::POST, "/greet/tools/x", &[]).await.problem(),
        "503 plugin_unavailable: \"the gateway is starting; its servers are not loaded yet\""
    );
    gateway.install(MountTable::of(vec![failed("greet", "/greet")]));
    assert_eq!(
        ready(&gateway).await,
        r#"200 {"status":"ready","failed":[{"name":"greet","code":"unreadable","required":false}]}"#
    );
    gateway.begin_drain();
    assert!(ready(&gateway).await.starts_with(r#"503 {"status":"draining""#));
    assert_eq!(ask(&gateway, Method::GET, "/healthz", &[]).await.body, r#"{"status":"ok"}"#);

    let mut required = failed("greet", "/greet");
    if let Mounted::Failed(failed) = &mut required {
        Arc::get_mut(failed).expect("nobody else has it").entry.required = true;
    }
    let gateway = self::gateway();
    gateway.install(MountTable::of(vec![required]));
    assert!(ready(&gateway).await.starts_with(r#"503 {"status":"failed""#));
}

#[tokio::test]
async fn servers_are_listed_with_the_reason_of_their_failure() {
    assert_eq!(
        get("/servers").await.json()["servers"],
        json!([{"name": "greet", "prefix": "/greet", "plugin": "x.so", "required": false, "state": "failed",
            "code": "unreadable", "reason": "server `greet`: cannot read `plugins/x.so`: entity not found"}])
    );
}

#[tokio::test]
async fn every_answer_has_an_id_and_foreign_hosts_get_only_that() {
    let gateway = with_a_failed_server();
    let answer = ask(&gateway, Method::GET, "/healthz", &[("x-request-id", "step-7")]).await;
    assert_eq!(answer.header("x-request-id"), "step-7");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");

    let answer = ask(&gateway, Method::GET, "/healthz", &[("host", "evil.example")]).await;
    assert_eq!(
        answer.problem(),
        "403 host_not_allowed: \"the host `evil.example` is not one that this gateway answers to; if it should be, \
         the operator adds it to `[http] allowed_hosts` in gateway.toml\""
    );
    assert_eq!(answer.json()["request_id"], answer.header("x-request-id"));

    let answer = ask(&gateway, Method::GET, "/", &[("origin", "https://evil.example")]).await;
    assert!(answer.problem().starts_with("403 origin_not_allowed"), "{}", answer.problem());
}

#[tokio::test]
async fn pages_answer_head_and_options_and_refuse_the_rest() {
    let gateway = with_a_failed_server();
    let head = ask(&gateway, Method::HEAD, "/servers", &[]).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_ne!(head.header("content-length"), "0");
    let options = ask(&gateway, Method::OPTIONS, "/servers", &[]).await;
    assert_eq!((options.status, options.header("allow")), (204, "GET, HEAD, OPTIONS"));
    let post = ask(&gateway, Method::POST, "/servers", &[]).await;
    assert_eq!(post.problem(), "405 method_not_allowed: \"`POST` is not among GET, HEAD, OPTIONS\"");
    assert_eq!(post.header("allow"), "GET, HEAD, OPTIONS");
}

#[tokio::test]
async fn a_known_openapi_document_is_not_sent_again() {
    let gateway = with_a_failed_server();
    let first = ask(&gateway, Method::GET, "/openapi.json", &[]).await;
    assert_eq!(first.json()["openapi"], "3.1.0");
    let tag = first.header("etag");
    for known in [tag, &format!("\"other\", W/{tag}"), "*"] {
        let again = ask(&gateway, Method::GET, "/openapi.json", &[("if-none-match", known)]).await;
        assert_eq!((again.status, again.body.as_str(), again.header("etag")), (304, "", tag));
    }
    let other = ask(&gateway, Method::GET, "/openapi.json", &[("if-none-match", "\"other\"")]).await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn every_problem_type_resolves() {
    for code in ProblemCode::all() {
        let page = get(&format!("/problems/{}", code.as_str())).await;
        assert_eq!((page.status, page.json()["title"].as_str()), (200, Some(code.title())));
    }
    assert_eq!(get("/problems/nonsense").await.status, 404);
    assert_eq!(
        get("/problems").await.json()["problems"].as_array().map(Vec::len),
        Some(ProblemCode::all().count())
    );
}

#[tokio::test]
async fn the_index_is_a_page_for_browsers_and_json_for_the_rest() {
    let html = ask(&with_a_failed_server(), Method::GET, "/", &[("accept", "text/html")]).await;
    assert_eq!(html.header("content-type"), "text/html; charset=utf-8");
    assert!(html.header("content-security-policy").starts_with("default-src 'none'"));
    assert!(html.body.contains("ui/status.js") && !html.body.contains("greet"), "{}", html.body);
    assert_eq!(get("/").await.json()["servers"][0]["prefix"], "/greet");
}

#[test]
fn a_path_below_a_prefix_names_one_thing() {
    assert_eq!(target(""), Target::Endpoint);
    assert_eq!(target("/"), Target::Endpoint);
    assert_eq!(target("/mcp"), Target::Endpoint);
    assert_eq!(target("/tools"), Target::Tools);
    assert_eq!(target("/tools/a.b"), Target::Tool("a.b"));
    assert_eq!(target("/openapi.json"), Target::OpenApi);
    for nothing in ["/tools/", "/mcp/", "/x", "/toolsx"] {
        assert_eq!(target(nothing), Target::Nothing, "{nothing}");
    }
}

#[tokio::test]
async fn a_panic_in_a_page_is_a_problem() {
    async fn panics() -> Response {
        panic!("the test's own panic")
    }
    let gateway = gateway();
    let router: Router = Router::new()
        .route("/", axum::routing::get(panics))
        .layer(middleware::from_fn_with_state(gateway.clone(), admit::admit));
    let request = http::Request::get("/").header("host", "localhost").body(Body::empty());
    let response = router.oneshot(request.expect("the test's own request")).await;
    assert_eq!(response.unwrap_or_else(|never| match never {}).status(), 500);
}
