//! The counter, called as the gateway calls it.

use plugin_api::{
    CallInfo, NoSettings, Plugin,
    testing::{Client, TestServer},
};
use serde_json::{Value, json};

use super::Counter;

fn server() -> TestServer {
    TestServer::start(Plugin::from_rmcp(NoSettings {}, Counter::default))
}

#[test]
fn it_counts_for_everyone() {
    let server = server();
    assert_eq!(server.call("increment", json!({ "by": 5 })).value(), json!({ "count": 5 }));
    assert_eq!(server.call("increment", json!({ "by": -2 })).value(), json!({ "count": 3 }));
    assert_eq!(server.read("counter://count").text(), "3");
}

#[test]
fn it_says_so_when_it_cannot_count_that_far() {
    let server = server();
    server.call("increment", json!({ "by": 1 }));
    let further = server.call("increment", json!({ "by": i64::MAX }));
    assert_eq!(further.tool_error().as_deref(), Some("The counter does not go that far."));
    assert_eq!(server.read("counter://count").text(), "1");
}

#[test]
fn it_says_how_far_the_countdown_is_to_who_asked() {
    let mut server = server();
    assert!(server.call("count_down", json!({ "from": 1 })).notifications.is_empty());
    server.set_info(CallInfo { progress_token: Some(json!(7)), ..CallInfo::default() });
    let called = server.call("count_down", json!({ "from": 2 }));
    assert_eq!(called.text(), "Lift-off!");
    let progress = |done: f64, left: &str| {
        let params = json!({ "progress": done, "total": 2.0, "message": left });
        ("notifications/progress".to_owned(), params)
    };
    assert_eq!(called.notifications, [progress(1.0, "1"), progress(2.0, "0")]);
}

#[test]
fn it_starts_again_only_if_the_user_is_sure() {
    let mut server = server();
    server.call("increment", json!({ "by": 9 }));
    for client in [Client::new(), Client::new().replays()] {
        server.set_client(client.clone().accepts("elicitation", json!({ "sure": false })));
        assert_eq!(
            server.call("reset", json!({})).tool_error().as_deref(),
            Some("The counter stays as it is.")
        );
        server.set_client(client.clone().declines("elicitation"));
        assert_eq!(
            server.call("reset", json!({})).tool_error().as_deref(),
            Some("The counter stays as it is.")
        );
    }
    server.set_client(Client::new().replays().accepts("elicitation", json!({ "sure": true })));
    assert_eq!(server.call("reset", json!({})).text(), "The counter was at 9.");
    let updated = ("notifications/resources/updated".to_owned(), json!({ "uri": "counter://count" }));
    assert_eq!(server.notices(), [updated]);
    assert_eq!(server.read("counter://count").text(), "0");
}

#[test]
fn it_has_a_prompt() {
    let server = server();
    let prompt = server.prompt("celebrate", json!({ "who": "Ada" }));
    let text: &Value = &prompt.result()["messages"][0]["content"]["text"];
    assert_eq!(text, "Congratulate Ada on having counted to 0.");
}
