//! Questions as a tool's author asks them, over both kinds of client.

use serde_json::{Value, json};

use crate::{
    prelude::*,
    testing::{Called, Client, TestServer},
};

#[derive(Deserialize, JsonSchema)]
struct Name {
    name: String,
}

async fn greet(ctx: Ctx, _: NoArgs) -> Result<String> {
    let Name { name } = ctx.elicit("name", "Who are you?").await?.accepted()?;
    Ok(format!("Hello, {name}!"))
}

async fn two_then_one(ctx: Ctx, _: NoArgs) -> Result<String> {
    let runs = ctx.state::<u32>()?.unwrap_or(0) + 1;
    ctx.set_state(&runs)?;
    let (a, b) = tokio::join!(ctx.elicit::<Name>("a", "a?"), ctx.elicit::<Name>("b", "b?"));
    let (a, b) = (a?.accepted()?.name, b?.accepted()?.name);
    let c = ctx.elicit::<Name>("c", &format!("after {a} and {b}?")).await?.accepted()?.name;
    Ok(format!("{a}{b}{c} in run {runs}"))
}

async fn model(ctx: Ctx, _: NoArgs) -> Result<String> {
    Ok(ctx.sample("s", SampleRequest::new("Capital of France?").max_tokens(5)).await?.text())
}

async fn folders(ctx: Ctx, _: NoArgs) -> Result<Vec<String>> {
    Ok(ctx.roots("r").await?.into_iter().map(|root| root.uri).collect())
}

async fn page(ctx: Ctx, _: NoArgs) -> Result<bool> {
    Ok(ctx.elicit_url("u", "Log in", "https://example.com").await? == Choice::Accepted(()))
}

async fn twice(ctx: Ctx, _: NoArgs) -> Result<bool> {
    let first: Name = ctx.elicit("name", "Who?").await?.accepted()?;
    let second: Name = ctx.elicit("name", "Who?").await?.accepted()?;
    Ok(first.name == second.name)
}

async fn mistaken(ctx: Ctx, _: NoArgs) -> Result<String> {
    let Name { name } = ctx.elicit("name", "Who?").await?.accepted()?;
    ctx.elicit::<Name>("name", &format!("Really {name}?")).await?;
    Ok(name)
}

async fn talkative(ctx: Ctx, _: NoArgs) -> Result<String> {
    let Name { name } = ctx.elicit("name", &"Who? ".repeat(60_000)).await?.accepted()?;
    Ok(name)
}

fn call(tool: &str, client: Client) -> Called {
    let plugin = Plugin::new()
        .tool("greet", "Greets.", greet)
        .tool("two_then_one", "Asks three questions.", two_then_one)
        .tool("model", "Asks the model.", model)
        .tool("folders", "Asks for folders.", folders)
        .tool("page", "Opens a page.", page)
        .tool("talkative", "Asks at length.", talkative)
        .tool("twice", "Asks the same twice.", twice)
        .tool("mistaken", "Asks two things with one key.", mistaken);
    let mut server = TestServer::start(plugin);
    server.set_client(client);
    server.call(tool, json!({}))
}

/// Over a client that answers while the call waits, and one for which it runs again.
fn both(tool: &str, client: Client, check: impl Fn(Called)) {
    check(call(tool, client.clone()));
    check(call(tool, client.replays()));
}

#[test]
fn an_answer_arrives_whatever_the_client() {
    both("greet", Client::new().accepts("name", json!({ "name": "Ada" })), |called| {
        assert_eq!(called.value(), json!("Hello, Ada!"));
        let (key, method, params) = &called.requests[0];
        assert_eq!((key.as_str(), method.as_str()), ("name", "elicitation/create"));
        assert_eq!(params["requestedSchema"]["properties"], json!({ "name": { "type": "string" } }));
        assert_eq!((&params["mode"], &params["message"]), (&json!("form"), &json!("Who are you?")));
    });
}

#[test]
fn a_refusal_passed_on_is_the_tools_error() {
    both("greet", Client::new().declines("name"), |called| {
        assert_eq!(called.tool_error().as_deref(), Some("the user declined"));
    });
    both("greet", Client::new().cancels("name"), |called| {
        assert_eq!(called.tool_error().as_deref(), Some("the user made no choice"));
    });
}

#[test]
fn what_a_client_cannot_do_ends_the_call_with_the_capability_it_lacks() {
    let check = |tool: &str, required: Value| {
        both(tool, Client::new(), |called| {
            assert_eq!(called.fault_code(), Some((-32021, &json!({ "requiredCapabilities": required }))));
        });
    };
    check("greet", json!({ "elicitation": {} }));
    check("page", json!({ "elicitation": { "url": {} } }));
    check("model", json!({ "sampling": {} }));
    check("folders", json!({ "roots": {} }));
}

#[test]
fn a_client_that_takes_too_long_ends_the_call() {
    both("greet", Client::new().never_answers("name"), |called| {
        assert_eq!(called.fault(), Some("the client did not answer `elicitation/create` in time"));
    });
}

#[test]
fn an_answer_that_does_not_fit_is_an_error_of_the_tool() {
    both("greet", Client::new().accepts("name", json!({ "name": 7 })), |called| {
        let text = called.tool_error().expect("an error");
        assert!(text.starts_with("the answer to `name` does not fit the question: "), "{text}");
    });
}

#[test]
fn questions_asked_together_go_out_together_and_state_survives_the_runs() {
    let name = |name: &str| json!({ "name": name });
    let client = Client::new().accepts("a", name("A")).accepts("b", name("B")).accepts("c", name("C"));
    assert_eq!(call("two_then_one", client.clone()).value(), json!("ABC in run 1"));
    let replayed = call("two_then_one", client.replays());
    assert_eq!(replayed.value(), json!("ABC in run 3"));
    assert_eq!(replayed.rounds, [vec!["a", "b"], vec!["c"]]);
}

#[test]
fn the_model_the_folders_and_the_page_are_asked_for_in_mcps_words() {
    both("model", Client::new().samples("s", "Paris"), |called| {
        assert_eq!(called.value(), json!("Paris"));
        assert_eq!(
            called.requests[0].2,
            json!({
                "maxTokens": 5,
                "messages": [{ "role": "user", "content": { "type": "text", "text": "Capital of France?" } }],
            })
        );
    });
    both("folders", Client::new().roots("r", &["file:///a", "file:///b"]), |called| {
        assert_eq!(called.value(), json!(["file:///a", "file:///b"]));
    });
    both("page", Client::new().accepts("u", Value::Null), |called| {
        assert_eq!(called.value(), json!(true));
        assert_eq!(
            called.requests[0].2,
            json!({ "mode": "url", "message": "Log in", "url": "https://example.com" })
        );
    });
}

#[test]
fn a_key_asked_twice_is_sent_once_and_a_key_for_two_questions_is_refused() {
    let client = Client::new().accepts("name", json!({ "name": "Ada" }));
    let called = call("twice", client.clone());
    assert_eq!((called.value(), called.requests.len()), (json!(true), 1));
    both("mistaken", client, |called| {
        assert_eq!(called.fault(), Some("the key `name` is used for two different requests of one call"));
    });
}

#[test]
fn a_question_that_the_gateway_does_not_take_is_an_error_and_not_a_wait() {
    let called = call("talkative", Client::new().accepts("name", json!({ "name": "Ada" })));
    let error = called.tool_error().expect("it was not asked");
    assert!(error.starts_with("the gateway does not take this `elicitation/create` of 300"), "{error}");
}
