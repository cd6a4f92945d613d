//! The calls of late: the last that went well and the last that did not, in a ring each, so that a thousand good calls do not
//! push out the one that failed.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use crate::{
    config::ServerName,
    observe::trace::TraceId,
    serve::{Principal, RequestId, call::CallOutcome},
};

/// How many of either kind are remembered.
const KEPT: usize = 100;
/// What clients call things may be long.
const SUBJECT_MAX: usize = 128;

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
    failed: VecDeque<Late>,
}

impl Recent {
    pub(super) fn push(&self, mut late: Late) {
        let end = late.subject.floor_char_boundary(SUBJECT_MAX);
        if end < late.subject.len() {
            late.subject.truncate(end);
            late.subject.shrink_to_fit();
        }
        let mut rings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = if late.outcome.is_failure() { &mut rings.failed } else { &mut rings.good };
        // What goes is given back when the lock is.
        let _gone = if ring.len() >= KEPT { ring.pop_front() } else { None };
        ring.push_back(late);
        drop(rings);
    }

    /// The calls of late, and those of them that failed and some more, each with the latest first.
    pub(in crate::serve) fn told(&self) -> (Vec<Late>, Vec<Late>) {
        let (good, failed): (Vec<_>, Vec<_>) = {
            let rings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            (rings.good.iter().cloned().collect(), rings.failed.iter().rev().cloned().collect())
        };
        let mut all: Vec<_> = good.into_iter().chain(failed.iter().cloned()).collect();
        all.sort_by_key(|late| std::cmp::Reverse(late.time));
        all.truncate(KEPT);
        (all, failed)
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
            (KEPT, ["1001", "1000", "999"].map(str::to_owned).to_vec())
        );
    }

    #[test]
    fn a_long_name_is_cut_between_two_characters() {
        let recent = Recent::default();
        recent.push(Late { subject: "é".repeat(1_000_000), ..late(0, CallOutcome::UnknownTool) });
        assert_eq!(recent.told().1[0].subject, "é".repeat(SUBJECT_MAX / 2));
    }
}
