//! This process, made fit to load libraries: once, before it has a second thread.
//!
//! | unsafe | why it holds | test that pins it |
//! |---|---|---|
//! | `hear_of_children`: `signal` | back to the default, which runs no code | `a_gateway_whose_parent_ignores_its_children_hears_how_its_own_end` |
//! | `give_memory_back`: `mallopt` | sets a number of malloc's, before there is another thread | `a_file_that_was_read_leaves_no_memory_behind` |

#![expect(unsafe_code, reason = "what is the whole process's is libc's")]

/// To be called at the start of `main`.
pub fn prepare_process() {
    hear_of_children();
    give_memory_back();
}

/// A parent that ignores SIGCHLD hands that on, and the kernel would forget how a trial ended before it is asked.
fn hear_of_children() {
    // SAFETY: the default action of this signal is to do nothing, and nobody here has a handler for it yet.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Left alone, glibc takes the size of the largest block that was given back for the size from which on blocks are
/// mapped one by one: the memory of a library that was read and dropped is then kept for the next.
fn give_memory_back() {
    const MAPPED_FROM: libc::c_int = 1 << 20;
    // What glibc itself would choose for that. A call makes and drops much that is smaller, and is to find it there.
    const KEPT_UP_TO: libc::c_int = 2 * MAPPED_FROM;
    for (what, bytes) in [(libc::M_MMAP_THRESHOLD, MAPPED_FROM), (libc::M_TRIM_THRESHOLD, KEPT_UP_TO)] {
        // SAFETY: takes two numbers. Where it is refused, memory is kept as ever.
        unsafe { libc::mallopt(what, bytes) };
    }
}
