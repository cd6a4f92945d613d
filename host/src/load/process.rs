//! This process, made fit to load libraries: once, before it has a second thread.
//!
//! | unsafe | why it holds | test that pins it |
//! |---|---|---|
//! | `hear_of_children`: `signal` | back to the default, which runs no code | `a_gateway_whose_parent_ignores_its_children_hears_how_its_own_end` |

#![expect(unsafe_code, reason = "what is the whole process's is libc's")]

/// To be called at the start of `main`.
pub fn prepare_process() {
    hear_of_children();
}

/// A parent that ignores SIGCHLD hands that on, and the kernel would forget how a trial ended before it is asked.
fn hear_of_children() {
    // SAFETY: the default action of this signal is to do nothing, and nobody here has a handler for it yet.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}
