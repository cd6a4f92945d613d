//! rmcp servers that ask their client something, in both manners, of both kinds of client.
#![expect(deprecated, reason = "what rmcp discourages is what some servers still ask")]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use rmcp::{
    ErrorData, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CancelTaskParams, CreateMessageRequestParams,
        CreateTaskResult, ElicitRequestParams, ElicitResult, ElicitationAction, GetPromptRequestParams,
        GetPromptResponse, GetPromptResult, GetTaskParams, GetTaskResult, InputRequests, InputRequiredResult,
        PromptMessage, Role, SamplingMessage, ServerCapabilities, ServerConfig, UpdateTaskParams,
    },
    service::ServiceError,
};
use serde_json::{Value, json};

use super::{Context, says, start};
use crate::testing::{Called, Client};

#[derive(Clone, Default)]
struct Curious {
    /// How often a handler ran.
    runs: Arc<AtomicUsize>,
    /// What the task has been told.
    told: Arc<Mutex<Option<Value>>>,
    cancelled: Arc<AtomicUsize>,
}

fn form(message: &str) -> Value {
    let schema = json!({ "type": "object", "properties": { "name": { "type": "string" } } });
    json!({ "mode": "form", "message": message, "requestedSchema": schema })
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("it is one")
}

fn name_in(answer: Option<&Value>) -> Option<&str> {
    answer?["content"]["name"].as_str()
}

fn questions(names: &[&str]) -> InputRequests {
    let question = |name: &&str| {
        (
            name.to_string(),
            read(json!({ "method": "elicitation/create", "params": form(&format!("{name}?")) })),
        )
    };
    names.iter().map(question).collect()
}

async fn elicit(context: &Context, message: &str) -> Result<ElicitResult, ServiceError> {
    context.peer.create_elicitation(read::<ElicitRequestParams>(form(message))).await
}

fn text_of(answer: &ElicitResult) -> String {
    match (&answer.action, &answer.content) {
        (ElicitationAction::Accept, content) => {
            json!(content)["name"].as_str().unwrap_or_default().to_owned()
        }
        (action, _) => format!("{action:?}"),
    }
}

impl ServerHandler for Curious {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().enable_tasks().build())
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        context: Context,
    ) -> Result<CallToolResponse, ErrorData> {
        self.runs.fetch_add(1, Relaxed);
        let failed = |error: ServiceError| match error {
            ServiceError::McpError(error) => error,
            other => ErrorData::internal_error(other.to_string(), None),
        };
        let answers = call.input_responses.unwrap_or_default();
        match &*call.name {
            "session" => {
                let (a, b) = tokio::join!(elicit(&context, "a?"), elicit(&context, "b?"));
                let c = elicit(&context, "c?").await.map_err(failed)?;
                let texts =
                    [a.map_err(failed)?, b.map_err(failed)?, c].iter().map(text_of).collect::<Vec<_>>();
                Ok(says(texts.join("+")))
            }
            "spawned" => {
                let peer = context.peer.clone();
                let asking = tokio::spawn(async move {
                    peer.create_elicitation(read::<ElicitRequestParams>(form("a?"))).await
                });
                Ok(says(text_of(&asking.await.expect("it does not panic").map_err(failed)?)))
            }
            "model" => {
                let message = SamplingMessage::user_text("Capital of France?");
                let answer =
                    context.peer.create_message(CreateMessageRequestParams::new(vec![message], 5)).await;
                Ok(says(json!(answer.map_err(failed)?)["content"]["text"].as_str().unwrap_or_default()))
            }
            "folders" => {
                let roots = context.peer.list_roots().await.map_err(failed)?.roots;
                Ok(says(roots.iter().map(|root| root.uri.as_str()).collect::<Vec<_>>().join(" ")))
            }
            "rounds" => match call.request_state.as_deref() {
                None => Ok(InputRequiredResult::new(Some(questions(&["a", "b"])), Some("1:".into())).into()),
                Some("1:") => {
                    let [a, b] = ["a", "b"].map(|key| name_in(answers.get(key)).unwrap_or("?"));
                    // The same key again, for another question.
                    Ok(InputRequiredResult::new(Some(questions(&["a"])), Some(format!("2:{a}{b}"))).into())
                }
                Some(state) => {
                    let a = name_in(answers.get("a")).unwrap_or("?");
                    Ok(says(format!("{state}{a}")))
                }
            },
            "forever" => Ok(InputRequiredResult::new(Some(questions(&["a"])), Some("x".into())).into()),
            "task" if context.client_capabilities().is_some_and(|client| client.supports_tasks()) => {
                let task = json!({
                    "resultType": "task", "taskId": "t1", "status": "working", "ttlMs": 60000,
                    "pollIntervalMs": 1, "createdAt": "2026-01-01T00:00:00Z",
                    "lastUpdatedAt": "2026-01-01T00:00:00Z",
                });
                Ok(CallToolResponse::Task(read::<CreateTaskResult>(task)))
            }
            "task" => Ok(says("at once")),
            name => Err(ErrorData::invalid_params(format!("no tool {name}"), None)),
        }
    }

    async fn get_prompt(
        &self,
        get: GetPromptRequestParams,
        _: Context,
    ) -> Result<GetPromptResponse, ErrorData> {
        let Some(name) = get.input_responses.as_ref().and_then(|answers| name_in(answers.get("a"))) else {
            return Ok(InputRequiredResult::new(Some(questions(&["a"])), None).into());
        };
        Ok(GetPromptResult::new(vec![PromptMessage::new_text(Role::User, name)]).into())
    }

    async fn get_task(&self, _: GetTaskParams, _: Context) -> Result<GetTaskResult, ErrorData> {
        let mut task = json!({
            "taskId": "t1", "ttlMs": 60000, "statusMessage": "baking",
            "createdAt": "2026-01-01T00:00:00Z", "lastUpdatedAt": "2026-01-01T00:00:00Z",
        });
        match &*self.told.lock().expect("no panic") {
            None => {
                task["status"] = "input_required".into();
                task["inputRequests"] = json!(questions(&["a"]));
            }
            Some(Value::Null) => {
                task["status"] = "failed".into();
                task["error"] = json!({ "code": -32077, "message": "burnt", "data": [1] });
            }
            Some(name) => {
                task["status"] = "completed".into();
                task["result"] = json!({ "content": [{ "type": "text", "text": name }] });
            }
        }
        Ok(read(task))
    }

    async fn update_task(&self, update: UpdateTaskParams, _: Context) -> Result<(), ErrorData> {
        let answers = json!(update.input_responses);
        *self.told.lock().expect("no panic") = Some(answers["a"]["content"]["name"].clone());
        Ok(())
    }

    async fn cancel_task(&self, _: CancelTaskParams, _: Context) -> Result<(), ErrorData> {
        self.cancelled.fetch_add(1, Relaxed);
        Ok(())
    }
}

fn name(name: &str) -> Value {
    json!({ "name": name })
}

/// Of a client that answers while the call waits, and of one for which it runs again: the call and how often the
/// handler ran.
fn both(tool: &str, client: &Client) -> [(Called, usize); 2] {
    [client.clone(), client.clone().replays()].map(|client| {
        let curious = Curious::default();
        let runs = curious.runs.clone();
        let mut server = start(move || curious);
        server.set_client(client);
        (server.call(tool, json!({})), runs.load(Relaxed))
    })
}

#[test]
fn a_handler_that_asks_its_peer_is_answered() {
    let client = Client::new().accepts("elicitation", name("A")).accepts("elicitation-2", name("B"));
    let client = client.accepts("elicitation-3", name("C"));
    let [(live, live_runs), (replayed, replayed_runs)] = both("session", &client);
    assert_eq!((live.text().as_str(), live_runs), ("A+B+C", 1));
    assert_eq!((replayed.text().as_str(), replayed_runs), ("A+B+C", 3));
    assert_eq!(replayed.rounds, [vec!["elicitation", "elicitation-2"], vec!["elicitation-3"]]);
    assert_eq!(live.requests[0].2, form("a?"), "no number of rmcp's own is in it");
}

#[test]
fn refusals_and_what_a_client_cannot_do_reach_the_handler() {
    let client =
        Client::new().declines("elicitation").cancels("elicitation-2").accepts("elicitation-3", name("C"));
    assert_eq!(both("session", &client)[0].0.text(), "Decline+Cancel+C");
    let called = &both("folders", &Client::new().accepts("x", json!({})))[0].0;
    assert_eq!(called.fault_code(), Some((-32021, &json!({ "requiredCapabilities": { "roots": {} } }))));
}

#[test]
fn a_task_the_handler_spawned_may_ask() {
    for (called, _) in both("spawned", &Client::new().accepts("elicitation", name("A"))) {
        assert_eq!(called.text(), "A");
    }
}

#[test]
fn the_model_and_the_folders_are_asked_for() {
    for (called, _) in both("model", &Client::new().samples("sampling", "Paris")) {
        assert_eq!(called.text(), "Paris");
    }
    for (called, _) in both("folders", &Client::new().roots("roots", &["file:///a", "file:///b"])) {
        assert_eq!(called.text(), "file:///a file:///b");
    }
}

#[test]
fn a_handler_that_answers_with_its_questions_runs_once_a_round() {
    let client = Client::new().accepts("a", name("A")).accepts("b", name("B")).accepts("a-2", name("C"));
    let [(live, live_runs), (replayed, replayed_runs)] = both("rounds", &client);
    assert_eq!((live.text().as_str(), live_runs), ("2:ABC", 3));
    assert_eq!((replayed.text().as_str(), replayed_runs), ("2:ABC", 3));
    assert_eq!(replayed.rounds, [vec!["a", "b"], vec!["a-2"]]);
    assert!(live.result().get("resultType").is_none(), "the gateway says that");
}

#[test]
fn a_prompt_may_ask_too() {
    for client in [Client::new(), Client::new().replays()] {
        let mut server = start(Curious::default);
        server.set_client(client.accepts("a", name("Ada")));
        let prompt = server.prompt("any", json!({}));
        assert_eq!(prompt.result()["messages"][0]["content"]["text"], "Ada");
    }
}

#[test]
fn a_server_that_asks_for_ever_is_stopped() {
    let mut client = Client::new().accepts("a", name("A"));
    for again in 2..=30 {
        client = client.accepts(&format!("a-{again}"), name("A"));
    }
    for (called, _) in both("forever", &client) {
        assert_eq!(called.fault(), Some("the server still asked for input after 30 rounds"));
    }
}

#[test]
fn a_task_is_followed_to_its_end_as_one_of_the_gateways() {
    let curious = Curious::default();
    let cancelled = curious.cancelled.clone();
    let mut server = start(move || curious);
    assert_eq!(
        server.manifest()["capabilities"]["extensions"],
        json!({ "io.modelcontextprotocol/tasks": {} })
    );
    assert_eq!(server.call("task", json!({})).text(), "at once", "for a client that knows no tasks");
    server.set_client(Client::new().tasks().accepts("a", name("bread")));
    let called = server.call("task", json!({}));
    assert_eq!(*called.result(), json!({ "content": [{ "type": "text", "text": "bread" }] }));
    assert_eq!(called.task, Some(json!({ "ttlMs": 60000, "pollIntervalMs": 1 })));
    assert_eq!(called.notifications[0].1["message"], "baking");
    assert_eq!(cancelled.load(Relaxed), 0);
}

#[test]
fn a_task_that_fails_keeps_code_message_and_data() {
    let mut server = start(Curious::default);
    server.set_client(Client::new().tasks().accepts("a", json!({})));
    let called = server.call("task", json!({}));
    assert_eq!((called.fault(), called.fault_code()), (Some("burnt"), Some((-32077, &json!([1])))));
}
