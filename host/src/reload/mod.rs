//! Around the five steps, reload: takes them again for what has changed, while what has not goes on serving.
//!
//! In:   gateway.toml, the libraries, and a change of one of them, SIGHUP, or somebody who asks.
//! Out:  another mount table, switched to at once, what it replaced unloaded; or everything as it was, and why.
//! Fails: never: what cannot be served is refused, and what would have been replaced goes on.
//! Never: two at a time; anything once the gateway drains.
//!
//! What gateway.toml says is taken as a whole or not at all: if one server that it adds or changes does not start, nothing of
//! it is done. A library that has changed under an entry that has not is a matter of that server alone.

mod keeper;
mod look;
mod plan;
mod slots;
mod told;
mod watch;

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use tokio::runtime::Handle;

use crate::{
    config::{self, Config, ConfigError, ServerEntry},
    load::{Discovery, Ignored, Loader, Stamp},
    serve::{Gateway, Outcome, Reload, ReloadRequest, Terms, Trigger},
    unload::Retirements,
};
use keeper::Keeper;
use watch::{Seen, Watched, libraries_in, watch};

/// What the servers of a gateway were first loaded from.
#[derive(Debug)]
pub struct Origin {
    config: Config,
    /// Where the command line says to listen.
    listen: Option<SocketAddr>,
    discovery: Discovery,
    entries: Vec<ServerEntry>,
    ignored: Vec<Ignored>,
    seen: Seen,
}

impl Origin {
    /// Reads the file at `path` and looks for what it wants served. `listen`: where to listen, whatever the file says. What
    /// changes later, before it is loaded too, is found to have changed.
    pub fn read(path: &Path, listen: Option<SocketAddr>) -> Result<Self, ConfigError> {
        let own = Stamp::of(path);
        let config = config::read(path, listen)?;
        let mut discovery = Discovery::default();
        let (mut entries, mut ignored) = (config.servers.clone(), Vec::new());
        let mut seen = Seen { files: HashMap::new(), folder: config.plugins.autoload_from.clone() };
        seen.files.insert(config.path.clone(), Some(own));
        let mut see = |path: &Path| {
            seen.files.insert(path.to_owned(), Some(Stamp::of(path)));
        };
        if let Some(folder) = &config.plugins.autoload_from {
            libraries_in(folder).iter().for_each(|path| see(path));
            match discovery.look(folder, &config.servers, &|_| false) {
                Ok(found) => {
                    entries.extend(found.entries);
                    ignored = found.ignored;
                }
                // It may yet come.
                Err(error) => ignored.push(told::unreadable(folder, &error)),
            }
        }
        entries.iter().for_each(|entry| see(&entry.plugin));
        config.files.iter().for_each(|path| see(path));
        Ok(Self { config, listen, discovery, entries, ignored, seen })
    }

    /// The servers to load, in load order: those of gateway.toml, then those that were discovered.
    pub fn entries(&self) -> &[ServerEntry] {
        &self.entries
    }

    /// What in the folder of `autoload` is no server, and why.
    pub fn ignored(&self) -> &[Ignored] {
        &self.ignored
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }
}

/// Reloads on its own thread, and watches the files on another.
#[derive(Debug)]
pub struct Reloader {
    gateway: Arc<Gateway>,
    watched: Arc<Watched>,
    ended: Receiver<()>,
}

impl Reloader {
    /// Takes requests, and watches the files, from now on.
    pub fn start(
        origin: Origin,
        loader: Loader,
        gateway: &Arc<Gateway>,
        terms: &Terms,
        retirements: &Arc<Retirements>,
        runtime: &Handle,
    ) -> io::Result<Self> {
        let (messages, received) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let watched = Arc::new(Watched::default());
        watched.looked_at(origin.seen.clone());
        let libraries = origin.entries.iter().map(|entry| &entry.plugin);
        let examined =
            libraries.filter_map(|path| Some((path.clone(), origin.seen.files.get(path).copied()??)));
        let keeper = Keeper {
            gateway: gateway.clone(),
            loader,
            discovery: origin.discovery,
            retirements: retirements.clone(),
            runtime: runtime.clone(),
            watched: watched.clone(),
            config: origin.config,
            listen: origin.listen,
            terms: terms.clone(),
            examined: examined.collect(),
            seen: origin.seen,
            refused: BTreeMap::new(),
            declined: HashMap::new(),
            waits: None,
        };
        thread::Builder::new().name("reload".into()).spawn(move || {
            serve(keeper, &received);
            // Its receiver may have given up.
            let _ = end.send(());
        })?;
        thread::Builder::new().name("watch".into()).spawn({
            let (watched, messages) = (watched.clone(), messages.clone());
            move || watch(&watched, &messages)
        })?;
        gateway
            .reloads()
            .hand_to(Some(Box::new(move |request| messages.send(Message::Asked(request)).is_ok())));
        Ok(Self { gateway: gateway.clone(), watched, ended })
    }

    /// Takes no more requests. One under way goes on until it would switch, which it does no more once the gateway drains.
    pub fn close(&self) {
        self.watched.end();
        self.gateway.reloads().hand_to(None);
    }

    /// Waits until nothing is being loaded any more, at most `limit`. `false`: something still is. Blocks.
    pub fn finish(self, limit: Duration) -> bool {
        !matches!(self.ended.recv_timeout(limit), Err(RecvTimeoutError::Timeout))
    }
}

/// What the thread that reloads is told.
enum Message {
    /// Somebody wants what is on the disk to be served.
    Asked(ReloadRequest),
    /// A file has changed.
    Changed {
        /// The files that nobody is writing just now, as they are.
        settled: HashMap<PathBuf, Stamp>,
        /// Where to say that it has been looked at, whatever came of it.
        over: mpsc::Sender<()>,
    },
}

/// Does what is asked, one after the other, until nobody can ask any more.
fn serve(mut keeper: Keeper, messages: &Receiver<Message>) {
    let mut last: Option<Arc<Reload>> = None;
    while let Ok(first) = messages.recv() {
        // Whoever has asked by now wants what is on the disk by now: one look serves them all.
        let all: Vec<Message> = std::iter::once(first).chain(messages.try_iter()).collect();
        if keeper.is_stopping() {
            return;
        }
        let looked = {
            let asked = all.iter().find_map(|message| match message {
                Message::Asked(request) => Some((request.trigger, None)),
                Message::Changed { .. } => None,
            });
            let changed = all.iter().find_map(|message| match message {
                Message::Changed { settled, .. } => Some((Trigger::Change, Some(settled))),
                Message::Asked(_) => None,
            });
            let (trigger, settled) = asked.or(changed).expect("there is at least one message");
            // What it shares is replaced as a whole, so that nothing is left half-changed.
            catch_unwind(AssertUnwindSafe(|| keeper.look(trigger, settled)))
        };
        let reload = looked.unwrap_or_else(|_| {
            tracing::error!("reload panicked");
            None
        });
        let Some(reload) = reload.map(Arc::new) else { continue };
        // In this order: whoever finds it in the log finds it in `/servers` as well.
        keeper.gateway.reloads().note(reload.clone());
        note(&reload, last.as_deref());
        for message in all {
            // Who asked may be gone.
            match message {
                Message::Asked(request) => drop(request.answer.send(reload.clone())),
                Message::Changed { over, .. } => drop(over.send(())),
            }
        }
        last = Some(reload);
    }
}

/// Logs what came of a look; what stands since the one before is said again only to who asks.
fn note(reload: &Reload, before: Option<&Reload>) {
    let (trigger, elapsed_ms) = (reload.trigger.word(), reload.took.as_micros() as f64 / 1000.0);
    let is_asked = reload.trigger != Trigger::Change;
    for refused in &reload.refused {
        if is_asked || before.is_none_or(|before| !before.refused.contains(refused)) {
            let (server, code, reason) = (refused.server.as_deref(), refused.code, refused.to_string());
            tracing::error!(trigger, server, code, reason, "reload refused");
        }
    }
    for failed in &reload.failed {
        if is_asked || before.is_none_or(|before| !before.failed.contains(failed)) {
            tracing::error!(
                trigger,
                server = failed.server.as_deref(),
                error = failed.reason,
                "server failed"
            );
        }
    }
    for waiting in &reload.waiting {
        if before.is_none_or(|before| !before.waiting.contains(waiting)) {
            let (key, holds, written) = (waiting.key, &waiting.holds, &waiting.written);
            tracing::warn!(key, holds, written, "a change takes a restart");
        }
    }
    for (file, reason) in &reload.ignored {
        if before
            .is_none_or(|before| !before.ignored.iter().any(|(other, why)| (other, why) == (file, reason)))
        {
            tracing::warn!(file, reason, "file in the plugins folder ignored");
        }
    }
    let changes: Vec<String> =
        reload.changes.iter().map(|change| format!("{} {}", change.server, change.what.word())).collect();
    if !changes.is_empty() || !reload.settings.is_empty() {
        let said = |list: String| Some(list).filter(|list| !list.is_empty());
        let (changes, settings) = (said(changes.join(", ")), said(reload.settings.join(", ")));
        tracing::info!(trigger, changes, settings, elapsed_ms, "reloaded");
    } else if reload.outcome == Outcome::Unchanged && before.is_some_and(|before| !before.refused.is_empty())
    {
        tracing::info!(trigger, elapsed_ms, "nothing is refused any more");
    } else if is_asked && reload.outcome == Outcome::Unchanged {
        tracing::info!(trigger, elapsed_ms, "nothing to reload");
    }
}
