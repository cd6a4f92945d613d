//! Asking the client of a call something.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Ctx, Delivery,
    call::{Given, Novelty, Ticket},
};
use crate::{Error, Result, abi, error};

/// What a user made of a question.
///
/// ```
/// # use plugin_api::prelude::*;
/// #[derive(Deserialize, JsonSchema)]
/// struct Name {
///     name: String,
/// }
///
/// async fn greet(ctx: Ctx, _: NoArgs) -> Result<String> {
///     // A refusal ends the tool with an error that says so.
///     let Name { name } = ctx.elicit("name", "What is your name?").await?.accepted()?;
///     // Here it does not.
///     let nick = ctx.elicit::<Name>("nick", "And your nickname?").await?.into_option();
///     Ok(format!("Hello, {}!", nick.map_or(name, |nick| nick.name)))
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice<T> {
    /// They answered.
    Accepted(T),
    /// They said no.
    Declined,
    /// They made no choice.
    Cancelled,
}

impl<T> Choice<T> {
    /// The answer; anything else is an error, to be passed on with `?`.
    ///
    /// # Errors
    /// If the user declined, or made no choice.
    pub fn accepted(self) -> Result<T> {
        match self {
            Self::Accepted(answer) => Ok(answer),
            Self::Declined => Err(Error::new("the user declined")),
            Self::Cancelled => Err(Error::new("the user made no choice")),
        }
    }

    /// The answer, if there is one.
    pub fn into_option(self) -> Option<T> {
        self.accepted().ok()
    }

    /// Turns the answer into another.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Choice<U> {
        match self {
            Self::Accepted(answer) => Choice::Accepted(f(answer)),
            Self::Declined => Choice::Declined,
            Self::Cancelled => Choice::Cancelled,
        }
    }
}

impl Ctx {
    /// Asks the client whatever MCP lets a server ask, in MCP's own words. The typed methods are built on it.
    ///
    /// Code before it may run again, see [asking, and running again](Self#asking-and-running-again). Asking again
    /// with the same key gets the same answer.
    ///
    /// # Errors
    /// A protocol error, which ends the call if passed on: if the client cannot be asked that (-32021), took too
    /// long, or is gone; or if `key` was used for another request of this call.
    pub async fn request(
        &self,
        key: &str,
        method: &str,
        params: impl Serialize + Send,
    ) -> Result<Choice<Value>> {
        // Awaited, not held: whether `params` is `Sync` is then nobody's business.
        let params = serde_json::to_value(params)?;
        let asking = Asking { ctx: self, key, method, params: params.to_string(), sent: false, ticket: None };
        let Given { status, value } = asking.await?;
        match status {
            abi::ACCEPTED => Ok(Choice::Accepted(value)),
            abi::DECLINED => Ok(Choice::Declined),
            abi::CANCELLED => Ok(Choice::Cancelled),
            abi::UNSUPPORTED => Err(unsupported(method, &params)),
            abi::TIMED_OUT => {
                let text = format!("the client did not answer `{method}` in time");
                Err(Error::protocol(error::INTERNAL_ERROR, text).data(json!({ "key": key })))
            }
            other => {
                let text = format!("the gateway answered `{method}` with status {other}, unknown here");
                Err(Error::protocol(error::INTERNAL_ERROR, text))
            }
        }
    }
}

/// The client did not declare what it takes.
fn unsupported(method: &str, params: &Value) -> Error {
    let required = match method {
        "elicitation/create" if params["mode"] == "url" => json!({ "elicitation": { "url": {} } }),
        "elicitation/create" => json!({ "elicitation": {} }),
        "sampling/createMessage" => json!({ "sampling": {} }),
        "roots/list" => json!({ "roots": {} }),
        _ => json!({}),
    };
    let text = format!("this client cannot be asked `{method}`");
    Error::protocol(error::MISSING_CAPABILITY, text).data(json!({ "requiredCapabilities": required }))
}

/// The gateway bounds how large a question may be, and how many may wait.
fn too_much(method: &str, bytes: usize) -> Error {
    Error::new(format!(
        "the gateway does not take this `{method}` of {bytes} bytes: it is too large, or too many questions wait; ask \
         less at a time"
    ))
}

/// One request under way.
struct Asking<'a> {
    ctx: &'a Ctx,
    key: &'a str,
    method: &'a str,
    params: String,
    sent: bool,
    ticket: Option<Ticket>,
}

impl Future for Asking<'_> {
    type Output = Result<Given>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let call = &this.ctx.call;
        if !this.sent {
            this.sent = true;
            if call.note(this.key, this.method, &this.params)? == Novelty::New {
                // No answer comes to what was not delivered: waiting for one would be for ever.
                match call.link.request(call, this.key, this.method, &this.params) {
                    Delivery::Delivered => {}
                    Delivery::Dropped => return Poll::Ready(Err(too_much(this.method, this.params.len()))),
                    Delivery::Closed => {
                        let text = "the call is over, its client cannot be asked any more";
                        return Poll::Ready(Err(Error::new(text)));
                    }
                }
            }
        }
        match call.given(this.key, &mut this.ticket, cx.waker()) {
            Some(given) => Poll::Ready(Ok(given)),
            None => Poll::Pending,
        }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        // Given up, e.g. in a race: the call does not wait for this answer any more.
        if let Some(ticket) = self.ticket {
            self.ctx.call.forget(ticket);
        }
    }
}
