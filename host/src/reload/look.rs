//! The files at one moment: which of them are as they will stay for now, and what they want served.
//!
//! In:   gateway.toml, the libraries, the folder of `autoload`.
//! Out:  what is wanted, or why that is nothing that can be served; what to compare the next look with.
//! Never: takes a file for what it will be while somebody is writing it.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    thread,
};

use super::{
    told::{refusals_of_config, unreadable},
    watch::{PAUSE, Seen, libraries_in},
};
use crate::{
    config::{self, Config, ConfigError, ServerEntry},
    load::{Discovered, Discovery, Ignored, Stamp},
    serve::Refused,
};

/// The files of one look.
pub(super) struct Look<'a> {
    /// Those that are as they were at the look before. `None`: whoever asks says that all are.
    settled: Option<&'a HashMap<PathBuf, Stamp>>,
    /// Written while this look waited.
    unsettled: HashSet<PathBuf>,
    before: Seen,
    seen: Seen,
}

/// What is on the disk.
pub(super) struct Wanted {
    pub(super) config: Config,
    pub(super) entries: Vec<ServerEntry>,
    pub(super) ignored: Vec<Ignored>,
}

/// Why nothing of what is on the disk is served.
pub(super) struct NotWanted {
    pub(super) told: Vec<Refused>,
    /// What `gateway check` would print.
    pub(super) report: Option<String>,
}

impl<'a> Look<'a> {
    pub(super) fn new(settled: Option<&'a HashMap<PathBuf, Stamp>>, before: &Seen) -> Self {
        Self { settled, unsettled: HashSet::new(), before: before.clone(), seen: Seen::default() }
    }

    /// The file as it is now, and from now on watched. `None`: somebody may be writing it; its change will be found again.
    pub(super) fn file(&mut self, path: &Path) -> Option<Stamp> {
        let stamp = Stamp::of(path);
        let before = self.before.files.get(path);
        let is_settled = match (self.settled, before) {
            _ if self.unsettled.contains(path) => false,
            (None, _) => true,
            (Some(settled), _) if settled.get(path) == Some(&stamp) => true,
            // Nobody has watched it yet.
            (_, None) => stamp.is_older_than(PAUSE),
            (..) => false,
        };
        let looked_at = if is_settled { Some(stamp) } else { before.copied().flatten() };
        self.seen.files.insert(path.to_owned(), looked_at);
        is_settled.then_some(stamp)
    }

    /// Looks at every file of the look before, and at what is new in its folder, so that the next look finds only what
    /// changes from here on.
    pub(super) fn at_all_of_before(&mut self) {
        let mut paths: HashSet<PathBuf> = self.before.files.keys().cloned().collect();
        paths.extend(self.before.folder.iter().flat_map(|folder| libraries_in(folder)));
        paths.retain(|path| !self.seen.files.contains_key(path));
        for path in paths {
            self.file(&path);
        }
        self.seen.folder = self.seen.folder.take().or_else(|| self.before.folder.clone());
    }

    /// Reads what is on the disk; `path`: gateway.toml, whose stamp is `stamp`. `listen`: what the command line says.
    pub(super) fn read(
        &mut self,
        path: &Path,
        stamp: Stamp,
        listen: Option<SocketAddr>,
        discovery: &mut Discovery,
    ) -> Result<Wanted, NotWanted> {
        let read = config::read(path, listen);
        // Of one that is being written only half may have been read: then the next look finds that it has changed.
        let files = match &read {
            Ok(config) => &config.files[..],
            Err(ConfigError::Problems(problems)) => problems.files(),
            Err(_) => &[],
        };
        for path in files {
            self.file(path);
        }
        let config = read.map_err(NotWanted::of_config)?;
        if let Stamp::There { size: 0, .. } = stamp {
            return Err(NotWanted::of_nothing());
        }
        let (mut entries, mut ignored) = (config.servers.clone(), Vec::new());
        match self.discover(&config, discovery) {
            Ok(Discovered { entries: found, ignored: others }) => {
                entries.extend(found);
                ignored = others;
            }
            Err((folder, error)) => {
                // Then there was nothing in it that could be missing now.
                if !discovery.is_empty() {
                    return Err(NotWanted::of_folder(&folder, &error));
                }
                ignored.push(unreadable(&folder, &error));
            }
        }
        Ok(Wanted { config, entries, ignored })
    }

    /// What is in the folder of `autoload`, if `config` names one.
    pub(super) fn discover(
        &mut self,
        config: &Config,
        discovery: &mut Discovery,
    ) -> Result<Discovered, (PathBuf, io::Error)> {
        let Some(folder) = &config.plugins.autoload_from else {
            *discovery = Discovery::default();
            return Ok(Discovered::default());
        };
        self.seen.folder = Some(folder.clone());
        let libraries = libraries_in(folder);
        self.wait_for(&libraries);
        let unsettled: Vec<PathBuf> =
            libraries.into_iter().filter(|path| self.file(path).is_none()).collect();
        let is_unsettled = |path: &Path| unsettled.iter().any(|other| other == path);
        let found = discovery.look(folder, &config.servers, &is_unsettled);
        found.map_err(|error| (folder.clone(), error))
    }

    /// Somebody who asks means what they have written; what others are copying into the folder is not theirs to know.
    fn wait_for(&mut self, libraries: &[PathBuf]) {
        if self.settled.is_some() {
            return;
        }
        let stamps = libraries.iter().map(|path| (path, Stamp::of(path)));
        let is_new =
            |path: &PathBuf, stamp: Stamp| self.before.files.get(path).copied().flatten() != Some(stamp);
        let young: Vec<(&PathBuf, Stamp)> =
            stamps.filter(|(path, stamp)| is_new(path, *stamp) && !stamp.is_older_than(PAUSE)).collect();
        if !young.is_empty() {
            thread::sleep(PAUSE);
            let written = young.into_iter().filter(|(path, stamp)| Stamp::of(path) != *stamp);
            self.unsettled.extend(written.map(|(path, _)| path.clone()));
        }
    }

    /// What to compare the next look with.
    pub(super) fn done(self) -> Seen {
        self.seen
    }

    /// The same, but for files of which nothing has been made yet: these are to be found again.
    pub(super) fn done_but_for(self, waiting: [&Path; 2]) -> Seen {
        let mut seen = self.seen;
        for path in waiting {
            let before = self.before.files.get(path).copied().flatten();
            seen.files.insert(path.to_owned(), before);
        }
        seen
    }
}

impl NotWanted {
    fn of_config(error: ConfigError) -> Self {
        Self { told: refusals_of_config(&error), report: Some(error.to_string()) }
    }

    /// It would be a gateway.toml without servers; but nobody who wants none writes an empty one, while a full disk, or an
    /// editor between truncating and writing, leaves one behind.
    fn of_nothing() -> Self {
        let reason = "the file is empty; write what it is to say, or at least a comment".into();
        Self { told: vec![Refused { server: None, code: "bad_config", reason, place: None }], report: None }
    }

    fn of_folder(folder: &Path, error: &io::Error) -> Self {
        let Ignored { path, reason } = unreadable(folder, error);
        let reason = format!("`{}`: {reason}", path.display());
        Self { told: vec![Refused { server: None, code: "bad_folder", reason, place: None }], report: None }
    }

    pub(super) fn of_reach(listen: SocketAddr) -> Self {
        let reason = format!(
            "others can reach `{listen}`, where the gateway listens until it is started again, and nobody would be asked who \
             they are; restart it with the new addresses instead"
        );
        Self { told: vec![Refused { server: None, code: "bad_config", reason, place: None }], report: None }
    }

    pub(super) fn of_audit(config: &Config, error: &io::Error) -> Self {
        let path = config.audit.path.clone().unwrap_or_default();
        let reason = format!("cannot open the audit log `{}`: {error}", path.display());
        Self { told: vec![Refused { server: None, code: "bad_audit", reason, place: None }], report: None }
    }

    /// Servers that gateway.toml adds or changes do not start.
    pub(super) fn of_servers(told: Vec<Refused>) -> Self {
        Self { told, report: None }
    }
}
