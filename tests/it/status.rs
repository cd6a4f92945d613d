//! The status page, and what it is made from: `/admin/status`.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
};

use http::{HeaderMap, Request, header};
use insta::assert_snapshot;
use serde_json::{Value, json};
use tests::{Answer, Gateway, Key, admin_key, config, key, server, until};

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

async fn get(gateway: &Gateway, base: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request =
        headers.iter().fold(Request::get(path), |request, (name, value)| request.header(*name, *value));
    gateway.send_by(base, request.body(String::new()).expect("a request")).await.expect("an answer")
}

async fn page(gateway: &Gateway, base: &str) -> Answer {
    get(gateway, base, "/", &[("accept", BROWSER)]).await
}

async fn told(gateway: &Gateway) -> Value {
    let answer = gateway.get("/admin/status").await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    answer.json()
}

/// JSON without what differs from run to run.
fn steady(gateway: &Gateway, value: &Value) -> String {
    let mut value = value.clone();
    redact(&mut value);
    let text = serde_json::to_string_pretty(&value).expect("JSON");
    text.replace(gateway.base(), "http://127.0.0.1:8000")
}

fn redact(value: &mut Value) {
    const VARIES: [&str; 8] =
        ["time", "started", "uptime_ms", "sha256", "heap_bytes", "request_id", "elapsed_ms", "retry_in_ms"];
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match VARIES.contains(&name.as_str()) {
                    true => *member = format!("[{name}]").into(),
                    false => redact(member),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}

#[tokio::test]
async fn the_state_is_told_at_a_glance() {
    let gateway = Gateway::start(&["greet"]).await;
    let mut told = told(&gateway).await;
    // Lines to copy are pinned where they are made.
    let connect = told["servers"][0]["connect"].take();
    let clients = connect.as_array().expect("a list").iter().map(|line| line["client"].as_str());
    assert_eq!(
        clients.collect::<Option<Vec<_>>>().expect("names"),
        ["Claude Code", "VS Code", "Cursor", "Claude Desktop", "curl"]
    );
    assert!(told["uptime_ms"].is_u64() && told["started"].as_str().is_some_and(|at| at.ends_with('Z')));
    assert_snapshot!(steady(&gateway, &told), @r#"
    {
      "version": "0.1.0",
      "phase": "serving",
      "time": "[time]",
      "started": "[started]",
      "uptime_ms": "[uptime_ms]",
      "file": "gateway.toml",
      "auth": false,
      "principal": "anonymous",
      "listener": "main",
      "base": "http://127.0.0.1:8000",
      "pages": {
        "main": [
          "/",
          "/servers",
          "/openapi.json",
          "/docs",
          "/redoc",
          "/healthz",
          "/livez",
          "/readyz",
          "/metrics",
          "/problems"
        ]
      },
      "calls_open": 0,
      "servers": [
        {
          "name": "greet",
          "prefix": "/greet",
          "plugin": "greet.so",
          "required": false,
          "state": "running",
          "generation": 1,
          "sha256": "[sha256]",
          "heap_bytes": "[heap_bytes]",
          "tools": [
            {
              "name": "echoHai",
              "inputSchema": {
                "type": "object",
                "properties": {
                  "userName": {
                    "type": "string",
                    "description": "Who to greet."
                  }
                },
                "required": [
                  "userName"
                ]
              },
              "has_output_schema": true,
              "path": "/greet/tools/echoHai",
              "title": "Say hello",
              "description": "Greets someone by name.",
              "annotations": {
                "readOnlyHint": true,
                "idempotentHint": true,
                "openWorldHint": false
              }
            }
          ],
          "shows": "nothing",
          "calls_open": 0,
          "faults": {},
          "quarantines": 0,
          "log_dropped": 0,
          "floods_log": false,
          "title": "Greetings",
          "version": "0.1.0",
          "mcp": "http://127.0.0.1:8000/greet/mcp",
          "tools_are_dynamic": false,
          "connect": null
        }
      ],
      "calls": {
        "recent": [],
        "failures": []
      }
    }
    "#);
}

#[tokio::test]
async fn calls_of_late_are_told_and_failures_on_their_own_too() {
    let gateway = Gateway::start(&["greet"]).await;
    assert_eq!(told(&gateway).await["calls"], json!({"recent": [], "failures": []}));
    gateway.post("/greet/tools/echoHai", r#"{"userName":5}"#).await;
    gateway.post("/greet/tools/echoHai", r#"{"userName":"Ada"}"#).await;
    until("both are told", async || told(&gateway).await["calls"]["recent"][1].is_object()).await;
    assert_snapshot!(steady(&gateway, &told(&gateway).await["calls"]), @r#"
    {
      "recent": [
        {
          "time": "[time]",
          "server": "greet",
          "method": "tools/call",
          "tool": "echoHai",
          "door": "rest",
          "outcome": "ok",
          "elapsed_ms": "[elapsed_ms]",
          "request_id": "[request_id]",
          "principal": "anonymous"
        },
        {
          "time": "[time]",
          "server": "greet",
          "method": "tools/call",
          "tool": "echoHai",
          "door": "rest",
          "outcome": "invalid_arguments",
          "elapsed_ms": "[elapsed_ms]",
          "request_id": "[request_id]",
          "principal": "anonymous"
        }
      ],
      "failures": [
        {
          "time": "[time]",
          "server": "greet",
          "method": "tools/call",
          "tool": "echoHai",
          "door": "rest",
          "outcome": "invalid_arguments",
          "elapsed_ms": "[elapsed_ms]",
          "request_id": "[request_id]",
          "principal": "anonymous"
        }
      ]
    }
    "#);
}

#[tokio::test]
async fn what_goes_wrong_is_told_of_each_server() {
    let broken = server("broken", "declines_start") + "settings.reason = \"the licence ran out\"\n";
    let text = config(&["greet"])
        + &broken
        + &server("panics", "panics_in_call")
        + "quarantine_after = 2\nquarantine = \"1h\"\n";
    let gateway = Gateway::with_config(&text).await;
    for _ in 0..2 {
        gateway.post("/panics/tools/panic", r#"{"when":"at_once"}"#).await;
    }
    let told = told(&gateway).await;
    let line = |server: &Value| {
        ["name", "state", "code", "reason", "faults"].map(|member| server[member].to_string()).join("  ")
    };
    let lines: Vec<String> = told["servers"].as_array().expect("a list").iter().map(line).collect();
    let lines = lines.join("\n");
    // When the retry is depends on when it is asked.
    let lines = lines.split("in 3599s").collect::<Vec<_>>().join("in 3600s");
    assert_snapshot!(lines, @r#"
    "greet"  "running"  null  null  {}
    "broken"  "failed"  "declined"  "server `broken`: the plugin declined to start: the licence ran out"  null
    "panics"  "quarantined"  "quarantined"  "2 faults in a row, the last `plugin_panicked`; a call is let through as a retry in 3600s"  {"plugin_panicked":2}
    "#);
}

#[tokio::test]
async fn a_server_that_floods_the_log_is_told_as_that() {
    let limited = server("floods_the_log", "floods_the_log") + "log_max_per_second = 5\n";
    let gateway = Gateway::with_config(&(config(&[]) + &limited)).await;
    gateway.post("/floods_the_log/tools/flood", r#"{"records":1000,"lines":0}"#).await;
    let told = told(&gateway).await["servers"][0].clone();
    assert_eq!(told["floods_log"], true, "{told}");
    assert!(told["log_dropped"].as_u64().is_some_and(|lines| lines > 900), "{told}");
}

fn looker() -> Key {
    key("looker", &["greet", "metrics", "admin:*"])
}

#[tokio::test]
async fn the_state_is_for_who_has_the_scope_admin_and_only_refusals_are_recorded() {
    let (admin, looker) = (admin_key(), looker());
    let audit = "[audit]\npath = \"audit.jsonl\"\n";
    let gateway = Gateway::with_config(&(config(&["greet"]) + &admin.table + &looker.table + audit)).await;
    let ask = async |key: Option<String>| {
        let headers: Vec<_> = key.iter().map(|key| ("authorization", key.as_str())).collect();
        let answer = get(&gateway, gateway.base(), "/admin/status", &headers).await;
        let challenge = answer.headers.get(header::WWW_AUTHENTICATE).map(|said| said.to_str().expect("text"));
        let code = answer.json()["code"].as_str().unwrap_or("-").to_owned();
        format!("{} {code} {}", answer.status.as_u16(), challenge.unwrap_or_default()).trim_end().to_owned()
    };
    let asked = [
        ask(None).await,
        ask(Some("Bearer mgw_nobody".into())).await,
        ask(Some(looker.bearer())).await,
        ask(Some(admin.bearer())).await,
        ask(Some(admin.bearer())).await,
    ];
    assert_snapshot!(asked.join("\n"), @r#"
    401 unauthorized Bearer realm="gateway"
    401 unauthorized Bearer realm="gateway", error="invalid_token", error_description="the key is not known"
    403 forbidden Bearer realm="gateway", error="insufficient_scope", error_description="a scope is missing", scope="admin"
    200 -
    200 -
    "#);
    let recorded = || fs::read_to_string(gateway.folder().join("audit.jsonl")).unwrap_or_default();
    until("the refusals are recorded", async || recorded().lines().count() == 3).await;
    for line in recorded().lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(
            (&line["event"], &line["subject"]),
            (&"refused".into(), &"/admin/status".into()),
            "{line}"
        );
    }

    // The page itself holds nothing, so it is for everybody, also for who shows what nobody knows.
    let page = page(&gateway, gateway.base()).await;
    assert_eq!(page.status.as_u16(), 200);
    let wrong = [("accept", BROWSER), ("authorization", "Bearer mgw_nobody")];
    assert_eq!(get(&gateway, gateway.base(), "/", &wrong).await.body, page.body);
    let told = gateway.asked_with(&admin).get("/admin/status").await.json();
    assert_eq!((&told["auth"], &told["principal"]), (&true.into(), &"key:admin".into()));
    assert_eq!(told["servers"][0]["shows"], "key");
}

/// What of an answer's headers browsers go by.
fn head(headers: &HeaderMap) -> String {
    let names = [
        header::CONTENT_TYPE,
        header::CACHE_CONTROL,
        header::VARY,
        header::CONTENT_SECURITY_POLICY,
        header::X_CONTENT_TYPE_OPTIONS,
        header::REFERRER_POLICY,
    ];
    let line = |name: header::HeaderName| {
        headers.get(&name).map(|value| format!("{name}: {}\n", value.to_str().expect("text")))
    };
    names.into_iter().filter_map(line).collect()
}

#[tokio::test]
async fn the_page_is_a_shell_under_a_strict_policy() {
    let gateway = Gateway::start(&["greet"]).await;
    let page = page(&gateway, gateway.base()).await;
    assert_snapshot!(head(&page.headers), @r"
    content-type: text/html; charset=utf-8
    cache-control: no-cache
    vary: accept
    content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'
    x-content-type-options: nosniff
    referrer-policy: no-referrer
    ");
    // Nothing of this gateway, nothing inline, nothing from elsewhere.
    assert!(!page.body.contains("greet") && !page.body.contains("<style") && !page.body.contains(" style="));
    assert!(!page.body.replace("http://www.w3.org/2000/svg", "").contains("//"), "{}", page.body);
    assert_eq!(
        page.body.matches("<script").count(),
        page.body.matches("<script type=\"module\" src=\"ui/").count()
    );

    let named = |before| page.body.split(before).skip(1).filter_map(|rest| rest.split('"').next());
    let files: Vec<&str> =
        named("href=\"").chain(named("src=\"")).filter(|at| at.starts_with("ui/")).collect();
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        let answer = gateway.get(&format!("/{file}")).await;
        let media_type = if file.ends_with(".css") { "text/css" } else { "text/javascript" };
        assert_eq!(answer.headers[header::CONTENT_TYPE], format!("{media_type}; charset=utf-8"), "{file}");
        // What a plugin says is text and never markup.
        for way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!answer.body.contains(way), "{way} in {file}");
        }
        // What a file imports is there as well, and is fetched with the page and not one after the other.
        for imported in answer.body.split("from \"./").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(page.body.contains(&format!("\"ui/{imported}\"")), "{imported} of {file}");
        }
    }
    assert_eq!(gateway.get("/ui/nothing.js").await.status.as_u16(), 404);
}

#[tokio::test]
async fn a_page_that_a_browser_has_is_not_sent_again() {
    let gateway = Gateway::start(&["greet"]).await;
    for path in ["/", "/ui/status.js", "/ui/status.css"] {
        let first = get(&gateway, gateway.base(), path, &[("accept", BROWSER)]).await;
        let tag = first.headers[header::ETAG].to_str().expect("text").to_owned();
        let again =
            get(&gateway, gateway.base(), path, &[("accept", BROWSER), ("if-none-match", &tag)]).await;
        assert_eq!((again.status.as_u16(), again.body.as_str()), (304, ""), "{path}");
        assert_eq!(
            (&again.headers[header::ETAG], again.headers.get(header::VARY)),
            (&first.headers[header::ETAG], first.headers.get(header::VARY))
        );
    }
}

#[tokio::test]
async fn with_a_listener_for_operators_the_page_is_there_and_nowhere_else() {
    let text = config(&["greet"]).replace("[log]", "[admin]\nlisten = \"127.0.0.1:0\"\n[log]");
    let gateway = Gateway::with_config(&text).await;
    let ready = gateway.event("gateway ready").await;
    let admin = format!("http://{}", ready["admin"].as_str().expect("its address"));

    let shell = page(&gateway, &admin).await;
    assert!(shell.body.contains("ui/status.js"), "{}", shell.body);
    let policy = shell.headers[header::CONTENT_SECURITY_POLICY].to_str().expect("text");
    // Tools are called at the main listener.
    assert!(policy.contains(&format!("connect-src 'self' {};", gateway.base())), "{policy}");
    assert_eq!(get(&gateway, &admin, "/ui/status.js", &[]).await.status.as_u16(), 200);
    let told = get(&gateway, &admin, "/admin/status", &[]).await.json();
    assert_eq!((&told["listener"], &told["base"]), (&"admin".into(), &gateway.base().into()));
    assert_snapshot!(told["pages"], @r#"{"main":["/","/servers","/openapi.json","/docs","/redoc","/problems"],"admin":["/healthz","/livez","/readyz","/metrics","/","/servers"]}"#);
    assert_eq!(get(&gateway, &admin, "/", &[]).await.json()["servers"][0]["name"], "greet");

    let plain = page(&gateway, gateway.base()).await;
    assert!(plain.body.contains("<a href=\"/greet\">") && !plain.body.contains("<script"), "{}", plain.body);
    for path in ["/admin/status", "/ui/status.js"] {
        assert_eq!(gateway.get(path).await.status.as_u16(), 404, "{path}");
    }
}

#[tokio::test]
async fn the_state_is_told_on_the_control_socket_too() {
    let gateway = Gateway::with_config(&(config(&["greet"]) + &admin_key().table)).await;
    let folders = fs::read_dir(gateway.folder()).expect("a folder").filter_map(Result::ok);
    let own = folders.map(|entry| entry.path()).find(|path| path.to_string_lossy().contains("gateway-of-"));
    let mut sockets = fs::read_dir(own.expect("it has a folder")).expect("a folder").filter_map(Result::ok);
    let path = sockets.next().expect("a socket").path();
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = UnixStream::connect(path).expect("the gateway listens");
        stream
            .write_all(b"GET /admin/status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("text");
        answer
    });
    let answer = answer.await.expect("it does not panic");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let told: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
    assert_eq!((&told["listener"], &told["principal"]), (&"control".into(), &"operator:local".into()));
    assert_eq!(told["base"], gateway.base());
}
