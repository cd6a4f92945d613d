//! Calls that go on as tasks (`io.modelcontextprotocol/tasks`), in memory.
//!
//! In:   a running call and its options; the client's polls, answers and cancellations.
//! Out:  the task's state, to the principal who started it and to nobody else.
//! Never: more than [`TASKS_MAX`] at one mount, nor one without an end.
//!
//! A task is not an open call: a drain does not wait for it, since nobody can fetch its result any more. It may go
//! on while the drain waits for calls; what runs after that is cancelled and awaited by [`Tasks::stop`], before the
//! library is closed.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use rmcp::{
    ErrorData,
    model::{
        CallToolResult, ClientCapabilities, CreateTaskResult, GetTaskResult, InputRequest, InputResponses,
    },
    task_manager::{TaskContext, TaskExit, TaskManager, TaskOptions},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{outcome, principal::Principal, question};
use crate::{
    load::{AnswerStatus, ClientAnswer},
    serve::{
        RequestId,
        call::{RunningCall, Step},
    },
};

/// Most tasks that are kept at one mount, those included whose result waits to be fetched.
const TASKS_MAX: usize = 1024;
/// Longest life of a task.
const TTL_MAX_MS: u64 = 24 * 60 * 60 * 1000;
/// How long the call may take to end once its task is cancelled by a stop.
const STOP_WAIT: Duration = Duration::from_secs(2);

/// The tasks of one mount.
#[derive(Default)]
pub(super) struct Tasks {
    manager: TaskManager,
    owners: Mutex<HashMap<String, Owner>>,
    running: TaskTracker,
    stop: CancellationToken,
}

struct Owner {
    principal: Principal,
    /// rmcp forgets the task by then.
    until: Instant,
}

/// What becomes a task.
pub(super) struct Becoming {
    pub(super) call: RunningCall,
    /// What the plugin wants, JSON.
    pub(super) options: Vec<u8>,
    /// Asked before it became a task, and not answered.
    pub(super) questions: BTreeMap<String, InputRequest>,
    /// What the client takes.
    pub(super) declared: ClientCapabilities,
    pub(super) tool: String,
    pub(super) request_id: RequestId,
}

/// What a plugin wants of its task.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wishes {
    ttl_ms: Option<u64>,
    poll_interval_ms: Option<u64>,
    #[serde(alias = "message")]
    status_message: Option<String>,
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("running", &self.running.len()).finish_non_exhaustive()
    }
}

impl Tasks {
    fn owners(&self) -> MutexGuard<'_, HashMap<String, Owner>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more can be kept.
    pub(super) fn has_room(&self) -> bool {
        let mut owners = self.owners();
        if owners.len() >= TASKS_MAX {
            let now = Instant::now();
            owners.retain(|_, owner| owner.until > now);
        }
        owners.len() < TASKS_MAX && !self.stop.is_cancelled()
    }

    /// Goes on with a call behind a task.
    pub(super) fn start(&self, principal: Principal, becoming: Becoming) -> CreateTaskResult {
        let wishes: Wishes = serde_json::from_slice(&becoming.options).unwrap_or_default();
        let mut options = TaskOptions::new();
        let ttl = wishes.ttl_ms.or(options.ttl_ms).unwrap_or(TTL_MAX_MS).clamp(1, TTL_MAX_MS);
        options.ttl_ms = Some(ttl);
        options.poll_interval_ms = wishes.poll_interval_ms.or(options.poll_interval_ms);
        options.status_message = wishes.status_message;
        let ttl = Duration::from_millis(ttl);
        let (running, stop) = (self.running.clone(), self.stop.clone());
        let task = self.manager.spawn(options, |context| {
            Box::pin(running.track_future(async move {
                let run = run(becoming, &context);
                tokio::select! {
                    result = tokio::time::timeout(ttl, run) => result.unwrap_or_else(|_| Err(expired())),
                    () = context.cancelled() => Err(TaskExit::Cancelled),
                    () = stop.cancelled() => Err(TaskExit::Cancelled),
                }
            }))
        });
        // rmcp keeps a result for as long again as the task may run.
        let owner = Owner { principal, until: Instant::now() + ttl * 2 };
        self.owners().insert(task.task_id.clone(), owner);
        CreateTaskResult::new(task)
    }

    pub(super) fn get(&self, principal: &Principal, id: &str) -> Result<GetTaskResult, ErrorData> {
        self.check_owner(principal, id)?;
        self.manager.get_task(id).map(GetTaskResult::new)
    }

    pub(super) fn update(
        &self,
        principal: &Principal,
        id: &str,
        responses: InputResponses,
    ) -> Result<(), ErrorData> {
        self.check_owner(principal, id)?;
        // What is no answer leaves the question open.
        let answers = responses.into_iter().filter(|(_, value)| question::of_result(value.clone()).is_some());
        self.manager.update_task(id, answers)
    }

    pub(super) fn cancel(&self, principal: &Principal, id: &str) -> Result<(), ErrorData> {
        self.check_owner(principal, id)?;
        self.manager.cancel_task(id)
    }

    /// Another's task is answered like one that never was: ids are not to be guessed.
    fn check_owner(&self, principal: &Principal, id: &str) -> Result<(), ErrorData> {
        if self.owners().get(id).is_some_and(|owner| owner.principal == *principal) {
            return Ok(());
        }
        let id: String = id.chars().take(64).collect();
        Err(ErrorData::invalid_params(format!("unknown task: {id}"), None))
    }

    /// Cancels what still runs, and waits until no task holds a call. Takes two seconds at most.
    pub(super) async fn stop(&self) {
        self.stop.cancel();
        self.running.close();
        if tokio::time::timeout(STOP_WAIT, self.running.wait()).await.is_err() {
            tracing::warn!(tasks = self.running.len(), "tasks did not end in time");
        }
    }
}

fn expired() -> TaskExit {
    TaskExit::Error(ErrorData::internal_error("the task took longer than its time to live", None))
}

/// The call, to its end. Dropping this cancels it.
async fn run(becoming: Becoming, context: &TaskContext) -> Result<CallToolResult, TaskExit> {
    let Becoming { mut call, questions, declared, tool, request_id, .. } = becoming;
    let mut asking: FuturesUnordered<BoxFuture<'_, (String, ClientAnswer)>> = FuturesUnordered::new();
    let ask = |key: String, request: InputRequest| -> BoxFuture<'_, (String, ClientAnswer)> {
        Box::pin(async move {
            let answered = context.request_input(key.clone(), request).await;
            // An error means that the task is being cancelled.
            let answer = answered.ok().and_then(question::of_result).unwrap_or_else(question::cancelled);
            (key, answer)
        })
    };
    asking.extend(questions.into_iter().map(|(key, request)| ask(key, request)));
    loop {
        let step = tokio::select! {
            biased;
            Some((key, answer)) = asking.next(), if !asking.is_empty() => {
                call.answer(&key, &answer);
                continue;
            }
            step = call.next() => step,
        };
        match step {
            Step::Notification { method, params } => {
                if let Some(message) = status_message(&method, &params) {
                    context.set_status_message(message);
                }
            }
            Step::Asked { key, method, params } => {
                let params = serde_json::from_slice(&params).unwrap_or(Value::Null);
                let is_declared = question::is_declared(&declared, &method, &params);
                match question::to_input(&method, &params).filter(|_| is_declared) {
                    Some(request) => asking.push(ask(key, request)),
                    None => call.answer(&key, &question::without_value(AnswerStatus::Unsupported)),
                }
            }
            Step::Parked | Step::BecameTask { .. } => {}
            Step::Done(result) => {
                let result = match result {
                    Ok(reply) => outcome::of_reply(&reply, &tool, &request_id),
                    Err(error) => outcome::of_error(error, &request_id),
                };
                return result.map_err(TaskExit::Error);
            }
        }
    }
}

/// What a notification says of how far the task is, for people.
fn status_message(method: &str, params: &[u8]) -> Option<String> {
    let params: Value =
        (method == "notifications/progress").then(|| serde_json::from_slice(params).ok())??;
    Some(params["message"].as_str()?.to_owned())
}
