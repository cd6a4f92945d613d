//! Whose each 2025 session is, and when it was used last: at the cap, the one that was left longest makes room.
//!
//! A client that goes away without a word leaves its session behind, so a full house must not lock new clients out
//! until those have expired. But nobody may end the sessions of all others by opening ever more: who has a quarter of them,
//! and finds the house full, ends its own, or gets none if each of those is in use.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::serve::{caller::Caller, limit::network};

/// When each session was used.
#[derive(Debug, Clone, Default)]
pub(super) struct Recency(Arc<Mutex<HashMap<String, Use>>>);

/// Who holds a session, as a request tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    principal: String,
    pub(super) share: Share,
    /// Whether they may use all of the server. What a session hears of and watches is settled by that.
    is_whole: bool,
}

/// With whose the sessions and tasks of a caller count: those of one principal; of callers without a name, those of one
/// network, as for rates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Share {
    Principal(String),
    Network(IpAddr),
}

/// What a request for a session is to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// It may use the session.
    Fits,
    /// The session is somebody else's.
    AnothersSession,
    /// The holder may use less of the server than before.
    HasLess,
}

#[derive(Debug)]
struct Use {
    /// Whose it is. `None`: it was used before anybody said so.
    holder: Option<Holder>,
    last: Instant,
    /// Requests and streams that are open now.
    open: usize,
}

/// A use that lasts: the session is not idle until this is dropped.
#[derive(Debug)]
pub(super) struct InUse {
    recency: Recency,
    session: String,
}

impl Holder {
    pub(super) fn of(caller: Option<&Caller>) -> Self {
        Self {
            principal: caller.map(|caller| caller.principal.id().to_owned()).unwrap_or_default(),
            share: Share::of(caller),
            is_whole: caller.is_none_or(|caller| caller.access.is_whole_for(&caller.principal)),
        }
    }
}

impl Share {
    pub(super) fn of(caller: Option<&Caller>) -> Self {
        let Some(caller) = caller else { return Self::Principal(String::new()) };
        match caller.address {
            Some(address) if !caller.principal.is_named() => Self::Network(network(address)),
            _ => Self::Principal(caller.principal.id().to_owned()),
        }
    }
}

impl Recency {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Use>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `session` was opened by `holder`.
    pub(super) fn opened(&self, session: &str, holder: Holder) {
        self.lock().entry(session.to_owned()).or_insert_with(Use::begun).holder = Some(holder);
    }

    /// What a request of `comer` is to `session`.
    pub(super) fn claim(&self, session: &str, comer: &Holder) -> Claim {
        let mut uses = self.lock();
        let Some(holder) = uses.get_mut(session).and_then(|used| used.holder.as_mut()) else {
            return Claim::Fits;
        };
        if holder.principal != comer.principal {
            return Claim::AnothersSession;
        }
        if holder.is_whole && !comer.is_whole {
            return Claim::HasLess;
        }
        // From here on it may watch what it is to lose with the scope.
        holder.is_whole = comer.is_whole;
        Claim::Fits
    }

    /// Begins a use of `session`.
    pub(super) fn begin(&self, session: &str) -> InUse {
        let mut uses = self.lock();
        let begun = uses.entry(session.to_owned()).or_insert_with(Use::begun);
        begun.open += 1;
        InUse { recency: self.clone(), session: session.to_owned() }
    }

    /// Forgets sessions that have ended, once they are most of those that are remembered: clients that open and end one after
    /// the other are not to fill the memory.
    pub(super) fn tidy<'a>(&self, existing: impl ExactSizeIterator<Item = &'a str>) {
        let mut uses = self.lock();
        if uses.len() > 2 * existing.len() + 64 {
            *uses = existing.filter_map(|session| uses.remove_entry(session)).collect();
        }
    }

    /// The session that ends so that one more of `share` can be opened: of those that exist the one that is idle for
    /// longest; if `share_max` or more are of `share`, of those. Forgets sessions that do not exist.
    pub(super) fn makes_room<'a>(
        &self,
        existing: impl Iterator<Item = &'a str>,
        share: &Share,
        share_max: usize,
    ) -> Option<String> {
        let mut uses = self.lock();
        let existing: Vec<&str> = existing.collect();
        *uses = existing.iter().filter_map(|session| uses.remove_entry(*session)).collect();
        let is_own = |session: &&str| {
            let holder = uses.get(*session).and_then(|used| used.holder.as_ref());
            holder.is_some_and(|holder| holder.share == *share)
        };
        let has_its_share = existing.iter().copied().filter(is_own).count() >= share_max;
        let candidates = existing.into_iter().filter(|session| !has_its_share || is_own(session));
        let idle = candidates.filter(|session| uses.get(*session).is_none_or(|used| used.open == 0));
        // One that was never used is older than any that was.
        idle.min_by_key(|session| uses.get(*session).map(|used| used.last)).map(str::to_owned)
    }
}

impl Use {
    fn begun() -> Self {
        Self { holder: None, last: Instant::now(), open: 0 }
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        if let Some(used) = self.recency.lock().get_mut(&self.session) {
            used.open = used.open.saturating_sub(1);
            used.last = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(principal: &str) -> Holder {
        let share = Share::Principal(principal.into());
        Holder { principal: principal.into(), share, is_whole: true }
    }

    #[test]
    fn a_session_is_its_holders_for_as_long_as_they_may_use_as_much() {
        let recency = Recency::default();
        let (whole, less) = (holder("key:ci"), Holder { is_whole: false, ..holder("key:ci") });
        let check = |session: &str, comer: &Holder, expected: Claim| {
            assert_eq!(recency.claim(session, comer), expected, "{session} {comer:?}");
        };
        recency.opened("a", whole.clone());
        check("a", &whole, Claim::Fits);
        check("a", &holder("key:eve"), Claim::AnothersSession);
        check("a", &less, Claim::HasLess);
        recency.opened("b", less.clone());
        check("b", &less, Claim::Fits);
        check("b", &whole, Claim::Fits);
        check("b", &less, Claim::HasLess);
        check("never was", &less, Claim::Fits);
    }

    #[test]
    fn sessions_that_have_ended_are_forgotten_and_those_that_exist_stay_somebodys() {
        let recency = Recency::default();
        recency.opened("kept", holder("key:ci"));
        for number in 0..1000 {
            recency.opened(&format!("ended {number}"), holder("key:ci"));
            recency.tidy(["kept"].into_iter());
        }
        assert!(recency.lock().len() <= 67);
        assert_eq!(recency.claim("kept", &holder("key:eve")), Claim::AnothersSession);
    }

    #[test]
    fn the_session_that_was_left_longest_makes_room_and_one_in_use_never_does() {
        let recency = Recency::default();
        drop(recency.begin("a"));
        let stream = recency.begin("b");
        drop(recency.begin("c"));
        let check = |existing: &[&str], expected: Option<&str>| {
            let ends = recency.makes_room(existing.iter().copied(), &holder("key:ci").share, 1);
            assert_eq!(ends.as_deref(), expected, "{existing:?}");
        };
        check(&["a", "b", "c"], Some("a"));
        check(&["b", "c"], Some("c"));
        check(&["b", "c", "new"], Some("new"));
        check(&["b"], None);
        drop(stream);
        check(&["b"], Some("b"));
        assert_eq!(recency.lock().len(), 1, "those that are gone are forgotten");
    }

    #[test]
    fn who_has_a_share_of_the_sessions_ends_its_own() {
        let recency = Recency::default();
        let uses = [("ci 1", "key:ci"), ("eve 1", "key:eve"), ("eve 2", "key:eve"), ("ci 2", "key:ci")];
        for (session, principal) in uses {
            recency.opened(session, holder(principal));
        }
        let check = |comer: &str, share_max: usize, expected: Option<&str>| {
            let ends = recency.makes_room(
                uses.map(|(session, _)| session).into_iter(),
                &holder(comer).share,
                share_max,
            );
            assert_eq!(ends.as_deref(), expected, "{comer} {share_max}");
        };
        check("key:eve", 2, Some("eve 1"));
        check("key:eve", 3, Some("ci 1"));
        check("key:bob", 2, Some("ci 1"));
        let streams = ["eve 1", "eve 2"].map(|session| recency.begin(session));
        check("key:eve", 2, None);
        check("key:bob", 2, Some("ci 1"));
        drop(streams);
    }
}
