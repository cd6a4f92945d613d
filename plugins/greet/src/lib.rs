//! Says hello. The smallest useful plugin: copy this folder to start your own.
#![forbid(unsafe_code)]

use plugin_api::prelude::*;

// The JSON schema clients see is made from this type and its doc lines.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct EchoHai {
    /// Who to greet.
    user_name: String,
}

async fn echo_hai(_: Ctx, args: EchoHai) -> Result<String> {
    Ok(format!("Hello, {}!", args.user_name))
}

fn plugin(_: NoSettings) -> Result<Plugin> {
    let echo_hai = Tool::new("echoHai", "Greets someone by name.", echo_hai).title("Say hello");
    Ok(Plugin::new().title("Greetings").with_tool(echo_hai.read_only().idempotent().closed_world()))
}

export_plugin!(plugin);

#[cfg(test)]
mod tests {
    use plugin_api::{serde_json::json, testing::TestServer};

    use super::*;

    #[test]
    fn greets_by_name() {
        let greet = TestServer::start(plugin(NoSettings {}).expect("builds"));
        assert_eq!(greet.call("echoHai", json!({ "userName": "Ada" })).value(), json!("Hello, Ada!"));
    }
}
