//! One look at the files: read, load beside what serves, switch once, retire what serves no more.
//!
//! In:   why to look, and which files nobody is writing just now.
//! Out:  what came of it.
//! Never: touches a server whose entry and library are what they were; leaves a library behind that does not serve.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::runtime::Handle;

use super::{
    look::{Look, NotWanted, Wanted},
    plan::{File, State, Step, step},
    slots::{Loaded, new_instances, slots, succeeded_by_nothing, unload},
    told::{Generations, being_written, changes, refusal, settings_changed, waiting},
    watch::{Seen, Watched, has_changed},
};
use crate::{
    config::{Config, ServerEntry, ServerName},
    load::{Discovery, Loader, Stamp, digest_of},
    mount::Mounted,
    observe,
    serve::{Audit, AuditLog, Gateway, Outcome, Refused, Reload, Settings, Slot, Switched, Terms, Trigger},
    unload::{Retirements, unload_all},
};

/// How long what is wanted may wait for a file that is being written until that is said.
const PATIENCE: Duration = Duration::from_secs(5);

/// Servers that were wanted and did not start, by name: the entry, the library, and why.
pub(super) type Declined = HashMap<ServerName, (ServerEntry, Stamp, Refused)>;

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
    /// Where the command line says to listen, whatever gateway.toml does.
    pub(super) listen: Option<SocketAddr>,
    /// On which terms connections are taken.
    pub(super) terms: Terms,
    /// Every file as it was when it was last looked at.
    pub(super) seen: Seen,
    /// Libraries as they were when they were last loaded or refused.
    pub(super) examined: HashMap<PathBuf, Stamp>,
    /// Servers that go on although there is another library for them.
    pub(super) refused: BTreeMap<ServerName, Refused>,
    /// Servers that are wanted and do not start, each with the library that it was tried with.
    pub(super) declined: Declined,
    /// Since when what is wanted waits for a file that is being written; `None`: it does not, or that has been said.
    pub(super) waits: Option<Instant>,
}

/// Why a look ends without an answer, or with the wrong one.
enum Halt {
    /// What is on the disk cannot be served.
    NotWanted(NotWanted),
    /// A library is being written: later.
    PutOff(PathBuf),
    /// The gateway stops.
    Stopping,
}

/// What is known of the files of servers, by name.
type Examined = HashMap<ServerName, (PathBuf, Stamp, File)>;

impl Keeper {
    /// Looks at the files, and serves what is there. `None`: it was put off, there is nothing new, or the gateway
    /// stops.
    pub(super) fn look(
        &mut self,
        trigger: Trigger,
        settled: Option<&HashMap<PathBuf, Stamp>>,
    ) -> Option<Reload> {
        if settled.is_some_and(|settled| !has_changed(&self.seen, settled)) {
            // It was noticed while the look before was under way, which has acted upon it.
            return None;
        }
        let began = Instant::now();
        let before = self.seen.clone();
        let mut look = Look::new(settled, &before);
        let (held, put_off) = match self.attempt(&mut look, trigger) {
            Ok(reload) => (Some(reload), None),
            // What does not depend on it is followed all the same: libraries of servers that stay as they are, and
            // discovered ones. What has failed before is tried again once there is a gateway.toml to try it with.
            Err(Halt::NotWanted(NotWanted { told, report })) => {
                let mut reload = self.serve_held(&mut look)?;
                reload.refused.splice(0..0, told);
                (Some(Reload { trigger, report, ..reload }), None)
            }
            Err(Halt::PutOff(path)) => {
                self.wait(&path);
                let mut reload = self.serve_held(&mut look)?;
                let is_said = trigger != Trigger::Change || !reload.changes.is_empty();
                reload.refused.insert(0, being_written(&path));
                (is_said.then_some(Reload { trigger, ..reload }), Some(path))
            }
            Err(Halt::Stopping) => return None,
        };
        self.seen = match put_off {
            None => {
                self.waits = None;
                look.done()
            }
            Some(path) => look.done_but_for([&path, &self.config.path]),
        };
        self.watched.looked_at(self.seen.clone());
        let mut reload = held?;
        let own = |refused: &Refused| !reload.refused.iter().any(|other| other.server == refused.server);
        let standing: Vec<Refused> = self.refused.values().filter(|refused| own(refused)).cloned().collect();
        reload.refused.extend(standing);
        let has_changed = !(reload.changes.is_empty() && reload.settings.is_empty());
        reload.outcome = match (reload.refused.is_empty(), has_changed) {
            (false, _) => Outcome::Refused,
            (true, true) => Outcome::Applied,
            (true, false) => Outcome::Unchanged,
        };
        (reload.at, reload.took) = (SystemTime::now(), began.elapsed());
        Some(reload)
    }

    fn attempt(&mut self, look: &mut Look<'_>, trigger: Trigger) -> Result<Reload, Halt> {
        let path = self.config.path.clone();
        // Before it is read: what changes after that is found by the next look. Half of it would be another file.
        let stamp = look.file(&path).ok_or(Halt::PutOff(path.clone()))?;
        let wanted = look.read(&path, stamp, self.listen, &mut self.discovery).map_err(Halt::NotWanted)?;
        let reload = self.serve(wanted, look, trigger)?;
        // All that has a table serves. A discovered plugin may yet go on in the place of one that does not.
        self.declined.retain(|_, (entry, ..)| entry.discovered);
        Ok(reload)
    }

    /// Looks at everything but gateway.toml, with that which holds. `None`: the gateway stops.
    fn serve_held(&mut self, look: &mut Look<'_>) -> Option<Reload> {
        look.at_all_of_before();
        let (config, mut entries, mut ignored) =
            (self.config.clone(), self.config.servers.clone(), Vec::new());
        match look.discover(&config, &mut self.discovery) {
            Ok(found) => {
                entries.extend(found.entries);
                ignored = found.ignored;
            }
            // Nobody can tell what is in it: those that were there go on.
            Err(_) => {
                let mounted = self.gateway.mounted();
                let discovered = mounted.iter().map(Mounted::entry).filter(|entry| entry.discovered);
                entries.extend(discovered.cloned());
            }
        }
        // Servers that stay as they are are never refused as if gateway.toml wanted them anew.
        self.serve(Wanted { config, entries, ignored }, look, Trigger::Change).ok()
    }

    /// Serves what is wanted, all of it or nothing; a library that does not start is its server's matter only.
    fn serve(&mut self, wanted: Wanted, look: &mut Look<'_>, trigger: Trigger) -> Result<Reload, Halt> {
        let Wanted { config, entries, ignored } = wanted;
        let mut examined = Examined::new();
        let steps = self.steps(&entries, look, &mut examined, trigger)?;
        let mut loaded = self.load(&entries, &steps, Step::Load);
        let of = |loaded: &Loaded| Some(refusal(&entries[loaded.at], loaded.failure.as_ref()?));
        let failed: Vec<Refused> = loaded.iter().filter_map(of).collect();
        if !failed.is_empty() {
            self.remember(&entries, &loaded, &examined);
            unload(&loaded);
            return Err(Halt::NotWanted(NotWanted::of_servers(failed)));
        }
        let reached = self.check_reach(&config);
        reached.inspect_err(|_| unload(&loaded))?;
        let audit = self.audit(&config, &loaded)?;
        loaded.extend(self.load(&entries, &steps, Step::Renew));
        self.remember(&entries, &loaded, &examined);

        let mounted = self.gateway.mounted();
        let before = Generations::of(&mounted);
        let mut refused = std::mem::take(&mut self.refused);
        // What was refused and is gone, or is another by now, stands no more.
        refused.retain(|name, _| {
            entries.iter().zip(&steps).any(|(entry, step)| entry.name == *name && *step == Step::Keep)
                && !examined.get(name).is_some_and(|(_, _, file)| *file == File::SameContent)
        });
        let mut slots = slots(&entries, loaded, &before, &mut refused);
        for (name, why) in succeeded_by_nothing(&mounted, &entries, &ignored, &self.declined, &mut slots) {
            refused.insert(name.clone(), why);
            slots.push(Slot::Same(name));
        }
        self.refused = refused;
        drop(mounted);
        self.switch(slots, &config, audit)?;
        self.examined.extend(examined.into_values().map(|(path, stamp, _)| (path, stamp)));

        let now = self.gateway.mounted();
        let failing = |mounted: &Mounted| match mounted {
            Mounted::Serving(_) => None,
            failed => Some(refusal(failed.entry(), &failed.failure()?)),
        };
        let told = Reload {
            trigger,
            outcome: Outcome::Unchanged,
            at: SystemTime::now(),
            took: Duration::ZERO,
            changes: changes(&before, &Generations::of(&now)),
            settings: settings_changed(&self.config, &config),
            failed: now.iter().filter_map(failing).collect(),
            refused: Vec::new(),
            waiting: waiting(&self.config, &config),
            ignored: ignored.into_iter().map(|one| (one.path.display().to_string(), one.reason)).collect(),
            report: None,
        };
        self.hold(config);
        Ok(told)
    }

    /// What is to be done for each entry.
    fn steps(
        &self,
        entries: &[ServerEntry],
        look: &mut Look<'_>,
        examined: &mut Examined,
        trigger: Trigger,
    ) -> Result<Vec<Step>, Halt> {
        let mounted = self.gateway.mounted();
        let mut steps = Vec::new();
        let mut declined = Vec::new();
        for entry in entries {
            let current = mounted.iter().find(|mounted| mounted.entry().name == entry.name);
            let file = self.examine(entry, current, look, examined);
            let state = current.map(|mounted| (State::of(mounted), mounted.entry().says_the_same_as(entry)));
            let is_refused = self.refused.contains_key(&entry.name);
            let step = step(entry, state, file, is_refused, trigger != Trigger::Change);
            match step {
                Step::PutOff => return Err(Halt::PutOff(entry.plugin.clone())),
                Step::Load if trigger == Trigger::Change => {
                    declined.extend(self.declined_before(entry, examined));
                }
                // Discovered, in the place of one that goes on.
                Step::Renew if trigger == Trigger::Change && current.is_none() => {
                    let is_known = self.declined_before(entry, examined).is_some();
                    steps.push(if is_known { Step::Keep } else { step });
                    continue;
                }
                _ => {}
            }
            steps.push(step);
        }
        if declined.is_empty() { Ok(steps) } else { Err(Halt::NotWanted(NotWanted::of_servers(declined))) }
    }

    /// What is known of the library of `entry`.
    fn examine(
        &self,
        entry: &ServerEntry,
        current: Option<&Mounted>,
        look: &mut Look<'_>,
        examined: &mut Examined,
    ) -> File {
        let Some(stamp) = look.file(&entry.plugin) else { return File::Unsettled };
        let loaded = current.and_then(Mounted::instance).map(|instance| instance.digest());
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

    /// Why that very entry did not start with that very library. To try it again could cost a library that stays.
    fn declined_before(&self, entry: &ServerEntry, examined: &Examined) -> Option<Refused> {
        let (declined, stamp, refused) = self.declined.get(&entry.name)?;
        let (_, now, _) = examined.get(&entry.name)?;
        (declined.says_the_same_as(entry) && stamp == now).then(|| refused.clone())
    }

    /// Notes which servers have not started, and with which library.
    fn remember(&mut self, entries: &[ServerEntry], loaded: &[Loaded], examined: &Examined) {
        for Loaded { at, failure, .. } in loaded {
            let entry = &entries[*at];
            if let (Some(failure), Some((_, stamp, _))) = (failure, examined.get(&entry.name)) {
                let refused = refusal(entry, failure);
                self.declined.insert(entry.name.clone(), (entry.clone(), *stamp, refused));
            }
        }
    }

    /// Loads the servers for which `steps` has `wanted`.
    fn load(&self, entries: &[ServerEntry], steps: &[Step], wanted: Step) -> Vec<Loaded> {
        let places: Vec<usize> = (0..entries.len()).filter(|at| steps[*at] == wanted).collect();
        let entries: Vec<ServerEntry> = places.iter().map(|at| entries[*at].clone()).collect();
        let servers = self.loader.load_all(&entries).into_iter().map(Mounted::new);
        let loaded = places.into_iter().zip(servers);
        loaded.map(|(at, mounted)| Loaded { at, failure: mounted.failure(), mounted }).collect()
    }

    /// What is written of addresses takes a restart, but of callers it holds at once: whoever can reach the gateway as it listens
    /// now has to be asked all the same.
    fn check_reach(&self, config: &Config) -> Result<(), Halt> {
        let held = std::iter::once(self.config.listen).chain(self.config.admin.listen);
        match held.into_iter().find(|listen| !config.auth.allows(*listen)) {
            None => Ok(()),
            Some(listen) => Err(Halt::NotWanted(NotWanted::of_reach(listen))),
        }
    }

    /// Where `config` wants it recorded what callers do. One that cannot be opened is as bad as a server that does not start.
    fn audit(&self, config: &Config, loaded: &[Loaded]) -> Result<AuditLog, Halt> {
        if config.audit == self.config.audit {
            return Ok(self.gateway.settings().audit);
        }
        Audit::open(&config.audit).map(AuditLog::new).map_err(|error| {
            unload(loaded);
            Halt::NotWanted(NotWanted::of_audit(config, &error))
        })
    }

    /// Serves `slots` from the next request on, and has what serves no more end.
    fn switch(&self, slots: Vec<Slot>, config: &Config, audit: AuditLog) -> Result<(), Halt> {
        let mut settings = Settings::of(config, audit);
        settings.admin.listen = self.config.admin.listen;
        settings.is_tls = self.config.tls.is_some();
        let switched = {
            let _runtime = self.runtime.enter();
            self.gateway.switch(slots, settings)
        };
        match switched {
            Ok(switched) => {
                self.retire(switched);
                Ok(())
            }
            Err(slots) => {
                unload_all(&new_instances(&slots));
                Err(Halt::Stopping)
            }
        }
    }

    /// Has what serves no more end in the background, each when its last call has.
    fn retire(&self, Switched { replaced, closed }: Switched) {
        for (door, instance) in closed {
            self.retirements.retire(instance, Some((door, self.runtime.clone())));
        }
        for instance in replaced {
            self.retirements.retire(instance, None);
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
        if let (Some(switch), Some(tls)) = (&self.terms.tls, &config.tls)
            && self.config.tls.as_ref() != Some(tls)
        {
            switch.replace(tls);
        }
        self.terms.limits.set_max(config.limits.connections_max);
        let before = std::mem::replace(&mut self.config, config);
        self.config.listen = before.listen;
        self.config.admin.listen = before.admin.listen;
        self.config.log.format = before.log.format;
        self.config.limits.head_timeout = before.limits.head_timeout;
        if before.tls.is_some() != self.config.tls.is_some() {
            self.config.tls = before.tls;
        }
    }

    /// Says once that what is wanted waits for a file, if it does so for long.
    fn wait(&mut self, file: &std::path::Path) {
        let since = *self.waits.get_or_insert_with(Instant::now);
        if since.elapsed() > PATIENCE {
            tracing::warn!(file = %file.display(), "reload waits for a file that is being written");
            // Not again for the next while.
            self.waits = None;
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.gateway.phase().is_stopping()
    }
}
