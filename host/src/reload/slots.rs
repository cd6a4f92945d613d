//! What is to be served next, one slot for each entry.
//!
//! In:   the entries, what was loaded for them, what serves.
//! Out:  a slot for each, and why where it is not what is on the disk; what was loaded for nothing is stopped.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    keeper::Declined,
    plan::State,
    told::{Generations, refusal},
};
use crate::{
    config::{ServerEntry, ServerName},
    load::{Ignored, Instance},
    mount::{Failure, Mounted},
    serve::{Refused, Slot},
    unload::unload_all,
};

/// A server that was to be loaded.
pub(super) struct Loaded {
    /// Its place among the entries.
    pub(super) at: usize,
    pub(super) mounted: Mounted,
    pub(super) failure: Option<Failure>,
}

/// What is to be served for each entry, with the reason where that is not what is on the disk.
pub(super) fn slots(
    entries: &[ServerEntry],
    loaded: Vec<Loaded>,
    before: &Generations,
    refused: &mut BTreeMap<ServerName, Refused>,
) -> Vec<Slot> {
    let mut loaded: HashMap<usize, Loaded> = loaded.into_iter().map(|loaded| (loaded.at, loaded)).collect();
    let slot = |(at, entry): (usize, &ServerEntry)| match loaded.remove(&at) {
        Some(Loaded { failure: Some(failure), mounted, .. }) if before.serves(&entry.name) => {
            // It may run, although it cannot be served.
            mounted.instance().inspect(|instance| drop(instance.stop()));
            refused.insert(entry.name.clone(), refusal(entry, &failure));
            Some(Slot::Same(entry.name.clone()))
        }
        Some(Loaded { mounted, .. }) => Some(Slot::New(mounted)),
        None if before.has(&entry.name) => Some(Slot::Same(entry.name.clone())),
        // Found, but not yet settled.
        None => None,
    };
    entries.iter().enumerate().filter_map(slot).collect()
}

/// Discovered servers whose file has become another plugin's that does not serve: they go on, and why.
pub(super) fn succeeded_by_nothing(
    mounted: &[Mounted],
    entries: &[ServerEntry],
    ignored: &[Ignored],
    declined: &Declined,
    slots: &mut Vec<Slot>,
) -> Vec<(ServerName, Refused)> {
    let mut going_on = Vec::new();
    for old in mounted.iter().filter(|old| old.entry().discovered && State::of(old) == State::Serves) {
        let (name, path) = (&old.entry().name, &old.entry().plugin);
        // Where somebody else is to be served, it is not.
        let is_taken =
            |entry: &ServerEntry| entry.name == *name || entry.prefix.overlaps(&old.entry().prefix);
        if entries.iter().any(is_taken) {
            continue;
        }
        let successor = entries.iter().find(|entry| entry.plugin == *path);
        let place = slots
            .iter()
            .position(|slot| matches!(slot, Slot::New(mounted) if Some(mounted.entry()) == successor));
        let why = match (successor, place.map(|place| &slots[place])) {
            (Some(_), Some(Slot::New(mounted))) => mounted.failure().map(|failure| failure.reason),
            (Some(entry), None) => declined.get(&entry.name).map(|(_, _, why)| why.reason.clone()),
            _ => ignored.iter().find(|one| one.path == *path).map(|one| one.reason.clone()),
        };
        let Some(reason) = why else { continue };
        if let Some(place) = place
            && let Slot::New(failed) = slots.remove(place)
        {
            failed.instance().inspect(|instance| drop(instance.stop()));
        }
        let refused = Refused { server: Some(name.to_string()), code: "other_plugin", reason, place: None };
        going_on.push((name.clone(), refused));
    }
    going_on
}

/// Stops what was loaded for nothing, last to first.
pub(super) fn unload(loaded: &[Loaded]) {
    let running = loaded.iter().filter_map(|loaded| loaded.mounted.instance().cloned());
    unload_all(&running.collect::<Vec<Arc<Instance>>>());
}

pub(super) fn new_instances(slots: &[Slot]) -> Vec<Arc<Instance>> {
    let new = slots.iter().filter_map(|slot| match slot {
        Slot::New(mounted) => mounted.instance().cloned(),
        Slot::Same(_) => None,
    });
    new.collect()
}
