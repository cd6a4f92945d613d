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

mod called;
mod client;
mod recorder;

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};

pub(crate) use self::recorder::Recorder;
use self::recorder::Said;
pub use self::{called::Called, client::Client};
use crate::{
    CallEnd, CallInfo, Ctx, Plugin, abi,
    ctx::{Link, Watched},
    glue::{Caught, panic_text},
    offer::Offer,
    plugin::Hook,
};

/// More runs of one call than any number of questions explains.
const RUNS_MAX: usize = 50;

/// A started plugin. Calls run on a runtime of its own; `on_stop` runs when it is dropped.
pub struct TestServer {
    offer: Arc<Offer>,
    on_stop: Vec<Hook>,
    runtime: tokio::runtime::Runtime,
    info: CallInfo,
    client: Client,
    about_server: Arc<Mutex<Said>>,
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
        let about_server = Arc::<Mutex<Said>>::default();
        let gateway = Recorder::new(Client::new(), CallInfo::default(), about_server.clone());
        plugin.offer.notifier.connect(Link::Test(gateway));
        for hook in std::mem::take(&mut plugin.on_start) {
            if let Err(reason) = runtime.block_on(hook()) {
                panic!("the plugin declined to start: {reason}");
            }
        }
        let on_stop = std::mem::take(&mut plugin.on_stop);
        let (offer, info, client) = (Arc::new(plugin.offer), CallInfo::default(), Client::new());
        Self { offer, on_stop, runtime, info, client, about_server }
    }

    /// What the next calls find in [`Ctx::info`].
    pub fn set_info(&mut self, info: CallInfo) {
        self.info = info;
    }

    /// Who makes the next calls.
    pub fn set_client(&mut self, client: Client) {
        self.client = client;
    }

    /// The tools' declarations, as MCP clients see them.
    pub fn tools(&self) -> Value {
        self.manifest()["tools"].clone()
    }

    /// What the plugin offers, as the gateway is told.
    pub fn manifest(&self) -> Value {
        serde_json::from_slice(&self.offer.manifest("test", "0.0.0")).expect("the SDK writes JSON")
    }

    /// What was said about the server as a whole since this was last asked: notifications, in order.
    pub fn notices(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut *self.about_server.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Calls a tool. `arguments` are not checked against its schema first, as the gateway would.
    pub fn call(&self, tool: &str, arguments: Value) -> Called {
        self.request("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    /// Gets a prompt; its arguments are text.
    pub fn prompt(&self, prompt: &str, arguments: Value) -> Called {
        self.request("prompts/get", json!({ "name": prompt, "arguments": arguments }))
    }

    /// Reads a resource.
    pub fn read(&self, uri: &str) -> Called {
        self.request("resources/read", json!({ "uri": uri }))
    }

    /// What completes the argument of a prompt that begins with `value`.
    pub fn complete_prompt(&self, prompt: &str, argument: &str, value: &str) -> Called {
        self.complete(json!({ "type": "ref/prompt", "name": prompt }), argument, value)
    }

    /// What completes the variable of a resource template that begins with `value`.
    pub fn complete_template(&self, uri: &str, variable: &str, value: &str) -> Called {
        self.complete(json!({ "type": "ref/resource", "uri": uri }), variable, value)
    }

    /// Calls any method.
    pub fn request(&self, method: &str, params: Value) -> Called {
        let recorder = Recorder::new(self.client.clone(), self.info.clone(), self.about_server.clone());
        let params = params.to_string();
        for _ in 0..RUNS_MAX {
            if let Some((status, body)) = self.run(&recorder, method, &params) {
                let heard = std::mem::take(&mut *recorder.heard());
                let (notifications, requests) = (heard.notifications, heard.requests);
                return Called {
                    status,
                    body,
                    notifications,
                    requests,
                    rounds: heard.rounds,
                    task: heard.task,
                };
            }
            recorder.resume();
        }
        panic!("the call asked again and again: {:?}", recorder.heard().rounds);
    }

    /// The first client subscribes to a resource.
    ///
    /// # Panics
    /// If the plugin's hook fails.
    pub fn subscribe(&self, uri: &str) {
        self.notice("resources/subscribe", uri);
    }

    /// The last client unsubscribes from a resource.
    ///
    /// # Panics
    /// If the plugin's hook fails.
    pub fn unsubscribe(&self, uri: &str) {
        self.notice("resources/unsubscribe", uri);
    }

    fn notice(&self, method: &str, uri: &str) {
        let params = json!({ "uri": uri }).to_string();
        if let Err(error) = self.runtime.block_on(self.offer.noticed(method, params.as_bytes())) {
            panic!("the hook for `{method}` failed: {error}");
        }
    }

    fn complete(&self, of: Value, argument: &str, value: &str) -> Called {
        let params = json!({ "ref": of, "argument": { "name": argument, "value": value } });
        self.request("completion/complete", params)
    }

    /// One run of a call: its answer, or `None` if it is to run again.
    fn run(&self, recorder: &Arc<Recorder>, method: &str, params: &str) -> Option<(u32, Value)> {
        let ctx = Ctx::new(1, Link::Test(recorder.clone()));
        let (offer, call) = (self.offer.clone(), ctx.call.clone());
        let work = Box::pin(offer.call(ctx, method, params.as_bytes(), Default::default()));
        let work = Watched::new(call.clone(), Caught::new(work));
        let ended = self.runtime.block_on(async {
            tokio::select! {
                biased;
                ended = work => Some(ended),
                () = recorder.suspended() => None,
            }
        });
        call.ended(if ended.is_some() { CallEnd::Answered } else { CallEnd::Suspended });
        Some(match ended? {
            Ok((status, out)) => (status, serde_json::from_slice(&out).expect("the SDK writes JSON")),
            Err(payload) => (abi::PANICKED, json!({ "message": panic_text(payload) })),
        })
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
