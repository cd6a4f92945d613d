//! Saying something before the answer: progress, log messages, changes of lists.

use std::time::Duration;

use plugin_api::prelude::*;
use tokio::time::sleep;

/// Between two messages.
const PAUSE: Duration = Duration::from_millis(50);

async fn with_logging(ctx: Ctx, _: NoArgs) -> Result<Reply> {
    for text in ["Tool execution started", "Tool processing data", "Tool execution completed"] {
        ctx.log(LogLevel::Info, text);
        sleep(PAUSE).await;
    }
    Ok(Reply::new().text("Logged three messages."))
}

async fn logging(ctx: Ctx, _: NoArgs) -> Result<Reply> {
    ctx.log(LogLevel::Info, "Only for those who asked for it");
    Ok(Reply::new().text("Logged one message."))
}

async fn with_progress(ctx: Ctx, _: NoArgs) -> Result<Reply> {
    for done in [0.0, 50.0, 100.0] {
        ctx.progress(done, 100.0, "working");
        sleep(PAUSE).await;
    }
    Ok(Reply::new().text("Reported progress three times."))
}

async fn slow(_: Ctx, _: NoArgs) -> Result<Reply> {
    sleep(2 * PAUSE).await;
    Ok(Reply::new().text("Reconnection test completed"))
}

async fn tool_change(ctx: Ctx, _: NoArgs) -> Result<Reply> {
    ctx.notifier().tools_changed();
    Ok(Reply::new().text("Said that the tools have changed."))
}

async fn prompt_change(ctx: Ctx, _: NoArgs) -> Result<Reply> {
    ctx.notifier().prompts_changed();
    Ok(Reply::new().text("Said that the prompts have changed."))
}

async fn resource_change(ctx: Ctx, _: NoArgs) -> Result<Reply> {
    ctx.notifier().resources_changed();
    ctx.notifier().resource_updated("test://watched-resource");
    Ok(Reply::new().text("Said that the resources have changed, and the watched one too."))
}

pub(crate) fn add(plugin: Plugin) -> Plugin {
    plugin
        .tool("test_tool_with_logging", "Logs three messages.", with_logging)
        .tool("test_logging_tool", "Logs one message.", logging)
        .tool("test_tool_with_progress", "Reports progress.", with_progress)
        .tool("test_reconnection", "Takes a moment.", slow)
        .tool("test_trigger_tool_change", "Says that the tools have changed.", tool_change)
        .tool("test_trigger_prompt_change", "Says that the prompts have changed.", prompt_change)
        .tool("trigger_resource_change", "Says that the resources have changed.", resource_change)
        .tool_changes()
        .prompt_changes()
        .resource_changes()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::tests::server;

    #[test]
    fn messages_and_progress_come_in_order() {
        let server = server();
        let logged = server.call("test_tool_with_logging", json!({}));
        let texts: Vec<_> = logged.notifications.iter().map(|(_, params)| &params["data"]).collect();
        assert_eq!(texts, ["Tool execution started", "Tool processing data", "Tool execution completed"]);
        let done = server.call("test_tool_with_progress", json!({}));
        let done: Vec<_> = done.notifications.iter().map(|(_, params)| params["progress"].as_f64()).collect();
        assert_eq!(done, [Some(0.0), Some(50.0), Some(100.0)]);
    }

    #[test]
    fn changes_are_said_of_the_server() {
        let server = server();
        for tool in ["test_trigger_tool_change", "test_trigger_prompt_change", "trigger_resource_change"] {
            assert!(server.call(tool, json!({})).notifications.is_empty(), "not of the call");
        }
        let said: Vec<_> = server.notices().into_iter().map(|(method, _)| method).collect();
        assert_eq!(
            said,
            [
                "notifications/tools/list_changed",
                "notifications/prompts/list_changed",
                "notifications/resources/list_changed",
                "notifications/resources/updated",
            ]
        );
    }
}
