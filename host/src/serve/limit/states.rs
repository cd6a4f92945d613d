//! What is kept of each key of a limit, within bounds.
//!
//! A flood of addresses must not take all memory, nor make the limit forget those whom it knows, nor let them pass. So there
//! are at most `max` keys with a state of their own. Once they are taken, the keys that are not among them share some
//! states, each the one that its hash points to: all of them stay limited, a caller who is new then at worst as part of the
//! flood. Keys that have not called for long are forgotten by the sweeps of [`Limit`](super::rates), and make room.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use governor::{
    nanos::Nanos,
    state::{
        NotKeyed, StateStore,
        keyed::{DashMapStateStore, ShrinkableKeyedStateStore},
    },
};

/// How many states those share who find no place.
const SHARED: u64 = 1024;

/// The states of the keys of one limit: 64-bit hashes, so that a key takes the same small place whatever it stands for.
#[derive(Debug, Clone)]
pub(super) struct States(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    known: DashMapStateStore<u64>,
    /// How many of `known` have been let in, which is at least as many as are there.
    taken: AtomicUsize,
    max: usize,
}

impl States {
    pub(super) fn new(max: usize) -> Self {
        Self(Arc::new(Kept { known: DashMapStateStore::default(), taken: AtomicUsize::new(0), max }))
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.taken.load(Ordering::Relaxed) >= self.0.max
    }

    /// Takes back one call of `key`, which was let through for `interval`. Calls that came meanwhile count as they did.
    pub(super) fn give_back(&self, key: u64, interval: Nanos) {
        let known = &self.0.known;
        let Some(state) = known.get(&key).or_else(|| known.get(&shared(key))) else { return };
        let earlier = |arrival: Option<Nanos>| Ok::<_, ()>(((), arrival.ok_or(())?.saturating_sub(interval)));
        // A state without an arrival has nothing to take back.
        let _ = state.measure_and_replace(&NotKeyed::NonKey, earlier);
    }

    /// After a sweep.
    pub(super) fn count_again(&self) {
        self.0.taken.store(self.len(), Ordering::Relaxed);
    }
}

fn shared(key: u64) -> u64 {
    // As good as never the hash of a key.
    key % SHARED
}

impl StateStore for States {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let Kept { known, taken, max } = &*self.0;
        if let Some(state) = known.get(key) {
            return state.measure_and_replace(&NotKeyed::NonKey, measure);
        }
        let one_more = |taken| (taken < *max).then_some(taken + 1);
        match taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) {
            Ok(_) => known.measure_and_replace(key, measure),
            Err(_) => known.measure_and_replace(&shared(*key), measure),
        }
    }
}

impl ShrinkableKeyedStateStore<u64> for States {
    fn retain_recent(&self, drop_below: Nanos) {
        self.0.known.retain_recent(drop_below);
    }

    fn shrink_to_fit(&self) {
        self.0.known.shrink_to_fit();
    }

    fn len(&self) -> usize {
        self.0.known.len()
    }

    fn is_empty(&self) -> bool {
        self.0.known.is_empty()
    }
}
