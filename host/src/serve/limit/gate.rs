//! How many calls are open at once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Counts what is open. Its maximum is told at each entry, so that a reload can change it.
#[derive(Debug, Clone, Default)]
pub(in crate::serve) struct Gate(Arc<AtomicUsize>);

/// Leave to be open. Dropping it gives the place back.
#[derive(Debug)]
pub(in crate::serve) struct GatePass(Arc<AtomicUsize>);

impl Gate {
    /// A place, unless `max` or more are taken.
    pub(in crate::serve) fn enter(&self, max: usize) -> Option<GatePass> {
        // Nothing but the number itself depends on the number.
        let one_more = |open| (open < max).then_some(open + 1);
        let entered = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        entered.is_ok().then(|| GatePass(self.0.clone()))
    }

    /// How many are open.
    pub(in crate::serve) fn open(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for GatePass {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_place_is_free_again_once_its_pass_is_dropped() {
        let gate = Gate::default();
        let (first, second) = (gate.enter(2), gate.enter(2));
        assert!(first.is_some() && gate.enter(2).is_none());
        drop(second);
        assert_eq!(gate.open(), 1);
        assert!(gate.enter(2).is_some());
        assert!(gate.enter(0).is_none());
    }

    #[test]
    fn the_maximum_may_change_while_calls_are_open() {
        let gate = Gate::default();
        let open: Vec<_> = (0..4).map_while(|_| gate.enter(4)).collect();
        assert!(gate.enter(2).is_none(), "more are open than may be by now");
        assert!(gate.enter(5).is_some());
        drop(open);
        assert!(gate.enter(2).is_some());
    }

    #[test]
    fn threads_that_enter_at_once_are_never_too_many() {
        let gate = Gate::default();
        let enter = || (0..1000).filter_map(|_| gate.enter(100)).collect::<Vec<_>>();
        let passes: usize = thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(enter));
            // All are held until the last has entered.
            threads.map(|thread| thread.join().expect("it does not panic")).iter().map(Vec::len).sum()
        });
        assert_eq!((passes, gate.open()), (100, 0));
    }
}
