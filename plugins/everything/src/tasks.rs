//! Tools that go on in the background.

use std::time::Duration;

use plugin_api::prelude::*;
use tokio::time::sleep;

/// Whom to greet.
#[derive(Deserialize, JsonSchema)]
struct Greet {
    /// Their name.
    name: String,
}

async fn greet(_: Ctx, args: Greet) -> Result<Reply> {
    Ok(Reply::new().text(format!("Hello, {}!", args.name)))
}

/// How much there is to do.
#[derive(Deserialize, JsonSchema)]
struct Compute {
    /// How long it takes.
    #[serde(default = "one")]
    seconds: f64,
    /// Named in the result.
    #[serde(default)]
    label: String,
}

fn one() -> f64 {
    1.0
}

async fn slow_compute(ctx: Ctx, args: Compute) -> Result<Reply> {
    let seconds = Duration::try_from_secs_f64(args.seconds)?;
    ctx.into_task(TaskOptions::new().poll_interval(Duration::from_millis(200)).status_message("computing"));
    sleep(seconds).await;
    Ok(Reply::new().text(format!("Computed `{}` for {} s", args.label, args.seconds)))
}

async fn failing_job(ctx: Ctx, _: NoArgs) -> Result<Reply> {
    ctx.into_task(TaskOptions::new());
    sleep(Duration::from_millis(200)).await;
    Err(Error::new("the job failed"))
}

async fn protocol_error_job(ctx: Ctx, _: NoArgs) -> Result<Reply> {
    ctx.into_task(TaskOptions::new());
    Err(Error::protocol(-32603, "the job broke"))
}

/// What to delete.
#[derive(Deserialize, JsonSchema)]
struct Delete {
    /// Its name.
    #[serde(default)]
    filename: String,
}

/// Whether to go ahead.
#[derive(Deserialize, JsonSchema)]
struct Confirm {
    confirm: bool,
}

async fn confirm_delete(ctx: Ctx, args: Delete) -> Result<Reply> {
    ctx.into_task(TaskOptions::new());
    let question = format!("Delete `{}`?", args.filename);
    let sure = ctx.elicit::<Confirm>("confirm", &question).await?.into_option();
    let done = if sure.is_some_and(|sure| sure.confirm) { "deleted" } else { "kept" };
    Ok(Reply::new().text(format!("`{}` {done}", args.filename)))
}

/// A name.
#[derive(Deserialize, JsonSchema)]
struct Name {
    name: String,
}

async fn multi_input(ctx: Ctx, _: NoArgs) -> Result<Reply> {
    ctx.into_task(TaskOptions::new());
    let (name, sure) = tokio::join!(
        ctx.elicit::<Name>("name", "What is your name?"),
        ctx.elicit::<Confirm>("confirm", "Are you sure?"),
    );
    let (name, sure) = (name?.accepted()?.name, sure?.accepted()?.confirm);
    Ok(Reply::new().text(format!("{name}, sure: {sure}")))
}

async fn ask_then_task(ctx: Ctx, _: NoArgs) -> Result<Reply> {
    let Name { name } = ctx.elicit("user_name", "What is your name?").await?.accepted()?;
    ctx.into_task(TaskOptions::new());
    sleep(Duration::from_millis(200)).await;
    Ok(Reply::new().text(format!("Hello, {name}, from the background!")))
}

pub(crate) fn add(plugin: Plugin) -> Plugin {
    let compute = Tool::new("slow_compute", "Takes its time.", slow_compute);
    let delete = Tool::new("confirm_delete", "Asks, then deletes nothing.", confirm_delete);
    let asks = Tool::new("test_tool_with_task", "Asks, then goes on in the background.", ask_then_task);
    plugin
        .tool("greet", "Greets someone, at once.", greet)
        .with_tool(compute.task_optional())
        .with_tool(Tool::new("failing_job", "Fails in the background.", failing_job).task_required())
        .with_tool(
            Tool::new("protocol_error_job", "Breaks in the background.", protocol_error_job).task_optional(),
        )
        .with_tool(delete.task_required())
        .with_tool(
            Tool::new("multi_input", "Asks two things in the background.", multi_input).task_required(),
        )
        .with_tool(asks.task_required())
}

#[cfg(test)]
mod tests {
    use plugin_api::testing::Client;
    use serde_json::json;

    use crate::tests::server;

    #[test]
    fn a_task_is_one_only_for_a_client_that_knows_tasks() {
        let mut server = server();
        let arguments = json!({ "seconds": 0, "label": "x" });
        let waited = server.call("slow_compute", arguments.clone());
        assert_eq!((waited.text().as_str(), waited.task), ("Computed `x` for 0 s", None));
        server.set_client(Client::new().tasks());
        let task = server.call("slow_compute", arguments).task;
        assert_eq!(task, Some(json!({ "pollIntervalMs": 200, "statusMessage": "computing" })));
    }

    #[test]
    fn a_task_that_asks_is_not_run_again() {
        let mut server = server();
        let client = Client::new().tasks().accepts("name", json!({ "name": "Ada" }));
        server.set_client(client.accepts("confirm", json!({ "confirm": true })).replays());
        let called = server.call("multi_input", json!({}));
        assert_eq!(called.text(), "Ada, sure: true");
        assert!(called.rounds.is_empty() && called.task.is_some());
        let delete = server.call("confirm_delete", json!({ "filename": "a" }));
        assert_eq!(delete.text(), "`a` deleted");
    }

    #[test]
    fn what_was_asked_before_the_task_began_is_asked_in_a_round() {
        let mut server = server();
        server.set_client(Client::new().tasks().accepts("user_name", json!({ "name": "Ada" })).replays());
        let called = server.call("test_tool_with_task", json!({}));
        assert_eq!(called.text(), "Hello, Ada, from the background!");
        assert_eq!(called.rounds, [vec!["user_name"]]);
        assert!(called.task.is_some());
    }

    #[test]
    fn a_job_fails_as_a_tool_or_as_the_protocol() {
        let server = server();
        assert_eq!(server.call("failing_job", json!({})).tool_error().as_deref(), Some("the job failed"));
        assert_eq!(server.call("protocol_error_job", json!({})).fault(), Some("the job broke"));
        assert_eq!(server.manifest()["taskSupport"]["failing_job"], "required");
        assert_eq!(server.manifest()["taskSupport"].get("greet"), None);
    }
}
