//! What an rmcp server offers and answers.

use rmcp::{
    ErrorData, ServerHandler,
    model::{ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig},
};
use serde_json::json;

use super::{Context, said, shop::Shop, start};
use crate::{CallInfo, Principal, testing::Client};

#[test]
fn the_manifest_is_what_the_server_says_over_all_its_pages() {
    let server = start(Shop::default);
    let manifest = server.manifest();
    let names: Vec<_> = manifest["tools"].as_array().expect("a list").iter().map(|t| &t["name"]).collect();
    assert_eq!(names, ["first", "second"]);
    assert_eq!(
        (&manifest["name"], &manifest["version"], &manifest["title"], &manifest["instructions"]),
        (&json!("shop"), &json!("3.2.1"), &json!("The shop"), &json!("Buy."))
    );
    assert_eq!(
        manifest["capabilities"],
        json!({ "tools": { "listChanged": true }, "resources": { "subscribe": true } })
    );
    assert_eq!(manifest["dynamic"], json!(["tools/list", "resources/list", "resources/templates/list"]));
    let listed = server.request("tools/list", json!({}));
    assert_eq!(listed.result()["tools"], manifest["tools"]);
    assert!(manifest.get("prompts").is_none(), "not declared, not asked for");
}

#[test]
fn a_server_without_a_name_has_that_of_its_package() {
    struct Nameless;
    impl ServerHandler for Nameless {}
    let manifest = start(|| Nameless).manifest();
    assert_eq!((&manifest["name"], &manifest["version"]), (&json!("test"), &json!("0.0.0")));
    assert_eq!((&manifest["tools"], &manifest["capabilities"]), (&json!([]), &json!({})));
}

#[test]
fn the_handler_sees_the_client_behind_the_gateway() {
    let mut server = start(Shop::default);
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
    server.set_client(Client::new().accepts("x", json!({})));
    server.set_info(CallInfo {
        protocol_version: Some("2025-06-18".into()),
        client_info: Some(json!({ "name": "inspector", "version": "1" })),
        log_level: Some("notice".into()),
        trace: Some(json!({ "traceparent": traceparent })),
        principal: Some(Principal { id: "key:ada".into() }),
        ..CallInfo::default()
    });
    assert_eq!(
        server.call("who", json!({})).value(),
        json!({
            "client": "inspector", "version": "2026-07-28", "session": "2025-11-25",
            "capabilities": { "elicitation": { "form": {}, "url": {} } },
            "level": "notice", "traceparent": traceparent, "principal": { "id": "key:ada" },
        })
    );
}

#[test]
fn a_plain_http_client_is_the_gateway_and_can_do_nothing() {
    let seen = start(Shop::default).call("who", json!({})).value();
    assert_eq!((&seen["client"], &seen["capabilities"]), (&json!("gateway"), &json!({})));
}

#[test]
fn a_client_that_says_nonsense_of_itself_is_served() {
    let mut server = start(Shop::default);
    let client_capabilities = Some(json!({ "elicitation": 7 }));
    server.set_info(CallInfo { client_capabilities, ..CallInfo::default() });
    assert_eq!(server.call("who", json!({})).value()["capabilities"], json!({}));
}

#[test]
fn errors_keep_code_message_and_data() {
    let server = start(Shop::default);
    let called = server.call("fails", json!({}));
    assert_eq!(called.fault(), Some("out of stock"));
    assert_eq!(called.fault_code(), Some((-32050, &json!({ "left": 0 }))));
    // Not -32002: that is of older revisions.
    assert_eq!(server.read("shop://x").fault_code(), Some((-32602, &json!({ "uri": "shop://x" }))));
    let unfit = server.request("tools/call", json!({ "name": 7 }));
    assert_eq!(unfit.fault_code().map(|(code, _)| code), Some(-32602), "{:?}", unfit.fault());
}

#[test]
fn a_panic_of_a_handler_is_one_of_the_call() {
    let server = start(Shop::default);
    assert_eq!(server.call("panics", json!({})).fault(), Some("dropped the tray"));
    assert_eq!(server.call("meta", json!({})).result()["_meta"], json!({ "shop.example/x": 1 }));
}

#[test]
fn methods_that_mcp_does_not_know_reach_the_server() {
    let called = start(Shop::default).request("shop/open", json!({ "at": 9 }));
    assert_eq!(*called.result(), json!({ "asked": "shop/open", "with": { "at": 9 } }));
}

#[test]
fn what_a_call_says_comes_in_order_and_before_its_answer() {
    let called = start(Shop::default).call("logs", json!({}));
    assert_eq!(
        called.notifications,
        [
            said(
                "notifications/message",
                json!({ "level": "warning", "logger": "till", "data": { "sum": 3 } })
            ),
            said("notifications/x", json!({ "a": 1 })),
        ]
    );
}

#[test]
fn cursors_that_lead_in_circles_end() {
    struct Circle;
    impl ServerHandler for Circle {
        fn get_info(&self) -> ServerConfig {
            ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
        }

        async fn list_tools(
            &self,
            _: Option<PaginatedRequestParams>,
            _: Context,
        ) -> Result<ListToolsResult, ErrorData> {
            Ok(ListToolsResult { next_cursor: Some("again".into()), ..ListToolsResult::default() })
        }
    }
    assert_eq!(start(|| Circle).tools(), json!([]));
}
