//! A connection as rmcp knows it, with the gateway at its other end.
//!
//! What the server says arrives here in order, before the server goes on: rmcp tells it so only afterwards.

use std::convert::Infallible;

use rmcp::{
    RoleServer,
    model::{
        CancelledNotificationParam, ErrorData, JsonRpcMessage, RequestId, ServerNotification, ServerRequest,
    },
    service::{RxJsonRpcMessage, TxJsonRpcMessage},
    transport::Transport,
};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::wire::{self, Object};
use crate::{Ctx, Delivery, Notifier};

/// A message to the server: an answer, or that it is initialized.
pub(super) type Inbound = RxJsonRpcMessage<RoleServer>;

/// The gateway's end of a connection.
pub(super) struct Line {
    pub(super) about: About,
    pub(super) inbound: UnboundedReceiver<Inbound>,
}

/// What is said on a connection is about this.
pub(super) enum About {
    /// A call; its questions go there.
    Call(Ctx, UnboundedSender<Asked>),
    /// The server as a whole; what it asks is refused there.
    Server(Notifier, UnboundedSender<Inbound>),
}

/// What the server wants to know.
pub(super) enum Asked {
    Question(RequestId, Box<ServerRequest>),
    /// It does not want to know any more, e.g. because it waited long enough.
    Withdrawn(RequestId),
}

impl Transport<RoleServer> for Line {
    type Error = Infallible;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Infallible>> + Send + 'static {
        match message {
            JsonRpcMessage::Notification(said) => self.say(said.notification),
            JsonRpcMessage::Request(asked) => self.ask(Asked::Question(asked.id, Box::new(asked.request))),
            // Nothing is asked of the server on this connection: requests go to it directly.
            JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_) => {}
        }
        std::future::ready(Ok(()))
    }

    async fn receive(&mut self) -> Option<Inbound> {
        self.inbound.recv().await
    }

    async fn close(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

impl Line {
    fn ask(&self, asked: Asked) {
        // In both cases, who does not listen any more needs no answer.
        match (&self.about, asked) {
            (About::Call(_, questions), asked) => drop(questions.send(asked)),
            (About::Server(_, answers), Asked::Question(id, _)) => {
                let error = ErrorData::invalid_request("outside of a call there is no client to ask", None);
                drop(answers.send(JsonRpcMessage::error(error, Some(id))));
            }
            (About::Server(..), Asked::Withdrawn(_)) => {}
        }
    }

    fn say(&self, notification: ServerNotification) {
        let (method, mut params) = wire::said(&notification);
        if let ServerNotification::CancelledNotification(cancelled) = notification {
            let CancelledNotificationParam { request_id: Some(id), .. } = cancelled.params else { return };
            return self.ask(Asked::Withdrawn(id));
        }
        // Whether anyone wants to hear it is not for the server to know.
        let _ = match &self.about {
            About::Server(notifier, _) => announce(notifier, &method, &params),
            About::Call(ctx, _) if announces(&method) => announce(&ctx.notifier(), &method, &params),
            About::Call(ctx, _) => {
                // The gateway knows the token the client gave.
                params.remove("progressToken");
                ctx.call.link.notify(ctx.call.id, &method, &params.into())
            }
        };
    }
}

fn announces(method: &str) -> bool {
    method.ends_with("/list_changed") || method == "notifications/resources/updated"
}

/// Tells of a change of the server as a whole. Everything else outside of a call is for nobody.
fn announce(notifier: &Notifier, method: &str, params: &Object) -> Delivery {
    match method {
        "notifications/tools/list_changed" => notifier.tools_changed(),
        "notifications/prompts/list_changed" => notifier.prompts_changed(),
        "notifications/resources/list_changed" => notifier.resources_changed(),
        "notifications/resources/updated" => {
            notifier.resource_updated(params.get("uri").and_then(Value::as_str).unwrap_or_default())
        }
        _ => {
            tracing::debug!(method, "said outside of a call");
            Delivery::Dropped
        }
    }
}
