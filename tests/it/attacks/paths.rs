//! Paths that a proxy before the gateway, which guards some of them, may read otherwise: there is one spelling of each.

use insta::assert_snapshot;

use super::{ADA, Ask, Site, bob, config, guarded};

#[tokio::test]
async fn paths() {
    let mut site = Site::start(&config("", &[guarded("greet", ""), guarded("math", "")])).await;
    let calls = [
        "/math/../greet/tools/echoHai",
        "/math/..%2fgreet/tools/echoHai",
        "/math/%2e%2e/greet/tools/echoHai",
        "/./greet/tools/echoHai",
        "//greet/tools/echoHai",
        "/greet//tools/echoHai",
        "/greet/tools//echoHai",
        "/greet/tools/echoHai/",
        "/greet/tools/echoHai/.",
        "/greet/tools/./echoHai",
        "/greet%2ftools%2fechoHai",
        "/greet/tools%2FechoHai",
        "/greet%2ftools/echoHai",
        "/%67reet/tools/echoHai",
        "/GREET/tools/echoHai",
        "/Greet/tools/echoHai",
        "/greet/Tools/echoHai",
        "/greet/tools/ECHOHAI",
        "/greet/tools/echoHai%00",
        "/greet/tools/echoHai%20",
        "/greet/tools/echoHai;a=b",
        "/greet/tools/echoHai%3Fa=b",
        "/greet/tools/echoHai%252e",
        "/greet/tools/echoHa%C4%B1",
        "/greet/tools/echoHai%ff",
        "/greet/tools/%e2%80%aeiaHohce",
        "/greet/tools/",
        "/greet/tools/..",
        "/greet/tools/../tools/echoHai",
        "/greet/tools/..%5c..%5cmath",
        "/greet\\tools\\echoHai",
        "/greet;/tools/echoHai",
        "/greet.json/tools/echoHai",
        "/greetings/tools/echoHai",
        "/gree/tools/echoHai",
        "/greet/mcp/tools/echoHai",
        "/greet/mcp/../tools/echoHai",
        "/greet/mcp/",
        "/GREET/mcp",
        "/servers/../admin/reload",
        "/docs/..;/admin/reload",
        "//admin/reload",
        "/admin//reload",
        "/admin%2freload",
        "/ADMIN/reload",
        "/admin/reload/",
        "/healthz/../admin/reload",
        "/docs/%2e%2e%2f%2e%2e%2fgateway.toml",
        "/docs/../../../../etc/passwd",
        "/problems/..%2f..%2fgateway.toml",
        "/problems/%2e%2e",
        "/.well-known/oauth-protected-resource/../../greet",
        "/.well-known/../greet/tools/echoHai",
    ];
    for path in calls {
        site.pry(path, Ask::post(path, ADA).by(&bob()), &["root:", "sha256 ="]).await;
    }
    for path in [
        "/docs/../../../../etc/passwd",
        "/docs/%2e%2e/%2e%2e/gateway.toml",
        "/redoc//etc/passwd",
        "/problems/%00",
    ] {
        site.pry(&format!("GET {path}"), Ask::get(path), &["root:", "sha256 ="]).await;
    }
    // One letter may be written in two ways, as in every URL; the name is what counts.
    site.attack("/greet/tools/%65choHai (good)", Ask::post("/greet/tools/%65choHai", ADA).by(&bob())).await;
    site.attack(
        "/greet/tools/echoHai?a=/../b (good)",
        Ask::post("/greet/tools/echoHai?a=/../b", ADA).by(&bob()),
    )
    .await;
    let lines = [
        "OPTIONS *",
        "CONNECT localhost:22",
        "TRACE /greet/tools/echoHai",
        "PUT /greet/tools/echoHai",
        "PATCH /greet/tools/echoHai",
        "DELETE /greet/tools/echoHai",
        "post /greet/tools/echoHai",
        "POST /greet/tools/echoHai#/healthz",
        "POST greet/tools/echoHai",
        "GET localhost",
        "PRI *",
    ];
    for line in lines {
        site.attack(line, Ask::new(line).by(&bob())).await;
    }
    assert_snapshot!(site.end().await, @r"
    /math/../greet/tools/echoHai                               | 404 | unknown_path
    /math/..%2fgreet/tools/echoHai                             | 404 | unknown_path
    /math/%2e%2e/greet/tools/echoHai                           | 404 | unknown_path
    /./greet/tools/echoHai                                     | 404 | unknown_server
    //greet/tools/echoHai                                      | 404 | unknown_server
    /greet//tools/echoHai                                      | 404 | unknown_path
    /greet/tools//echoHai                                      | 404 | unknown_tool
    /greet/tools/echoHai/                                      | 404 | unknown_tool
    /greet/tools/echoHai/.                                     | 404 | unknown_tool
    /greet/tools/./echoHai                                     | 404 | unknown_tool
    /greet%2ftools%2fechoHai                                   | 404 | unknown_server
    /greet/tools%2FechoHai                                     | 404 | unknown_path
    /greet%2ftools/echoHai                                     | 404 | unknown_server
    /%67reet/tools/echoHai                                     | 404 | unknown_server
    /GREET/tools/echoHai                                       | 404 | unknown_server
    /Greet/tools/echoHai                                       | 404 | unknown_server
    /greet/Tools/echoHai                                       | 404 | unknown_path
    /greet/tools/ECHOHAI                                       | 404 | unknown_tool
    /greet/tools/echoHai%00                                    | 404 | unknown_tool
    /greet/tools/echoHai%20                                    | 404 | unknown_tool
    /greet/tools/echoHai;a=b                                   | 404 | unknown_tool
    /greet/tools/echoHai%3Fa=b                                 | 404 | unknown_tool
    /greet/tools/echoHai%252e                                  | 404 | unknown_tool
    /greet/tools/echoHa%C4%B1                                  | 404 | unknown_tool
    /greet/tools/echoHai%ff                                    | 404 | unknown_tool
    /greet/tools/%e2%80%aeiaHohce                              | 404 | unknown_tool
    /greet/tools/                                              | 404 | unknown_path
    /greet/tools/..                                            | 404 | unknown_tool
    /greet/tools/../tools/echoHai                              | 404 | unknown_tool
    /greet/tools/..%5c..%5cmath                                | 404 | unknown_tool
    /greet\tools\echoHai                                       | 404 | unknown_server
    /greet;/tools/echoHai                                      | 404 | unknown_server
    /greet.json/tools/echoHai                                  | 404 | unknown_server
    /greetings/tools/echoHai                                   | 404 | unknown_server
    /gree/tools/echoHai                                        | 404 | unknown_server
    /greet/mcp/tools/echoHai                                   | 404 | unknown_path
    /greet/mcp/../tools/echoHai                                | 404 | unknown_path
    /greet/mcp/                                                | 404 | unknown_path
    /GREET/mcp                                                 | 404 | unknown_server
    /servers/../admin/reload                                   | 404 | unknown_path
    /docs/..;/admin/reload                                     | 404 | unknown_path
    //admin/reload                                             | 404 | unknown_path
    /admin//reload                                             | 404 | unknown_path
    /admin%2freload                                            | 404 | unknown_path
    /ADMIN/reload                                              | 404 | unknown_path
    /admin/reload/                                             | 404 | unknown_path
    /healthz/../admin/reload                                   | 404 | unknown_path
    /docs/%2e%2e%2f%2e%2e%2fgateway.toml                       | 404 | unknown_path
    /docs/../../../../etc/passwd                               | 404 | unknown_path
    /problems/..%2f..%2fgateway.toml                           | 405 | method_not_allowed
    /problems/%2e%2e                                           | 405 | method_not_allowed
    /.well-known/oauth-protected-resource/../../greet          | 405 | method_not_allowed
    /.well-known/../greet/tools/echoHai                        | 404 | unknown_path
    GET /docs/../../../../etc/passwd                           | 404 | unknown_path
    GET /docs/%2e%2e/%2e%2e/gateway.toml                       | 404 | unknown_path
    GET /redoc//etc/passwd                                     | 404 | unknown_path
    GET /problems/%00                                          | 404 | unknown_path
    /greet/tools/%65choHai (good)                              | 200 | ok
    /greet/tools/echoHai?a=/../b (good)                        | 200 | ok
    OPTIONS *                                                  | 404 | unknown_path
    CONNECT localhost:22                                       | 400 | ambiguous_request
    TRACE /greet/tools/echoHai                                 | 405 | method_not_allowed
    PUT /greet/tools/echoHai                                   | 405 | method_not_allowed
    PATCH /greet/tools/echoHai                                 | 405 | method_not_allowed
    DELETE /greet/tools/echoHai                                | 405 | method_not_allowed
    post /greet/tools/echoHai                                  | 405 | method_not_allowed
    POST /greet/tools/echoHai#/healthz                         | 415 | unsupported_media_type
    POST greet/tools/echoHai                                   | 400 | -
    GET localhost                                              | 404 | unknown_path
    PRI *                                                      | 404 | unknown_path
    ");
}
