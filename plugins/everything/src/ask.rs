//! Asking the client: forms of every shape, its model, its folders.

use plugin_api::prelude::*;

/// What to ask the model.
#[derive(Deserialize, JsonSchema)]
struct Sample {
    /// The prompt.
    prompt: String,
}

async fn sampling(ctx: Ctx, args: Sample) -> Result<Reply> {
    let sampled = ctx.sample("sample", SampleRequest::new(args.prompt).max_tokens(100)).await?;
    Ok(Reply::new().text(format!("LLM response: {}", sampled.text())))
}

/// What to say to the user.
#[derive(Deserialize, JsonSchema)]
struct Elicit {
    /// The message above the form.
    message: String,
}

/// Who the user is.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Contact {
    /// User's response
    username: String,
    /// User's email address
    email: String,
}

async fn elicitation(ctx: Ctx, args: Elicit) -> Result<Reply> {
    let choice = ctx.elicit::<Contact>("contact", &args.message).await?;
    told("User response", choice)
}

/// A form that is filled in already.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Defaults {
    #[serde(default = "name")]
    name: String,
    #[serde(default = "age")]
    age: u32,
    #[serde(default = "score")]
    score: f64,
    #[serde(default)]
    status: Status,
    #[serde(default = "verified")]
    verified: bool,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Status {
    #[default]
    Active,
    Inactive,
    Pending,
}

fn name() -> String {
    "John Doe".into()
}

fn age() -> u32 {
    30
}

fn score() -> f64 {
    95.5
}

fn verified() -> bool {
    true
}

async fn defaults(ctx: Ctx, _: NoArgs) -> Result<Reply> {
    let choice = ctx.elicit::<Defaults>("defaults", "Please review these values").await?;
    told("Elicitation completed", choice)
}

/// Every way to choose.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Choices {
    untitled_single: Option<Untitled>,
    titled_single: Option<Titled>,
    /// How it was done before there were titles.
    #[schemars(
        with = "String",
        extend("enum" = ["opt1", "opt2", "opt3"], "enumNames" = ["Option One", "Option Two", "Option Three"])
    )]
    #[serde(default)]
    legacy_enum: String,
    #[serde(default)]
    untitled_multi: Vec<Untitled>,
    #[serde(default)]
    titled_multi: Vec<Titled>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Untitled {
    Option1,
    Option2,
    Option3,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Titled {
    #[schemars(title = "First Option")]
    Value1,
    #[schemars(title = "Second Option")]
    Value2,
    #[schemars(title = "Third Option")]
    Value3,
}

async fn enums(ctx: Ctx, _: NoArgs) -> Result<Reply> {
    let choice = ctx.elicit::<Choices>("choices", "Please choose").await?;
    told("Elicitation completed", choice)
}

/// A value.
#[derive(Deserialize, JsonSchema)]
struct Value {
    value: String,
}

async fn streaming(ctx: Ctx, _: NoArgs) -> Result<Reply> {
    let Value { value } = ctx.elicit("value", "Provide a value").await?.accepted()?;
    Ok(Reply::new().text(value))
}

async fn missing_capability(ctx: Ctx, _: NoArgs) -> Result<Reply> {
    Ok(Reply::new().text(ctx.sample("sample", SampleRequest::new("Hello?")).await?.text()))
}

async fn page(ctx: Ctx, _: NoArgs) -> Result<Reply> {
    let opened = ctx.elicit_url("page", "Please log in", "https://example.com/login").await?;
    told("Page", opened)
}

fn told<T: Serialize>(what: &str, choice: Choice<T>) -> Result<Reply> {
    let (action, content) = match choice {
        Choice::Accepted(content) => ("accept", serde_json::to_string(&content)?),
        Choice::Declined => ("decline", "null".into()),
        Choice::Cancelled => ("cancel", "null".into()),
    };
    Ok(Reply::new().text(format!("{what}: action={action}, content={content}")))
}

pub(crate) fn add(plugin: Plugin) -> Plugin {
    plugin
        .tool("test_sampling", "Asks the client's model.", sampling)
        .tool("test_elicitation", "Asks the user for two texts.", elicitation)
        .tool("test_elicitation_sep1034_defaults", "Asks with a form that is filled in.", defaults)
        .tool("test_elicitation_sep1330_enums", "Asks for choices of every kind.", enums)
        .tool("test_streaming_elicitation", "Asks for a value.", streaming)
        .tool(
            "test_missing_capability",
            "Asks the client's model, whether it has one or not.",
            missing_capability,
        )
        .tool("elicit_page", "Sends the user to a page.", page)
}

#[cfg(test)]
mod tests {
    use plugin_api::testing::{Called, Client};
    use serde_json::json;

    use crate::tests::server;

    fn call(tool: &str, arguments: serde_json::Value, client: Client) -> Called {
        let mut server = server();
        server.set_client(client);
        server.call(tool, arguments)
    }

    #[test]
    fn the_answers_come_back() {
        let sampled = call("test_sampling", json!({ "prompt": "hi" }), Client::new().samples("sample", "ho"));
        assert_eq!(sampled.text(), "LLM response: ho");
        let contact = json!({ "username": "ada", "email": "ada@example.com" });
        let elicited = call(
            "test_elicitation",
            json!({ "message": "?" }),
            Client::new().accepts("contact", contact.clone()),
        );
        assert_eq!(elicited.text(), format!("User response: action=accept, content={contact}"));
        let declined = call("test_elicitation", json!({ "message": "?" }), Client::new().declines("contact"));
        assert_eq!(declined.text(), "User response: action=decline, content=null");
    }

    #[test]
    fn the_forms_are_those_the_suite_asks_for() {
        let form = |tool: &str, key: &str| {
            call(tool, json!({}), Client::new().declines(key)).requests[0].2["requestedSchema"]["properties"]
                .clone()
        };
        let defaults = form("test_elicitation_sep1034_defaults", "defaults");
        let told: Vec<_> = ["name", "age", "score", "status", "verified"]
            .map(|name| defaults[name]["default"].clone())
            .into();
        assert_eq!(told, [json!("John Doe"), json!(30), json!(95.5), json!("active"), json!(true)]);
        assert_eq!(defaults["status"]["enum"], json!(["active", "inactive", "pending"]));
        let enums = form("test_elicitation_sep1330_enums", "choices");
        let untitled = json!(["option1", "option2", "option3"]);
        let titled = json!([
            { "const": "value1", "title": "First Option" },
            { "const": "value2", "title": "Second Option" },
            { "const": "value3", "title": "Third Option" },
        ]);
        assert_eq!(enums["untitledSingle"], json!({ "type": "string", "enum": untitled }));
        assert_eq!(enums["titledSingle"], json!({ "type": "string", "oneOf": titled }));
        assert_eq!(enums["legacyEnum"]["enumNames"], json!(["Option One", "Option Two", "Option Three"]));
        assert_eq!(enums["untitledMulti"]["items"], json!({ "type": "string", "enum": untitled }));
        assert_eq!(enums["titledMulti"]["items"], json!({ "anyOf": titled }));
    }

    #[test]
    fn what_the_client_lacks_is_named() {
        let refused = call("test_missing_capability", json!({}), Client::new());
        let data = json!({ "requiredCapabilities": { "sampling": {} } });
        assert_eq!(refused.fault_code(), Some((-32021, &data)));
    }
}
