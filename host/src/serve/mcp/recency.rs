//! Which 2025 session was used last, and when: at the cap, the one that was left longest makes room.
//!
//! A client that goes away without a word leaves its session behind, so a full house must not lock new clients out
//! until those have expired.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// When each session was used.
#[derive(Debug, Clone, Default)]
pub(super) struct Recency(Arc<Mutex<HashMap<String, Use>>>);

#[derive(Debug)]
struct Use {
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

impl Recency {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Use>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a use of `session`.
    pub(super) fn begin(&self, session: &str) -> InUse {
        let mut uses = self.lock();
        let begun = uses.entry(session.to_owned()).or_insert_with(|| Use { last: Instant::now(), open: 0 });
        begun.open += 1;
        InUse { recency: self.clone(), session: session.to_owned() }
    }

    /// Of the sessions that exist, the one that is idle for longest. Forgets those that do not exist.
    pub(super) fn idlest<'a>(&self, existing: impl Iterator<Item = &'a str>) -> Option<String> {
        let mut uses = self.lock();
        let mut idlest: Option<(Option<Instant>, &str)> = None;
        let mut known = HashMap::new();
        for session in existing {
            let used = uses.remove_entry(session);
            // One that was never used is older than any that was.
            let idle_since = used.as_ref().map(|(_, used)| used.last);
            let is_idle = used.as_ref().is_none_or(|(_, used)| used.open == 0);
            if is_idle && idlest.is_none_or(|(since, _)| idle_since < since) {
                idlest = Some((idle_since, session));
            }
            known.extend(used);
        }
        let idlest = idlest.map(|(_, session)| session.to_owned());
        *uses = known;
        idlest
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

    #[test]
    fn the_session_that_was_left_longest_makes_room_and_one_in_use_never_does() {
        let recency = Recency::default();
        drop(recency.begin("a"));
        let stream = recency.begin("b");
        drop(recency.begin("c"));
        assert_eq!(recency.idlest(["a", "b", "c"].into_iter()).as_deref(), Some("a"));
        assert_eq!(recency.idlest(["b", "c"].into_iter()).as_deref(), Some("c"));
        assert_eq!(recency.idlest(["b", "c", "new"].into_iter()).as_deref(), Some("new"));
        assert_eq!(recency.idlest(["b"].into_iter()), None);
        drop(stream);
        assert_eq!(recency.idlest(["b"].into_iter()).as_deref(), Some("b"));
        assert_eq!(recency.lock().len(), 1, "those that are gone are forgotten");
    }
}
