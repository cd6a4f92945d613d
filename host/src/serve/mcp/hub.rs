//! Who is to be told of changes: every 2025 session and every `subscriptions/listen` stream of one mount.
//!
//! In:   changes, from the plugin and from the gateway; which resources a client watches.
//! Out:  to each client, what it wants of them; to the plugin, the first and the last watch of a resource.
//! Fails: a resource is not watched if its URI is too long, or if its client or all clients watch too many.
//! Never: grows with the number of changes. A client that is slow finds each change once, however often it
//!        happened meanwhile.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// Most resources that one client watches.
pub(super) const WATCHES_MAX: usize = 1024;
/// Most watches of all clients: each costs up to three times its URI.
const ALL_WATCHES_MAX: usize = 65_536;
/// Longest URI that is watched, in bytes: what a client names is kept for as long as it watches.
const URI_MAX: usize = 2048;
/// Most clients that are told of changes.
const MEMBERS_MAX: usize = 4096;

/// Something that has changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Change {
    Tools,
    Prompts,
    Resources,
    /// The contents of the resource with this URI.
    Resource(String),
}

/// What the plugin is told of its resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watch {
    First,
    Last,
}

/// Why a resource is not watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotWatched {
    #[error("the URI of a watched resource has {URI_MAX} bytes at most")]
    UriTooLong,
    #[error("one client watches {WATCHES_MAX} resources at most")]
    TooMany,
    #[error("all clients together watch as many resources as they may; try again later")]
    Full,
}

type Tell = Box<dyn Fn(Watch, &str) + Send + Sync>;

/// All who are to be told.
pub(super) struct Hub {
    state: Mutex<State>,
    tell: Tell,
}

#[derive(Debug, Default)]
struct State {
    members: HashMap<u64, Arc<Member>>,
    /// How many members watch each resource.
    watched: HashMap<String, usize>,
    /// The sum of `watched`.
    watches: usize,
    next: u64,
}

#[derive(Debug, Default)]
struct Member {
    wants: Mutex<HashSet<Change>>,
    pending: Mutex<BTreeSet<Change>>,
    changed: Notify,
}

/// One client's place in the hub. Dropping it gives up all it watches.
#[derive(Debug)]
pub(super) struct Membership {
    hub: Arc<Hub>,
    id: u64,
    member: Arc<Member>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("state", &self.state).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// `tell` is called when a resource is watched for the first time and when nobody watches it any more; in
    /// that order, because it is called under the hub's lock. It must not call the hub.
    pub(super) fn new(tell: impl Fn(Watch, &str) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), tell: Box::new(tell) })
    }

    /// A new client that wants `lists`; `None`: there are too many.
    pub(super) fn join(self: &Arc<Self>, lists: impl IntoIterator<Item = Change>) -> Option<Membership> {
        let member = Arc::new(Member { wants: Mutex::new(lists.into_iter().collect()), ..Member::default() });
        let mut state = lock(&self.state);
        if state.members.len() >= MEMBERS_MAX {
            return None;
        }
        let id = state.next;
        state.next += 1;
        state.members.insert(id, member.clone());
        Some(Membership { hub: self.clone(), id, member })
    }

    /// Does `switch`, after which somebody else hears of watches, and tells them of all that is watched already. No watch
    /// begins or ends in between.
    pub(super) fn retell(&self, switch: impl FnOnce()) {
        let state = lock(&self.state);
        switch();
        state.watched.keys().for_each(|uri| (self.tell)(Watch::First, uri));
    }

    /// Tells everybody who wants to know.
    pub(super) fn publish(&self, change: &Change) {
        for member in lock(&self.state).members.values() {
            if lock(&member.wants).contains(change) {
                lock(&member.pending).insert(change.clone());
                member.changed.notify_one();
            }
        }
    }
}

impl Membership {
    /// Watches a resource.
    pub(super) fn watch(&self, uri: &str) -> Result<(), NotWatched> {
        if uri.len() > URI_MAX {
            return Err(NotWatched::UriTooLong);
        }
        let mut state = lock(&self.hub.state);
        let mut wants = lock(&self.member.wants);
        let change = Change::Resource(uri.to_owned());
        if wants.contains(&change) {
            return Ok(());
        }
        if wants.len() >= WATCHES_MAX {
            return Err(NotWatched::TooMany);
        }
        if state.watches >= ALL_WATCHES_MAX {
            return Err(NotWatched::Full);
        }
        wants.insert(change);
        state.watches += 1;
        let watchers = state.watched.entry(uri.to_owned()).or_default();
        *watchers += 1;
        if *watchers == 1 {
            (self.hub.tell)(Watch::First, uri);
        }
        Ok(())
    }

    /// Watches it no more.
    pub(super) fn unwatch(&self, uri: &str) {
        let mut state = lock(&self.hub.state);
        let change = Change::Resource(uri.to_owned());
        if lock(&self.member.wants).remove(&change) {
            lock(&self.member.pending).remove(&change);
            self.hub.let_go(&mut state, uri);
        }
    }

    /// The next change that this client wants to know of.
    pub(super) async fn next(&self) -> Change {
        loop {
            // A permit is kept if it comes between the look and the wait.
            if let Some(change) = lock(&self.member.pending).pop_first() {
                return change;
            }
            self.member.changed.notified().await;
        }
    }
}

impl Hub {
    fn let_go(&self, state: &mut State, uri: &str) {
        let Some(watchers) = state.watched.get_mut(uri) else { return };
        *watchers -= 1;
        state.watches -= 1;
        if *watchers == 0 {
            state.watched.remove(uri);
            (self.tell)(Watch::Last, uri);
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut state = lock(&self.hub.state);
        state.members.remove(&self.id);
        for change in lock(&self.member.wants).drain() {
            if let Change::Resource(uri) = change {
                self.hub.let_go(&mut state, &uri);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn hub() -> (Arc<Hub>, Arc<Mutex<Vec<String>>>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let hub = Hub::new({
            let told = told.clone();
            move |watch, uri: &str| lock(&told).push(format!("{watch:?} {uri}"))
        });
        (hub, told)
    }

    fn all(member: &Membership) -> Vec<Change> {
        std::iter::from_fn(|| member.next().now_or_never()).collect()
    }

    #[test]
    fn each_client_finds_what_it_wants_once_however_often_it_happened() {
        let (hub, _) = hub();
        let lists = hub.join([Change::Tools, Change::Prompts]).expect("there is room");
        let watches = hub.join([]).expect("there is room");
        assert_eq!(watches.watch("test://a"), Ok(()));
        for _ in 0..10_000 {
            hub.publish(&Change::Tools);
            hub.publish(&Change::Resources);
            hub.publish(&Change::Resource("test://a".into()));
            hub.publish(&Change::Resource("test://b".into()));
        }
        assert_eq!(all(&lists), [Change::Tools]);
        assert_eq!(all(&watches), [Change::Resource("test://a".into())]);
        hub.publish(&Change::Resource("test://a".into()));
        watches.unwatch("test://a");
        assert_eq!(all(&watches), []);
    }

    #[test]
    fn the_plugin_is_told_of_the_first_watch_and_of_the_last() {
        let (hub, told) = hub();
        let (one, other) = (hub.join([]).expect("room"), hub.join([]).expect("room"));
        assert!(
            [one.watch("a"), one.watch("a"), other.watch("a"), other.watch("b")].iter().all(Result::is_ok)
        );
        one.unwatch("a");
        one.unwatch("a");
        assert_eq!(*lock(&told), ["First a", "First b"]);
        drop(other);
        let mut last = lock(&told).split_off(2);
        last.sort();
        assert_eq!(last, ["Last a", "Last b"]);
        drop(one);
        assert!(lock(&hub.state).members.is_empty() && lock(&hub.state).watched.is_empty());
    }

    #[test]
    fn who_takes_over_hears_of_all_that_is_watched() {
        let (hub, told) = hub();
        let member = hub.join([]).expect("there is room");
        assert!([member.watch("a"), member.watch("b")].iter().all(Result::is_ok));
        member.unwatch("b");
        hub.retell(|| lock(&told).clear());
        assert_eq!(*lock(&told), ["First a"]);
    }

    #[test]
    fn one_client_cannot_watch_everything() {
        let (hub, _) = hub();
        let member = hub.join([]).expect("there is room");
        assert!((0..WATCHES_MAX).all(|n| member.watch(&n.to_string()).is_ok()));
        assert_eq!(member.watch("one more"), Err(NotWatched::TooMany));
        assert_eq!(member.watch("7"), Ok(()), "it has that already");
    }

    #[test]
    fn a_uri_that_is_too_long_is_not_kept() {
        let (hub, told) = hub();
        let member = hub.join([]).expect("there is room");
        assert_eq!(member.watch(&"u".repeat(URI_MAX + 1)), Err(NotWatched::UriTooLong));
        assert!(lock(&told).is_empty() && lock(&hub.state).watched.is_empty());
        assert_eq!(member.watch(&"u".repeat(URI_MAX)), Ok(()));
    }

    #[test]
    fn all_clients_together_cannot_watch_everything() {
        let (hub, _) = hub();
        let mut members: Vec<_> =
            (0..ALL_WATCHES_MAX / WATCHES_MAX).map(|_| hub.join([]).expect("room")).collect();
        let fill = |member: &Membership| (0..WATCHES_MAX).all(|n| member.watch(&n.to_string()).is_ok());
        assert!(members.iter().all(fill));
        let late = hub.join([]).expect("there is room for a client");
        assert_eq!(late.watch("7"), Err(NotWatched::Full));
        members[0].unwatch("8");
        assert_eq!(late.watch("7"), Ok(()));
        drop(members.pop());
        assert_eq!(late.watch("8"), Ok(()));
        drop((members, late));
        assert_eq!(lock(&hub.state).watches, 0);
    }
}
