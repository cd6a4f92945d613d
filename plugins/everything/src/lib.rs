//! Everything an MCP server can offer, in one plugin: what the official conformance suite asks of a server under
//! test, and a tool of our own that uses all of it together. Names and texts are the suite's; to learn how each
//! feature is written, read the module of its name.
#![forbid(unsafe_code)]

mod ask;
mod content;
mod party;
mod prompts;
mod resources;
mod rounds;
mod skills;
mod talk;
mod tasks;

use plugin_api::prelude::*;

fn plugin(_: NoSettings) -> Result<Plugin> {
    let plugin = Plugin::new()
        .title("Everything")
        .instructions("A server under test: every tool shows one feature of MCP.")
        .icon(
            Icon::new("data:image/svg+xml,%3Csvg%20xmlns=%22http://www.w3.org/2000/svg%22/%3E")
                .mime_type("image/svg+xml"),
        )
        .logs();
    let parts = [
        content::add,
        talk::add,
        ask::add,
        rounds::add,
        tasks::add,
        prompts::add,
        resources::add,
        party::add,
    ];
    skills::add(parts.into_iter().fold(plugin, |plugin, add| add(plugin)))
}

export_plugin!(plugin);

#[cfg(test)]
mod tests {
    use plugin_api::testing::TestServer;
    use serde_json::json;

    use super::*;

    /// The plugin, started.
    pub(crate) fn server() -> TestServer {
        TestServer::start(plugin(NoSettings {}).expect("builds"))
    }

    #[test]
    fn it_declares_everything() {
        assert_eq!(
            server().manifest()["capabilities"],
            json!({
                "tools": { "listChanged": true },
                "prompts": { "listChanged": true },
                "resources": { "subscribe": true, "listChanged": true },
                "completions": {},
                "logging": {},
                "extensions": {
                    "io.modelcontextprotocol/tasks": {},
                    "io.modelcontextprotocol/skills": { "directoryRead": true },
                },
            })
        );
    }
}
