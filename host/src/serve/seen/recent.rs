//! The calls of late: the last that went well, and of those that did not the last of each server and outcome. So neither a
//! thousand good calls nor a client that makes one mistake over and over push out the panic that somebody looks for.

use std::{
    cmp::Reverse,
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use crate::{
    config::ServerName,
    serve::{Principal, RequestId, call::CallOutcome},
    trace::TraceId,
};

/// How many are remembered that went well, and how many are told.
const GOOD_MAX: usize = 100;
/// How many failures are remembered of one server and outcome, and of how many of these.
const ALIKE_MAX: usize = 10;
const KINDS_MAX: usize = 64;
/// What clients call things may be long.
pub(in crate::serve) const SUBJECT_MAX: usize = 128;

/// A call that is over.
#[derive(Debug, Clone)]
pub(in crate::serve) struct Late {
    /// When it was over.
    pub(in crate::serve) time: SystemTime,
    pub(in crate::serve) server: ServerName,
    pub(in crate::serve) method: &'static str,
    /// A tool, a prompt, a URI.
    pub(in crate::serve) subject: String,
    pub(in crate::serve) door: &'static str,
    pub(in crate::serve) outcome: CallOutcome,
    /// Zero: it was refused before it was one.
    pub(in crate::serve) elapsed: Duration,
    pub(in crate::serve) request_id: RequestId,
    pub(in crate::serve) principal: Arc<Principal>,
    /// `None`: it is part of no trace.
    pub(in crate::serve) trace_id: Option<TraceId>,
}

/// The calls of late.
#[derive(Debug, Default)]
pub(in crate::serve) struct Recent(Mutex<Rings>);

#[derive(Debug, Default)]
struct Rings {
    good: VecDeque<Late>,
    failed: HashMap<(ServerName, CallOutcome), VecDeque<Late>>,
}

impl Recent {
    fn lock(&self) -> MutexGuard<'_, Rings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, mut late: Late) {
        let end = late.subject.floor_char_boundary(SUBJECT_MAX);
        if end < late.subject.len() {
            late.subject.truncate(end);
            late.subject.shrink_to_fit();
        }
        let mut rings = self.lock();
        let (ring, max) = match late.outcome.is_failure() {
            true => (rings.failed.entry((late.server.clone(), late.outcome)).or_default(), ALIKE_MAX),
            false => (&mut rings.good, GOOD_MAX),
        };
        // What goes is given back when the lock is.
        let _gone = if ring.len() >= max { ring.pop_front() } else { None };
        ring.push_back(late);
        let _forgotten = (rings.failed.len() > KINDS_MAX).then(|| rings.forget_the_oldest());
        drop(rings);
    }

    /// The calls of late, and those that failed and are remembered, each with the latest first.
    pub(in crate::serve) fn told(&self) -> (Vec<Late>, Vec<Late>) {
        let (good, mut failed): (Vec<_>, Vec<_>) = {
            let rings = self.lock();
            (rings.good.iter().cloned().collect(), rings.failed.values().flatten().cloned().collect())
        };
        let latest_first = |late: &Late| Reverse(late.time);
        failed.sort_by_key(latest_first);
        let mut all: Vec<_> = good.into_iter().chain(failed.iter().cloned()).collect();
        all.sort_by_key(latest_first);
        all.truncate(GOOD_MAX);
        (all, failed)
    }
}

impl Rings {
    /// Forgets the failures of which there was none for longest.
    fn forget_the_oldest(&mut self) -> Option<VecDeque<Late>> {
        let last = |ring: &VecDeque<Late>| ring.back().map(|late| late.time);
        let oldest = self.failed.iter().min_by_key(|(_, ring)| last(ring)).map(|(kind, _)| kind.clone());
        self.failed.remove(&oldest?)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn late(number: u64, outcome: CallOutcome) -> Late {
        Late {
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(number),
            server: ServerName::parse("greet").expect("the test's own name"),
            method: "tools/call",
            subject: number.to_string(),
            door: "rest",
            outcome,
            elapsed: Duration::ZERO,
            request_id: RequestId::of(&HeaderMap::new()),
            principal: Arc::new(Principal::of_key("ci", &[])),
            trace_id: None,
        }
    }

    #[test]
    fn a_failure_stays_when_a_thousand_calls_go_well() {
        let recent = Recent::default();
        recent.push(late(0, CallOutcome::ToolTimeout));
        (1..=1000).for_each(|number| recent.push(late(number, CallOutcome::Ok)));
        recent.push(late(1001, CallOutcome::ToolError));
        let (all, failed) = recent.told();
        let subjects = |calls: &[Late]| calls.iter().map(|call| call.subject.clone()).collect::<Vec<_>>();
        assert_eq!(subjects(&failed), ["1001", "0"]);
        assert_eq!(
            (all.len(), subjects(&all[..3])),
            (GOOD_MAX, ["1001", "1000", "999"].map(str::to_owned).to_vec())
        );
    }

    #[test]
    fn a_failure_stays_when_a_client_makes_another_mistake_over_and_over() {
        let recent = Recent::default();
        recent.push(late(0, CallOutcome::PluginPanicked));
        (1..=1000).for_each(|number| recent.push(late(number, CallOutcome::UnknownTool)));
        let (_, failed) = recent.told();
        assert_eq!(
            (failed.len(), &*failed[0].subject, &*failed[ALIKE_MAX].subject),
            (ALIKE_MAX + 1, "1000", "0")
        );
        let server = |number: u64| ServerName::parse(&format!("s{number}")).expect("the test's own name");
        (2000..2100)
            .for_each(|at| recent.push(Late { server: server(at), ..late(at, CallOutcome::ToolError) }));
        let (_, failed) = recent.told();
        assert_eq!((failed.len(), &*failed[KINDS_MAX - 1].subject), (KINDS_MAX, "2036"));
    }

    #[test]
    fn a_long_name_is_cut_between_two_characters() {
        let recent = Recent::default();
        recent.push(Late { subject: "é".repeat(1_000_000), ..late(0, CallOutcome::UnknownTool) });
        assert_eq!(recent.told().1[0].subject, "é".repeat(SUBJECT_MAX / 2));
    }
}
