//! Calls, from a request's parameters to what its client gets.
//!
//! In:   a method with its parameters, and what the client brings from an earlier round.
//! Out:  a result, questions with sealed state, or a task.
//! Never: calls anything while the gateway drains.

use std::collections::BTreeMap;

use http::{HeaderMap, request::Parts};
use rmcp::{
    ErrorData, RoleServer,
    model::{CallToolResponse, ClientCapabilities, CreateTaskResult, InputRequiredResult, InputResponses},
    service::RequestContext,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    drive::{Driver, Ended},
    handler::{Handler, request_id},
    offer::Offer,
    outcome,
    principal::Principal,
    question,
    relay::{self, Relay},
    seal::{Binding, Carried},
    tasks::{self, Becoming},
};
use crate::{
    load::{CallFacts, ClientAnswer, Notifications, TaskSupport, Tasks},
    serve::{
        RequestId,
        call::{self, CallError, MethodCall, RunningCall, ToolCall, ToolReply},
        ticket::{InRequest, Ticket},
    },
};

/// A call as its handler understood it.
#[derive(Debug, Clone, Copy)]
pub(super) enum What<'a> {
    Tool {
        name: &'a str,
        /// As the client wrote them.
        arguments: &'a [u8],
    },
    Method {
        method: &'static str,
        /// For the log.
        subject: &'a str,
        /// Without `_meta`, `inputResponses` and `requestState`.
        params: &'a Value,
    },
}

/// What a client brings from an earlier round.
#[derive(Debug, Default)]
pub(super) struct Retry {
    pub(super) responses: Option<InputResponses>,
    pub(super) state: Option<String>,
}

/// What the client of a call gets.
pub(super) enum Answer {
    Result(Result<ToolReply, CallError>),
    InputRequired(InputRequiredResult),
    Task(CreateTaskResult),
}

/// Whether the client of a method may be asked something in the middle of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Questions {
    Allowed,
    Refused,
}

impl What<'_> {
    /// What sealed state is bound to.
    fn bound(&self) -> (&'static str, Value) {
        match *self {
            Self::Tool { name, arguments } => {
                let arguments: Value = serde_json::from_slice(arguments).unwrap_or_default();
                ("tools/call", json!({ "name": name, "arguments": arguments }))
            }
            Self::Method { method, params, .. } => (method, params.clone()),
        }
    }
}

impl Handler {
    /// A tool call.
    pub(super) async fn call(
        &self,
        name: &str,
        arguments: &[u8],
        retry: Retry,
        cx: &RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let id = id_of(cx);
        match self.answer(What::Tool { name, arguments }, retry, Questions::Allowed, cx).await? {
            Answer::Result(Ok(reply)) => outcome::of_reply(&reply, name, &id).map(Into::into),
            Answer::Result(Err(error)) => outcome::of_error(error, &id).map(Into::into),
            Answer::InputRequired(required) => Ok(required.into()),
            Answer::Task(task) => Ok(task.into()),
        }
    }

    /// A call of a method whose client may be asked something: `Err` holds the questions.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: &'static str,
        subject: &str,
        params: &Value,
        retry: Retry,
        cx: &RequestContext<RoleServer>,
    ) -> Result<Result<T, InputRequiredResult>, ErrorData> {
        match self.answer(What::Method { method, subject, params }, retry, Questions::Allowed, cx).await? {
            Answer::Result(result) => outcome::of_method(result, method, &id_of(cx)).map(Ok),
            Answer::InputRequired(required) => Ok(Err(required)),
            Answer::Task(_) => Err(ErrorData::internal_error("only tools go on as tasks", None)),
        }
    }

    /// A call of any other method.
    pub(super) async fn plain<T: DeserializeOwned>(
        &self,
        method: &'static str,
        subject: &str,
        params: &Value,
        cx: &RequestContext<RoleServer>,
    ) -> Result<T, ErrorData> {
        let what = What::Method { method, subject, params };
        match self.answer(what, Retry::default(), Questions::Refused, cx).await? {
            Answer::Result(result) => outcome::of_method(result, method, &id_of(cx)),
            _ => Err(ErrorData::internal_error("this method takes no input", None)),
        }
    }

    async fn answer(
        &self,
        what: What<'_>,
        retry: Retry,
        questions: Questions,
        cx: &RequestContext<RoleServer>,
    ) -> Result<Answer, ErrorData> {
        let caller = self.caller(cx);
        let offer = self.offer_to(caller.as_ref());
        if self.is_draining() {
            let server = offer.mount.instance.entry().name.to_string();
            return Ok(Answer::Result(Err(CallError::Unavailable { server })));
        }
        let tasks = self.tasks_for(&offer, what, cx)?;
        let carried = self.carried(&offer, what, retry, cx)?;
        let id = id_of(cx);
        let relay = Relay::new(cx, self.level());
        let about = About {
            facts: relay.facts(cx, &id, carried.state.clone()),
            // What a task says of its progress is its status, wanted or not.
            notifications: match tasks {
                Tasks::Allowed => Notifications::Wanted,
                Tasks::Refused => relay.notifications(),
            },
            answers: carried.answers.clone(),
            ticket: self.ticket(what, cx)?,
        };
        let call = match start(&offer, what, tasks, about) {
            Ok(call) => call,
            Err(error) => return Ok(Answer::Result(Err(error))),
        };
        let driver = Driver::new(cx, &relay);
        let driver = if questions == Questions::Refused { driver.mute() } else { driver };
        match driver.run(call).await? {
            Ended::Done(result) => Ok(Answer::Result(result)),
            Ended::Waits { questions, state } => {
                // What a run does not set anew stays as it was.
                let state = state.or(carried.state);
                let carried = Carried { answers: carried.answers, state };
                let (method, params) = what.bound();
                let sealed = (!carried.is_empty()).then(|| {
                    let principal = Principal::of(caller.as_ref());
                    self.sealer().seal(binding(&offer, &principal, method, &params), &carried)
                });
                Ok(Answer::InputRequired(InputRequiredResult::new(Some(questions), sealed)))
            }
            Ended::Task { call, options, questions } => {
                let What::Tool { name, .. } = what else {
                    return Err(ErrorData::internal_error("only tools go on as tasks", None));
                };
                let (tool, declared) = (name.to_owned(), relay::declared(cx));
                let becoming = Becoming { call, options, questions, declared, tool, request_id: id };
                self.tasks().start(caller.as_ref(), becoming).map(Answer::Task)
            }
        }
    }

    /// Leave for this call, which the door has got for the request.
    fn ticket(&self, what: What<'_>, cx: &RequestContext<RoleServer>) -> Result<Ticket, ErrorData> {
        let (method, subject) = match what {
            What::Tool { name, .. } => ("tools/call", name),
            What::Method { method, subject, .. } => (method, subject),
        };
        let parts = cx.extensions.get::<Parts>();
        let ticket = parts.and_then(|parts| parts.extensions.get::<InRequest>()?.take());
        // The door reads less of a body than the library does; where they differ, it is not a body to act upon.
        ticket
            .filter(|ticket| ticket.is_for(method, subject))
            .ok_or_else(|| ErrorData::invalid_request("the message does not say clearly what it calls", None))
    }

    /// Whether the call may go on as a task. A tool that cannot do otherwise is refused here to whom it cannot serve.
    fn tasks_for(
        &self,
        offer: &Offer,
        what: What<'_>,
        cx: &RequestContext<RoleServer>,
    ) -> Result<Tasks, ErrorData> {
        let What::Tool { name, .. } = what else { return Ok(Tasks::Refused) };
        let Some(support) = offer.task_support(name) else { return Ok(Tasks::Refused) };
        let is_declared = relay::declared(cx).supports_tasks();
        match support {
            _ if is_declared && self.tasks().has_room(self.caller(cx).as_ref()) => Ok(Tasks::Allowed),
            TaskSupport::Optional => Ok(Tasks::Refused),
            TaskSupport::Required if is_declared => Err(tasks::full()),
            TaskSupport::Required => {
                let required = ClientCapabilities::builder().enable_tasks().build();
                Err(ErrorData::missing_required_client_capability(required))
            }
        }
    }

    /// What the client has answered so far, and what the plugin kept.
    fn carried(
        &self,
        offer: &Offer,
        what: What<'_>,
        retry: Retry,
        cx: &RequestContext<RoleServer>,
    ) -> Result<Carried, ErrorData> {
        if !relay::is_modern(cx) {
            return Ok(Carried::default());
        }
        let mut carried = match &retry.state {
            None => Carried::default(),
            Some(sealed) => {
                let (method, params) = what.bound();
                let principal = Principal::of(self.caller(cx).as_ref());
                self.sealer().open(binding(offer, &principal, method, &params), sealed)?
            }
        };
        for (key, value) in retry.responses.unwrap_or_default() {
            // What is no answer is asked for again. What was answered in an earlier round stays as it was: the
            // plugin may have acted on it.
            if let Some(answer) = question::of_result(value) {
                carried.answers.entry(key).or_insert(answer);
            }
        }
        Ok(carried)
    }
}

fn binding<'a>(
    offer: &'a Offer,
    principal: &'a Principal,
    method: &'a str,
    params: &'a Value,
) -> Binding<'a> {
    let server = offer.mount.instance.entry().name.as_str();
    Binding { server, principal: principal.as_str(), method, params }
}

fn id_of(cx: &RequestContext<RoleServer>) -> RequestId {
    cx.extensions.get::<Parts>().map_or_else(|| RequestId::of(&HeaderMap::new()), request_id)
}

/// What a call is told about its client.
struct About {
    facts: CallFacts,
    notifications: Notifications,
    answers: BTreeMap<String, ClientAnswer>,
    ticket: Ticket,
}

fn start(offer: &Offer, what: What<'_>, tasks: Tasks, about: About) -> Result<RunningCall, CallError> {
    let About { facts, notifications, answers, ticket } = about;
    let door = "mcp";
    match what {
        What::Tool { name, arguments } => {
            let call = ToolCall { tool: name, arguments, facts, notifications, tasks, answers, door };
            call::start(&offer.mount, call, ticket)
        }
        What::Method { method, subject, params } => {
            let params = params.to_string();
            let params = params.as_bytes();
            let call = MethodCall { method, subject, params, facts, notifications, answers, door };
            call::start_method(&offer.mount, call, ticket)
        }
    }
}
