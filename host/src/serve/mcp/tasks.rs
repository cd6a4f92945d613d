//! Calls that go on as tasks (`io.modelcontextprotocol/tasks`), in memory.
//!
//! In:   a running call and its options; the client's polls, answers and cancellations.
//! Out:  the task's state, to the principal who started it, for as long as it may use the tool, and to nobody else.
//! Never: more than [`TASKS_MAX`] at one mount, nor a quarter of them for one caller, nor one without an end.
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

use super::{outcome, principal::Principal, question, recency::Share};
use crate::{
    load::{AnswerStatus, ClientAnswer},
    serve::{
        RequestId,
        call::{RunningCall, Step},
        caller::Caller,
    },
};

/// Most tasks that are kept at one mount, those included whose result waits to be fetched.
const TASKS_MAX: usize = 1024;
/// Most of them that are one caller's.
const SHARE_MAX: usize = TASKS_MAX / 4;
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
    share: Share,
    tool: String,
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

    /// How many run.
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// Whether one more of `caller` can be kept.
    pub(super) fn has_room(&self, caller: Option<&Caller>) -> bool {
        !self.stop.is_cancelled() && has_room(&mut self.owners(), &Share::of(caller))
    }

    /// Goes on with a call behind a task. Drops the call if others have taken the last place meanwhile.
    pub(super) fn start(
        &self,
        caller: Option<&Caller>,
        becoming: Becoming,
    ) -> Result<CreateTaskResult, ErrorData> {
        let share = Share::of(caller);
        // One at a time from here on: calls that begin at once all find room for their tasks.
        let mut owners = self.owners();
        if self.stop.is_cancelled() || !has_room(&mut owners, &share) {
            return Err(full());
        }
        let wishes: Wishes = serde_json::from_slice(&becoming.options).unwrap_or_default();
        let mut options = TaskOptions::new();
        let ttl = wishes.ttl_ms.or(options.ttl_ms).unwrap_or(TTL_MAX_MS).clamp(1, TTL_MAX_MS);
        options.ttl_ms = Some(ttl);
        options.poll_interval_ms = wishes.poll_interval_ms.or(options.poll_interval_ms);
        options.status_message = wishes.status_message;
        let ttl = Duration::from_millis(ttl);
        let tool = becoming.tool.clone();
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
        let owner = Owner { principal: Principal::of(caller), share, tool, until: Instant::now() + ttl * 2 };
        owners.insert(task.task_id.clone(), owner);
        Ok(CreateTaskResult::new(task))
    }

    pub(super) fn get(&self, caller: Option<&Caller>, id: &str) -> Result<GetTaskResult, ErrorData> {
        self.check_owner(caller, id)?;
        self.manager.get_task(id).map(GetTaskResult::new)
    }

    pub(super) fn update(
        &self,
        caller: Option<&Caller>,
        id: &str,
        responses: InputResponses,
    ) -> Result<(), ErrorData> {
        self.check_owner(caller, id)?;
        // What is no answer leaves the question open.
        let answers = responses.into_iter().filter(|(_, value)| question::of_result(value.clone()).is_some());
        self.manager.update_task(id, answers)
    }

    pub(super) fn cancel(&self, caller: Option<&Caller>, id: &str) -> Result<(), ErrorData> {
        self.check_owner(caller, id)?;
        self.manager.cancel_task(id)
    }

    /// Another's task is answered like one that never was: ids are not to be guessed. So is one of a tool that its owner may
    /// not use any more.
    fn check_owner(&self, caller: Option<&Caller>, id: &str) -> Result<(), ErrorData> {
        let principal = Principal::of(caller);
        let may_call = |tool: &str| caller.is_none_or(|caller| caller.may_call(tool));
        let owners = self.owners();
        if owners.get(id).is_some_and(|owner| owner.principal == principal && may_call(&owner.tool)) {
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

fn has_room(owners: &mut HashMap<String, Owner>, share: &Share) -> bool {
    let now = Instant::now();
    owners.retain(|_, owner| owner.until > now);
    owners.len() < TASKS_MAX && owners.values().filter(|owner| owner.share == *share).count() < SHARE_MAX
}

/// There is no room for one more.
pub(super) fn full() -> ErrorData {
    ErrorData::internal_error("this server keeps as many tasks as it may; try again later", None)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        config::{ApiKey, Auth, Digest, Guards, Scope, ServerName},
        serve::{access::Access, auth},
    };

    fn caller(key: &str, scopes: &[&str]) -> Caller {
        let scopes: Vec<Scope> =
            scopes.iter().map(|text| Scope::parse(text).expect("the test's own scope")).collect();
        let (name, id, sha256) = (key.into(), key.into(), Digest::of(key.as_bytes()));
        let keys = vec![ApiKey { name, id, sha256, scopes: scopes.clone() }];
        let server = ServerName::parse("calc").expect("the test's own name");
        let access = Access::of(&server, &Guards::new(), &Auth { keys, ..Auth::default() });
        Caller {
            principal: Arc::new(auth::Principal::of_key(key, &scopes)),
            access: Arc::new(access),
            address: None,
        }
    }

    fn keep(tasks: &Tasks, id: &str, caller: &Caller, until: Instant) {
        let (principal, share) = (Principal::of(Some(caller)), Share::of(Some(caller)));
        tasks.owners().insert(id.into(), Owner { principal, share, tool: "add".into(), until });
    }

    #[test]
    fn a_task_is_its_owners_for_as_long_as_they_may_use_its_tool() {
        let (tasks, ada) = (Tasks::default(), caller("ada", &["calc:add"]));
        keep(&tasks, "sum", &ada, Instant::now() + Duration::from_millis(TTL_MAX_MS));
        let check = |caller: &Caller, id: &str, expected: Result<(), &str>| {
            let refused = tasks.check_owner(Some(caller), id).map_err(|error| error.message.into_owned());
            assert_eq!(refused, expected.map_err(str::to_owned), "{caller:?} {id}");
        };
        check(&ada, "sum", Ok(()));
        check(&caller("ada", &["calc"]), "sum", Ok(()));
        check(&caller("ada", &["calc:erase"]), "sum", Err("unknown task: sum"));
        check(&caller("eve", &["calc"]), "sum", Err("unknown task: sum"));
        check(&ada, "other", Err("unknown task: other"));
    }

    #[test]
    fn one_caller_cannot_keep_all_tasks() {
        let (tasks, ada, bob) = (Tasks::default(), caller("ada", &["calc"]), caller("bob", &["calc"]));
        let now = Instant::now();
        for number in 0..SHARE_MAX {
            assert!(tasks.has_room(Some(&ada)), "{number}");
            keep(&tasks, &number.to_string(), &ada, now + Duration::from_millis(TTL_MAX_MS));
        }
        assert!(!tasks.has_room(Some(&ada)) && tasks.has_room(Some(&bob)));
        keep(&tasks, "0", &ada, now);
        assert!(tasks.has_room(Some(&ada)), "one is over");
        for number in SHARE_MAX..TASKS_MAX + 1 {
            keep(
                &tasks,
                &number.to_string(),
                &caller(&number.to_string(), &[]),
                now + Duration::from_millis(TTL_MAX_MS),
            );
        }
        assert!(!tasks.has_room(Some(&bob)), "there are as many as may be");
    }
}
