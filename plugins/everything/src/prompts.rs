//! Prompts, one of which is completed while it is typed and one of which asks.

use plugin_api::prelude::*;

use crate::content::PNG;

async fn simple(_: Ctx, _: NoArgs) -> Result<&'static str> {
    Ok("This is a simple prompt for testing.")
}

/// Two arguments.
#[derive(Deserialize, JsonSchema)]
struct Two {
    /// The first argument.
    arg1: String,
    /// The second argument.
    arg2: String,
}

async fn with_arguments(_: Ctx, args: Two) -> Result<String> {
    Ok(format!("Prompt with arguments: arg1='{}', arg2='{}'", args.arg1, args.arg2))
}

async fn words(_: Ctx, typed: Completing) -> Result<Completion> {
    let words = ["paris", "park", "party", "tea", "test", "testimony"];
    let fitting: Vec<_> = words.into_iter().filter(|word| word.starts_with(&typed.value)).collect();
    Ok(fitting.into())
}

/// A resource to embed.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Embed {
    /// Its URI.
    resource_uri: String,
}

async fn with_resource(_: Ctx, args: Embed) -> Result<Messages> {
    let contents = Contents::text("Embedded resource content for testing.").uri(&args.resource_uri);
    Ok(Messages::new().user(Content::resource(contents)).user("Please process the embedded resource above."))
}

async fn with_image(_: Ctx, _: NoArgs) -> Result<Messages> {
    Ok(Messages::new().user(Content::image(PNG, "image/png")).user("Please analyze the image above."))
}

/// What the prompt is about.
#[derive(Deserialize, JsonSchema)]
struct About {
    context: String,
}

async fn asking(ctx: Ctx, _: NoArgs) -> Result<String> {
    let question = "What context should the prompt use?";
    let About { context } = ctx.elicit("user_context", question).await?.accepted()?;
    Ok(format!("Use this context: {context}"))
}

pub(crate) fn add(plugin: Plugin) -> Plugin {
    let with_arguments = Prompt::new("test_prompt_with_arguments", "Has two arguments.", with_arguments);
    plugin
        .prompt(Prompt::new("test_simple_prompt", "Is always the same.", simple).title("Simple"))
        .prompt(with_arguments.complete("arg1", words))
        .prompt(Prompt::new("test_prompt_with_embedded_resource", "Brings a resource.", with_resource))
        .prompt(Prompt::new("test_prompt_with_image", "Brings an image.", with_image))
        .prompt(Prompt::new("test_input_required_result_prompt", "Asks what it is about.", asking))
}

#[cfg(test)]
mod tests {
    use plugin_api::testing::Client;
    use serde_json::json;

    use crate::tests::server;

    #[test]
    fn prompts_are_written_from_their_arguments() {
        let server = server();
        let check = |prompt: &str, arguments: serde_json::Value, content: serde_json::Value| {
            let got = server.prompt(prompt, arguments).result().clone();
            assert_eq!(got["messages"][0], json!({ "role": "user", "content": content }), "{prompt}");
        };
        let text = |text: &str| json!({ "type": "text", "text": text });
        check("test_simple_prompt", json!({}), text("This is a simple prompt for testing."));
        check(
            "test_prompt_with_arguments",
            json!({ "arg1": "a", "arg2": "b" }),
            text("Prompt with arguments: arg1='a', arg2='b'"),
        );
        let resource = json!({
            "uri": "test://x", "mimeType": "text/plain", "text": "Embedded resource content for testing.",
        });
        check(
            "test_prompt_with_embedded_resource",
            json!({ "resourceUri": "test://x" }),
            json!({ "type": "resource", "resource": resource }),
        );
    }

    #[test]
    fn an_argument_is_completed() {
        let called = server().complete_prompt("test_prompt_with_arguments", "arg1", "par");
        assert_eq!(called.result()["completion"]["values"], json!(["paris", "park", "party"]));
    }

    #[test]
    fn a_prompt_may_ask_too() {
        let mut server = server();
        server.set_client(Client::new().accepts("user_context", json!({ "context": "tea" })).replays());
        let called = server.prompt("test_input_required_result_prompt", json!({}));
        assert_eq!(called.result()["messages"][0]["content"]["text"], "Use this context: tea");
        assert_eq!(called.rounds, [vec!["user_context"]]);
    }
}
