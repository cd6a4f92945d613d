//! Questions in one round, in several, and together: what MCP 2026-07-28 does with results that ask for input. The
//! code is that of [`ask`](crate::ask): how a client is asked makes no difference here.

use plugin_api::prelude::*;

/// The user's name.
#[derive(Deserialize, JsonSchema)]
struct Name {
    name: String,
}

/// Whether it is all right.
#[derive(Deserialize, JsonSchema)]
struct Confirm {
    ok: bool,
}

/// The user's favourite colour.
#[derive(Deserialize, JsonSchema)]
struct Colour {
    color: String,
}

async fn elicitation(ctx: Ctx, _: NoArgs) -> Result<Reply> {
    let Name { name } = ctx.elicit("user_name", "What is your name?").await?.accepted()?;
    Ok(Reply::new().text(format!("Hello, {name}!")))
}

async fn sampling(ctx: Ctx, _: NoArgs) -> Result<Reply> {
    let request = SampleRequest::new("What is the capital of France?").max_tokens(100);
    let capital = ctx.sample("capital_question", request).await?.text();
    Ok(Reply::new().text(format!("Sampling response: {capital}")))
}

async fn list_roots(ctx: Ctx, _: NoArgs) -> Result<Reply> {
    let roots = ctx.roots("client_roots").await?;
    let uris: Vec<_> = roots.into_iter().map(|root| root.uri).collect();
    Ok(Reply::new().text(format!("Client roots: {}", uris.join(", "))))
}

async fn request_state(ctx: Ctx, _: NoArgs) -> Result<Reply> {
    let known = ctx.state::<String>()?;
    ctx.set_state(&"confirming")?;
    let Confirm { ok } = ctx.elicit("confirm", "Please confirm").await?.accepted()?;
    // A client that answers while the call waits sees one run of it, which knows what it has just kept.
    let kept = known.or(ctx.state()?);
    Ok(Reply::new().text(if ok && kept.as_deref() == Some("confirming") { "state-ok" } else { "no state" }))
}

async fn multiple_inputs(ctx: Ctx, _: NoArgs) -> Result<Reply> {
    ctx.set_state(&"gathering")?;
    let greeting = SampleRequest::new("Generate a greeting").max_tokens(100);
    let (name, greeting, roots) = tokio::join!(
        ctx.elicit::<Name>("user_name", "What is your name?"),
        ctx.sample("greeting", greeting),
        ctx.roots("client_roots"),
    );
    let (Name { name }, greeting, roots) = (name?.accepted()?, greeting?.text(), roots?.len());
    Ok(Reply::new().text(format!("{greeting} {name}, you have {roots} roots")))
}

async fn multi_round(ctx: Ctx, _: NoArgs) -> Result<Reply> {
    ctx.set_state(&1)?;
    let Name { name } = ctx.elicit("step1", "Step 1: What is your name?").await?.accepted()?;
    ctx.set_state(&2)?;
    let Colour { color } = ctx.elicit("step2", "Step 2: What is your favorite color?").await?.accepted()?;
    Ok(Reply::new().text(format!("{name} likes {color}")))
}

async fn capabilities(ctx: Ctx, _: NoArgs) -> Result<Reply> {
    let client = ctx.info();
    let name = async {
        if !client.supports(Capability::Elicitation) {
            return Ok(None);
        }
        Ok::<_, Error>(ctx.elicit::<Name>("user_name", "What is your name?").await?.into_option())
    };
    let greeting = async {
        if !client.supports(Capability::Sampling) {
            return Ok(None);
        }
        Ok::<_, Error>(Some(ctx.sample("greeting", SampleRequest::new("Generate a greeting")).await?.text()))
    };
    let (name, greeting) = tokio::join!(name, greeting);
    let (name, greeting) = (name?.map(|given| given.name), greeting?);
    Ok(Reply::new().text(format!("{} {}", greeting.unwrap_or_default(), name.unwrap_or_default())))
}

pub(crate) fn add(plugin: Plugin) -> Plugin {
    plugin
        .tool("test_input_required_result_elicitation", "Asks for a name.", elicitation)
        .tool("test_input_required_result_sampling", "Asks the client's model.", sampling)
        .tool("test_input_required_result_list_roots", "Asks for the client's folders.", list_roots)
        .tool("test_input_required_result_request_state", "Remembers something.", request_state)
        .tool("test_input_required_result_tampered_state", "Remembers something.", request_state)
        .tool("test_input_required_result_multiple_inputs", "Asks three things at once.", multiple_inputs)
        .tool("test_input_required_result_multi_round", "Asks one thing after another.", multi_round)
        .tool("test_input_required_result_capabilities", "Asks what the client can answer.", capabilities)
}

#[cfg(test)]
mod tests {
    use plugin_api::testing::{Called, Client};
    use serde_json::json;

    use crate::tests::server;

    fn client() -> Client {
        let text = |name: &str, value: &str| json!({ name: value });
        Client::new()
            .accepts("user_name", text("name", "Ada"))
            .accepts("step1", text("name", "Ada"))
            .accepts("step2", text("color", "blue"))
            .accepts("confirm", json!({ "ok": true }))
            .samples("capital_question", "Paris")
            .samples("greeting", "Hail")
            .roots("client_roots", &["file:///a"])
    }

    /// Over a client that answers at once, and one for which the call runs again.
    fn check(tool: &str, text: &str, rounds: &[&[&str]]) {
        let call = |client: Client| -> Called {
            let mut server = server();
            server.set_client(client);
            server.call(tool, json!({}))
        };
        assert_eq!(call(client()).text(), text, "{tool}, live");
        let replayed = call(client().replays());
        assert_eq!(replayed.text(), text, "{tool}, replayed");
        assert_eq!(replayed.rounds, rounds, "{tool}");
    }

    #[test]
    fn the_same_code_answers_both_kinds_of_client() {
        check("test_input_required_result_elicitation", "Hello, Ada!", &[&["user_name"]]);
        check("test_input_required_result_sampling", "Sampling response: Paris", &[&["capital_question"]]);
        check("test_input_required_result_list_roots", "Client roots: file:///a", &[&["client_roots"]]);
        check("test_input_required_result_request_state", "state-ok", &[&["confirm"]]);
        check(
            "test_input_required_result_multiple_inputs",
            "Hail Ada, you have 1 roots",
            &[&["user_name", "greeting", "client_roots"]],
        );
        check("test_input_required_result_multi_round", "Ada likes blue", &[&["step1"], &["step2"]]);
        check("test_input_required_result_capabilities", "Hail Ada", &[&["user_name", "greeting"]]);
    }

    #[test]
    fn a_client_is_asked_only_what_it_can_answer() {
        let mut server = server();
        server.set_client(Client::new().samples("greeting", "Hail").replays());
        let called = server.call("test_input_required_result_capabilities", json!({}));
        assert_eq!(called.rounds, [vec!["greeting"]]);
    }
}
