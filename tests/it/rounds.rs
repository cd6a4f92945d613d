//! Calls of 2026-07-28 clients that take several rounds: what the gateway hands out between them, and to whom.

use http::Request;
use serde_json::{Value, json};
use tests::{Gateway, Proxy, config};

/// Two gateways that know this can take turns.
const SECRET: &str = "0123456789abcdef0123456789abcdef";

async fn gateway(secret: &str) -> Gateway {
    let http = format!("[http]\nstate_secret = \"{secret}\"\n[log]");
    Gateway::with_config(&config(&["everything"]).replace("[log]", &http)).await
}

/// `tools/call` of `plan_party`, as a client that can be asked; `more` are parameters beside its arguments.
async fn plan_party(gateway: &Gateway, reference: &str, more: Value) -> Value {
    plan_party_by(gateway, gateway.base(), reference, more).await
}

/// The same, through what listens at `base`.
async fn plan_party_by(gateway: &Gateway, base: &str, reference: &str, more: Value) -> Value {
    let mut params = json!({
        "name": "plan_party",
        "arguments": { "reference": reference },
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": { "elicitation": { "form": {} } },
        },
    });
    params.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string();
    let request = Request::post("/everything/mcp")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/call")
        .header("mcp-name", "plan_party");
    gateway.send_by(base, request.body(body).expect("a request")).await.expect("an answer").json()
}

/// What was really done at this gateway.
async fn ledger(gateway: &Gateway) -> Value {
    let body = json!({
        "jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": { "uri": "party://ledger/r" },
    });
    let request = Request::post("/everything/mcp").header("content-type", "application/json");
    let answer = gateway.send(request.body(body.to_string()).expect("a request")).await.expect("an answer");
    let text = answer.json()["result"]["contents"][0]["text"].as_str().map(str::to_owned);
    serde_json::from_str(&text.expect("the ledger")).expect("JSON")
}

/// The next round: the answers, and the state as it was handed out.
fn next_round(result: &Value, answers: &Value) -> Value {
    let mut responses = json!({});
    for key in result["inputRequests"].as_object().expect("questions").keys() {
        responses[key] = json!({ "action": "accept", "content": answers[key] });
    }
    json!({ "inputResponses": responses, "requestState": result["requestState"] })
}

fn answers() -> Value {
    json!({ "when": { "day": "2026-07-28" }, "who": { "guests": 3 }, "send": { "send": true } })
}

#[tokio::test]
async fn a_call_of_several_rounds_hops_between_gateways_that_share_a_secret() {
    let (first, second) = (gateway(SECRET).await, gateway(SECRET).await);
    let proxy = Proxy::start(&[first.base(), second.base()]).await;
    let round = async |more| plan_party_by(&first, &proxy.base(), "r", more).await;
    let asked = round(json!({})).await;
    let result = &asked["result"];
    assert_eq!(result["resultType"], "input_required", "{asked}");
    let keys: Vec<_> = result["inputRequests"].as_object().expect("questions").keys().collect();
    assert_eq!(keys, ["when", "who"], "both questions in one round");

    let asked = round(next_round(result, &answers())).await;
    let result = &asked["result"];
    assert_eq!(result["resultType"], "input_required", "{asked}");
    assert!(result["inputRequests"]["send"].is_object(), "{asked}");

    let planned = round(next_round(result, &answers())).await;
    let plan = &planned["result"]["structuredContent"];
    assert_eq!(plan["invited"], true, "{planned}");
    // The state travelled with the call: neither gateway did again what the other had done.
    let deeds = ["hall looked for", "hall reserved", "invitations sent"];
    assert_eq!(plan["done"], json!(deeds));
    // The first and the last round were the first gateway's, the one between the second's.
    assert_eq!(ledger(&first).await, json!([deeds[0], deeds[2]]));
    assert_eq!(ledger(&second).await, json!([deeds[1]]));
}

#[tokio::test]
async fn a_state_that_is_not_for_this_call_is_refused() {
    let (ours, other) = (gateway(SECRET).await, gateway("another secret of thirty-two bytes").await);
    let asked = plan_party(&ours, "r", json!({})).await;
    let good = next_round(&asked["result"], &answers());
    let refused = async |gateway: &Gateway, reference: &str, more: Value| {
        let answer = plan_party(gateway, reference, more).await;
        answer["error"]["code"].as_i64()
    };
    let mut tampered = good.clone();
    let state = good["requestState"].as_str().expect("a state");
    let end = if state.ends_with('A') { "B" } else { "A" };
    tampered["requestState"] = format!("{}{end}", &state[..state.len() - 1]).into();

    assert_eq!(refused(&ours, "r", tampered).await, Some(-32602), "tampered with");
    assert_eq!(refused(&ours, "another party", good.clone()).await, Some(-32602), "other arguments");
    assert_eq!(refused(&other, "r", good.clone()).await, Some(-32602), "another gateway's");
    assert_eq!(refused(&ours, "r", good).await, None, "its own");
}

#[tokio::test]
async fn an_answer_that_is_missing_is_asked_for_again() {
    let gateway = gateway(SECRET).await;
    let asked = plan_party(&gateway, "r", json!({})).await;
    let mut round = next_round(&asked["result"], &answers());
    round["inputResponses"].as_object_mut().expect("an object").remove("who");
    let again = plan_party(&gateway, "r", round).await;
    let keys: Vec<_> = again["result"]["inputRequests"].as_object().expect("questions").keys().collect();
    assert_eq!(keys, ["who"], "{again}");
}
