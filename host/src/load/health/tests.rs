//! The breaker, with the test as its clock.

use super::*;
use crate::config::{Prefix, ServerName};

const SECOND: Duration = Duration::from_secs(1);

/// A health of which the test holds the clock.
struct Clocked {
    health: Health,
    now: Instant,
}

impl Clocked {
    /// Quarantined for 10 s after so many faults; a retry may take 30 s.
    fn new(quarantine_after: u32) -> Self {
        let name = ServerName::parse("test").expect("a name");
        let prefix = Prefix::parse("/test").expect("a prefix");
        let entry = ServerEntry {
            quarantine_after,
            quarantine: SECOND * 10,
            call_timeout: SECOND * 30,
            ..ServerEntry::new(name, "test.so".into(), prefix)
        };
        Self { health: Health::new(&entry), now: Instant::now() }
    }

    fn admit(&self) -> Pass {
        self.health.admit(self.now).expect("it is let through")
    }

    fn end(&self, pass: Pass, verdict: Verdict) -> Option<Change> {
        self.health.end(&pass, verdict, self.now)
    }

    fn call(&self, verdict: Verdict) -> Option<Change> {
        self.end(self.admit(), verdict)
    }

    /// In seconds, until when calls are refused; `None`: they are not.
    fn refused_for(&self) -> Option<u64> {
        self.health.admit(self.now).err().map(|refused| refused.retry_in.as_secs())
    }

    fn pass(&mut self, seconds: u32) {
        self.now += SECOND * seconds;
    }
}

const PANIC: Verdict = Verdict::Fault(Fault::Panicked);

fn quarantined(faults: u32, last: Fault, seconds: u64) -> Option<Change> {
    let retry_in = Duration::from_secs(seconds);
    Some(Change::Quarantined(Quarantined { faults, last, retry_in }))
}

#[test]
fn faults_in_a_row_trip_and_a_good_retry_releases() {
    let mut server = Clocked::new(3);
    assert_eq!(server.call(PANIC), None);
    assert_eq!(server.call(Verdict::Fault(Fault::BadResult)), None);
    assert_eq!(server.health.quarantined(server.now), None);
    let lost = Verdict::Fault(Fault::Lost);
    assert_eq!(server.call(lost), quarantined(3, Fault::Lost, 10));
    server.pass(4);
    assert_eq!(server.refused_for(), Some(6));
    server.pass(6);
    assert_eq!(server.call(Verdict::Answered), Some(Change::Released));
    assert_eq!(server.health.quarantined(server.now), None);
    // From here on it counts anew.
    assert_eq!(server.call(PANIC), None);
    assert_eq!(server.call(Verdict::Answered), None);
}

#[test]
fn an_answer_ends_the_series_and_what_says_nothing_does_not() {
    let server = Clocked::new(2);
    for _ in 0..5 {
        assert_eq!(server.call(PANIC), None);
        assert_eq!(server.call(Verdict::Answered), None);
    }
    assert_eq!(server.call(PANIC), None);
    assert_eq!(server.call(Verdict::Nothing), None);
    assert_eq!(server.call(PANIC), quarantined(2, Fault::Panicked, 10));
}

#[test]
fn one_retry_at_a_time_is_let_through() {
    let mut server = Clocked::new(1);
    server.call(PANIC);
    server.pass(10);
    let retry = server.admit();
    assert_eq!(server.refused_for(), Some(0));
    // Cancelled: its place is another's.
    assert_eq!(server.end(retry, Verdict::Nothing), None);
    let next = server.admit();
    assert_eq!(server.refused_for(), Some(0));
    assert_eq!(server.end(next, PANIC), quarantined(2, Fault::Panicked, 20));
    assert_eq!(server.refused_for(), Some(20));
}

#[test]
fn each_failed_retry_doubles_the_quarantine_up_to_sixteen_times() {
    let mut server = Clocked::new(1);
    let mut lengths = Vec::new();
    for _ in 0..7 {
        match server.call(PANIC) {
            Some(Change::Quarantined(quarantined)) => {
                lengths.push(quarantined.retry_in.as_secs());
                server.now += quarantined.retry_in;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(lengths, [10, 20, 40, 80, 160, 160, 160]);
    server.call(Verdict::Answered);
    assert_eq!(server.call(PANIC), quarantined(1, Fault::Panicked, 10));
}

#[test]
fn calls_from_before_the_quarantine_change_nothing() {
    let mut server = Clocked::new(2);
    let before: Vec<Pass> = (0..6).map(|_| server.admit()).collect();
    let timed_out = Verdict::Fault(Fault::TimedOut);
    let changes: Vec<_> = before.into_iter().map(|pass| server.end(pass, timed_out)).collect();
    let trips = changes.iter().filter(|change| change.is_some()).count();
    assert_eq!((trips, server.health.faults(Fault::TimedOut), server.health.quarantines()), (1, 6, 1));

    let late = Clocked::new(1);
    let late_pass = late.admit();
    late.call(PANIC);
    assert_eq!(late.end(late_pass, Verdict::Answered), None, "only a retry releases");
    assert_eq!(late.refused_for(), Some(10));
    server.pass(10);
    assert_eq!(server.call(Verdict::Answered), Some(Change::Released));
}

#[test]
fn a_retry_that_does_not_come_back_keeps_its_place_for_one_call_timeout() {
    let mut server = Clocked::new(1);
    server.call(PANIC);
    server.pass(10);
    let first = server.admit();
    server.pass(29);
    assert_eq!(server.refused_for(), Some(0));
    server.pass(1);
    let second = server.admit();
    // The first is no longer the one the others wait for, but what it says is still worth hearing.
    assert_eq!(server.end(first, Verdict::Nothing), None);
    assert_eq!(server.refused_for(), Some(0));
    assert_eq!(server.end(second, PANIC), quarantined(2, Fault::Panicked, 20));
}

#[test]
fn a_retry_of_an_earlier_quarantine_has_no_say_in_the_next() {
    let mut server = Clocked::new(1);
    server.call(PANIC);
    server.pass(10);
    let first = server.admit();
    server.pass(30);
    assert_eq!(server.call(PANIC), quarantined(2, Fault::Panicked, 20));
    assert_eq!(server.end(first, Verdict::Answered), None);
    assert_eq!(server.refused_for(), Some(20));
}

#[test]
fn with_zero_nothing_is_quarantined_but_faults_are_counted() {
    let server = Clocked::new(0);
    for _ in 0..100 {
        assert_eq!(server.call(PANIC), None);
    }
    assert_eq!((server.health.faults(Fault::Panicked), server.health.quarantines()), (100, 0));
}

#[test]
fn faults_are_counted_under_their_own_words() {
    for (index, fault) in Fault::ALL.into_iter().enumerate() {
        assert_eq!(fault as usize, index);
    }
    let words = Fault::ALL.map(Fault::code).join(" ");
    assert_eq!(words, "plugin_panicked bad_plugin_result tool_timeout call_lost");
}
