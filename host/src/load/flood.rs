//! How much one server may log: one that logs without end is not to take the log from the others.
//!
//! In:   each record, how long it is, and what time it is.
//! Out:  whether it is logged, and now and then how many were not.
//! Never: looks at a clock, or counts what nobody would have seen.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// While records are dropped, this is said so often.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// A server that has dropped nothing for so long does not flood the log.
const OVER_AFTER: Duration = Duration::from_secs(60);
/// A longer record counts as several, one for each time that this goes into it, since it is bytes that fill a disk.
const BYTES_OF_ONE: usize = 4096;
/// Levels of records: error, warn, info, debug, trace.
pub(super) const LEVELS: usize = 5;

/// What one server has logged, and may log.
#[derive(Debug)]
pub(super) struct Flood {
    /// Records a second; 0: without a limit.
    max: u32,
    logged: [AtomicU64; LEVELS],
    dropped: AtomicU64,
    bucket: Mutex<Bucket>,
}

#[derive(Debug, Default)]
struct Bucket {
    /// For how many records there was room at the last one; `None`: for a second's worth.
    last: Option<(f64, Instant)>,
    /// When a record was dropped last.
    dropped: Option<Instant>,
    /// How many were dropped that nobody has been told of.
    untold: u64,
    told: Option<Instant>,
}

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Admission {
    /// Whether it is logged.
    pub(super) is_logged: bool,
    /// To be said: so many were not, since it was said last.
    pub(super) dropped: Option<u64>,
}

impl Flood {
    /// `max`: records a second; 0: without a limit.
    pub(super) fn new(max: u32) -> Self {
        Self { max, logged: Default::default(), dropped: AtomicU64::new(0), bucket: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record of `level`, 1 error to 5 trace, and of so many bytes is to be logged.
    pub(super) fn admit(&self, level: u32, bytes: usize, now: Instant) -> Admission {
        if self.max == 0 {
            return self.count_only(level);
        }
        let admission = self.lock().admit(self.max, bytes / BYTES_OF_ONE, now);
        if admission.is_logged {
            return Admission { dropped: admission.dropped, ..self.count_only(level) };
        }
        self.dropped.fetch_add(1, Relaxed);
        admission
    }

    /// A record that is logged whatever room there is.
    pub(super) fn count_only(&self, level: u32) -> Admission {
        let last = LEVELS as u32 - 1;
        self.logged[level.saturating_sub(1).min(last) as usize].fetch_add(1, Relaxed);
        Admission { is_logged: true, dropped: None }
    }

    /// The server has ended: how many were dropped that nobody has been told of.
    pub(super) fn settle(&self) -> Option<u64> {
        Some(std::mem::take(&mut self.lock().untold)).filter(|untold| *untold > 0)
    }

    /// Records that were logged, by level.
    pub(super) fn logged(&self) -> [u64; LEVELS] {
        self.logged.each_ref().map(|count| count.load(Relaxed))
    }

    /// Records that were dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Whether records were dropped of late.
    pub(super) fn is_on(&self, now: Instant) -> bool {
        self.lock().dropped.is_some_and(|at| now.saturating_duration_since(at) < OVER_AFTER)
    }
}

impl Bucket {
    /// `takes`: for how many the record counts.
    fn admit(&mut self, max: u32, takes: usize, now: Instant) -> Admission {
        // One that counts for more than a second's worth has to wait for that, but not for ever.
        let takes = f64::from(max.min(u32::try_from(takes).unwrap_or(u32::MAX)).max(1));
        let max = f64::from(max);
        let room = self
            .last
            .map_or(max, |(room, at)| max.min(room + max * now.saturating_duration_since(at).as_secs_f64()));
        let is_logged = room >= takes;
        self.last = Some((if is_logged { room - takes } else { room }, now));
        if !is_logged {
            self.dropped = Some(now);
            self.untold += 1;
        }
        let is_due = self.told.is_none_or(|at| now.saturating_duration_since(at) >= TOLD_EVERY);
        if self.untold == 0 || !is_due {
            return Admission { is_logged, dropped: None };
        }
        self.told = Some(now);
        Admission { is_logged, dropped: Some(std::mem::take(&mut self.untold)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGGED: Admission = Admission { is_logged: true, dropped: None };
    const DROPPED: Admission = Admission { is_logged: false, dropped: None };

    /// A log of which the test holds the clock.
    struct Clocked(Flood, Instant);

    impl Clocked {
        fn new(max: u32) -> Self {
            Self(Flood::new(max), Instant::now())
        }

        fn log(&self) -> Admission {
            self.log_of(100)
        }

        fn log_of(&self, bytes: usize) -> Admission {
            self.0.admit(3, bytes, self.1)
        }

        fn pass(&mut self, ms: u64) {
            self.1 += Duration::from_millis(ms);
        }
    }

    #[test]
    fn what_is_beyond_a_seconds_worth_is_dropped_until_there_is_room() {
        let mut log = Clocked::new(2);
        assert_eq!([log.log(), log.log()], [LOGGED, LOGGED]);
        assert_eq!(log.log(), Admission { is_logged: false, dropped: Some(1) }, "it is said at once");
        assert_eq!(log.log(), DROPPED);
        log.pass(500);
        assert_eq!([log.log(), log.log()], [LOGGED, DROPPED]);
        log.pass(9_499);
        assert_eq!([log.log(), log.log(), log.log()], [LOGGED, LOGGED, DROPPED]);
        log.pass(1);
        assert_eq!(log.log(), Admission { is_logged: false, dropped: Some(4) }, "and every ten seconds");
        assert_eq!((log.0.logged(), log.0.dropped()), ([0, 0, 5, 0, 0], 5));
    }

    #[test]
    fn the_last_that_were_dropped_are_told_later_or_at_the_end() {
        let mut log = Clocked::new(1);
        assert_eq!((log.log(), log.log().dropped, log.log()), (LOGGED, Some(1), DROPPED));
        log.pass(20_000);
        assert_eq!(log.log(), Admission { is_logged: true, dropped: Some(1) });
        assert_eq!((log.log(), log.0.settle(), log.0.settle()), (DROPPED, Some(1), None));
        assert!(log.0.is_on(log.1));
        log.pass(59_999);
        assert!(log.0.is_on(log.1));
        log.pass(1);
        assert!(!log.0.is_on(log.1));
    }

    #[test]
    fn a_long_record_counts_as_several_but_never_as_more_than_there_can_be() {
        let mut log = Clocked::new(3);
        assert_eq!([log.log_of(8191), log.log_of(8192)], [LOGGED, LOGGED]);
        assert!(!log.log_of(0).is_logged, "nothing counts as one, too");
        log.pass(1_000);
        assert_eq!((log.log_of(usize::MAX).is_logged, log.log().is_logged), (true, false));
        assert_eq!(log.0.count_only(1), LOGGED);
        assert_eq!((log.0.logged(), log.0.dropped()), ([1, 0, 3, 0, 0], 2));
    }

    #[test]
    fn without_a_limit_all_is_logged() {
        let log = Clocked::new(0);
        assert!((0..10_000).all(|_| log.log() == LOGGED));
        for level in [0, 1, 5, 6, u32::MAX] {
            log.0.admit(level, usize::MAX, log.1);
        }
        assert_eq!((log.0.logged(), log.0.is_on(log.1)), ([2, 0, 10_000, 0, 3], false));
    }
}
