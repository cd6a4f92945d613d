//! One look at the files: read, load beside what serves, switch once, retire what serves no more.
//!
//! In:   why to look, and which files nobody is writing just now.
//! Out:  what came of it; `None`: it was put off, or the gateway stops.
//! Never: touches a server whose entry and library are what they were; leaves a library behind that does not serve.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::runtime::Handle;

use super::{
    plan::{File, State, Step, step},
    told::{refusal, refusals_of_config, settings_changed, unreadable, waiting},
    watch::{PAUSE, Seen, Watched, libraries_in},
};
use crate::{
    config::{self, Config, ServerEntry, ServerName},
    load::{Discovered, Discovery, Ignored, Instance, Loader, Stamp, digest_of},
    mount::{Failure, Mounted},
    observe,
    serve::{Change, Gateway, Outcome, Phase, Refused, Reload, Settings, Slot, Switched, Trigger, What},
    unload::{Retirements, unload_all},
};

/// Everything that a reload works with and on.
pub(super) struct Keeper {
    pub(super) gateway: Arc<Gateway>,
    pub(super) loader: Loader,
    pub(super) discovery: Discovery,
    pub(super) retirements: Arc<Retirements>,
    pub(super) runtime: Handle,
    pub(super) watched: Arc<Watched>,
    /// What holds: gateway.toml as it was last accepted, but for what takes a restart.
    pub(super) config: Config,
    /// Whether the command line says where to listen, whatever gateway.toml does.
    pub(super) listens_elsewhere: bool,
    /// Every file as it was when it was last acted upon.
    pub(super) seen: Seen,
    /// Libraries as they were when they were last loaded or refused.
    pub(super) examined: HashMap<PathBuf, Stamp>,
    /// Servers that go on although there is another library for them.
    pub(super) refused: BTreeMap<ServerName, Refused>,
}

/// What is on the disk.
struct Wanted {
    config: Config,
    entries: Vec<ServerEntry>,
    ignored: Vec<Ignored>,
}

/// The files of one look.
struct Look<'a> {
    settled: Option<&'a HashMap<PathBuf, Stamp>>,
    before: Seen,
    seen: Seen,
}

impl Look<'_> {
    /// The file as it is now, and from now on watched. `None`: somebody may be writing it; its change will be found again.
    fn file(&mut self, path: &Path) -> Option<Stamp> {
        let stamp = Stamp::of(path);
        let before = self.before.files.get(path);
        let is_settled = match (self.settled, before) {
            (None, _) => true,
            (Some(settled), _) if settled.get(path) == Some(&stamp) => true,
            // Nobody has watched it yet.
            (_, None) => stamp.is_older_than(PAUSE),
            (..) => false,
        };
        let acted_upon = if is_settled { Some(stamp) } else { before.copied().flatten() };
        self.seen.files.insert(path.to_owned(), acted_upon);
        is_settled.then_some(stamp)
    }

    /// What is to be watched if nothing is done about what was found: everything is still to be acted upon.
    fn put_off(self) -> Seen {
        let mut seen = self.before;
        for path in self.seen.files.into_keys() {
            seen.files.entry(path).or_insert(None);
        }
        seen
    }
}

/// A server that was to be loaded.
struct Loaded {
    /// Its place among the entries.
    at: usize,
    step: Step,
    mounted: Mounted,
    failure: Option<Failure>,
}

impl Keeper {
    /// Looks at the files, and serves what is there.
    pub(super) fn look(
        &mut self,
        trigger: Trigger,
        settled: Option<&HashMap<PathBuf, Stamp>>,
    ) -> Option<Reload> {
        let mut reload = Reload {
            trigger,
            outcome: Outcome::Unchanged,
            at: SystemTime::now(),
            took: Duration::ZERO,
            changes: Vec::new(),
            settings: Vec::new(),
            refused: Vec::new(),
            waiting: Vec::new(),
            ignored: Vec::new(),
            report: None,
        };
        let began = Instant::now();
        let mut look = Look { settled, before: self.seen.clone(), seen: Seen::default() };
        // Before it is read: what changes after that is found by the next look. Half of it would be another file.
        let stamp = look.file(&self.config.path)?;
        match self.wanted(&mut look, stamp) {
            Err(refused) => {
                (reload.refused, reload.report) = (refused.told, refused.report);
                // The libraries of before count as before.
                for (path, stamp) in &self.seen.files {
                    look.seen.files.entry(path.clone()).or_insert(*stamp);
                }
                look.seen.folder.clone_from(&self.seen.folder);
            }
            Ok(wanted) => match self.serve(wanted, &mut look, &mut reload) {
                Some(()) => {}
                None => {
                    self.seen = look.put_off();
                    self.watched.acted_upon(self.seen.clone());
                    return None;
                }
            },
        }
        self.seen = look.seen;
        self.watched.acted_upon(self.seen.clone());
        let own = |refused: &Refused| !reload.refused.iter().any(|other| other.server == refused.server);
        let standing: Vec<Refused> = self.refused.values().filter(|refused| own(refused)).cloned().collect();
        reload.refused.extend(standing);
        reload.outcome =
            match (reload.refused.is_empty(), reload.changes.is_empty() && reload.settings.is_empty()) {
                (false, _) => Outcome::Refused,
                (true, false) => Outcome::Applied,
                (true, true) => Outcome::Unchanged,
            };
        (reload.at, reload.took) = (SystemTime::now(), began.elapsed());
        Some(reload)
    }

    /// Reads what is on the disk. `stamp`: of gateway.toml.
    fn wanted(&mut self, look: &mut Look<'_>, stamp: Stamp) -> Result<Wanted, NotWanted> {
        let config = config::read(&self.config.path).map_err(NotWanted::of_config)?;
        if let Stamp::There { size: 0, .. } = stamp {
            return Err(NotWanted::of_nothing());
        }
        let mut entries = config.servers.clone();
        let mut ignored = Vec::new();
        if let Some(folder) = &config.plugins.autoload_from {
            look.seen.folder = Some(folder.clone());
            let unsettled: Vec<PathBuf> =
                libraries_in(folder).into_iter().filter(|path| look.file(path).is_none()).collect();
            let is_unsettled = |path: &Path| unsettled.iter().any(|other| other == path);
            let found = self.discovery.look(folder, &config.servers, &is_unsettled);
            let found = found.map_err(|error| NotWanted::of_folder(folder, &error))?;
            let Discovered { entries: more, ignored: others } = found;
            entries.extend(more);
            ignored = others;
        }
        Ok(Wanted { config, entries, ignored })
    }

    /// Serves what is wanted, as far as that can be. `None`: later, or never.
    fn serve(&mut self, wanted: Wanted, look: &mut Look<'_>, reload: &mut Reload) -> Option<()> {
        let Wanted { config, entries, ignored } = wanted;
        reload.ignored =
            ignored.into_iter().map(|ignored| (ignored.path.display().to_string(), ignored.reason)).collect();
        let mounted = self.gateway.mounted();
        let mut examined = HashMap::new();
        let steps: Vec<Step> = entries
            .iter()
            .map(|entry| self.step(entry, &mounted, look, &mut examined, reload.trigger))
            .collect();
        if steps.contains(&Step::PutOff) {
            return None;
        }
        let loaded = self.load(&entries, &steps);
        let failed: Vec<Refused> = loaded
            .iter()
            .filter(|loaded| loaded.step == Step::Load)
            .filter_map(|loaded| Some(refusal(&entries[loaded.at], loaded.failure.as_ref()?)))
            .collect();
        if !failed.is_empty() {
            unload_all(
                &loaded.iter().filter_map(|loaded| loaded.mounted.instance().cloned()).collect::<Vec<_>>(),
            );
            reload.refused = failed;
            return Some(());
        }

        let before = names_and_generations(&mounted);
        drop(mounted);
        let mut refused = std::mem::take(&mut self.refused);
        // What was refused and is gone, or is another by now, stands no more.
        refused.retain(|name, _| {
            entries.iter().zip(&steps).any(|(entry, step)| entry.name == *name && *step == Step::Keep)
                && !examined.get(name).is_some_and(|(_, _, file)| *file == File::SameContent)
        });
        let slots = self.slots(&entries, loaded, &before, &mut refused);
        self.refused = refused;
        let settings = self.settings(&config);
        reload.waiting = waiting(&self.config, &config, self.listens_elsewhere);
        reload.settings = settings_changed(&self.config, &config);
        match self.switch(slots, settings) {
            Ok(switched) => self.retire(switched),
            Err(slots) => {
                unload_all(&new_instances(&slots));
                return None;
            }
        }
        self.hold(config);
        self.examined.extend(examined.into_values().map(|(path, stamp, _)| (path, stamp)));
        self.examined.retain(|path, _| look.seen.files.contains_key(path));
        let now = self.gateway.mounted();
        reload.changes = changes(&before, &names_and_generations(&now));
        let failing = |mounted: &Mounted| match mounted {
            Mounted::Serving(_) => None,
            failed => Some(refusal(failed.entry(), &failed.failure()?)),
        };
        reload.refused = now.iter().filter_map(failing).collect();
        Some(())
    }

    fn step(
        &self,
        entry: &ServerEntry,
        mounted: &[Mounted],
        look: &mut Look<'_>,
        examined: &mut HashMap<ServerName, (PathBuf, Stamp, File)>,
        trigger: Trigger,
    ) -> Step {
        let current = mounted.iter().find(|mounted| mounted.entry().name == entry.name);
        let loaded = current.and_then(Mounted::instance).map(|instance| instance.digest());
        let file = match look.file(&entry.plugin) {
            None => File::Unsettled,
            Some(stamp) => {
                let file = if self.examined.get(&entry.plugin) == Some(&stamp) {
                    File::Same
                } else if loaded.is_some() && digest_of(entry) == loaded {
                    File::SameContent
                } else {
                    File::Changed
                };
                examined.insert(entry.name.clone(), (entry.plugin.clone(), stamp, file));
                file
            }
        };
        let current = current.map(|mounted| (State::of(mounted), mounted.entry().says_the_same_as(entry)));
        let is_refused = self.refused.contains_key(&entry.name);
        step(entry, current, file, is_refused, trigger != Trigger::Change)
    }

    fn load(&self, entries: &[ServerEntry], steps: &[Step]) -> Vec<Loaded> {
        let places = steps.iter().enumerate().filter(|(_, step)| matches!(step, Step::Load | Step::Renew));
        let (places, steps): (Vec<usize>, Vec<Step>) = places.unzip();
        let entries: Vec<ServerEntry> = places.iter().map(|at| entries[*at].clone()).collect();
        let servers = self.loader.load_all(&entries).into_iter().map(Mounted::new);
        let loaded = places.into_iter().zip(steps).zip(servers);
        loaded.map(|((at, step), mounted)| Loaded { at, step, failure: mounted.failure(), mounted }).collect()
    }

    /// What is to be served for each entry, with the reason where that is not what is on the disk.
    fn slots(
        &self,
        entries: &[ServerEntry],
        loaded: Vec<Loaded>,
        before: &[(ServerName, Option<u64>)],
        refused: &mut BTreeMap<ServerName, Refused>,
    ) -> Vec<Slot> {
        let serves = |name: &ServerName| before.iter().any(|(other, now)| other == name && now.is_some());
        let mut loaded: HashMap<usize, Loaded> =
            loaded.into_iter().map(|loaded| (loaded.at, loaded)).collect();
        let slot = |(at, entry): (usize, &ServerEntry)| match loaded.remove(&at) {
            Some(Loaded { failure: Some(failure), mounted, .. }) if serves(&entry.name) => {
                // It may run, although it cannot be served.
                mounted.instance().inspect(|instance| drop(instance.stop()));
                refused.insert(entry.name.clone(), refusal(entry, &failure));
                Some(Slot::Same(entry.name.clone()))
            }
            Some(Loaded { mounted, .. }) => Some(Slot::New(mounted)),
            None if before.iter().any(|(name, _)| *name == entry.name) => {
                Some(Slot::Same(entry.name.clone()))
            }
            // Found, but not yet settled.
            None => None,
        };
        entries.iter().enumerate().filter_map(slot).collect()
    }

    fn settings(&self, config: &Config) -> Settings {
        let mut settings = Settings::of(config);
        settings.admin.listen = self.config.admin.listen;
        settings
    }

    fn switch(&self, slots: Vec<Slot>, settings: Settings) -> Result<Switched, Vec<Slot>> {
        let _runtime = self.runtime.enter();
        self.gateway.switch(slots, settings)
    }

    /// Has what serves no more end, last to first, in the background.
    fn retire(&self, Switched { replaced, closed }: Switched) {
        let drain = self.config.shutdown.drain;
        let limit = |instance: &Instance| drain.max(instance.entry().call_timeout);
        for (door, instance) in closed.into_iter().rev() {
            door.begin_drain();
            let (runtime, limit) = (self.runtime.clone(), limit(&instance));
            self.retirements.retire(instance, limit, move || {
                runtime.block_on(door.close_sessions());
                door.shut();
            });
        }
        for instance in replaced.into_iter().rev() {
            let limit = limit(&instance);
            self.retirements.retire(instance, limit, || {});
        }
    }

    /// Holds to `config` from now on, but for what takes a restart.
    fn hold(&mut self, config: Config) {
        if self.config.log.filter != config.log.filter {
            observe::change_filter(&config.log);
        }
        if self.config.plugins.cache_dir != config.plugins.cache_dir {
            self.loader.remember_in(&config.plugins);
        }
        let (listen, admin_listen, format) =
            (self.config.listen, self.config.admin.listen, self.config.log.format);
        self.config = config;
        self.config.listen = listen;
        self.config.admin.listen = admin_listen;
        self.config.log.format = format;
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.gateway.phase() == Phase::Draining
    }
}

/// Why nothing of what is on the disk can be served.
struct NotWanted {
    told: Vec<Refused>,
    report: Option<String>,
}

impl NotWanted {
    fn of_config(error: config::ConfigError) -> Self {
        let report = Some(error.to_string());
        Self { told: refusals_of_config(&error), report }
    }

    /// It would be a gateway.toml without servers; but nobody who wants none writes an empty one, while a full disk, or an
    /// editor between truncating and writing, leaves one behind.
    fn of_nothing() -> Self {
        let reason = "the file is empty; write what it is to say, or at least a comment".into();
        Self { told: vec![Refused { server: None, code: "bad_config", reason, place: None }], report: None }
    }

    fn of_folder(folder: &Path, error: &std::io::Error) -> Self {
        let Ignored { path, reason } = unreadable(folder, error);
        let reason = format!("`{}`: {reason}", path.display());
        let told = vec![Refused { server: None, code: "bad_folder", reason, place: None }];
        Self { told, report: None }
    }
}

fn new_instances(slots: &[Slot]) -> Vec<Arc<Instance>> {
    let new = slots.iter().filter_map(|slot| match slot {
        Slot::New(mounted) => mounted.instance().cloned(),
        Slot::Same(_) => None,
    });
    new.collect()
}

/// Each server with the generation that serves for it, if one does.
fn names_and_generations(mounted: &[Mounted]) -> Vec<(ServerName, Option<u64>)> {
    let row = |mounted: &Mounted| {
        let serving = match mounted {
            Mounted::Serving(mount) => Some(mount.instance.generation()),
            _ => None,
        };
        (mounted.entry().name.clone(), serving)
    };
    mounted.iter().map(row).collect()
}

fn changes(before: &[(ServerName, Option<u64>)], now: &[(ServerName, Option<u64>)]) -> Vec<Change> {
    let of = |table: &[(ServerName, Option<u64>)], name: &ServerName| {
        table.iter().find(|(other, _)| other == name).map(|(_, generation)| *generation)
    };
    let change = |name: &ServerName, what, generation| Change { server: name.to_string(), what, generation };
    let serving =
        now.iter().filter_map(|(name, generation)| match (of(before, name).flatten(), *generation) {
            (None, Some(generation)) => Some(change(name, What::Added, Some(generation))),
            (Some(old), Some(new)) if old != new => Some(change(name, What::Swapped, Some(new))),
            _ => None,
        });
    let gone = before.iter().filter(|(name, _)| of(now, name).is_none());
    serving.chain(gone.map(|(name, _)| change(name, What::Removed, None))).collect()
}
