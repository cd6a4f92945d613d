//! Watches the files that what is served came from, and asks for a reload when one of them has changed.
//!
//! In:   gateway.toml, the libraries, the folder of `autoload`, each as it was when it was last looked at.
//! Out:  a request, once a change has settled: a file that is being written is left until nothing happens to it.
//! Never: reads a file.
//!
//! By `stat`, five times a second, which costs some microseconds a file. What inotify tells is not enough to go by: it
//! follows no link (Kubernetes swaps one two levels up), hears nothing of a network file system or of what is mounted over
//! a path, and after an event one has to look anyway.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Sender},
    },
    time::Duration,
};

use super::Message;
use crate::load::Stamp;

/// How long there is between two looks; a change has settled if two in a row see the same.
pub(super) const PAUSE: Duration = Duration::from_millis(200);

/// What is watched.
#[derive(Debug, Default)]
pub(super) struct Watched {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    looked_at: Seen,
    is_over: bool,
}

/// Files as they were at one moment, and a folder whose libraries count as well.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// `None`: wanted, but never looked at when it had settled.
    pub(super) files: HashMap<PathBuf, Option<Stamp>>,
    pub(super) folder: Option<PathBuf>,
}

impl Seen {
    /// The same files as they are now, and those in the folder that are new.
    fn now(&self) -> HashMap<PathBuf, Stamp> {
        let mut paths: HashSet<PathBuf> = self.files.keys().cloned().collect();
        paths.extend(self.folder.iter().flat_map(|folder| libraries_in(folder)));
        paths.into_iter().map(|path| (Stamp::of(&path), path)).map(|(stamp, path)| (path, stamp)).collect()
    }
}

/// The files in `folder` that are called as libraries are. One that cannot be read has none.
pub(super) fn libraries_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "so")).collect()
}

impl Watched {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on changes against `seen` count.
    pub(super) fn looked_at(&self, seen: Seen) {
        self.lock().looked_at = seen;
    }

    /// Ends the watch.
    pub(super) fn end(&self) {
        self.lock().is_over = true;
        self.ended.notify_all();
    }

    /// Waits a while; `None`: the watch is over.
    fn pause(&self) -> Option<Seen> {
        let state = self.lock();
        let going_on = |state: &mut State| !state.is_over;
        let (state, _) =
            self.ended.wait_timeout_while(state, PAUSE, going_on).unwrap_or_else(PoisonError::into_inner);
        (!state.is_over).then(|| state.looked_at.clone())
    }
}

/// Watches until told to end. Blocks.
pub(super) fn watch(watched: &Arc<Watched>, messages: &Sender<Message>) {
    let mut before = HashMap::new();
    while let Some(seen) = watched.pause() {
        let now = seen.now();
        let settled = settled(&before, &now);
        before = now;
        if !has_changed(&seen, &settled) {
            continue;
        }
        let (over, is_over) = mpsc::channel();
        if messages.send(Message::Changed { settled, over }).is_err() {
            return;
        }
        // Closed without a word: there is nothing to tell of it, or the gateway stops.
        let _ = is_over.recv();
    }
}

/// Those that are as they were.
fn settled(before: &HashMap<PathBuf, Stamp>, now: &HashMap<PathBuf, Stamp>) -> HashMap<PathBuf, Stamp> {
    let same = now.iter().filter(|(path, stamp)| before.get(*path) == Some(stamp));
    same.map(|(path, stamp)| (path.clone(), *stamp)).collect()
}

/// Whether one of these is not as it was when it was last acted upon.
pub(super) fn has_changed(seen: &Seen, settled: &HashMap<PathBuf, Stamp>) -> bool {
    settled.iter().any(|(path, stamp)| seen.files.get(path) != Some(&Some(*stamp)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(modified: i128) -> Stamp {
        Stamp::There { file: (1, 1), size: 1, modified, changed: 1 }
    }

    fn files(stamps: &[(&str, Stamp)]) -> HashMap<PathBuf, Stamp> {
        stamps.iter().map(|(path, stamp)| (PathBuf::from(path), *stamp)).collect()
    }

    #[test]
    fn a_file_that_is_being_written_does_not_count_until_it_has_settled() {
        let looked_at = files(&[("a", at(1)), ("b", at(1))]);
        let looked_at = looked_at.into_iter().map(|(path, stamp)| (path, Some(stamp)));
        let wanted = (PathBuf::from("wanted"), None);
        let seen = Seen { files: looked_at.chain([wanted]).collect(), folder: None };
        let check = |before: &[(&str, Stamp)], now: &[(&str, Stamp)], expected| {
            let settled = settled(&files(before), &files(now));
            assert_eq!(has_changed(&seen, &settled), expected, "{before:?} {now:?}");
        };
        check(&[], &[("a", at(1)), ("b", at(1))], false);
        check(&[("a", at(1))], &[("a", at(1))], false);
        check(&[("a", at(1))], &[("a", at(2))], false);
        check(&[("a", at(2))], &[("a", at(3))], false);
        check(&[("a", at(3))], &[("a", at(3))], true);
        check(&[("a", Stamp::Missing)], &[("a", Stamp::Missing)], true);
        check(&[("new", at(1))], &[("new", at(1))], true);
        check(&[("wanted", at(1))], &[("wanted", at(1))], true);
        check(&[("a", at(2)), ("b", at(3))], &[("a", at(2)), ("b", at(4))], true);
    }
}
