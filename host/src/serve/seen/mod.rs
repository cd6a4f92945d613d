//! What has been seen of calls and requests since the start, for whoever looks after the gateway.
//!
//! In:   how each call ended, who was let in, which status each request was answered with; which servers and tools there are.
//! Out:  counts and times by server and tool, for `/metrics`; the calls of late, for the status page.
//! Never: a series or an entry for a name that a client made up, a place in memory without bound, an argument or a credential.

mod decisions;
mod durations;
mod recent;
mod statuses;
mod tally;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

pub(super) use self::{
    decisions::Decisions,
    durations::{BOUNDS, Counted},
    recent::{Late, Recent, SUBJECT_MAX},
    statuses::Statuses,
    tally::{Open, Series, ServerTally, Tally},
};
use super::{ConnectionLimits, call::CallOutcome};

/// What has been seen. One for each gateway.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) tally: Tally,
    pub(super) recent: Recent,
    pub(super) decisions: Decisions,
    pub(super) statuses: Statuses,
    /// Where connections are counted, which all listeners share.
    connections: OnceLock<Arc<ConnectionLimits>>,
}

impl Seen {
    /// A call is over. `open`: how it was counted when it began, if it was.
    pub(super) fn ended(&self, open: Option<Open>, outcome: CallOutcome, took: Option<Duration>, late: Late) {
        if let Some(open) = open {
            open.end(outcome, took);
        }
        self.recent.push(late);
    }

    /// A listener takes connections by these limits.
    pub(super) fn listens_on(&self, limits: &Arc<ConnectionLimits>) {
        // Every listener has the same.
        let _ = self.connections.set(limits.clone());
    }

    /// How many connections are served now.
    pub(super) fn connections(&self) -> usize {
        self.connections.get().map_or(0, |limits| limits.open())
    }
}
