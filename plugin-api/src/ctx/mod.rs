//! The context of one call: what a tool may know and say beside its arguments and its answer.

mod call;
mod elicit;
mod form;
mod info;
mod link;
mod request;
mod sample;
mod task;
mod watch;

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

pub(crate) use self::{call::Call, link::Link, watch::Watched};
pub use self::{
    info::{CallInfo, Capability, Principal},
    request::Choice,
    sample::{Root, SampleRequest, Sampled},
    task::TaskOptions,
};
use crate::{Notifier, Result};

/// The context of one call. Cheap to clone; may be moved into spawned tasks.
///
/// Beside saying things ([`progress`](Self::progress), [`log`](Self::log)) a call may ask its client something:
/// [`elicit`](Self::elicit), [`sample`](Self::sample), [`roots`](Self::roots).
///
/// # Asking, and running again
///
/// Clients differ in how they are asked, and a tool does not see it. Some answer while the call waits. For others
/// the gateway ends the call with the questions, and when the client sends it again together with the answers,
/// **the function runs again from its start**; questions already answered then have their answers at once. So:
/// - Whatever comes before a question may run more than once. Do what must happen once after the last question,
///   or note in [`set_state`](Self::set_state) that it has been done.
/// - Every question has a key, unique within the call and the same in every run.
/// - Ask the same questions in every run, up to the first that is new. What they depend on has to come from the
///   arguments, from earlier answers, or from [`state`](Self::state).
///
/// Questions asked together (`join!`) reach the client together.
#[derive(Clone)]
pub struct Ctx {
    pub(crate) call: Arc<Call>,
}

/// What became of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It goes to the client.
    Delivered,
    /// This client did not ask for it, or there is no room.
    Dropped,
    /// The call is over.
    Closed,
}

/// Severity of a log message to the client (RFC 5424, as MCP has it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are RFC 5424's and say it all")]
pub enum LogLevel {
    Debug,
    Info,
    Notice,
    Warning,
    Error,
    Critical,
    Alert,
    Emergency,
}

/// Why nobody waits for a call any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEnd {
    /// It has been answered.
    Answered,
    /// The client cancelled it, or went away.
    Client,
    /// It ran longer than the gateway allows.
    Timeout,
    /// The client is to answer its questions; then it runs again.
    Suspended,
    /// The server is being stopped.
    Draining,
}

impl Ctx {
    pub(crate) fn new(id: u64, link: Link) -> Self {
        Self { call: Arc::new(Call::new(id, link)) }
    }

    /// Tells the client how far the call is: `done` of `total`, in a unit of the tool's choice. `done` must grow
    /// from one call to the next. Clients that did not ask for progress are not bothered. Of a task, the message
    /// becomes the status message.
    pub fn progress(&self, done: f64, total: impl Into<Option<f64>>, message: &str) -> Delivery {
        let mut params = json!({ "progress": done, "message": message });
        if let Some(total) = total.into() {
            params["total"] = total.into();
        }
        self.notify("notifications/progress", &params)
    }

    /// Sends a log message to the client, if it wants messages of that severity; declare it with
    /// [`Plugin::logs`](crate::Plugin::logs). For the operator's log use `tracing`.
    pub fn log(&self, level: LogLevel, data: impl Serialize) -> Delivery {
        let data = serde_json::to_value(data).unwrap_or(Value::Null);
        self.notify("notifications/message", &json!({ "level": level, "data": data }))
    }

    /// What is known about the client.
    pub fn info(&self) -> CallInfo {
        serde_json::from_slice(&self.call.link.info(self.call.id)).unwrap_or_default()
    }

    /// Tells clients of changes of the server as a whole.
    pub fn notifier(&self) -> Notifier {
        Notifier::linked(self.call.link.clone())
    }

    /// What [`set_state`](Self::set_state) kept, in this run of the call or in an earlier one; `None` if nothing.
    ///
    /// # Errors
    /// If it does not fit `S`.
    pub fn state<S: DeserializeOwned>(&self) -> Result<Option<S>> {
        if let Some(kept) = self.call.kept() {
            return Ok(Some(serde_json::from_slice(&kept)?));
        }
        #[derive(serde::Deserialize)]
        struct Saved<S> {
            state: Option<S>,
        }
        let info = self.call.link.info(self.call.id);
        if info.is_empty() {
            return Ok(None);
        }
        Ok(serde_json::from_slice::<Saved<S>>(&info)?.state)
    }

    /// Keeps a value for the next run of this call, if there is one (see [above](Self#asking-and-running-again)).
    /// The last one counts. The client carries it, sealed by the gateway so that it cannot change it: keep it
    /// small, and keep no secrets in it.
    ///
    /// # Errors
    /// If it cannot be serialised.
    pub fn set_state(&self, state: &impl Serialize) -> Result<()> {
        let state = serde_json::to_vec(state)?;
        // Dropped is no error: a call that cannot run again needs no state.
        self.call.link.set_state(self.call.id, &state);
        self.call.keep(state);
        Ok(())
    }

    fn notify(&self, method: &str, params: &Value) -> Delivery {
        self.call.link.notify(self.call.id, method, params)
    }
}

#[cfg(test)]
mod tests;
