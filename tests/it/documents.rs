//! What the OpenAPI documents say of who may call, and that it is so.

use insta::assert_snapshot;
use serde_json::Value;
use tests::{Gateway, config, key, server, until};

/// Each operation with how its callers say who they are; nothing: it says nothing of that.
fn security(document: &Value) -> String {
    let mut lines = String::new();
    for (path, item) in document["paths"].as_object().expect("it has paths") {
        for operation in item.as_object().expect("an object").values() {
            lines += &format!("{path}  {}\n", operation.get("security").unwrap_or(&Value::Null));
        }
    }
    lines
}

/// A gateway that asks for a key at greet and nobody at bye.
fn half_open() -> String {
    let key = key("holder", &["greet"]);
    config(&["greet"]) + &server("bye", "bye") + "auth = \"none\"\n" + &key.table
}

#[tokio::test]
async fn a_document_says_who_has_to_say_who_is_calling() {
    let gateway = Gateway::with_config(&half_open()).await;
    let of_all = "/bye/tools/echoBye  []\n/bye/tools  []\n";
    let public = gateway.get("/openapi.json").await.json();
    assert!(security(&public).starts_with(of_all), "{public}");

    let gateway = gateway.asked_with(&key("holder", &[]));
    let document = gateway.get("/openapi.json").await.json();
    assert_snapshot!(security(&document), @r#"
    /greet/tools/echoHai  [{"key":[]},{"bearer":[]}]
    /greet/tools  [{"key":[]},{"bearer":[]}]
    /bye/tools/echoBye  []
    /bye/tools  []
    /servers  [{"key":[]},{"bearer":[]},{}]
    /healthz  []
    /livez  []
    /readyz  []
    "#);
    assert_snapshot!(document["components"]["securitySchemes"], @r#"{"key":{"type":"apiKey","in":"header","name":"X-API-Key"},"bearer":{"type":"http","scheme":"bearer","description":"A key."}}"#);

    let of_one = gateway.get("/greet/openapi.json").await.json();
    assert_eq!(of_one["components"]["securitySchemes"], document["components"]["securitySchemes"]);
    let of_bye = gateway.get("/bye/openapi.json").await.json();
    assert_snapshot!(security(&of_bye), @r"
    /bye/tools/echoBye  null
    /bye/tools  null
    ");
}

#[tokio::test]
async fn what_callers_see_of_servers_is_as_documented() {
    let holder = Gateway::with_config(&half_open()).await.asked_with(&key("holder", &[]));
    let document = holder.get("/openapi.json").await.json();
    let ok = &document["paths"]["/servers"]["get"]["responses"]["200"];
    let schema = &ok["content"]["application/json"]["schema"]["properties"]["servers"]["items"];
    let required: Vec<&str> =
        schema["required"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let servers = holder.get("/servers").await.json();
    for server in servers["servers"].as_array().expect("a list") {
        assert!(required.iter().all(|name| server.get(name).is_some()), "{server}");
    }
}

#[tokio::test]
async fn a_document_follows_when_the_gateway_begins_to_ask() {
    let gateway = Gateway::with_config(&config(&["greet"])).await;
    let says = async || gateway.get("/greet/openapi.json").await.body.contains("securitySchemes");
    assert!(!says().await);
    let key = key("holder", &["greet"]);
    gateway.files().replace("gateway.toml", config(&["greet"]) + &key.table);
    gateway.signal("HUP");
    until("a key is asked for", async || gateway.get("/greet/tools").await.status == 401).await;
    let gateway = gateway.asked_with(&key);
    assert!(gateway.get("/greet/openapi.json").await.body.contains("securitySchemes"));
}
