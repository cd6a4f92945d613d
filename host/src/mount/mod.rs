//! Step 3 of 5, mount: turns running servers into what the HTTP side serves.
//!
//! In:   `Vec<Server>` from load.
//! Out:  [`MountTable`]: per server a tool table with validators; and the OpenAPI documents, made when they are asked for.
//! Fails: a tool whose schema cannot be used fails its server, not the gateway.
//! Never: sockets, requests.

mod error;
mod failure;
mod header;
mod hoist;
mod openapi;
mod problem_code;
mod security;
mod shapes;
pub mod strict;
mod tool;
mod view;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    config::{ServerEntry, Ways},
    load::{Failed, Instance, Manifest, Server},
};

pub use error::MountError;
pub use failure::Failure;
pub use openapi::Document;
pub use problem_code::ProblemCode;
pub use tool::{ArgumentError, Tool};

/// Everything served, in file order. Replaced as a whole, never changed in place.
#[derive(Debug, Default)]
pub struct MountTable {
    /// Every `[[server]]` table, in file order.
    pub servers: Vec<Mounted>,
}

/// One `[[server]]` table as the HTTP side sees it.
#[derive(Debug, Clone)]
pub enum Mounted {
    /// It serves.
    Serving(Arc<Mount>),
    /// It did not start: its prefix answers 503 with the reason's code.
    Failed(Arc<Failed>),
    /// It runs, but its tools cannot be served. Answers like a failed one; still has to be unloaded.
    Refused {
        /// The running server.
        instance: Arc<Instance>,
        /// Why its tools cannot be served.
        error: Arc<MountError>,
    },
}

/// A running server at its prefix.
#[derive(Debug)]
pub struct Mount {
    /// The running server.
    pub instance: Arc<Instance>,
    /// What it offers.
    pub manifest: Arc<Manifest>,
    /// Its tools, in the plugin's order.
    pub tools: Vec<Arc<Tool>>,
    by_name: HashMap<String, Arc<Tool>>,
    views: view::Views,
    /// The OpenAPI document of this server alone, once it was asked for, and what of it gateway.toml may change.
    document: Mutex<Option<(Ways, Document)>>,
}

impl Mount {
    /// Mounts what the server offered when it started.
    pub fn new(instance: Arc<Instance>) -> Result<Self, MountError> {
        let manifest = instance.manifest().clone();
        Self::of(instance, manifest)
    }

    /// Compiles the validators of the tools in `manifest`. Pure: the plugin is not asked anything.
    pub fn of(instance: Arc<Instance>, manifest: Arc<Manifest>) -> Result<Self, MountError> {
        let server = &instance.entry().name;
        let compile = |spec| Tool::compile(server, spec).map(Arc::new);
        let tools = manifest.tools.iter().map(compile).collect::<Result<Vec<Arc<Tool>>, MountError>>()?;
        Ok(Self::with_tools(instance, manifest, tools))
    }

    fn with_tools(instance: Arc<Instance>, manifest: Arc<Manifest>, tools: Vec<Arc<Tool>>) -> Self {
        let by_name = tools.iter().map(|tool| (tool.spec.name.clone(), tool.clone())).collect();
        Self { instance, manifest, tools, by_name, views: view::Views::default(), document: Mutex::default() }
    }

    /// The OpenAPI document of this server alone, whose callers say who they are in these ways.
    pub fn document(&self, ways: Ways) -> Document {
        let mut kept = self.document.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((those, document)) if *those == ways => document.clone(),
            _ => kept.insert((ways, Document::of_server(&described(self, ways)))).1.clone(),
        }
    }

    /// Why it does not serve any more, or not now; `None`: it does.
    pub fn failure(&self) -> Option<Failure> {
        Failure::of(&self.instance)
    }

    /// The tool of that name.
    pub fn tool(&self, name: &str) -> Option<&Arc<Tool>> {
        self.by_name.get(name)
    }

    /// Whether it names `subject` among what `method` is about. Not what a plugin lists call by call.
    pub fn offers(&self, method: &str, subject: &str) -> bool {
        match method {
            "tools/call" => self.tool(subject).is_some(),
            "prompts/get" => self.manifest.prompts.iter().any(|prompt| prompt["name"] == subject),
            _ => false,
        }
    }
}

fn described(mount: &Mount, ways: Ways) -> openapi::Described<'_> {
    let (entry, manifest) = (mount.instance.entry(), &mount.manifest);
    openapi::Described {
        name: entry.name.as_str(),
        prefix: entry.prefix.as_str(),
        version: &manifest.version,
        title: manifest.title.as_deref(),
        instructions: manifest.instructions.as_deref(),
        tools: &manifest.tools,
        ways,
    }
}

impl Mounted {
    /// Mounts one server; a failure stays in the table, with its reason.
    pub fn new(server: Server) -> Self {
        match server {
            Server::Failed(failed) => Self::Failed(Arc::new(failed)),
            Server::Running(instance) => match Mount::new(instance.clone()) {
                Ok(mount) => Self::Serving(Arc::new(mount)),
                Err(error) => Self::Refused { instance, error: Arc::new(error) },
            },
        }
    }

    /// Its table in gateway.toml.
    pub fn entry(&self) -> &ServerEntry {
        match self {
            Self::Serving(mount) => mount.instance.entry(),
            Self::Failed(failed) => &failed.entry,
            Self::Refused { instance, .. } => instance.entry(),
        }
    }

    /// The running server, if one has to be unloaded.
    pub fn instance(&self) -> Option<&Arc<Instance>> {
        match self {
            Self::Serving(mount) => Some(&mount.instance),
            Self::Refused { instance, .. } => Some(instance),
            Self::Failed(_) => None,
        }
    }

    /// Why it does not serve; `None`: it does.
    pub fn failure(&self) -> Option<Failure> {
        match self {
            Self::Serving(mount) => mount.failure(),
            Self::Failed(failed) => Some(Failure::new(failed.error.code(), &failed.error)),
            Self::Refused { error, .. } => Some(Failure::new(error.code(), &**error)),
        }
    }
}

impl MountTable {
    /// Mounts every server, in order.
    pub fn new(servers: Vec<Server>) -> Self {
        Self::of(servers.into_iter().map(Mounted::new).collect())
    }

    /// A table of servers that were mounted before, e.g. with one of them replaced.
    pub fn of(servers: Vec<Mounted>) -> Self {
        Self { servers }
    }

    /// The same table with `mount` in the place of the mount of the same instance, which offers something else by
    /// now. `None`: it is not in the table any more.
    pub fn with(&self, mount: &Arc<Mount>) -> Option<Self> {
        let mut servers = self.servers.clone();
        let is_same = |mounted: &&mut Mounted| matches!(mounted, Mounted::Serving(old) if Arc::ptr_eq(&old.instance, &mount.instance));
        *servers.iter_mut().find(is_same)? = Mounted::Serving(mount.clone());
        Some(Self::of(servers))
    }

    /// The OpenAPI document of these mounts, which need not be all that there are, each with the ways in which its callers
    /// say who they are, and of the gateway's own pages, whose callers have `own`.
    pub fn document_of(mounts: &[(Arc<Mount>, Ways)], own: Ways) -> Document {
        let described = mounts.iter().map(|(mount, ways)| described(mount, *ways));
        Document::merged(&described.collect::<Vec<_>>(), own)
    }

    /// The mounts, in file order.
    pub fn serving(&self) -> impl Iterator<Item = &Arc<Mount>> {
        self.servers.iter().filter_map(|mounted| match mounted {
            Mounted::Serving(mount) => Some(mount),
            _ => None,
        })
    }

    /// The servers that have to be unloaded in the end, in file order.
    pub fn running(&self) -> Vec<Arc<Instance>> {
        self.servers.iter().filter_map(Mounted::instance).cloned().collect()
    }

    /// The first server marked `required` that does not serve.
    pub fn required_failure(&self) -> Option<String> {
        let broken = |mounted: &&Mounted| mounted.entry().required && mounted.failure().is_some();
        self.servers.iter().find(broken).map(|mounted| mounted.entry().name.to_string())
    }

    /// The server whose prefix `path` lies below, and what remains of `path`: `""`, or text starting with `/`.
    pub fn find<'p>(&self, path: &'p str) -> Option<(&Mounted, &'p str)> {
        // Prefixes never overlap, so the first that fits is the only one.
        self.servers.iter().find_map(|mounted| mounted.entry().prefix.strip(path).map(|rest| (mounted, rest)))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        config::{Prefix, ServerName},
        load::LoadError,
    };

    /// A server that did not start.
    pub(crate) fn failed(name: &str, prefix: &str) -> Mounted {
        let name = ServerName::parse(name).expect("the test's own name");
        Mounted::Failed(Arc::new(Failed {
            error: LoadError::Read {
                server: name.clone(),
                path: "plugins/x.so".into(),
                source: std::io::ErrorKind::NotFound.into(),
            },
            entry: ServerEntry::new(
                name,
                "plugins/x.so".into(),
                Prefix::parse(prefix).expect("the test's own prefix"),
            ),
        }))
    }

    #[test]
    fn a_path_is_found_below_its_prefix_segment_by_segment() {
        let table = MountTable::of(vec![failed("greet", "/greet"), failed("deep", "/a/b")]);
        let find = |path| table.find(path).map(|(m, rest)| (m.entry().name.to_string(), rest));
        assert_eq!(find("/greet"), Some(("greet".into(), "")));
        assert_eq!(find("/greet/tools/x"), Some(("greet".into(), "/tools/x")));
        assert_eq!(find("/a/b/"), Some(("deep".into(), "/")));
        assert_eq!(find("/greetings"), None);
        assert_eq!(find("/a"), None);
        assert_eq!(find("/"), None);
    }

    #[test]
    fn a_failure_tells_the_whole_chain() {
        let failure = failed("greet", "/greet").failure().expect("it failed");
        assert_eq!(failure.code, "unreadable");
        assert_eq!(failure.reason, "server `greet`: cannot read `plugins/x.so`: entity not found");
    }
}
