//! Whoever is known, but reaches for more: other servers, tools that are not theirs, and what is for operators. What a caller
//! may not use is not to be found by any way of asking, either.

use insta::assert_snapshot;
use serde_json::json;
use tests::{AuthorizationServer, key};

use super::{Ask, Site, ada, bob, config, echo, guarded};

const ADD: &str = r#"{"a":1,"b":2}"#;

#[tokio::test]
async fn tools_and_servers_of_others() {
    // For ada math has one tool. For dora everything has one tool less.
    let erase = "[[server.tool]]\nname = \"failing_job\"\nscopes = [\"jobs:fail\"]";
    let servers = [guarded("greet", ""), guarded("math", ""), guarded("everything", erase)];
    let carl = key("carl", &["greetings", "gree", "math:", "everything:test_simple_text", "admin:*"]);
    let dora = key("dora", &["everything", "jobs"]);
    let tables = format!("{}{}", carl.table, dora.table);
    let mut site = Site::start(&config(&tables, &servers)).await;
    let ada = ada();

    site.attack("another server, REST", Ask::post("/everything/tools/test_simple_text", "{}").by(&ada)).await;
    let list = |path| Ask::message(path, "tools/list", json!({}));
    site.attack("another server, MCP", list("/everything/mcp").by(&ada)).await;
    site.attack("another server, its page", Ask::get("/everything").with("accept", "text/html").by(&ada))
        .await;
    site.attack("another server, its document", Ask::get("/everything/openapi.json").by(&ada)).await;
    site.attack("scopes that begin or end like the server's", echo().by(&carl)).await;
    site.attack("a tool's scope with nothing after its colon", Ask::post("/math/tools/add", ADD).by(&carl))
        .await;
    let told = echo().by(&carl).with("x-scopes", "greet").with("x-forwarded-scopes", "greet");
    site.attack("scopes that the caller gives itself", told).await;

    let hidden = &["divide"];
    site.attack("a hidden tool, REST", Ask::post("/math/tools/divide", ADD).by(&ada)).await;
    site.pry("a hidden tool, nearly", Ask::post("/math/tools/divid", ADD).by(&ada), hidden).await;
    site.pry("a hidden tool, without /tools", Ask::post("/math/div", ADD).by(&ada), hidden).await;
    site.pry("the list of tools", Ask::get("/math/tools").by(&ada), hidden).await;
    site.pry("the server's document", Ask::get("/math/openapi.json").by(&ada), hidden).await;
    site.pry("the gateway's document", Ask::get("/openapi.json").by(&ada), hidden).await;
    site.pry("the server's page", Ask::get("/math").by(&ada), hidden).await;
    site.pry("the server's page for people", Ask::get("/math").with("accept", "text/html").by(&ada), hidden)
        .await;
    site.pry("a wrong method at a hidden tool", Ask::get("/math/tools/divide").by(&ada), &["\"divide\""])
        .await;
    site.pry("tools/list", list("/math/mcp").by(&ada), hidden).await;
    site.pry("tools/list, 2026", Ask::modern("/math/mcp", "tools/list", None, json!({})).by(&ada), hidden)
        .await;
    let call = |name: &str| json!({"name": name, "arguments": {"a": 1, "b": 2}});
    let divide = Ask::message("/math/mcp", "tools/call", call("divide")).by(&ada);
    site.attack("tools/call of a hidden tool", divide).await;
    let divide = Ask::modern("/math/mcp", "tools/call", Some("divide"), call("divide")).by(&ada);
    site.attack("tools/call of a hidden tool, 2026", divide).await;
    let near = Ask::message("/math/mcp", "tools/call", call("divid")).by(&ada);
    site.pry("tools/call of nearly a hidden tool", near, &["divide"]).await;
    let wrong = json!({"name": "divide", "arguments": "{\"a\": 1}"});
    site.attack(
        "tools/call of a hidden tool, arguments as text",
        Ask::message("/math/mcp", "tools/call", wrong).by(&ada),
    )
    .await;
    let job = Ask::post("/everything/tools/failing_job", "{}").by(&dora);
    site.attack("a tool that asks for more than the server", job).await;
    site.pry("the list without it", Ask::get("/everything/tools").by(&dora), &["failing_job"]).await;
    let job = json!({"name": "failing_job", "arguments": {}, "task": {"ttl": 1000}});
    site.attack(
        "the same as a task",
        Ask::modern("/everything/mcp", "tools/call", Some("failing_job"), job).by(&dora),
    )
    .await;

    // Who may use one tool has nothing of the rest of the server.
    let rest = [
        ("prompts/list", json!({})),
        ("prompts/get", json!({"name": "test_simple_prompt"})),
        ("resources/list", json!({})),
        ("resources/templates/list", json!({})),
        ("resources/read", json!({"uri": "test://static-text"})),
        ("resources/subscribe", json!({"uri": "test://watched-resource"})),
        (
            "completion/complete",
            json!({
            "ref": {"type": "ref/prompt", "name": "test_prompt_with_arguments"},
            "argument": {"name": "arg1", "value": "p"}}),
        ),
        ("skills/list", json!({})),
        ("skills/get", json!({"uri": "skill://x"})),
        ("resources/directory/read", json!({"uri": "skill://x"})),
    ];
    for (method, params) in rest {
        site.attack(
            &format!("{method} with one tool's scope"),
            Ask::message("/everything/mcp", method, params).by(&carl),
        )
        .await;
    }
    let told = site
        .send(
            Ask::message(
                "/everything/mcp",
                "initialize",
                json!({
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}),
            )
            .by(&carl),
        )
        .await;
    let capabilities = told.json()["result"]["capabilities"].clone();
    assert!(capabilities["prompts"].is_null() && capabilities["resources"].is_null(), "{told:?}");

    let others = &["everything"];
    site.pry("/ with nothing", Ask::get("/"), &["everything", "math", "greet"]).await;
    site.pry("/servers with nothing", Ask::get("/servers"), &["everything", "math", "greet"]).await;
    site.pry("/servers with a wrong key", Ask::get("/servers").bearer("mgw_ada00000_x"), &["greet"]).await;
    site.pry("/servers", Ask::get("/servers").by(&ada), &["everything", ".so", "generation"]).await;
    site.pry("/", Ask::get("/").by(&ada), others).await;
    site.pry("/openapi.json with nothing", Ask::get("/openapi.json"), &["greet"]).await;
    site.pry("/openapi.json", Ask::get("/openapi.json").by(&ada), others).await;
    site.pry("nearly another server's prefix", Ask::get("/everythin").by(&ada), others).await;
    site.pry("nearly a prefix, with nothing", Ask::get("/gree/tools/echoHai"), &["greet\""]).await;
    assert_snapshot!(site.end().await, @r"
    another server, REST                                       | 403 | forbidden
    another server, MCP                                        | 403 | forbidden -32600
    another server, its page                                   | 403 | forbidden
    another server, its document                               | 403 | forbidden
    scopes that begin or end like the server's                 | 403 | forbidden
    a tool's scope with nothing after its colon                | 404 | unknown_tool
    scopes that the caller gives itself                        | 403 | forbidden
    a hidden tool, REST                                        | 404 | unknown_tool
    a hidden tool, nearly                                      | 404 | unknown_tool
    a hidden tool, without /tools                              | 404 | unknown_path
    the list of tools                                          | 200 | ok
    the server's document                                      | 200 | ok
    the gateway's document                                     | 200 | ok
    the server's page                                          | 200 | ok
    the server's page for people                               | 200 | ok
    a wrong method at a hidden tool                            | 405 | method_not_allowed
    tools/list                                                 | 200 | ok
    tools/list, 2026                                           | 200 | ok
    tools/call of a hidden tool                                | 200 | -32602
    tools/call of a hidden tool, 2026                          | 200 | -32602
    tools/call of nearly a hidden tool                         | 200 | -32602
    tools/call of a hidden tool, arguments as text             | 200 | -32602
    a tool that asks for more than the server                  | 404 | unknown_tool
    the list without it                                        | 200 | ok
    the same as a task                                         | 200 | -32602
    prompts/list with one tool's scope                         | 200 | -32601
    prompts/get with one tool's scope                          | 200 | -32601
    resources/list with one tool's scope                       | 200 | -32601
    resources/templates/list with one tool's scope             | 200 | -32601
    resources/read with one tool's scope                       | 200 | -32601
    resources/subscribe with one tool's scope                  | 200 | -32601
    completion/complete with one tool's scope                  | 200 | -32601
    skills/list with one tool's scope                          | 200 | -32601
    skills/get with one tool's scope                           | 200 | -32601
    resources/directory/read with one tool's scope             | 200 | -32601
    / with nothing                                             | 200 | ok
    /servers with nothing                                      | 401 | unauthorized
    /servers with a wrong key                                  | 401 | unauthorized
    /servers                                                   | 200 | ok
    /                                                          | 200 | ok
    /openapi.json with nothing                                 | 401 | unauthorized
    /openapi.json                                              | 200 | ok
    nearly another server's prefix                             | 404 | unknown_path
    nearly a prefix, with nothing                              | 404 | unknown_server
    ");
}

#[tokio::test]
async fn what_is_for_operators() {
    let metrics = key("meter", &["metrics"]);
    let mut site = Site::start(&config(&metrics.table, &[guarded("greet", "")])).await;
    let (ada, bob) = (ada(), bob());
    let reload = || Ask::post("/admin/reload", "");
    site.attack("/metrics with nothing", Ask::get("/metrics")).await;
    site.attack("/metrics with a key for a server", Ask::get("/metrics").by(&ada)).await;
    site.attack("/metrics with a key for every server", Ask::get("/metrics").by(&bob)).await;
    site.attack("/metrics by HEAD", Ask::new("HEAD /metrics").by(&ada)).await;
    site.attack("/metrics with its own key (good)", Ask::get("/metrics").by(&metrics)).await;
    site.attack("/admin/reload with nothing", reload()).await;
    site.attack("/admin/reload with a key for every server", reload().by(&bob)).await;
    site.attack("/admin/reload with a key for metrics", reload().by(&metrics)).await;
    site.attack("/admin/reload by GET", Ask::get("/admin/reload").by(&bob)).await;
    let masked = Ask::get("/admin/reload").with("x-http-method-override", "POST").by(&bob);
    site.attack("/admin/reload by an override", masked).await;
    let near = reload().with("x-forwarded-for", "127.0.0.1").with("x-real-ip", "127.0.0.1");
    site.attack("/admin/reload as if from this machine", near).await;
    site.attack("/admin/reload as another path", reload().with("x-original-url", "/admin/reload").by(&bob))
        .await;
    site.attack("/admin", Ask::get("/admin").by(&bob)).await;
    site.pry("/readyz says no more than whether", Ask::get("/readyz"), &["greet", "failed"]).await;
    site.attack("a method of nobody's at /metrics", Ask::new("PURGE /metrics").by(&metrics)).await;
    assert_snapshot!(site.end().await, @r"
    /metrics with nothing                                      | 401 | unauthorized
    /metrics with a key for a server                           | 403 | forbidden
    /metrics with a key for every server                       | 403 | forbidden
    /metrics by HEAD                                           | 403 | -
    /metrics with its own key (good)                           | 200 | ok
    /admin/reload with nothing                                 | 401 | unauthorized
    /admin/reload with a key for every server                  | 403 | forbidden
    /admin/reload with a key for metrics                       | 403 | forbidden
    /admin/reload by GET                                       | 403 | forbidden
    /admin/reload by an override                               | 403 | forbidden
    /admin/reload as if from this machine                      | 401 | unauthorized
    /admin/reload as another path                              | 403 | forbidden
    /admin                                                     | 404 | unknown_path
    /readyz says no more than whether                          | 200 | ok
    a method of nobody's at /metrics                           | 405 | method_not_allowed
    ");
}

#[tokio::test]
async fn tokens_at_other_servers() {
    let issuer = AuthorizationServer::start(&["greet", "math", "admin"]).await;
    let more = format!(
        "[http]\npublic_url = \"https://tools.example.com\"\n[[auth.issuer]]\nurl = {:?}\n",
        issuer.url()
    );
    let servers = [
        guarded("greet", ""),
        guarded("math", "audience = \"urn:math\""),
        guarded("everything", "auth = \"none\""),
    ];
    let mut site = Site::start(&config(&more, &servers)).await;
    let token = |audience: &str, scope: &str| issuer.token(audience, scope);
    let greet = token("https://tools.example.com/greet", "greet math admin metrics");
    let math = || Ask::post("/math/tools/add", ADD);
    let control = site.send(math().bearer(&token("urn:math", "math"))).await;
    assert_eq!(control.outcome(), "200 | ok", "{control:?}");
    site.attack("a token for greet at math", math().bearer(&greet)).await;
    site.attack(
        "a token for math's URL, which has another audience",
        math().bearer(&token("https://tools.example.com/math", "math")),
    )
    .await;
    site.attack("a token for math at greet", echo().bearer(&token("urn:math", "greet"))).await;
    site.attack("a token for greet at /servers", Ask::get("/servers").bearer(&greet)).await;
    site.attack("a token for greet at /metrics", Ask::get("/metrics").bearer(&greet)).await;
    site.attack("a token for greet at /admin/reload", Ask::post("/admin/reload", "").bearer(&greet)).await;
    site.attack("a token for greet at /openapi.json", Ask::get("/openapi.json").bearer(&greet)).await;
    let gateway = token("https://tools.example.com", "*");
    site.attack("a token with every scope at /admin/reload", Ask::post("/admin/reload", "").bearer(&gateway))
        .await;
    site.attack("a token for the gateway at greet", echo().bearer(&gateway)).await;
    let mcp = token("https://tools.example.com/greet/mcp/", "greet");
    site.attack("a token for a URL below", echo().bearer(&mcp)).await;
    // Who asks nobody takes no notice of what is shown, and hands it to nobody.
    let open = Ask::post("/everything/tools/test_simple_text", "{}").bearer("mgw_wrong000_wrong");
    site.attack("a wrong key where nobody is asked", open).await;
    assert_snapshot!(site.end().await, @r"
    a token for greet at math                                  | 401 | unauthorized
    a token for math's URL, which has another audience         | 401 | unauthorized
    a token for math at greet                                  | 401 | unauthorized
    a token for greet at /servers                              | 401 | unauthorized
    a token for greet at /metrics                              | 401 | unauthorized
    a token for greet at /admin/reload                         | 401 | unauthorized
    a token for greet at /openapi.json                         | 401 | unauthorized
    a token with every scope at /admin/reload                  | 403 | forbidden
    a token for the gateway at greet                           | 401 | unauthorized
    a token for a URL below                                    | 401 | unauthorized
    a wrong key where nobody is asked                          | 200 | ok
    ");
}
