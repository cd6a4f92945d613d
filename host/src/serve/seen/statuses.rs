//! With which statuses requests were answered.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::StatusCode;

/// Three digits.
const FIRST: usize = 100;

/// How many answers there were with each status.
#[derive(Debug)]
pub(in crate::serve) struct Statuses(Box<[AtomicU64]>);

impl Default for Statuses {
    fn default() -> Self {
        // What the gateway answers with is below 600.
        Self((FIRST..600).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Statuses {
    pub(in crate::serve) fn count(&self, status: StatusCode) {
        if let Some(count) = self.0.get(usize::from(status.as_u16()) - FIRST) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Those that there were, with how many.
    pub(in crate::serve) fn counts(&self) -> impl Iterator<Item = (usize, u64)> {
        let counts = self.0.iter().enumerate().map(|(at, count)| (FIRST + at, count.load(Relaxed)));
        counts.filter(|(_, count)| *count > 0)
    }
}
