//! Runs a plugin without a gateway, for its unit tests.
//!
//! ```
//! # use plugin_api::{prelude::*, serde_json::json, testing::TestServer};
//! # #[derive(Deserialize, JsonSchema)] struct Args { name: String }
//! # async fn hello(_: Ctx, args: Args) -> Result<String> { Ok(format!("Hello, {}!", args.name)) }
//! # fn plugin() -> Plugin { Plugin::new().tool("hello", "Greets.", hello) }
//! let server = TestServer::start(plugin());
//! let called = server.call("hello", json!({ "name": "Ada" }));
//! assert_eq!(called.value(), json!("Hello, Ada!"));
//! ```

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};

use crate::{
    CallInfo, Ctx, Delivery, Plugin, abi,
    ctx::Link,
    glue::{Caught, panic_text},
    plugin::{Hook, Offer},
};

/// A started plugin. Calls run on a runtime of its own; `on_stop` runs when it is dropped.
pub struct TestServer {
    offer: Arc<Offer>,
    on_stop: Vec<Hook>,
    runtime: tokio::runtime::Runtime,
    info: CallInfo,
}

/// How a call ended, and what it said before.
#[derive(Debug)]
pub struct Called {
    status: u32,
    body: Value,
    /// The notifications it sent: method and parameters, in order.
    pub notifications: Vec<(String, Value)>,
}

/// Keeps what a call says.
pub(crate) struct Recorder {
    pub(crate) info: CallInfo,
    notifications: Mutex<Vec<(String, Value)>>,
}

impl Recorder {
    pub(crate) fn record(&self, method: &str, params: &Value) -> Delivery {
        let mut said = self.notifications.lock().unwrap_or_else(PoisonError::into_inner);
        said.push((method.to_owned(), params.clone()));
        Delivery::Delivered
    }
}

impl TestServer {
    /// Starts `plugin`: runs its `on_start`.
    ///
    /// # Panics
    /// If the plugin declines to start, with its reason.
    pub fn start(mut plugin: Plugin) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be made");
        for hook in std::mem::take(&mut plugin.on_start) {
            if let Err(reason) = runtime.block_on(hook()) {
                panic!("the plugin declined to start: {reason}");
            }
        }
        let on_stop = std::mem::take(&mut plugin.on_stop);
        Self { offer: Arc::new(plugin.offer), on_stop, runtime, info: CallInfo::default() }
    }

    /// What the next calls find in [`Ctx::info`].
    pub fn set_info(&mut self, info: CallInfo) {
        self.info = info;
    }

    /// The tools' declarations, as MCP clients see them.
    pub fn tools(&self) -> Value {
        json!(self.offer.declarations())
    }

    /// Calls a tool. `arguments` are not checked against its schema first, as the gateway would.
    pub fn call(&self, tool: &str, arguments: Value) -> Called {
        let recorder = Arc::new(Recorder { info: self.info.clone(), notifications: Mutex::default() });
        let ctx = Ctx { call: 1, link: Link::Test(recorder.clone()) };
        let params = json!({ "name": tool, "arguments": arguments }).to_string();
        let offer = self.offer.clone();
        let call = async move { offer.call(ctx, "tools/call", params.as_bytes(), Default::default()).await };
        let (status, body) = match self.runtime.block_on(Caught::new(call)) {
            Ok((status, out)) => (status, serde_json::from_slice(&out).expect("the SDK writes JSON")),
            Err(payload) => (abi::PANICKED, json!({ "message": panic_text(payload) })),
        };
        let mut said = recorder.notifications.lock().unwrap_or_else(PoisonError::into_inner);
        Called { status, body, notifications: std::mem::take(&mut *said) }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        for hook in std::mem::take(&mut self.on_stop).into_iter().rev() {
            let stopped = std::panic::catch_unwind(AssertUnwindSafe(|| self.runtime.block_on(hook())));
            if !matches!(stopped, Ok(Ok(()))) && !std::thread::panicking() {
                panic!("the plugin did not stop cleanly: {stopped:?}");
            }
        }
    }
}

impl Called {
    /// The whole `CallToolResult`.
    ///
    /// # Panics
    /// If the call ended with a protocol error or a panic.
    pub fn result(&self) -> &Value {
        assert_eq!(self.status, abi::RESULT, "the call failed: {}", self.body);
        &self.body
    }

    /// What the tool's function returned.
    ///
    /// # Panics
    /// If it returned an error, or the call failed.
    pub fn value(&self) -> Value {
        let result = self.result();
        assert_eq!(result["isError"], false, "the tool reported an error: {}", self.text());
        let structured = &result["structuredContent"];
        structured
            .get("result")
            .filter(|_| structured.as_object().is_some_and(|o| o.len() == 1))
            .unwrap_or(structured)
            .clone()
    }

    /// The error the tool's function returned, if it did.
    pub fn tool_error(&self) -> Option<String> {
        (self.result()["isError"] == true).then(|| self.text())
    }

    /// Message of the protocol error or panic the call ended with, if it did.
    pub fn fault(&self) -> Option<&str> {
        (self.status != abi::RESULT).then(|| self.body["message"].as_str().unwrap_or_default())
    }

    fn text(&self) -> String {
        self.result()["content"][0]["text"].as_str().unwrap_or_default().to_owned()
    }
}
