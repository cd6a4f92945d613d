//! One call: the connection it has to the server, what is asked on it, and what the server asks back.

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
};

use rmcp::{
    RoleServer, Service as _,
    model::{ClientResult, ErrorData, JsonRpcMessage, RequestId, RequestMetaObject, ServerRequest},
    service::{RequestContext, RunningService, serve_directly},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{
    line::{About, Asked, Inbound, Line},
    running::{Nobody, Running, gateway},
    wire::{self, Object},
};
use crate::{Ctx, Result};

/// One call.
pub(super) struct Exchange<'a> {
    pub(super) server: &'a Running,
    pub(super) ctx: Ctx,
    pub(super) keys: Keys,
    meta: RequestMetaObject,
    connection: RunningService<RoleServer, Nobody>,
    asked: UnboundedReceiver<Asked>,
    inbound: UnboundedSender<Inbound>,
    requests: i64,
}

/// The keys under which a call asks. A server has none, or uses one in several rounds for different questions.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Keys(BTreeMap<String, u32>);

impl Keys {
    pub(super) fn next(&mut self, wanted: &str) -> String {
        let used = self.0.entry(wanted.to_owned()).or_default();
        *used += 1;
        if *used == 1 { wanted.to_owned() } else { format!("{wanted}-{used}") }
    }
}

impl<'a> Exchange<'a> {
    pub(super) fn open(server: &'a Running, ctx: Ctx) -> Self {
        let info = ctx.info();
        let mut capabilities = info.client_capabilities.unwrap_or_else(|| json!({}));
        let mut client = info.client_info.unwrap_or_else(gateway);
        let mut session = server.client(&capabilities, &client);
        if session.is_none() {
            // Better a client that can do nothing than a server that can do nothing for it.
            (capabilities, client) = (json!({}), gateway());
            session = server.client(&capabilities, &client);
        }
        let (ask, asked) = unbounded_channel();
        let (inbound, answers) = unbounded_channel();
        let line = Line { about: About::Call(ctx.clone(), ask), inbound: answers };
        let connection = serve_directly(Nobody, line, session);
        let mut meta = server.meta(&capabilities, &client);
        meta.extend(info.trace.and_then(|trace| Some(trace.as_object()?.clone())).unwrap_or_default());
        let mut add =
            |key: &str, value: Option<Value>| meta.extend(value.map(|value| (key.to_owned(), value)));
        add("progressToken", info.progress_token);
        add("io.modelcontextprotocol/logLevel", info.log_level.map(Value::from));
        // What does not read as a request's `_meta` would not have come from a client.
        let meta = wire::read(meta).unwrap_or_default();
        Self { server, ctx, keys: Keys::default(), meta, connection, asked, inbound, requests: 0 }
    }

    /// The server's answer to one request, and meanwhile the client's answers to the server's questions.
    pub(super) async fn request(&mut self, method: &str, params: Object) -> Result<Value> {
        let request = wire::request(method, params)?;
        self.requests += 1;
        let mut context =
            RequestContext::new(RequestId::Number(self.requests), self.connection.peer().clone());
        context.meta = self.meta.clone();
        context.extensions.insert(self.ctx.clone());
        // Also what the handler has spawned hears that the call is over.
        let _over = context.ct.clone().drop_guard();
        let mut answering = pin!(self.server.handler.handle_request(request, context));
        let mut questions = Vec::<(RequestId, Pin<Box<dyn Future<Output = ()> + Send>>)>::new();
        let answer = poll_fn(|cx| {
            if let Poll::Ready(answer) = answering.as_mut().poll(cx) {
                return Poll::Ready(answer);
            }
            while let Poll::Ready(Some(asked)) = self.asked.poll_recv(cx) {
                match asked {
                    Asked::Question(id, request) => {
                        let key = self.keys.next(key_of(&request));
                        let question = ask(self.ctx.clone(), key, id.clone(), *request, self.inbound.clone());
                        questions.push((id, Box::pin(question)));
                    }
                    Asked::Withdrawn(id) => questions.retain(|(of, _)| *of != id),
                }
            }
            questions.retain_mut(|(_, question)| question.as_mut().poll(cx).is_pending());
            Poll::Pending
        })
        .await;
        Ok(serde_json::to_value(answer.map_err(wire::error)?)?)
    }

    /// The client's answers to several questions, asked together: `{key: {method, params}}`.
    pub(super) async fn ask(&mut self, questions: &Object) -> Result<Object> {
        let mut open: Vec<_> = questions
            .iter()
            .map(|(name, question)| {
                let (method, params) = wire::said(question);
                let (key, ctx) = (self.keys.next(name), self.ctx.clone());
                let asking: Pin<Box<dyn Future<Output = Result<Value>> + Send>> = Box::pin(async move {
                    let choice = ctx.request(&key, &method, params).await?;
                    wire::chosen(&method, choice)
                });
                (name.clone(), asking, None)
            })
            .collect();
        poll_fn(|cx| {
            for (_, asking, answer) in open.iter_mut().filter(|(_, _, answer)| answer.is_none()) {
                match asking.as_mut().poll(cx) {
                    Poll::Ready(Ok(given)) => *answer = Some(given),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {}
                }
            }
            if open.iter().all(|(_, _, answer)| answer.is_some()) {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            }
        })
        .await?;
        Ok(open.into_iter().filter_map(|(name, _, answer)| Some((name, answer?))).collect())
    }
}

/// Answers one question of the server's.
async fn ask(
    ctx: Ctx,
    key: String,
    id: RequestId,
    request: ServerRequest,
    inbound: UnboundedSender<Inbound>,
) {
    let answer = match request {
        ServerRequest::PingRequest(_) => Ok(ClientResult::empty(())),
        request => answer(&ctx, &key, &request).await,
    };
    // A call that is over hears no answers.
    let _ = inbound.send(match answer {
        Ok(answer) => JsonRpcMessage::response(answer, id),
        Err(error) => JsonRpcMessage::error(error, Some(id)),
    });
}

async fn answer(ctx: &Ctx, key: &str, request: &ServerRequest) -> Result<ClientResult, ErrorData> {
    let (method, params) = wire::said(request);
    let choice = ctx.request(key, &method, params).await.and_then(|choice| wire::chosen(&method, choice));
    wire::answer(&method, choice.map_err(|error| wire::error_data(&error))?)
}

/// What a question is called when it has no name: the same in every run of the call.
fn key_of(request: &ServerRequest) -> &str {
    match request {
        ServerRequest::ElicitRequest(_) => "elicitation",
        ServerRequest::CreateMessageRequest(_) => "sampling",
        ServerRequest::ListRootsRequest(_) => "roots",
        ServerRequest::CustomRequest(request) => &request.method,
        _ => "question",
    }
}
