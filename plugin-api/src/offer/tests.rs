//! What a plugin offers beside tools, as a client gets it.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::{prelude::*, testing::TestServer};

#[derive(Deserialize, JsonSchema)]
struct Review {
    /// The code.
    code: String,
    /// How strict.
    #[schemars(title = "Strictness")]
    strict: Option<u8>,
}

async fn review(_: Ctx, args: Review) -> Result<Messages> {
    let text = format!("Review {} at {}", args.code, args.strict.unwrap_or(1));
    Ok(Messages::new().description("A review.").user(text).assistant("Sure."))
}

#[derive(Deserialize)]
struct Row {
    id: u32,
}

async fn row(_: Ctx, row: Row) -> Result<Contents> {
    Contents::json(&json!({ "id": row.id }))
}

async fn languages(_: Ctx, typed: Completing) -> Result<Vec<&'static str>> {
    let all = ["rust", "ruby", "python"];
    Ok(all.into_iter().filter(|language| language.starts_with(&typed.value)).collect())
}

const MD: &str = "---\nname: greet\ndescription: How to greet\n---\nSay hello.\n";

fn server() -> TestServer {
    let skill = Skill::new("skill://greet", MD).expect("well-formed").file("extra/hello.txt", "hello\n");
    TestServer::start(
        Plugin::new()
            .prompt(Prompt::new("review", "Reviews code.", review).complete("code", languages))
            .resource(
                Resource::new("test://text", "text", async |_| Ok::<_, Error>("hi")).mime_type("text/x"),
            )
            .resource(Resource::new("test://bytes", "bytes", async |_| Ok::<_, Error>(vec![1, 2, 255])))
            .resource_template(ResourceTemplate::new("db://{id}", "row", row).complete("id", languages))
            .skill(skill)
            .dynamic_tools(async |_| Ok::<_, Error>(vec![Tool::new("made", "Made.", made).task_optional()])),
    )
}

async fn made(_: Ctx, _: NoArgs) -> Result<String> {
    Ok("made".into())
}

#[test]
fn a_prompt_says_its_arguments_and_is_written_from_them() {
    let server = server();
    assert_eq!(
        server.manifest()["prompts"][0],
        json!({
            "name": "review", "description": "Reviews code.",
            "arguments": [
                { "name": "code", "description": "The code.", "required": true },
                { "name": "strict", "title": "Strictness", "description": "How strict.", "required": false },
            ],
        })
    );
    let text = |role: &str, text: &str| json!({ "role": role, "content": { "type": "text", "text": text } });
    assert_eq!(
        *server.prompt("review", json!({ "code": "x", "strict": "3" })).result(),
        json!({
            "description": "A review.",
            "messages": [text("user", "Review x at 3"), text("assistant", "Sure.")],
        })
    );
    let missing = server.prompt("review", json!({}));
    assert_eq!(
        (missing.fault(), missing.fault_code()),
        (Some("missing field `code`"), Some((-32602, &Value::Null)))
    );
    assert_eq!(server.prompt("none", json!({})).fault(), Some("this plugin has no prompt `none`"));
}

#[test]
fn resources_are_read_by_uri_and_by_template() {
    let server = server();
    let check = |uri: &str, expected: Value| {
        assert_eq!(*server.read(uri).result(), json!({ "contents": [expected] }), "{uri}");
    };
    check("test://text", json!({ "uri": "test://text", "mimeType": "text/x", "text": "hi" }));
    check("test://bytes", json!({ "uri": "test://bytes", "blob": "AQL/" }));
    check("db://7", json!({ "uri": "db://7", "mimeType": "application/json", "text": "{\"id\":7}" }));
    check(
        "skill://greet/SKILL.md",
        json!({ "uri": "skill://greet/SKILL.md", "mimeType": "text/markdown", "text": MD }),
    );
    let none = server.read("test://none");
    assert_eq!(none.fault_code(), Some((-32602, &json!({ "uri": "test://none" }))));
    assert_eq!(server.read("db://x").fault(), Some("`x` is not a u32"));
}

#[test]
fn arguments_and_variables_are_completed() {
    let server = server();
    let values = |called: crate::testing::Called| called.result()["completion"]["values"].clone();
    assert_eq!(values(server.complete_prompt("review", "code", "ru")), json!(["rust", "ruby"]));
    assert_eq!(values(server.complete_template("db://{id}", "id", "p")), json!(["python"]));
    assert_eq!(values(server.complete_prompt("review", "strict", "")), json!([]));
    assert_eq!(server.complete_prompt("none", "code", "").fault(), Some("this plugin has no prompt `none`"));
}

#[test]
fn skills_are_listed_got_and_walked() {
    let server = server();
    let listed = server.request("skills/list", json!({})).result().clone();
    let got = server.request("skills/get", json!({ "uri": "skill://greet/SKILL.md" }));
    assert_eq!(listed["skills"][0], got.result()["skill"]);
    let folder = server.request("resources/directory/read", json!({ "uri": "skill://greet" }));
    assert_eq!(folder.result()["resources"][1]["mimeType"], "inode/directory");
    for method in ["skills/get", "resources/directory/read"] {
        let none = server.request(method, json!({ "uri": "skill://none" }));
        assert_eq!(none.fault_code(), Some((-32602, &json!({ "uri": "skill://none" }))), "{method}");
    }
    assert_eq!(server.manifest()["resources"][2]["uri"], "skill://greet/SKILL.md");
    assert!(!server.manifest()["resources"].to_string().contains("extra"), "found through the skill");
}

#[test]
fn a_list_made_call_by_call_is_called_as_it_is_listed() {
    let server = server();
    assert_eq!(server.manifest()["dynamic"], json!(["tools/list"]));
    let listed = server.request("tools/list", json!({})).result().clone();
    assert_eq!(
        (&listed["tools"][0]["name"], &listed["taskSupport"]),
        (&json!("made"), &json!({ "made": "optional" }))
    );
    assert_eq!(server.call("made", json!({})).value(), json!("made"));
    assert_eq!(server.call("none", json!({})).fault(), Some("this plugin has no tool `none`"));
    assert_eq!(server.request("nonsense", json!({})).fault_code().map(|(code, _)| code), Some(-32601));
}

#[test]
fn subscriptions_reach_the_hooks_and_changes_reach_the_clients() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (subscribed, unsubscribed) = (seen.clone(), seen.clone());
    let plugin = Plugin::new();
    let notifier = plugin.notifier();
    let early = notifier.clone();
    let plugin = plugin
        .on_start(async move || {
            early.prompts_changed();
            Ok(())
        })
        .on_subscribe(move |uri| {
            subscribed.lock().expect("not poisoned").push(format!("+{uri}"));
            async { Ok(()) }
        })
        .on_unsubscribe(move |uri| {
            unsubscribed.lock().expect("not poisoned").push(format!("-{uri}"));
            async { Ok(()) }
        });
    assert_eq!(notifier.tools_changed(), crate::Delivery::Dropped, "it does not serve yet");
    let server = TestServer::start(plugin);
    server.subscribe("test://a");
    notifier.resource_updated("test://a");
    server.unsubscribe("test://a");
    assert_eq!(*seen.lock().expect("not poisoned"), ["+test://a", "-test://a"]);
    assert_eq!(
        server.notices(),
        [
            ("notifications/prompts/list_changed".to_owned(), json!({})),
            ("notifications/resources/updated".to_owned(), json!({ "uri": "test://a" })),
        ]
    );
}
