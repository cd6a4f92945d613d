//! Tests of `relay`.
use rmcp::model::NumberOrString;
use serde_json::json;

use super::*;

fn relay(log: Option<LoggingLevel>) -> Relay {
    Relay { progress: Some(ProgressToken(NumberOrString::String("mine".into()))), log }
}

fn admitted(relay: &Relay, method: &str, params: Value) -> Option<Value> {
    let notification = relay.admit(method, params.to_string().as_bytes())?;
    serde_json::to_value(notification).ok()
}

#[test]
fn progress_carries_the_clients_token_whatever_the_plugin_wrote() {
    let params = json!({ "progressToken": "another", "progress": 1, "total": 2, "message": "half" });
    let sent = admitted(&relay(None), "notifications/progress", params).expect("wanted");
    assert_eq!(
        sent["params"],
        json!({ "progressToken": "mine", "progress": 1.0, "total": 2.0, "message": "half" })
    );
    let silent = Relay { progress: None, log: None };
    assert_eq!(admitted(&silent, "notifications/progress", json!({ "progress": 1 })), None);
    assert_eq!(silent.notifications(), Notifications::Dropped);
}

#[test]
fn log_messages_below_the_clients_level_are_not_sent() {
    let message = |level: &str| json!({ "level": level, "data": "x" });
    let check = |log, level: &str, wanted: bool| {
        let sent = admitted(&relay(log), "notifications/message", message(level));
        assert_eq!(sent.is_some(), wanted, "{log:?} {level}");
    };
    check(None, "emergency", false);
    check(Some(LoggingLevel::Warning), "notice", false);
    check(Some(LoggingLevel::Warning), "warning", true);
    check(Some(LoggingLevel::Warning), "critical", true);
    check(Some(LoggingLevel::Debug), "loud", false);
}

#[test]
fn what_no_client_could_use_is_not_sent() {
    let relay = relay(Some(LoggingLevel::Debug));
    assert_eq!(admitted(&relay, "notifications/progress", json!({ "total": 3 })), None);
    assert_eq!(admitted(&relay, "notifications/tools/list_changed", json!({})), None);
    assert!(relay.admit("notifications/progress", b"[]").is_none());
}
