//! Whoever asks from outside: `gateway reload`, `gateway servers`, `POST /admin/reload`.

use std::{fs, os::unix::fs::PermissionsExt};

use http::Request;
use insta::assert_snapshot;
use serde_json::{Value, json};
use tests::{Answer, Folder, Gateway, admin_key, command};

use super::{HEAD, greet_that_says, start, start_with, toml, without_times};
use crate::problem::{check, problem};

/// JSON without what differs from run to run.
fn steady(mut told: Value) -> String {
    for varies in ["at_unix_ms", "took_ms"] {
        if let Some(value) = told.get_mut(varies) {
            *value = format!("[{varies}]").into();
        }
    }
    serde_json::to_string_pretty(&told).expect("JSON")
}

#[tokio::test]
async fn the_verbs_tell_people_what_has_become_of_their_edit() {
    let gateway = start(&["greet", "bye"]).await;
    let folder = gateway.files();
    let reload = || without_times(&folder.run_and_talk(&["reload"]));
    assert_snapshot!(reload(), @r"
    exit 0
    nothing has changed
    ");
    folder.built(&["math"]).install("greet", &greet_that_says("Howdy"));
    folder.replace("gateway.toml", toml(&["math", "greet"]) + "[shutdown]\ndrain = \"1s\"\n");
    assert_snapshot!(reload(), @r"
    exit 0
    reloaded in […] ms
      math   added    generation 3
      greet  swapped  generation 4
      bye    removed
      [shutdown] holds as it is written now
    ");
    assert_snapshot!(folder.run_and_talk(&["servers"]), @r"
    exit 0
      math   /math   generation 3  2 tools  running
      greet  /greet  generation 4  1 tool   running
    ");

    folder.replace("gateway.toml", toml(&["math", "greet"]).replace("\"/math\"", "\"/greet\""));
    assert_snapshot!(reload(), @r#"
    exit 2
    refused: what served before goes on
    ! gateway.toml:11:10: prefix `/greet` is already used by server `math` (line 7)
    ! 11 | prefix = "/greet"
    !    |          ^^^^^^^^ choose another prefix or delete one of the two tables
    "#);
    assert_snapshot!(folder.run_and_talk(&["servers"]), @r"
    exit 1
      math   /math   generation 3  2 tools  running
      greet  /greet  generation 4  1 tool   running
    gateway.toml on the disk is refused: line 11: prefix `/greet` is already used by server `math` (line 7); choose another prefix or delete one of the two tables
    ");

    folder.replace("gateway.toml", toml(&["math", "greet", "nowhere"]));
    assert_snapshot!(reload(), @r"
    exit 1
    refused: what served before goes on
    ! error: server `nowhere`: cannot read `plugins/nowhere.so`: No such file or directory (os error 2)
    ");

    // One library is good and one is not: it is a matter of each.
    folder.replace("gateway.toml", toml(&["math", "greet"]) + "[shutdown]\ndrain = \"1s\"\n");
    folder.install("greet", b"no library").install("math", &[tests::built("math"), vec![0]].concat());
    assert_snapshot!(reload(), @r"
    exit 1
    reloaded in part, in […] ms: what served before goes on where this was refused
      math  swapped  generation 5
    ! error: server `greet`: cannot use `plugins/greet.so`: it is not a 64-bit ELF shared library; name the `.so` that cargo makes of a `cdylib` crate
    ");
    assert_snapshot!(folder.run_and_talk(&["servers"]), @r"
    exit 1
      math   /math   generation 5  2 tools  running
      greet  /greet  generation 4  1 tool   running; what is on the disk is refused: server `greet`: cannot use `plugins/greet.so`: it is not a 64-bit ELF shared library; name the `.so` that cargo makes of a `cdylib` crate
    ");
}

#[tokio::test]
async fn the_verbs_tell_scripts_the_same_in_json() {
    let gateway = start_with(&["greet"], &toml(&["greet", "nowhere"])).await;
    let folder = gateway.files();
    let json_of = |args: &[&str], code: &str| -> Value {
        let said = folder.run_and_talk(args);
        let (first, json) = said.split_once('\n').expect("the exit code comes first");
        assert_eq!(first, code);
        serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
    };
    assert_eq!(
        json_of(&["servers", "--json"], "exit 1")["servers"],
        gateway.get("/servers").await.json()["servers"]
    );
    assert_snapshot!(steady(json_of(&["reload", "--json"], "exit 1")), @r#"
    {
      "outcome": "unchanged",
      "trigger": "request",
      "at_unix_ms": "[at_unix_ms]",
      "took_ms": "[took_ms]",
      "changes": [],
      "settings": [],
      "refused": [],
      "failed": [
        {
          "code": "unreadable",
          "reason": "server `nowhere`: cannot read `plugins/nowhere.so`: No such file or directory (os error 2)",
          "server": "nowhere"
        }
      ],
      "needs_restart": [],
      "ignored": []
    }
    "#);
    folder.replace("gateway.toml", toml(&["greet"]) + "thread = 3\n");
    let report = json_of(&["reload", "--json"], "exit 2");
    assert_snapshot!(report["report"].as_str().expect("a text"), @r"
    gateway.toml:8:1: unknown key `thread`
    8 | thread = 3
      | ^^^^^^ did you mean `threads`?
    ");
    folder.replace("gateway.toml", toml(&["greet"]) + "threads = 3\n");
    assert_snapshot!(steady(json_of(&["reload", "--json"], "exit 0")), @r#"
    {
      "outcome": "applied",
      "trigger": "request",
      "at_unix_ms": "[at_unix_ms]",
      "took_ms": "[took_ms]",
      "changes": [
        {
          "server": "greet",
          "change": "swapped",
          "generation": 2
        },
        {
          "server": "nowhere",
          "change": "removed"
        }
      ],
      "settings": [],
      "refused": [],
      "failed": [],
      "needs_restart": [],
      "ignored": []
    }
    "#);
    assert_eq!(json_of(&["servers", "--json"], "exit 0"), gateway.get("/servers").await.json());
}

#[tokio::test]
async fn where_no_gateway_serves_the_verbs_say_so() {
    let folder = Folder::empty();
    folder.replace("gateway.toml", HEAD);
    assert_snapshot!(folder.run_and_talk(&["reload"]), @r"
    exit 2
    ! error: no gateway of this user serves `gateway.toml`; start one, or name its file with --config
    ");
    assert_snapshot!(folder.run_and_talk(&["servers", "--config", "other.toml"]), @r"
    exit 2
    ! error: no gateway of this user serves `other.toml`; start one, or name its file with --config
    ");
    assert_snapshot!(folder.run_and_talk(&["servers", "--config", "nowhere/gateway.toml"]), @r"
    exit 2
    ! error: no gateway of this user serves `nowhere/gateway.toml`; start one, or name its file with --config
    ");
}

#[tokio::test]
async fn a_socket_that_a_killed_gateway_has_left_is_nobodys() {
    let killed = start(&["greet"]).await;
    let folder = killed.files().clone();
    killed.signal("KILL");
    killed.ended().await;
    let said = folder.run_and_talk(&["servers"]);
    assert!(said.starts_with("exit 2\n! error: no gateway of this user serves `gateway.toml`"), "{said}");

    let next = Gateway::in_folder(&folder).await;
    assert!(folder.run(&["servers"]).starts_with("exit 0\n"));
    let sockets = || {
        let entries = fs::read_dir(folder.path()).expect("it is there").flatten();
        let own =
            entries.map(|entry| entry.path()).find(|path| path.to_string_lossy().contains("/gateway-of-"));
        let own = own.expect("the sockets have a folder");
        assert_eq!(fs::metadata(&own).expect("it is there").permissions().mode() & 0o777, 0o700);
        fs::read_dir(own).expect("it is there").count()
    };
    assert_eq!(sockets(), 1);
    next.signal("TERM");
    assert_eq!(next.ended().await.0, Some(0));
    assert_eq!(sockets(), 0);
}

#[tokio::test]
async fn of_two_gateways_on_one_file_the_first_is_found_and_both_follow() {
    let first = start(&["greet"]).await;
    let second = Gateway::of_command(command(first.folder()), first.files().clone()).await;
    let warned = second.event("`gateway reload` will not find this gateway").await;
    assert_snapshot!(warned["error"].as_str().expect("a text"), @"another gateway serves the same file");
    first.files().built(&["bye"]).replace("gateway.toml", toml(&["greet", "bye"]));
    for gateway in [&first, &second] {
        gateway.event("reloaded").await;
        assert_eq!(gateway.get("/bye/tools").await.status.as_u16(), 200);
    }
    // The one that goes leaves the other's socket alone.
    let folder = first.files().clone();
    second.signal("TERM");
    assert_eq!(second.ended().await.0, Some(0));
    assert!(folder.run(&["servers"]).starts_with("exit 0\n"));
}

fn with_key(names: &[&str]) -> String {
    tests::open_to_all(&toml(names)) + &admin_key().table
}

/// A request to `/admin/reload`.
fn ask(method: &str, authorization: &str) -> Request<String> {
    let request = Request::builder().method(method).uri("/admin/reload");
    let request =
        if authorization.is_empty() { request } else { request.header("authorization", authorization) };
    request.body(String::new()).expect("a request")
}

#[tokio::test]
async fn over_the_network_a_reload_takes_a_key_of_an_operator() {
    let open = start(&["greet"]).await;
    let bearer = admin_key().bearer();
    assert_snapshot!(problem(&open, ask("POST", &bearer)).await, @r"
    401 unauthorized: Authentication needed
    this gateway knows nobody; the operator adds an `[[auth.key]]` to gateway.toml, or uses `gateway reload` on the same machine
    ");

    let gateway = start_with(&["greet", "bye"], &with_key(&["greet"])).await;
    for wrong in ["", "Bearer", "Bearer wrong", &format!("Basic {}", admin_key().text), &format!("{bearer}!")]
    {
        let answer = gateway.send(ask("POST", wrong)).await.expect("an answer");
        let challenge = answer.headers["www-authenticate"].to_str().expect("text");
        assert!(challenge.starts_with("Bearer realm=\"gateway\""), "{wrong}: {challenge}");
        assert_eq!(answer.status.as_u16(), 401, "{wrong}");
    }
    // Who is not known is not told what there is either.
    assert_eq!(gateway.send(ask("GET", "")).await.expect("an answer").status.as_u16(), 401);
    let answer = gateway.send(ask("GET", &bearer)).await.expect("an answer");
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["allow"]),
        (405, &"POST, OPTIONS".parse().expect("a header"))
    );

    gateway.files().replace("gateway.toml", with_key(&["greet", "bye"]));
    let answer = gateway.send(ask("POST", &bearer)).await.expect("an answer");
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("applied")));

    gateway.files().replace("gateway.toml", with_key(&["greet", "greet"]));
    let answer = gateway.send(ask("POST", &bearer)).await.expect("an answer");
    assert!(
        !answer.body.contains(&admin_key().text),
        "lines of gateway.toml may be secrets: {}",
        answer.body
    );
    assert_snapshot!(refusal(&gateway, answer).await, @r#"
    409 reload_refused: Not all of it can be served
    not all that is on the disk can be served; what it would have replaced goes on
    {
      "outcome": "refused",
      "trigger": "request",
      "at_unix_ms": "[at_unix_ms]",
      "took_ms": "[took_ms]",
      "changes": [],
      "settings": [],
      "refused": [
        {
          "code": "bad_config",
          "reason": "the name `greet` is already used by another server (line 6); choose another name or delete one of the two tables",
          "line": 11,
          "column": 8
        },
        {
          "code": "bad_config",
          "reason": "prefix `/greet` is already used by server `greet` (line 8); choose another prefix or delete one of the two tables",
          "line": 13,
          "column": 10
        }
      ],
      "failed": [],
      "needs_restart": [],
      "ignored": []
    }
    "#);
}

/// A refusal's problem document, without what differs from run to run.
async fn refusal(gateway: &Gateway, mut answer: Answer) -> String {
    let mut document = answer.json();
    let reload = document["reload"].take();
    document.as_object_mut().expect("an object").shift_remove("reload");
    answer.body = document.to_string();
    format!("{}\n{}", check(gateway, "/admin/reload", &answer).await, steady(reload))
}

#[tokio::test]
async fn an_address_for_operators_has_their_pages_and_nothing_else() {
    let text = with_key(&["greet"]) + "[admin]\nlisten = \"127.0.0.1:0\"\n";
    let gateway = start_with(&["greet"], &text).await.asked_with(&admin_key());
    let ready = gateway.event("gateway ready").await;
    let admin = format!("http://{}", ready["admin"].as_str().expect("an address"));
    let get = |path: &str| Request::get(path).body(String::new()).expect("a request");
    for page in ["/metrics", "/healthz", "/livez", "/readyz", "/servers"] {
        let there = gateway.send_by(&admin, get(page)).await.expect("an answer");
        assert_eq!(there.status.as_u16(), 200, "{page}");
        let here = gateway.get(page).await;
        assert_eq!(here.status.as_u16(), if page == "/servers" { 200 } else { 404 }, "{page}");
    }
    let bearer = admin_key().bearer();
    assert_eq!(gateway.send(ask("POST", &bearer)).await.expect("an answer").status.as_u16(), 404);
    assert_eq!(
        gateway.send_by(&admin, ask("POST", "Bearer wrong")).await.expect("an answer").status.as_u16(),
        401
    );
    assert_eq!(gateway.send_by(&admin, ask("POST", &bearer)).await.expect("an answer").status.as_u16(), 200);

    assert_snapshot!(problem(&gateway, get("/metrics")).await, @r#"
    404 unknown_path: Unknown path
    nothing is served at `/metrics`
    available: ["/","/servers","/openapi.json","/docs","/redoc","/problems","/greet"]
    "#);
    let nothing = gateway.send_by(&admin, get("/greet/tools")).await.expect("an answer");
    assert_snapshot!(check(&gateway, "/greet/tools", &nothing).await, @r#"
    404 unknown_path: Unknown path
    nothing is served at `/greet/tools`
    available: ["/servers","/admin/status","/admin/reload","/healthz","/livez","/readyz","/metrics"]
    "#);
    // The verbs find it all the same.
    assert!(gateway.files().run(&["reload"]).starts_with("exit 0\n"));
}
