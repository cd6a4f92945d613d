//! The server as the plugin has it: not there yet, then answering calls and notices, then gone.

use std::sync::OnceLock;

use rmcp::{RoleServer, Service, model::ErrorCode};
use serde_json::{Value, json};

use super::{
    exchange::Exchange,
    rounds,
    running::{LISTS, Pages, Running},
    wire::{self, Object},
};
use crate::{
    Ctx, Error, Notifier, Result,
    offer::{Answering, Whole},
};

/// A server that is mounted, or will be.
#[derive(Default)]
pub(crate) struct Mounted(OnceLock<Running>);

impl Mounted {
    /// Starts the server.
    pub(super) async fn start(&self, server: impl Service<RoleServer>, notifier: Notifier) -> Result<()> {
        let running = Running::start(server, notifier).await?;
        // A plugin starts once: there is nothing in it yet.
        let _ = self.0.set(running);
        Ok(())
    }

    /// Nothing of it goes on after that but what it spawned itself, which ends with the plugin's runtime.
    pub(super) fn stop(&self) {
        if let Some(running) = self.0.get() {
            running.stop();
        }
    }

    async fn call(&self, ctx: Ctx, method: &str, params: &[u8]) -> Result<Value> {
        let running = self.running()?;
        let params =
            serde_json::from_slice(params).map_err(|error| Error::invalid_params(error.to_string()))?;
        let mut exchange = Exchange::open(running, ctx);
        let Some((_, member, _)) = LISTS.iter().find(|(list, ..)| *list == method) else {
            let mut result = rounds::run(&mut exchange, method, params).await?;
            // The gateway says that, where the client knows it.
            if let Some(result) = result.as_object_mut() {
                result.remove("resultType");
            }
            return Ok(result);
        };
        let mut pages = Pages::default();
        while let Some(params) = pages.next() {
            pages.add(member, exchange.request(method, params).await?);
        }
        let mut list = Object::from_iter([(member.to_string(), pages.whole())]);
        let support = running.manifest.get("taskSupport").filter(|_| *member == "tools");
        list.extend(support.map(|support| ("taskSupport".into(), support.clone())));
        Ok(list.into())
    }

    /// That someone subscribed to a resource, or that nobody does any more.
    async fn subscribed(&self, method: &str, params: &[u8]) -> Result<()> {
        if !matches!(method, "resources/subscribe" | "resources/unsubscribe") {
            return Ok(());
        }
        let (running, params) = (self.running()?, serde_json::from_slice::<Object>(params)?);
        let uri = params.get("uri").and_then(Value::as_str).unwrap_or_default().to_owned();
        running.ignore(&uri);
        // First in the manner of sessions, which most servers know.
        match running.ask_in_session(method, params).await {
            Ok(_) => Ok(()),
            Err(error) if error.code != ErrorCode::METHOD_NOT_FOUND => Err(wire::error(error)),
            Err(_) if method == "resources/subscribe" => {
                running.listen(&uri, json!({ "resourceSubscriptions": [uri] }));
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }

    fn running(&self) -> Result<&Running> {
        self.0.get().ok_or_else(|| Error::new("the server has not been started"))
    }
}

impl Whole for Mounted {
    fn manifest(&self) -> Object {
        self.0.get().map(|running| running.manifest.clone()).unwrap_or_default()
    }

    fn answer<'a>(&'a self, ctx: Ctx, method: &'a str, params: &'a [u8]) -> Answering<'a, Value> {
        Box::pin(self.call(ctx, method, params))
    }

    fn noticed<'a>(&'a self, method: &'a str, params: &'a [u8]) -> Answering<'a, ()> {
        Box::pin(self.subscribed(method, params))
    }
}
