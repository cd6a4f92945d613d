//! The plugin's heap: the system's, with a list of what is live, so that what the plugin's statics still own at
//! the end can be given back. (Statics are never dropped: without this every generation leaks them, 31 MiB for
//! one that has printed a backtrace.) It also counts, so that the host can tell who takes the memory.
//!
//! | unsafe | why it holds | test that pins it |
//! |---|---|---|
//! | `alloc`, `dealloc` | every block is preceded by its node, at the distance `padding` says for its alignment | `blocks_of_every_alignment_come_and_go` |
//! | the lists, and what is untold | each is touched only with its lock held | `threads_may_free_what_others_made` |
//! | `free_all` | nothing of the plugin runs any more, see `hooks::reclaim` | `a_loaded_library_is_mapped_and_an_unloaded_one_is_not` |

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::{Cell, UnsafeCell},
    ptr::null_mut,
    sync::atomic::{
        AtomicBool, AtomicIsize, AtomicUsize,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use super::HOST;
use crate::abi::Host;

/// Precedes each block.
#[repr(C)]
struct Node {
    previous: *mut Node,
    next: *mut Node,
    /// What the system gave, of which the block is the tail.
    base: *mut u8,
    shard: usize,
}

/// Lists, so that threads seldom wait for one another.
const SHARDS: usize = 8;

/// How far a shard's share may be from what was last told of it, in bytes.
const GRAIN: isize = 256 << 10;

/// One list and its lock, on a cache line of its own.
#[repr(align(64))]
struct Shard {
    busy: AtomicBool,
    head: UnsafeCell<*mut Node>,
    /// Bytes taken, less those given back, that nobody has been told of.
    untold: UnsafeCell<isize>,
}

/// The bytes the host was last told of.
static TOLD: AtomicIsize = AtomicIsize::new(0);

// SAFETY: `head`, `untold` and the nodes reached from it are touched only inside `with`, which excludes.
unsafe impl Sync for Shard {}

static LISTS: [Shard; SHARDS] = [const {
    Shard { busy: AtomicBool::new(false), head: UnsafeCell::new(null_mut()), untold: UnsafeCell::new(0) }
}; SHARDS];
static NEXT_SHARD: AtomicUsize = AtomicUsize::new(0);
thread_local! {
    // Const and without a destructor: needs no allocation and no registration of its own.
    static MY_SHARD: Cell<usize> = const { Cell::new(usize::MAX) };
}

impl Shard {
    /// Runs `f` with the list's head, alone. A spin lock: it is held for a few instructions, and an allocator
    /// may not allocate, as a parking lock might.
    fn with<R>(&self, f: impl FnOnce(*mut *mut Node, &mut isize) -> R) -> R {
        while self.busy.compare_exchange_weak(false, true, Acquire, Relaxed).is_err() {
            std::hint::spin_loop();
        }
        // SAFETY: nobody else has it before the lock is given back.
        let untold = unsafe { &mut *self.untold.get() };
        let result = f(self.head.get(), untold);
        self.busy.store(false, Release);
        result
    }
}

/// Counts bytes taken or given back; answers what is to be told by now.
fn count(untold: &mut isize, bytes: isize) -> isize {
    *untold += bytes;
    if untold.abs() >= GRAIN { std::mem::take(untold) } else { 0 }
}

/// Tells a host that has just become known what was taken before.
pub(super) fn report(host: &Host) {
    (host.table.heap())(host.context, u64::try_from(TOLD.load(Relaxed)).unwrap_or(0));
}

/// Tells the host how large the heap is. Not inside `with`: the host takes its time.
fn tell(change: isize) {
    if change == 0 {
        return;
    }
    let mut bytes = TOLD.fetch_add(change, Relaxed) + change;
    let Some(host) = HOST.get() else { return };
    loop {
        (host.table.heap())(host.context, u64::try_from(bytes).unwrap_or(0));
        // Another thread may have said a later figure before this one was heard: the last word has to be the latest.
        let latest = TOLD.load(Relaxed);
        if latest == bytes {
            return;
        }
        bytes = latest;
    }
}

fn my_shard() -> usize {
    MY_SHARD.with(|mine| {
        if mine.get() == usize::MAX {
            mine.set(NEXT_SHARD.fetch_add(1, Relaxed) % SHARDS);
        }
        mine.get()
    })
}

/// Distance from `base` to the block: room for the node, and the block's alignment kept.
fn padding(align: usize) -> usize {
    size_of::<Node>().next_multiple_of(align.max(16))
}

/// What the system is asked for to make a block of `layout`.
fn whole(layout: Layout) -> Option<Layout> {
    let size = layout.size().checked_add(padding(layout.align()))?;
    Layout::from_size_align(size, layout.align().max(16)).ok()
}

/// The plugin's global allocator.
pub struct Heap;

// SAFETY: blocks come from `System` with room for their node in front, so they are as large and as aligned as
// asked, and go back to `System` with the layout they came with.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(whole) = whole(layout) else { return null_mut() };
        // SAFETY: `whole` is never of size 0: it has room for a node.
        let base = unsafe { System.alloc(whole) };
        if base.is_null() {
            return base;
        }
        // SAFETY: `whole` is larger than its padding.
        let block = unsafe { base.add(padding(layout.align())) };
        // SAFETY: the padding has room for a node in front of the block.
        let node = unsafe { block.sub(size_of::<Node>()) }.cast::<Node>();
        let shard = my_shard();
        let change = LISTS[shard].with(|head, untold| {
            // SAFETY: the list is ours while `with` runs us.
            let next = unsafe { *head };
            // SAFETY: `node` is memory of this block's own, aligned to 16 as every block is.
            unsafe { node.write(Node { previous: null_mut(), next, base, shard }) };
            if !next.is_null() {
                // SAFETY: nodes in the list are live.
                unsafe { (*next).previous = node };
            }
            // SAFETY: as above.
            unsafe { *head = node };
            count(untold, layout.size().cast_signed())
        });
        tell(change);
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `alloc` put a node in front of every block.
        let node = unsafe { block.sub(size_of::<Node>()) }.cast::<Node>();
        // SAFETY: never changes while the block lives, and it lives until the end of this.
        let base = unsafe { (*node).base };
        // SAFETY: as for `base`.
        let shard = unsafe { (*node).shard };
        let change = LISTS[shard].with(|head, untold| {
            // SAFETY: the list is ours while `with` runs us, and `node` is in it.
            let Node { previous, next, .. } = unsafe { node.read() };
            if previous.is_null() {
                // SAFETY: as above; it was the first.
                unsafe { *head = next };
            } else {
                // SAFETY: neighbours in the list are live.
                unsafe { (*previous).next = next };
            }
            if !next.is_null() {
                // SAFETY: as above.
                unsafe { (*next).previous = previous };
            }
            count(untold, -layout.size().cast_signed())
        });
        tell(change);
        let Some(whole) = whole(layout) else { return };
        // SAFETY: `base` came from `System` with this very layout.
        unsafe { System.dealloc(base, whole) };
    }
}

/// Frees every live block; answers how many. Only when no code of the plugin will run again.
pub(super) fn free_all() -> usize {
    let mut freed = 0;
    for list in &LISTS {
        list.with(|head, _| {
            // SAFETY: the list is ours while `with` runs us.
            let mut node = unsafe { std::mem::replace(&mut *head, null_mut()) };
            while !node.is_null() {
                // SAFETY: nodes in the list are live; this one is read before it is freed.
                let Node { next, base, .. } = unsafe { node.read() };
                // SAFETY: `System` is malloc, and `base` is what it gave.
                unsafe { libc::free(base.cast()) };
                node = next;
                freed += 1;
            }
        });
    }
    freed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_every_alignment_come_and_go() {
        for align in [1, 2, 8, 16, 32, 64, 4096] {
            let layout = Layout::from_size_align(100, align).expect("a layout");
            // SAFETY: the layout's size is not 0.
            let block = unsafe { Heap.alloc(layout) };
            assert_eq!(block as usize % align, 0);
            // SAFETY: 100 bytes were asked for.
            unsafe { block.write_bytes(0xa5, 100) };
            // SAFETY: `alloc` gave it for this layout.
            unsafe { Heap.dealloc(block, layout) };
        }
    }

    #[test]
    fn what_is_taken_is_told_in_grains() {
        let mut untold = 0;
        let mut count = |bytes: isize| count(&mut untold, bytes);
        assert_eq!([count(1), count(GRAIN - 2), count(1), count(5)], [0, 0, GRAIN, 0]);
        assert_eq!([count(-5), count(-GRAIN), count(2 * GRAIN)], [0, -GRAIN, 2 * GRAIN]);
    }

    #[test]
    fn threads_may_free_what_others_made() {
        let layout = Layout::new::<[u64; 9]>();
        let made: Vec<usize> = (0..1000)
            // SAFETY: the layout's size is not 0.
            .map(|_| unsafe { Heap.alloc(layout) } as usize)
            .collect();
        std::thread::scope(|scope| {
            for part in made.chunks(250) {
                scope.spawn(move || {
                    for block in part {
                        // SAFETY: made above for this layout, and each freed once.
                        unsafe { Heap.dealloc(*block as *mut u8, layout) };
                    }
                });
            }
        });
    }
}
