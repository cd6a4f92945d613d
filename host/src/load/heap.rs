//! How much memory a plugin has taken, as its allocator tells, and when that is worth a line in the log.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The heap of one plugin.
#[derive(Debug)]
pub(super) struct Heap {
    bytes: AtomicU64,
    /// The next size that is told; 0: none is.
    warn_at: AtomicU64,
}

impl Heap {
    /// `warn_at`: the first size that is told, in bytes; 0: none is.
    pub(super) fn new(warn_at: u64) -> Self {
        Self { bytes: AtomicU64::new(0), warn_at: AtomicU64::new(warn_at) }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Notes a size; `true`: it is to be told. Each doubling is told once.
    pub(super) fn grew_to(&self, bytes: u64) -> bool {
        self.bytes.store(bytes, Relaxed);
        let warn_at = self.warn_at.load(Relaxed);
        if warn_at == 0 || bytes < warn_at {
            return false;
        }
        let mut next = warn_at;
        while next <= bytes && next != 0 {
            // Beyond the last doubling that fits there is nothing more to tell.
            next = next.checked_mul(2).unwrap_or(0);
        }
        self.warn_at.compare_exchange(warn_at, next, Relaxed, Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_doubling_is_told_once() {
        let heap = Heap::new(100);
        let told: Vec<bool> =
            [99, 100, 150, 199, 200, 90, 1000, 1599, 1600].map(|bytes| heap.grew_to(bytes)).into();
        assert_eq!(told, [false, true, false, false, true, false, true, false, true]);
        assert_eq!(heap.bytes(), 1600);
        assert!(!Heap::new(0).grew_to(u64::MAX));
    }
}
