//! Web pages that use a visitor's gateway: by its name, by another name that leads there (DNS rebinding), across origins, and
//! without asking first (CSRF).

use insta::assert_snapshot;

use super::{ADA, Ask, ECHO, Site, ada, config, echo, guarded};

const EVIL: &str = "https://evil.example";

#[tokio::test]
async fn hosts() {
    let more = "[http]\nallowed_hosts = [\"tools.example.com\"]";
    let mut site = Site::start(&config(more, &[guarded("greet", "")])).await;
    let ask = || echo().by(&ada());
    let port = site.address.rsplit(':').next().expect("a port").to_owned();
    site.attack("another host", ask().but("host", "evil.example")).await;
    site.attack("another host at the gateway's port", ask().but("host", &format!("evil.example:{port}")))
        .await;
    let rebound = ask().but("host", "rebound.example").with("origin", "http://rebound.example");
    site.attack("DNS rebinding: the page's own name", rebound).await;
    site.attack("a host below an allowed one", ask().but("host", "evil.tools.example.com")).await;
    site.attack(
        "a host that begins like an allowed one",
        ask().but("host", "tools.example.com.evil.example"),
    )
    .await;
    site.attack("a host that begins like this machine's", ask().but("host", "127.0.0.1.evil.example")).await;
    site.attack("a user before the host", ask().but("host", "localhost@evil.example")).await;
    site.attack("a user at this machine", ask().but("host", "evil.example@localhost")).await;
    site.attack("an address in one number", ask().but("host", "2130706433")).await;
    site.attack("an address in octal", ask().but("host", "0177.0.0.1")).await;
    site.attack("all addresses", ask().but("host", "0.0.0.0")).await;
    site.attack("a port that is none", ask().but("host", "localhost:http")).await;
    site.attack("two hosts in one", ask().but("host", "localhost, evil.example")).await;
    site.attack("a path in the host", ask().but("host", "localhost/evil.example")).await;
    site.attack("an empty host", ask().but("host", "")).await;
    site.attack("no host", ask().without("host")).await;
    site.attack("two hosts, the first good", ask().with("host", "evil.example")).await;
    site.attack("two hosts, the last good", ask().but("host", "evil.example").with("host", "localhost"))
        .await;
    let absolute = Ask::new(&format!("GET http://evil.example{ECHO}")).by(&ada());
    site.attack("another host in the target", absolute).await;
    let absolute = Ask::new("GET http://evil.example/healthz").without("host");
    site.attack("another host in the target, and no other", absolute).await;
    let forwarded = ask().but("host", "evil.example").with("x-forwarded-host", "localhost");
    site.attack("a good host that a proxy is said to have seen", forwarded).await;
    let forwarded = Ask::get("/greet")
        .by(&ada())
        .with("x-forwarded-host", "evil.example")
        .with("forwarded", "host=evil.example");
    site.pry("another host that a proxy is said to have seen (good)", forwarded, &["evil.example"]).await;
    site.attack("another host, a page", Ask::get("/docs").but("host", "evil.example")).await;
    site.attack("another host, health", Ask::get("/healthz").but("host", "evil.example")).await;
    assert_snapshot!(site.end().await, @r"
    another host                                               | 403 | host_not_allowed
    another host at the gateway's port                         | 403 | host_not_allowed
    DNS rebinding: the page's own name                         | 403 | host_not_allowed
    a host below an allowed one                                | 403 | host_not_allowed
    a host that begins like an allowed one                     | 403 | host_not_allowed
    a host that begins like this machine's                     | 403 | host_not_allowed
    a user before the host                                     | 403 | host_not_allowed
    a user at this machine                                     | 403 | host_not_allowed
    an address in one number                                   | 403 | host_not_allowed
    an address in octal                                        | 403 | host_not_allowed
    all addresses                                              | 403 | host_not_allowed
    a port that is none                                        | 403 | host_not_allowed
    two hosts in one                                           | 403 | host_not_allowed
    a path in the host                                         | 403 | host_not_allowed
    an empty host                                              | 403 | host_not_allowed
    no host                                                    | 403 | host_not_allowed
    two hosts, the first good                                  | 400 | ambiguous_request
    two hosts, the last good                                   | 400 | ambiguous_request
    another host in the target                                 | 400 | ambiguous_request
    another host in the target, and no other                   | 403 | host_not_allowed
    a good host that a proxy is said to have seen              | 403 | host_not_allowed
    another host that a proxy is said to have seen (good)      | 200 | ok
    another host, a page                                       | 403 | host_not_allowed
    another host, health                                       | 403 | host_not_allowed
    ");
}

#[tokio::test]
async fn origins() {
    let more = "[http]\nallowed_origins = [\"https://app.example.com\"]";
    let mut site = Site::start(&config(more, &[guarded("greet", "")])).await;
    let ask = || echo().by(&ada());
    let origins = [
        EVIL,
        "null",
        "",
        "file://",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com.evil.example",
        "https://evil-app.example.com",
        "https://app.example.com@evil.example",
        "https://localhost.evil.example",
        "http://localhost:99999",
        "chrome-extension://abcdefghijklmnop",
    ];
    for origin in origins {
        let reply = site.attack(&format!("origin `{origin}`"), ask().with("origin", origin)).await;
        assert_eq!(reply.header("access-control-allow-origin"), None, "{reply:?}");
    }
    let two = ask().with("origin", "https://app.example.com").with("origin", EVIL);
    site.attack("two origins, the first good", two).await;
    let two = ask().with("origin", EVIL).with("origin", "https://app.example.com");
    site.attack("two origins, the last good", two).await;
    site.attack("another origin reads a page", Ask::get("/servers").by(&ada()).with("origin", EVIL)).await;
    let mcp = Ask::message("/greet/mcp", "tools/list", serde_json::json!({})).by(&ada());
    site.attack("another origin, MCP", mcp.with("origin", EVIL)).await;
    let stream = Ask::get("/greet/mcp").by(&ada()).with("accept", "text/event-stream");
    site.attack("another origin opens a stream", stream.with("origin", EVIL)).await;
    site.attack("another origin says what it is not", Ask::post("/admin/reload", "").with("origin", EVIL))
        .await;
    let lacking = Ask::get("/metrics").by(&ada()).with("origin", "https://app.example.com");
    let reply = site.attack("an allowed page hears what it lacks (good)", lacking).await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("https://app.example.com"), "{reply:?}");
    let metadata = "/.well-known/oauth-protected-resource/greet";
    site.attack("another origin, metadata of who takes no tokens", Ask::get(metadata).with("origin", EVIL))
        .await;
    site.attack(
        "another origin, near the metadata",
        Ask::post(&format!("{metadata}/../../../greet/tools/echoHai"), ADA).by(&ada()).with("origin", EVIL),
    )
    .await;
    assert_snapshot!(site.end().await, @r"
    origin `https://evil.example`                              | 403 | origin_not_allowed
    origin `null`                                              | 403 | origin_not_allowed
    origin ``                                                  | 403 | origin_not_allowed
    origin `file://`                                           | 403 | origin_not_allowed
    origin `http://app.example.com`                            | 403 | origin_not_allowed
    origin `https://app.example.com:8443`                      | 403 | origin_not_allowed
    origin `https://app.example.com.evil.example`              | 403 | origin_not_allowed
    origin `https://evil-app.example.com`                      | 403 | origin_not_allowed
    origin `https://app.example.com@evil.example`              | 403 | origin_not_allowed
    origin `https://localhost.evil.example`                    | 403 | origin_not_allowed
    origin `http://localhost:99999`                            | 403 | origin_not_allowed
    origin `chrome-extension://abcdefghijklmnop`               | 403 | origin_not_allowed
    two origins, the first good                                | 403 | origin_not_allowed
    two origins, the last good                                 | 403 | origin_not_allowed
    another origin reads a page                                | 403 | origin_not_allowed
    another origin, MCP                                        | 403 | origin_not_allowed -32600
    another origin opens a stream                              | 403 | origin_not_allowed
    another origin says what it is not                         | 403 | origin_not_allowed
    an allowed page hears what it lacks (good)                 | 403 | forbidden
    another origin, metadata of who takes no tokens            | 404 | unknown_path
    another origin, near the metadata                          | 403 | origin_not_allowed
    ");
}

#[tokio::test]
async fn preflights_and_forms() {
    let more = "[http]\nallowed_origins = [\"https://app.example.com\"]";
    // Nobody is asked: only the browser's own rules keep a page out.
    let mut site = Site::start(&config(more, &[guarded("greet", "auth = \"none\"")])).await;
    let preflight = |path: &str, origin: &str| {
        Ask::new(&format!("OPTIONS {path}"))
            .with("origin", origin)
            .with("access-control-request-method", "POST")
    };
    for path in [ECHO, "/greet/mcp", "/admin/reload", "/nowhere"] {
        let reply = site.attack(&format!("preflight of another origin, {path}"), preflight(path, EVIL)).await;
        assert!(!reply.head.contains("access-control-allow"), "{reply:?}");
    }
    let asked = preflight(ECHO, "https://app.example.com")
        .with("access-control-request-headers", "cookie, host, x-forwarded-for");
    let reply = site.attack("preflight for headers that are not a page's", asked).await;
    assert_eq!(reply.header("access-control-allow-headers").unwrap_or_default(), "", "{reply:?}");
    assert_eq!(reply.header("access-control-allow-credentials"), None, "{reply:?}");
    let private = preflight(ECHO, EVIL).with("access-control-request-private-network", "true");
    let reply = site.attack("preflight into a private network", private).await;
    assert!(!reply.head.contains("private-network"), "{reply:?}");

    for media in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let form = Ask::post(ECHO, ADA).but("content-type", media);
        site.attack(&format!("a form, {media}"), form.clone()).await;
        site.attack(
            &format!("a form, {media}, MCP"),
            Ask::post("/greet/mcp", "{}").but("content-type", media),
        )
        .await;
    }
    site.attack("a form with no media type", Ask::post(ECHO, ADA).without("content-type")).await;
    let two = Ask::post(ECHO, ADA).but("content-type", "text/plain").with("content-type", "application/json");
    site.attack("a form with two media types", two).await;
    let comma = Ask::post(ECHO, ADA).but("content-type", "text/plain, application/json");
    site.attack("a form with two media types in one", comma).await;
    let parameter = Ask::post(ECHO, ADA).but("content-type", "text/plain; application/json");
    site.attack("JSON as a form's parameter", parameter).await;
    for site_of in ["cross-site", "same-site", "Cross-Site", "none, cross-site"] {
        let page = Ask::post(ECHO, ADA).with("sec-fetch-site", site_of);
        site.attack(&format!("Sec-Fetch-Site: {site_of}"), page).await;
    }
    let two = Ask::post(ECHO, ADA).with("sec-fetch-site", "same-origin").with("sec-fetch-site", "cross-site");
    site.attack("two Sec-Fetch-Sites", two).await;
    let mcp = Ask::new("DELETE /greet/mcp").with("sec-fetch-site", "cross-site").with("mcp-session-id", "x");
    site.attack("Sec-Fetch-Site: cross-site, DELETE", mcp).await;
    site.attack("a call by GET", Ask::get(&format!("{ECHO}?userName=Ada"))).await;
    site.attack("a call by HEAD", Ask::new(&format!("HEAD {ECHO}"))).await;
    site.attack("a call by an override", Ask::get(ECHO).with("x-http-method-override", "POST")).await;
    assert_snapshot!(site.end().await, @r"
    preflight of another origin, /greet/tools/echoHai          | 403 | origin_not_allowed
    preflight of another origin, /greet/mcp                    | 403 | origin_not_allowed
    preflight of another origin, /admin/reload                 | 403 | origin_not_allowed
    preflight of another origin, /nowhere                      | 403 | origin_not_allowed
    preflight for headers that are not a page's                | 204 | ok
    preflight into a private network                           | 403 | origin_not_allowed
    a form, text/plain                                         | 415 | unsupported_media_type
    a form, text/plain, MCP                                    | 415 | -32600
    a form, application/x-www-form-urlencoded                  | 415 | unsupported_media_type
    a form, application/x-www-form-urlencoded, MCP             | 415 | -32600
    a form, multipart/form-data; boundary=x                    | 415 | unsupported_media_type
    a form, multipart/form-data; boundary=x, MCP               | 415 | -32600
    a form with no media type                                  | 415 | unsupported_media_type
    a form with two media types                                | 415 | unsupported_media_type
    a form with two media types in one                         | 415 | unsupported_media_type
    JSON as a form's parameter                                 | 415 | unsupported_media_type
    Sec-Fetch-Site: cross-site                                 | 403 | origin_not_allowed
    Sec-Fetch-Site: same-site                                  | 403 | origin_not_allowed
    Sec-Fetch-Site: Cross-Site                                 | 403 | origin_not_allowed
    Sec-Fetch-Site: none, cross-site                           | 403 | origin_not_allowed
    two Sec-Fetch-Sites                                        | 403 | origin_not_allowed
    Sec-Fetch-Site: cross-site, DELETE                         | 403 | origin_not_allowed -32600
    a call by GET                                              | 405 | method_not_allowed
    a call by HEAD                                             | 405 | -
    a call by an override                                      | 405 | method_not_allowed
    ");
}
