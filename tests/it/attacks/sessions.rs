//! What one caller has begun and another goes on with: sessions, tasks, and the state that clients carry between the rounds
//! of a call. And what goes on after its caller has lost the right to it.

use insta::assert_snapshot;
use serde_json::{Value, json};
use tests::{AuthorizationServer, Gateway, Key, key};

use super::{Ask, Reply, Site, ada, bob, config, guarded};

const MCP: &str = "/everything/mcp";

fn eve() -> Key {
    key("eve", &["everything"])
}

fn initialize() -> Ask {
    let params = json!({
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    Ask::message(MCP, "initialize", params).with("accept", "application/json, text/event-stream")
}

async fn session(site: &mut Site, key: &Key) -> String {
    let opened = site.send(initialize().by(key)).await;
    opened.header("mcp-session-id").unwrap_or_else(|| panic!("no session: {opened:?}")).to_owned()
}

fn text_tool() -> Value {
    json!({"name": "test_simple_text", "arguments": {}})
}

#[tokio::test]
async fn anothers_session() {
    let servers = [guarded("everything", ""), guarded("greet", "auth = \"none\"")];
    let mut site = Site::start(&config(&eve().table, &servers)).await;
    let id = session(&mut site, &bob()).await;
    let within = |id: &str, ask: Ask| {
        ask.with("mcp-session-id", id)
            .with("mcp-protocol-version", "2025-11-25")
            .but("accept", "application/json, text/event-stream")
    };
    let call = || Ask::message(MCP, "tools/call", text_tool());
    let control = site.send(within(&id, call().by(&bob()))).await;
    assert_eq!(control.outcome(), "200 | ok", "{control:?}");
    let stream = || Ask::get(MCP).with("accept", "text/event-stream");
    site.attack("another's session", within(&id, call().by(&eve()))).await;
    site.attack("another's session, with nothing to show", within(&id, call())).await;
    site.attack("another's session, with a key for something else", within(&id, call().by(&ada()))).await;
    site.attack("another's stream", stream().with("mcp-session-id", &id).by(&eve())).await;
    site.attack(
        "another's stream, from where it broke off",
        stream().with("mcp-session-id", &id).with("last-event-id", "0").by(&eve()),
    )
    .await;
    site.attack(
        "the end of another's session",
        Ask::new(&format!("DELETE {MCP}")).with("mcp-session-id", &id).by(&eve()),
    )
    .await;
    let own = session(&mut site, &eve()).await;
    site.attack(
        "two sessions, the first another's",
        within(&id, call()).with("mcp-session-id", &own).by(&eve()),
    )
    .await;
    site.attack(
        "two sessions, the last another's",
        within(&own, call()).with("mcp-session-id", &id).by(&eve()),
    )
    .await;
    let both = format!("{own},{id}");
    site.attack("two sessions in one", within(&both, call()).by(&eve())).await;
    site.attack("another's session in capitals", within(&id.to_uppercase(), call()).by(&eve())).await;
    site.attack(
        "another's session at another server",
        within(&id, Ask::message("/greet/mcp", "tools/list", json!({}))),
    )
    .await;
    site.attack(
        "a session that never was",
        within("00000000-0000-0000-0000-000000000000", call()).by(&eve()),
    )
    .await;
    site.attack("a session that was chosen", within("chosen", initialize()).by(&eve())).await;
    site.attack(
        "a session of bytes that are no text",
        call().by(&eve()).with_bytes("mcp-session-id", b"\xff"),
    )
    .await;
    let modern = Ask::modern(MCP, "tools/call", Some("test_simple_text"), text_tool()).by(&eve());
    site.attack("another's session, 2026", modern.with("mcp-session-id", &id)).await;
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}});
    site.attack(
        "the cancellation of another's call",
        within(&id, Ask::post(MCP, cancel.to_string())).by(&eve()),
    )
    .await;
    let answer = json!({"jsonrpc": "2.0", "id": 1, "result": {"action": "accept", "content": {}}});
    site.attack(
        "an answer to another's question",
        within(&id, Ask::post(MCP, answer.to_string())).by(&eve()),
    )
    .await;
    let still = site.send(within(&id, call().by(&bob()))).await;
    assert_eq!(still.outcome(), "200 | ok", "{still:?}");
    site.good = call().by(&bob());
    assert_snapshot!(site.end().await, @r"
    another's session                                          | 404 | -32600
    another's session, with nothing to show                    | 401 | unauthorized -32600
    another's session, with a key for something else           | 403 | forbidden -32600
    another's stream                                           | 404 | -32600
    another's stream, from where it broke off                  | 404 | -32600
    the end of another's session                               | 404 | -32600
    two sessions, the first another's                          | 404 | -32600
    two sessions, the last another's                           | 400 | -32020
    two sessions in one                                        | 404 | -32600
    another's session in capitals                              | 404 | -32600
    another's session at another server                        | 404 | -32600
    a session that never was                                   | 404 | -32600
    a session that was chosen                                  | 404 | -32600
    a session of bytes that are no text                        | 400 | -32600
    another's session, 2026                                    | 404 | -32600
    the cancellation of another's call                         | 404 | -32600
    an answer to another's question                            | 404 | -32600
    ");
}

fn modern(name: &str, more: Value) -> Ask {
    let mut params = json!({"name": name, "arguments": {}});
    params.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    Ask::modern(MCP, "tools/call", Some(name), params)
}

fn of_task(method: &str, id: &str) -> Ask {
    Ask::modern(MCP, method, Some(id), json!({"taskId": id, "inputResponses": {}}))
}

#[tokio::test]
async fn anothers_task_and_state() {
    let weak = key("weak", &["everything:test_input_required_result_elicitation"]);
    let tables = format!("{}{}", eve().table, weak.table);
    let mut site = Site::start(&config(&tables, &[guarded("everything", "")])).await;
    site.good = modern("test_simple_text", json!({})).by(&bob());
    let started = site
        .send(modern("slow_compute", json!({"arguments": {"seconds": 60, "label": "x"}})).by(&bob()))
        .await;
    let id = started.json()["result"]["taskId"].as_str().unwrap_or_else(|| panic!("{started:?}")).to_owned();
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        site.attack(&format!("another's {method}"), of_task(method, &id).by(&eve())).await;
        site.attack(&format!("another's {method}, with nothing to show"), of_task(method, &id)).await;
        site.attack(&format!("{method} of one that never was"), of_task(method, "0").by(&eve())).await;
    }
    site.attack("a list of everybody's tasks", Ask::modern(MCP, "tasks/list", None, json!({})).by(&eve()))
        .await;
    let own = site.send(of_task("tasks/get", &id).by(&bob())).await;
    assert_eq!(own.json()["result"]["status"], "working", "{own:?}");

    let asks = "test_input_required_result_elicitation";
    let asked = site.send(modern(asks, json!({})).by(&bob())).await;
    let state = |reply: &Reply| reply.json()["result"]["requestState"].clone();
    let round = |reply: &Reply, state: Value| {
        let key =
            reply.json()["result"]["inputRequests"].as_object().and_then(|all| all.keys().next().cloned());
        let answer = json!({"action": "accept", "content": {"ok": true, "name": "Eve"}});
        json!({"inputResponses": {key.unwrap_or_default(): answer}, "requestState": state})
    };
    // Only what carries answers or state is sealed, so the state is that of a second round.
    let multi = "test_input_required_result_request_state";
    let first = site.send(modern(multi, json!({})).by(&bob())).await;
    let sealed = state(&first);
    let text = sealed.as_str().unwrap_or_else(|| panic!("no state: {first:?} {asked:?}")).to_owned();
    site.attack("another's state", modern(multi, round(&first, sealed.clone())).by(&eve())).await;
    site.attack(
        "another's state, with less than its tool",
        modern(multi, round(&first, sealed.clone())).by(&weak),
    )
    .await;
    site.attack("a state of another tool", modern(asks, round(&first, sealed.clone())).by(&bob())).await;
    let mut longer = round(&first, sealed.clone());
    longer["arguments"] = json!({"more": true});
    site.attack("a state of other arguments", modern(multi, longer).by(&bob())).await;
    let middle = text.len() / 2;
    let letter = if text.as_bytes()[middle] == b'A' { "B" } else { "A" };
    let bent = format!("{}{letter}{}", &text[..middle], &text[middle + 1..]);
    site.attack("a state with a letter changed", modern(multi, round(&first, bent.into())).by(&bob())).await;
    site.attack("half a state", modern(multi, round(&first, text[..middle].into())).by(&bob())).await;
    site.attack("a state that is none", modern(multi, round(&first, "state".into())).by(&bob())).await;
    site.attack(
        "a state of half a MiB",
        modern(multi, round(&first, "A".repeat(512 << 10).into())).by(&bob()),
    )
    .await;
    site.attack("a state that is a number", modern(multi, round(&first, 7.into())).by(&bob())).await;
    site.attack("its own (good)", modern(multi, round(&first, sealed)).by(&bob())).await;
    assert_snapshot!(site.end().await, @r"
    another's tasks/get                                        | 200 | -32602
    another's tasks/get, with nothing to show                  | 401 | unauthorized -32600
    tasks/get of one that never was                            | 200 | -32602
    another's tasks/update                                     | 200 | -32602
    another's tasks/update, with nothing to show               | 401 | unauthorized -32600
    tasks/update of one that never was                         | 200 | -32602
    another's tasks/cancel                                     | 200 | -32602
    another's tasks/cancel, with nothing to show               | 401 | unauthorized -32600
    tasks/cancel of one that never was                         | 200 | -32602
    a list of everybody's tasks                                | 404 | -32601
    another's state                                            | 200 | -32602
    another's state, with less than its tool                   | 200 | -32602
    a state of another tool                                    | 200 | -32602
    a state of other arguments                                 | 200 | -32602
    a state with a letter changed                              | 200 | -32602
    half a state                                               | 200 | -32602
    a state that is none                                       | 200 | -32602
    a state of half a MiB                                      | 200 | -32602
    a state that is a number                                   | 200 | -32602
    its own (good)                                             | 200 | ok
    ");
}

#[tokio::test]
async fn revoked_keys() {
    let servers = [guarded("everything", ""), guarded("greet", "")];
    let before = config(&eve().table, &servers);
    let mut site = Site::start(&before).await;
    let id = session(&mut site, &eve()).await;
    let within = |ask: Ask| ask.with("mcp-session-id", &id).with("mcp-protocol-version", "2025-11-25");
    let call = || Ask::message(MCP, "tools/call", text_tool()).by(&eve());
    let task = site
        .send(modern("slow_compute", json!({"arguments": {"seconds": 60, "label": "x"}})).by(&eve()))
        .await;
    let task = task.json()["result"]["taskId"].as_str().expect("a task").to_owned();
    let streams = [
        within(Ask::get(MCP)).with("accept", "text/event-stream").by(&eve()),
        Ask::modern(MCP, "subscriptions/listen", None, json!({"notifications": {"toolsListChanged": true}}))
            .by(&eve()),
    ];
    let mut open = Vec::new();
    for ask in streams {
        open.push(site.open(ask).await);
    }

    reload(&site.gateway, &config("", &servers)).await;
    site.attack("a revoked key", call()).await;
    site.attack("a revoked key, in its session", within(call())).await;
    site.attack(
        "a revoked key's session, with another",
        within(Ask::message(MCP, "tools/call", text_tool()).by(&bob())),
    )
    .await;
    site.attack(
        "a revoked key's stream",
        within(Ask::get(MCP)).with("accept", "text/event-stream").by(&eve()),
    )
    .await;
    site.attack("a revoked key's task", of_task("tasks/get", &task).by(&eve())).await;
    site.attack("a revoked key's task, with another", of_task("tasks/get", &task).by(&bob())).await;
    for (name, open) in
        ["the stream of its session, until then", "its subscription, until then"].into_iter().zip(open)
    {
        site.row(name, &open.ended().await);
    }

    // The same name, and another key: a rotation. What the old one has begun goes on with the new one.
    let again = key("eve2", &["everything"]);
    let table = again.table.replace("\"eve2\"", "\"eve\"");
    reload(&site.gateway, &config(&table, &servers)).await;
    site.attack("a key that was replaced", call()).await;
    site.attack("its replacement (good)", Ask::message(MCP, "tools/call", text_tool()).by(&again)).await;
    assert_snapshot!(site.end().await, @r"
    a revoked key                                              | 401 | unauthorized -32600
    a revoked key, in its session                              | 401 | unauthorized -32600
    a revoked key's session, with another                      | 404 | -32600
    a revoked key's stream                                     | 401 | unauthorized
    a revoked key's task                                       | 401 | unauthorized -32600
    a revoked key's task, with another                         | 200 | -32602
    the stream of its session, until then                      | 200 | ok
    its subscription, until then                               | 200 | ok
    a key that was replaced                                    | 401 | unauthorized -32600
    its replacement (good)                                     | 200 | ok
    ");
}

#[tokio::test]
async fn expired_tokens() {
    let issuer = AuthorizationServer::start(&["everything"]).await;
    let more = format!(
        "[http]\npublic_url = \"https://tools.example.com\"\n[[auth.issuer]]\nurl = {:?}\n",
        issuer.url()
    );
    let mut site = Site::start(&config(&more, &[guarded("everything", ""), guarded("greet", "")])).await;
    let mut claims = issuer.claims("https://tools.example.com/everything", "everything");
    let long = issuer.sign(&claims);
    // Clocks may differ, so that it is taken for some seconds more; nobody is told anything in them.
    claims["exp"] = claims["iat"].clone();
    let short = issuer.sign(&claims);
    let opened = site.send(initialize().bearer(&long)).await;
    let id = opened.header("mcp-session-id").expect("a session").to_owned();
    let stream = |token: &str| {
        Ask::get(MCP).with("accept", "text/event-stream").with("mcp-session-id", &id).bearer(token)
    };
    let open = site.open(stream(&short)).await;
    site.row("the stream of an expired token", &open.ended().await);
    let listen =
        Ask::modern(MCP, "subscriptions/listen", None, json!({"notifications": {"toolsListChanged": true}}));
    let open = site.open(listen.bearer(&short)).await;
    site.row("the subscription of an expired token", &open.ended().await);
    assert_snapshot!(site.end().await, @r"
    the stream of an expired token                             | 200 | ok
    the subscription of an expired token                       | 200 | ok
    ");
}

/// Puts `text` into gateway.toml and waits until it holds.
async fn reload(gateway: &Gateway, text: &str) {
    let mark = gateway.mark();
    gateway.files().replace("gateway.toml", text);
    gateway.signal("HUP");
    gateway.event_since(mark, "reloaded", |_| true).await;
}
