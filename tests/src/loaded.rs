//! Libraries in this very process, loaded as the gateway loads them. For child processes, see `in_child`, and `soak`.

use std::{io::Write as _, path::PathBuf, sync::Arc};

use host::{
    config::{Prefix, ServerEntry, ServerName},
    load::{Answer, CallEvent, CallOptions, Instance, Request, Server},
};
use serde_json::{Value, json};

use crate::{artifacts, loader};

/// A server for the built plugin `plugin`, at a prefix of its name.
pub fn entry(plugin: &str) -> ServerEntry {
    entry_of(plugin, artifacts().join(format!("{plugin}.so")))
}

/// A server for the plugin in `library`, at a prefix of its name.
pub fn entry_of(name: &str, library: PathBuf) -> ServerEntry {
    let prefix = Prefix::parse(&format!("/{name}")).expect("a prefix");
    ServerEntry::new(ServerName::parse(name).expect("a name"), library, prefix)
}

/// Loads these servers, all of which have to start.
pub fn load_entries(entries: &[ServerEntry]) -> Vec<Arc<Instance>> {
    let running = |server| match server {
        Server::Running(instance) => instance,
        Server::Failed(failed) => panic!("{:?}", failed.error),
    };
    loader().load_all(entries).into_iter().map(running).collect()
}

/// Loads these built plugins.
pub fn load(plugins: &[&str]) -> Vec<Arc<Instance>> {
    load_entries(&plugins.iter().map(|plugin| entry(plugin)).collect::<Vec<_>>())
}

/// Calls a tool; how the call ended.
pub async fn outcome(instance: &Instance, tool: &str, arguments: Value) -> Answer {
    let mut request = Request::new("tools/call");
    write!(request, "{}", json!({ "name": tool, "arguments": arguments })).expect("memory");
    let mut call = instance.call(request, CallOptions::default()).expect("it serves");
    loop {
        if let CallEvent::Done(answer) = call.next().await {
            return answer;
        }
    }
}

/// Calls a tool, which has to answer with a result.
pub async fn call(instance: &Instance, tool: &str, arguments: Value) -> Value {
    match outcome(instance, tool, arguments).await {
        Answer::Result(json) => serde_json::from_slice(&json).expect("JSON"),
        other => panic!("no result: {other:?}"),
    }
}

/// A runtime to call tools on.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}
