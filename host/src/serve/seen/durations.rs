//! How long something took, counted in buckets.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Upper bounds of the buckets, in microseconds. Native tools answer in tens of microseconds, others wait for the world: from
/// there to a minute in steps of at most 2.5.
const MICROSECONDS: [u64; 21] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// The same in seconds, with the one that has no bound.
pub(in crate::serve) const BOUNDS: [f64; 22] = {
    let (mut bounds, mut at) = ([f64::INFINITY; 22], 0);
    while at < MICROSECONDS.len() {
        bounds[at] = MICROSECONDS[at] as f64 / 1e6;
        at += 1;
    }
    bounds
};

/// A histogram.
#[derive(Debug, Default)]
pub(super) struct Durations {
    buckets: [AtomicU64; BOUNDS.len()],
    /// In nanoseconds: 584 years of calls.
    sum: AtomicU64,
}

/// A histogram at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::serve) struct Counted {
    /// How many fell between the bound before and each of [`BOUNDS`].
    pub(in crate::serve) buckets: [u64; BOUNDS.len()],
    pub(in crate::serve) sum_seconds: f64,
}

impl Durations {
    pub(super) fn add(&self, took: Duration) {
        let micros = took.as_nanos().div_ceil(1_000);
        let bucket = MICROSECONDS.partition_point(|bound| u128::from(*bound) < micros);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    pub(super) fn counted(&self) -> Counted {
        Counted {
            buckets: self.buckets.each_ref().map(|bucket| bucket.load(Relaxed)),
            sum_seconds: self.sum.load(Relaxed) as f64 / 1e9,
        }
    }
}

impl Counted {
    pub(in crate::serve) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let check = |took: Duration, bound: f64| {
            let durations = Durations::default();
            durations.add(took);
            let counted = durations.counted();
            let at = BOUNDS.iter().position(|b| *b == bound).expect("the test's own bound");
            assert_eq!((counted.buckets[at], counted.count()), (1, 1), "{took:?}");
            assert_eq!(counted.sum_seconds, took.as_secs_f64(), "{took:?}");
        };
        check(Duration::ZERO, 0.00001);
        check(Duration::from_micros(10), 0.00001);
        check(Duration::from_nanos(10_001), 0.000025);
        check(Duration::from_millis(1), 0.001);
        check(Duration::from_secs(60), 60.0);
        check(Duration::from_secs(61), f64::INFINITY);
    }
}
