//! The context of one call: what a tool may know and say beside its arguments and its answer.

use std::sync::Arc;

use abi_stable::std_types::{RSlice, RStr, RVec};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    abi::{self, Host},
    testing::Recorder,
};

/// The context of one call. Cheap to clone; may be moved into spawned tasks.
#[derive(Clone)]
pub struct Ctx {
    pub(crate) call: u64,
    pub(crate) link: Link,
}

/// What a context speaks to: the gateway, or a test.
#[derive(Clone)]
pub(crate) enum Link {
    Gateway(Host),
    Test(Arc<Recorder>),
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

/// What is known about the client of a call.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CallInfo {
    /// The MCP revision it speaks, e.g. `2026-07-28`; `None` for a plain HTTP client.
    pub protocol_version: Option<String>,
    /// Its name and version, as it gave them.
    pub client_info: Option<Value>,
    /// What it can do, as it declared it.
    pub client_capabilities: Option<Value>,
    /// The id under which the gateway's log speaks of this request.
    pub request_id: String,
}

impl Ctx {
    /// Tells the client how far the call is: `done` of `total`, in a unit of the tool's choice. `done` must grow
    /// from one call to the next. Clients that did not ask for progress are not bothered.
    pub fn progress(&self, done: f64, total: impl Into<Option<f64>>, message: &str) -> Delivery {
        let mut params = json!({ "progress": done, "message": message });
        if let Some(total) = total.into() {
            params["total"] = total.into();
        }
        self.notify("notifications/progress", &params)
    }

    /// Sends a log message to the client, if it wants messages of that severity. For the operator's log use
    /// `tracing`.
    pub fn log(&self, level: LogLevel, data: impl Serialize) -> Delivery {
        let data = serde_json::to_value(data).unwrap_or(Value::Null);
        self.notify("notifications/message", &json!({ "level": level, "data": data }))
    }

    /// What is known about the client.
    pub fn info(&self) -> CallInfo {
        match &self.link {
            Link::Gateway(host) => {
                let mut out = RVec::new();
                if !(host.table.info())(host.context, self.call, &mut out) {
                    return CallInfo::default();
                }
                serde_json::from_slice(&out).unwrap_or_default()
            }
            Link::Test(recorder) => recorder.info.clone(),
        }
    }

    fn notify(&self, method: &str, params: &Value) -> Delivery {
        match &self.link {
            Link::Gateway(host) => {
                let params = params.to_string();
                let params = RSlice::from_slice(params.as_bytes());
                let delivered =
                    (host.table.notify())(host.context, self.call, RStr::from_str(method), params);
                match delivered {
                    abi::DELIVERED => Delivery::Delivered,
                    abi::CLOSED => Delivery::Closed,
                    _ => Delivery::Dropped,
                }
            }
            Link::Test(recorder) => recorder.record(method, params),
        }
    }
}
