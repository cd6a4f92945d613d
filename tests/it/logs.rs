//! What plugins log and print, as it comes out in the gateway's log.

use http::Request;
use serde_json::{Value, json};
use tests::{Gateway, Mark, config, until};

/// Calls `holds_calls/hold`, gives up once it runs, and waits until the call is over; where the log was before.
async fn hold_and_give_up(gateway: &Gateway) -> (Mark, Value) {
    let mark = gateway.mark();
    let arguments = json!({ "directory": gateway.folder() }).to_string();
    let request = Request::post("/holds_calls/tools/hold").header("content-type", "application/json");
    tokio::select! {
        answer = gateway.send(request.body(arguments).expect("a request")) => panic!("nobody released it: {answer:?}"),
        _ = gateway.event_since(mark, "holding", |_| true) => {}
    }
    let over = gateway.event_since(mark, "call finished", |event| event["outcome"] == "cancelled").await;
    (mark, over)
}

#[tokio::test]
async fn what_a_plugin_logs_in_a_call_is_found_by_the_id_of_its_request() {
    let text = config(&["holds_calls"]);
    let gateway = Gateway::with_config(&text).await;
    let (mark, over) = hold_and_give_up(&gateway).await;
    let holding = gateway.event_since(mark, "holding", |_| true).await;
    assert!(over["request_id"].is_string(), "{over}");
    for member in ["server", "tool", "request_id"] {
        assert_eq!(holding[member], over[member]);
    }
    assert_eq!(
        (&holding["target"], &holding["from"], &holding["fields"]),
        (&json!("gateway::plugin"), &json!("holds_calls"), &Value::Null)
    );

    // What it logs at a level that the filter has come to let through is heard at once, and still belongs to its call, which
    // nobody waits for any more.
    gateway.files().replace("gateway.toml", text.replace("[log]", "[log]\nfilter = \"debug\""));
    until("the filter holds", async || {
        gateway.get("/servers").await.json()["reload"]["settings"] == json!(["log"])
    })
    .await;
    let (second, over) = hold_and_give_up(&gateway).await;
    let let_go = gateway.event_since(second, "let go", |_| true).await;
    for member in ["server", "tool", "request_id"] {
        assert_eq!(let_go[member], over[member]);
    }
    let logged = gateway.logged_since(mark);
    let heard = logged.iter().filter(|event| event["message"] == "let go").count();
    assert_eq!((heard, &let_go["level"]), (1, &json!("DEBUG")), "{logged:#?}");
}
