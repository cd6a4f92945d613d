//! How much callers may take, what is recorded of it, and who may listen where.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    process::Command,
};

use insta::assert_snapshot;
use serde_json::{Value, json};
use tests::{Answer, Folder, Gateway, config, key, server, until};

/// A call of `hold` that lasts until it is released.
fn hold(gateway: &Gateway) -> String {
    json!({ "directory": gateway.folder() }).to_string()
}

fn release(gateway: &Gateway) {
    fs::write(gateway.folder().join("release"), "").expect("a file");
}

fn status_and_code(answer: &Answer) -> (u16, Value) {
    let document = answer.json();
    let code =
        if document["code"].is_null() { &document["error"]["data"]["code"] } else { &document["code"] };
    (answer.status.as_u16(), code.clone())
}

#[tokio::test]
async fn a_server_takes_as_many_calls_at_once_as_it_may_and_the_others_go_on() {
    let text = config(&["greet"]) + &server("holds_calls", "holds_calls") + "calls_max = 1\n";
    let gateway = Gateway::with_config(&text).await;
    let held = gateway.post("/holds_calls/tools/hold", hold(&gateway));
    let meanwhile = async {
        gateway.event("holding").await;
        let refused = gateway.post("/holds_calls/tools/hold", hold(&gateway)).await;
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
            "name": "hold", "arguments": {"directory": gateway.folder()}}});
        let over_mcp = gateway.post("/holds_calls", message.to_string()).await;
        let greeted = gateway.post("/greet/tools/echoHai", r#"{"userName":"Ada"}"#).await;
        let health = gateway.get("/readyz").await;
        release(&gateway);
        (refused, over_mcp, greeted, health)
    };
    let (answer, (refused, over_mcp, greeted, health)) = tokio::join!(held, meanwhile);
    assert_eq!(answer.status.as_u16(), 200);
    assert_eq!(status_and_code(&refused), (503, json!("overloaded")));
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(status_and_code(&over_mcp), (503, json!("overloaded")));
    assert_eq!((greeted.status.as_u16(), health.status.as_u16()), (200, 200));
    // The place is free again.
    let again = gateway.post("/holds_calls/tools/hold", hold(&gateway)).await;
    assert_eq!(again.status.as_u16(), 200);
}

#[tokio::test]
async fn the_gateway_takes_as_many_calls_at_once_as_it_may() {
    let text = config(&["greet", "holds_calls"]) + "[limits]\ncalls_max = 1\n";
    let gateway = Gateway::with_config(&text).await;
    let held = gateway.post("/holds_calls/tools/hold", hold(&gateway));
    let meanwhile = async {
        gateway.event("holding").await;
        let refused = gateway.post("/greet/tools/echoHai", r#"{"userName":"Ada"}"#).await;
        let listed = gateway.get("/greet/tools").await;
        release(&gateway);
        (refused, listed)
    };
    let (answer, (refused, listed)) = tokio::join!(held, meanwhile);
    assert_eq!((answer.status.as_u16(), listed.status.as_u16()), (200, 200));
    assert_eq!(status_and_code(&refused), (503, json!("overloaded")));
}

const RATES: &str =
    "[[limits.rate]]\nname = \"per-tool\"\nkey = \"tool\"\nrate = \"2/h\"\ntools = [\"echoHai\"]\n";

#[tokio::test]
async fn a_rate_counts_calls_of_every_door_and_is_followed() {
    let gateway = Gateway::with_config(&(config(&["greet", "math"]) + RATES)).await;
    let rest = async || gateway.post("/greet/tools/echoHai", r#"{"userName":"Ada"}"#).await;
    let mcp = async || {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
            "name": "echoHai", "arguments": {"userName": "Ada"}}});
        gateway.post("/greet", message.to_string()).await
    };
    let (first, second) = (rest().await, mcp().await);
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 200));
    assert_eq!(first.headers["ratelimit-policy"], "\"per-tool\";q=2;w=3600");
    assert!(second.headers["ratelimit"].to_str().expect("text").starts_with("\"per-tool\";r=0;t="));
    for refused in [rest().await, mcp().await] {
        assert_eq!(status_and_code(&refused), (429, json!("rate_limited")));
        assert!(refused.headers.contains_key("retry-after") && refused.headers.contains_key("ratelimit"));
    }
    // It is about one tool.
    let added = gateway.post("/math/tools/add", r#"{"a":1,"b":2}"#).await;
    assert_eq!(added.status.as_u16(), 200);
    assert!(!added.headers.contains_key("ratelimit"));
    // What was used up stays used up by an edit that is about something else.
    let more = config(&["greet", "math"])
        + RATES
        + "[[limits.rate]]\nname = \"more\"\nkey = \"server\"\nrate = \"90/s\"\n";
    gateway.files().replace("gateway.toml", more);
    assert_eq!(gateway.event("reloaded").await["settings"], "limits");
    assert_eq!(status_and_code(&rest().await), (429, json!("rate_limited")));
    gateway.files().replace("gateway.toml", config(&["greet", "math"]));
    until("nothing limits it", async || rest().await.status.is_success()).await;
}

fn recorded(gateway: &Gateway, file: &str) -> Vec<Value> {
    let text = fs::read_to_string(gateway.folder().join(file)).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

#[tokio::test]
async fn every_call_and_every_refusal_is_recorded_without_what_they_carry() {
    let caller = key("caller", &["greet"]);
    let text = config(&["greet", "math"]) + &caller.table + "[audit]\npath = \"audit.jsonl\"\n";
    let gateway = Gateway::with_config(&text).await.asked_with(&caller);
    gateway.post("/greet/tools/echoHai", r#"{"userName":"Ada"}"#).await;
    gateway.post("/greet/tools/echoHai", r#"{"userName":5}"#).await;
    gateway.post("/math/tools/add", r#"{"a":1,"b":2}"#).await;
    until("all is written", async || recorded(&gateway, "audit.jsonl").len() == 3).await;
    let varying = ["time", "request_id", "elapsed_ms"];
    let lines: Vec<String> = recorded(&gateway, "audit.jsonl")
        .into_iter()
        .map(|mut line| {
            let members = line.as_object_mut().expect("an object");
            assert!(varying.iter().all(|name| members.shift_remove(*name).is_some()));
            line.to_string()
        })
        .collect();
    assert_snapshot!(lines.join("\n"), @r#"
    {"event":"call","principal":"key:caller","address":"127.0.0.1","door":"rest","server":"greet","method":"tools/call","tool":"echoHai","arguments_sha256":"171f20d5d48821a8205ce96b74583827e4979d12f7bd933709f10a490df443c5","outcome":"ok"}
    {"event":"call","principal":"key:caller","address":"127.0.0.1","door":"rest","server":"greet","method":"tools/call","tool":"echoHai","arguments_sha256":"3d1bd134afdab9368657139c8c07e904bc39728fa1b07e3c5b649b799c99b7dd","outcome":"invalid_arguments"}
    {"event":"refused","principal":"key:caller","address":"127.0.0.1","door":"http","server":"math","outcome":"forbidden"}
    "#);
    assert!(!lines.concat().contains("Ada") && !lines.concat().contains("mgw_"));

    // logrotate moves the file away and says so.
    fs::rename(gateway.folder().join("audit.jsonl"), gateway.folder().join("audit.1")).expect("it is ours");
    gateway.signal("HUP");
    until("it is there again", async || gateway.folder().join("audit.jsonl").exists()).await;
    gateway.post("/greet/tools/echoHai", r#"{"userName":"Ada"}"#).await;
    until("it goes on", async || recorded(&gateway, "audit.jsonl").len() == 1).await;
    gateway.signal("TERM");
    let folder = gateway.files().clone();
    assert_eq!(gateway.ended().await.0, Some(0));
    let all = ["audit.1", "audit.jsonl"]
        .map(|file| fs::read_to_string(folder.path().join(file)).expect("it is there"));
    assert_eq!(all.map(|text| text.lines().count()), [3, 1]);
}

#[tokio::test]
async fn what_has_to_be_recorded_and_cannot_be_is_not_done() {
    let folder = Folder::empty();
    // Every write to it fails once nobody reads it any more, as to a full disk.
    let pipe = folder.path().join("audit.jsonl");
    let made = Command::new("mkfifo").arg(&pipe).status().expect("coreutils are there");
    assert!(made.success());
    let reader =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&pipe).expect("it is ours");
    folder.replace("gateway.toml", config(&["greet"]) + "[audit]\npath = \"audit.jsonl\"\nrequired = true\n");
    let gateway = Gateway::in_folder(&folder).await;
    let call = async || gateway.post("/greet/tools/echoHai", r#"{"userName":"Ada"}"#).await;
    assert_eq!(call().await.status.as_u16(), 200);
    drop(reader);
    let refused = async || status_and_code(&call().await) == (503, json!("audit_unavailable"));
    until("it is refused", refused).await;
    assert!(gateway.get("/metrics").await.body.contains("gateway_audit_failing 1"));
    // The gateway itself is well, and so are calls once there is room again.
    assert_eq!(gateway.get("/readyz").await.status.as_u16(), 200);
    folder.replace("audit.jsonl", "");
    gateway.signal("HUP");
    until("it is recorded again", async || call().await.status.is_success()).await;
    until("it is in the file", async || !recorded(&gateway, "audit.jsonl").is_empty()).await;
}

#[test]
fn who_others_can_reach_asks_them_who_they_are() {
    let folder = Folder::empty();
    let text = config(&["greet"]);
    folder.replace("gateway.toml", text.replace("127.0.0.1:0", "0.0.0.0:0"));
    assert_snapshot!(folder.run_and_talk(&["serve"]), @r#"
    exit 2
    ! gateway.toml:1:10: others can reach `0.0.0.0:0`, and nobody is asked who they are
    ! 1 | listen = "0.0.0.0:0"
    !   |          ^^^^^^^^^^^ add an `[[auth.key]]` (`gateway key new`) or an `[[auth.issuer]]`, listen on 127.0.0.1, or write `allow_unauthenticated = true` in `[auth]`
    !
    ! error: 1 problem in gateway.toml
    "#);
    folder.replace("gateway.toml", &text);
    let told = folder.run_and_talk(&["--listen", "[::]:0"]);
    assert!(told.contains("others can reach `[::]:0`, and nobody is asked who they are"), "{told}");
    let admin = "[admin]\nlisten = \"192.0.2.1:1\"\n";
    folder.replace("gateway.toml", text + admin);
    let told = folder.run_and_talk(&["check"]);
    assert!(told.contains("others can reach `192.0.2.1:1`, and nobody is asked who they are"), "{told}");
}

#[tokio::test]
async fn who_is_reached_by_others_goes_on_to_ask_them_until_it_listens_elsewhere() {
    let caller = key("caller", &["greet"]);
    let public = config(&["greet"]).replace("127.0.0.1:0", "0.0.0.0:0");
    let gateway = Gateway::with_config(&(public + &caller.table)).await;
    // Where to listen takes a restart, whom to ask does not.
    gateway.files().replace("gateway.toml", config(&["greet"]));
    let refused = gateway.event("reload refused").await;
    let reason = refused["reason"].as_str().expect("text");
    assert!(reason.starts_with("others can reach `0.0.0.0:"), "{reason}");
    assert_eq!(gateway.get("/greet/tools").await.status.as_u16(), 401);
}

#[tokio::test]
async fn a_secret_may_stand_in_a_file_of_its_own_and_is_followed() {
    let folder = Folder::empty();
    folder.replace("secret", "0123456789abcdef0123456789abcdef\n");
    folder.replace("gateway.toml", config(&["greet"]) + "[http]\nstate_secret_file = \"secret\"\n");
    let gateway = Gateway::in_folder(&folder).await;
    folder.replace("secret", "another of the same length, or so\n");
    assert_eq!(gateway.event("reloaded").await["settings"], "http");
    folder.replace("secret", "short");
    let refused = gateway.event("reload refused").await;
    assert!(!refused.to_string().contains("short\""), "{refused}");
    until("it is said", async || {
        let reload = gateway.get("/servers").await.json()["reload"].clone();
        reload["refused"][0]["reason"]
            .as_str()
            .is_some_and(|reason| reason.starts_with("a secret of 5 bytes"))
    })
    .await;
}
