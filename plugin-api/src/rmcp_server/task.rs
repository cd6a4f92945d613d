//! A tool call that became a task of the server's: followed to its end, as a task of the gateway's.

use std::{collections::HashSet, sync::Arc, time::Duration};

use rmcp::{RoleServer, Service as _, model::RequestId, service::RequestContext};
use serde_json::{Value, json};

use super::{
    exchange::Exchange,
    running::{Handler, gateway},
    wire::{self, Object},
};
use crate::{Error, Result, TaskOptions, error};

/// How often a task in the same process is looked at, whatever the server suggests to clients.
const SHORTEST: Duration = Duration::from_millis(10);
/// As `SHORTEST`.
const LONGEST: Duration = Duration::from_millis(500);

/// The task's result. Dropped before, it cancels the task.
pub(super) async fn run(exchange: &mut Exchange<'_>, created: &Value) -> Result<Value> {
    let id = created["taskId"].as_str().unwrap_or_default().to_owned();
    let interval = created["pollIntervalMs"].as_u64().map(Duration::from_millis);
    let mut options = TaskOptions::new();
    if let Some(ttl) = created["ttlMs"].as_u64() {
        options = options.ttl(Duration::from_millis(ttl));
    }
    if let Some(interval) = interval {
        options = options.poll_interval(interval);
    }
    // If the gateway would rather wait, so be it: the answer is the same.
    exchange.ctx.into_task(options);
    let mut abandoned = Abandoned::new(exchange, &id);
    let interval = interval.unwrap_or(LONGEST).clamp(SHORTEST, LONGEST);
    let (mut answered, mut status) = (HashSet::new(), Value::Null);
    for looked in 0u32.. {
        let mut task = exchange.request("tasks/get", of(&id)).await?;
        if task["statusMessage"] != status && task["statusMessage"].is_string() {
            status = task["statusMessage"].take();
            exchange.ctx.progress(looked.into(), None, status.as_str().unwrap_or_default());
        }
        match task["status"].as_str().unwrap_or_default() {
            "completed" => {
                abandoned.task = None;
                return Ok(task["result"].take());
            }
            "failed" => {
                abandoned.task = None;
                return Err(failure(&task["error"]));
            }
            "cancelled" => {
                abandoned.task = None;
                return Err(Error::protocol(error::INTERNAL_ERROR, "the server cancelled its task"));
            }
            "input_required" => {
                let questions = task["inputRequests"].as_object().cloned().unwrap_or_default();
                let new: Object =
                    questions.into_iter().filter(|(key, _)| answered.insert(key.clone())).collect();
                if !new.is_empty() {
                    let answers = exchange.ask(&new).await?;
                    let mut update = of(&id);
                    update.insert("inputResponses".into(), answers.into());
                    exchange.request("tasks/update", update).await?;
                    continue;
                }
            }
            _ => {}
        }
        tokio::time::sleep(interval).await;
    }
    Err(Error::protocol(error::INTERNAL_ERROR, "the server's task did not end"))
}

fn of(id: &str) -> Object {
    Object::from_iter([("taskId".into(), id.into())])
}

/// The error a task failed with: code, message and data stay.
fn failure(failed: &Value) -> Error {
    let code = failed["code"].as_i64().and_then(|code| code.try_into().ok()).unwrap_or(error::INTERNAL_ERROR);
    let told = Error::protocol(code, failed["message"].as_str().unwrap_or("the server's task failed"));
    match failed.get("data") {
        Some(data) => told.data(data),
        None => told,
    }
}

/// Cancels the task when nobody waits for it any more.
struct Abandoned {
    handler: Arc<Handler>,
    task: Option<(String, RequestContext<RoleServer>)>,
}

impl Abandoned {
    fn new(exchange: &Exchange<'_>, id: &str) -> Self {
        let server = exchange.server;
        let mut context = RequestContext::new(RequestId::Number(0), server.peer.clone());
        let able = json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
        context.meta = wire::read(server.meta(&able, &gateway())).unwrap_or_default();
        Self { handler: server.handler.clone(), task: Some((id.to_owned(), context)) }
    }
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        let (Some((id, context)), Ok(runtime)) = (self.task.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let handler = self.handler.clone();
        runtime.spawn(async move {
            let Ok(request) = wire::request("tasks/cancel", of(&id)) else { return };
            if let Err(error) = handler.handle_request(request, context).await {
                tracing::warn!(%error, "a task that nobody waits for cannot be cancelled");
            }
        });
    }
}
