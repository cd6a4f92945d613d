//! Says goodbye.
#![forbid(unsafe_code)]

use plugin_api::prelude::*;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct EchoBye {
    /// To whom to say goodbye.
    user_name: String,
}

async fn echo_bye(_: Ctx, args: EchoBye) -> Result<String> {
    Ok(format!("Bye, {}!", args.user_name))
}

fn plugin(_: NoSettings) -> Result<Plugin> {
    let echo_bye = Tool::new("echoBye", "Says goodbye to someone by name.", echo_bye).title("Say goodbye");
    Ok(Plugin::new().title("Farewells").with_tool(echo_bye.read_only().idempotent().closed_world()))
}

export_plugin!(plugin);

#[cfg(test)]
mod tests {
    use plugin_api::{serde_json::json, testing::TestServer};

    use super::*;

    #[test]
    fn says_goodbye_by_name() {
        let bye = TestServer::start(plugin(NoSettings {}).expect("builds"));
        assert_eq!(bye.call("echoBye", json!({ "userName": "Ada" })).value(), json!("Bye, Ada!"));
    }
}
