//! Results of every kind of content, and the schema that no Rust type can say.

use plugin_api::prelude::*;
use serde_json::{Value, json};

/// One red pixel.
pub(crate) const PNG: &[u8] = include_bytes!("../assets/pixel.png");
/// No sound at all.
const WAV: &[u8] = include_bytes!("../assets/silence.wav");

async fn simple_text(_: Ctx, _: NoArgs) -> Result<Reply> {
    Ok(Reply::new().text("This is a simple text response for testing."))
}

async fn image(_: Ctx, _: NoArgs) -> Result<Reply> {
    Ok(Reply::new().image(PNG, "image/png"))
}

async fn audio(_: Ctx, _: NoArgs) -> Result<Reply> {
    Ok(Reply::new().audio(WAV, "audio/wav"))
}

async fn embedded(_: Ctx, _: NoArgs) -> Result<Reply> {
    let contents = Contents::text("This is an embedded resource content.");
    Ok(Reply::new().resource(contents.uri("test://embedded-resource")))
}

async fn mixed(_: Ctx, _: NoArgs) -> Result<Reply> {
    let data = Contents::json(&json!({ "test": "data", "value": 123 }))?;
    Ok(Reply::new()
        .text("Multiple content types test:")
        .image(PNG, "image/png")
        .resource(data.uri("test://mixed-content-resource")))
}

async fn linked(_: Ctx, _: NoArgs) -> Result<Reply> {
    let link = Resource::elsewhere("https://example.com/more", "more");
    let aside = Annotations::new().audience(Role::User).priority(0.2);
    Ok(Reply::new()
        .content(Content::text("Only people need to see this.").annotations(aside))
        .link(&link)
        .meta("example.com/seen", true))
}

/// What `weather` found.
#[derive(Serialize, JsonSchema)]
struct Weather {
    /// Degrees Celsius.
    degrees: f64,
    /// In a few words.
    sky: &'static str,
}

async fn weather(_: Ctx, _: NoArgs) -> Result<Reply> {
    let weather = Weather { degrees: 21.5, sky: "clear" };
    Ok(Reply::new().text("21.5 °C and clear.").structured(&weather))
}

async fn failing(_: Ctx, _: NoArgs) -> Result<Reply> {
    Err(Error::new("This tool intentionally returns an error for testing"))
}

async fn schema(_: Ctx, _: NoArgs) -> Result<Reply> {
    Ok(Reply::new().text("ok"))
}

/// The value of a header.
#[derive(Deserialize, JsonSchema)]
struct FromHeader {
    /// Also sent as the header `Mcp-Param-Value`.
    #[schemars(extend("x-mcp-header" = "Value"))]
    value: String,
}

async fn custom_header(_: Ctx, args: FromHeader) -> Result<Reply> {
    Ok(Reply::new().text(args.value))
}

pub(crate) fn add(plugin: Plugin) -> Plugin {
    let weather = Tool::new("weather", "Answers in a form for programs.", weather).output_schema::<Weather>();
    let Value::Object(written) = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "address",
                "type": "object",
                "properties": { "street": { "type": "string" }, "city": { "type": "string" } },
            },
        },
        "properties": { "name": { "type": "string" }, "address": { "$ref": "#/$defs/address" } },
        "allOf": [{ "anyOf": [{ "required": ["name"] }, { "required": ["address"] }] }],
        "if": { "required": ["address"] },
        "then": { "properties": { "address": { "required": ["street"] } } },
        "else": { "required": ["name"] },
        "additionalProperties": false,
    }) else {
        return plugin;
    };
    let schema = Tool::new("json_schema_2020_12_tool", "Its schema uses all of JSON Schema.", schema);
    plugin
        .tool("test_simple_text", "Answers with text.", simple_text)
        .tool("test_image_content", "Answers with an image.", image)
        .tool("test_audio_content", "Answers with a sound.", audio)
        .tool("test_embedded_resource", "Answers with the contents of a resource.", embedded)
        .tool("test_multiple_content_types", "Answers with several kinds of content.", mixed)
        .tool("linked", "Answers with a link, and with hints for the client.", linked)
        .with_tool(weather.read_only())
        .tool("test_error_handling", "Fails.", failing)
        .with_tool(schema.input_schema(written))
        .tool("test_custom_header", "Takes an argument that is also a header.", custom_header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::server;

    fn check(tool: &str, expected: Value) {
        assert_eq!(server().call(tool, json!({})).result()["content"], expected, "{tool}");
    }

    #[test]
    fn every_kind_of_content_arrives() {
        let png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8/5+hHgAHggJ/PchI7wAAAABJRU5ErkJggg==";
        let image = json!({ "type": "image", "data": png, "mimeType": "image/png" });
        let resource = |uri: &str, mime_type: &str, text: &str| json!({ "type": "resource", "resource": { "uri": uri, "mimeType": mime_type, "text": text } });
        check(
            "test_simple_text",
            json!([{ "type": "text", "text": "This is a simple text response for testing." }]),
        );
        check("test_image_content", json!([image]));
        check(
            "test_embedded_resource",
            json!([resource(
                "test://embedded-resource",
                "text/plain",
                "This is an embedded resource content."
            )]),
        );
        check(
            "test_multiple_content_types",
            json!([
                { "type": "text", "text": "Multiple content types test:" },
                image,
                resource("test://mixed-content-resource", "application/json", r#"{"test":"data","value":123}"#),
            ]),
        );
        let audio = server().call("test_audio_content", json!({})).result()["content"][0].clone();
        assert_eq!((&audio["type"], &audio["mimeType"]), (&json!("audio"), &json!("audio/wav")));
        let linked = server().call("linked", json!({})).result().clone();
        assert_eq!(linked["content"][1]["type"], "resource_link");
        assert_eq!(linked["_meta"], json!({ "example.com/seen": true }));
    }

    #[test]
    fn a_structured_answer_fits_its_schema() {
        let server = server();
        assert_eq!(server.call("weather", json!({})).value(), json!({ "degrees": 21.5, "sky": "clear" }));
        let tools = server.tools();
        let of = |name: &str| {
            tools.as_array().and_then(|all| all.iter().find(|tool| tool["name"] == name)).cloned()
        };
        let weather = of("weather").expect("listed");
        assert_eq!(weather["outputSchema"]["properties"]["degrees"]["type"], "number");
        assert_eq!(of("test_simple_text").expect("listed").get("outputSchema"), None);
        assert_eq!(
            of("json_schema_2020_12_tool").expect("listed")["inputSchema"]["else"],
            json!({ "required": ["name"] })
        );
        let header = of("test_custom_header").expect("listed");
        assert_eq!(header["inputSchema"]["properties"]["value"]["x-mcp-header"], "Value");
    }

    #[test]
    fn a_failure_is_an_answer() {
        let failed = server().call("test_error_handling", json!({}));
        assert_eq!(
            failed.tool_error().as_deref(),
            Some("This tool intentionally returns an error for testing")
        );
    }
}
