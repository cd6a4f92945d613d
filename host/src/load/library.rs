//! A plugin's library: opened by libloading, its interface checked by abi_stable, entered, closed.
//!
//! | unsafe | why it holds | test that pins it |
//! |---|---|---|
//! | `open`: dlopen | runs the file's constructors; SECURITY: `plugins/` holds trusted files only | `a_good_file_is_fine` |
//! | `check`: the root symbol | `vet` saw the symbol; its header's magic is checked before anything else is read | `files_that_are_no_plugins_are_refused_before_their_code_runs` |
//! | `check`: the module | its layout was compared with ours, both ways | `plugins_that_do_not_start_say_why_and_leave_the_others_up` |
//! | `handlers_in`, `delete_key`, `unmap`, `is_alive`, `thread_id`, `leave` | see there | `a_loaded_library_is_mapped_and_an_unloaded_one_is_not` |
//! | `first_free_key`, `user_id` | ask libc for a number | `a_process_that_has_nearly_run_out_of_keys_loads_no_more`, `a_file_that_everybody_may_replace_is_not_trusted` |
//! | `confine`, `has_ended`, `kill_group` | speak of a child that this process has not waited for, or of itself | `a_file_that_would_end_or_hold_up_the_process_costs_a_child` |

#![expect(unsafe_code, reason = "dlopen, and calls into what it opened")]

mod difference;
#[cfg(test)]
mod tagged;

use std::{mem::ManuallyDrop, path::Path, time::Duration};

use abi_stable::{
    StableAbi,
    abi_stability::abi_checking::{CheckingGlobals, check_layout_compatibility_with_globals as compare},
    library::AbiHeaderRef,
    std_types::{RSlice, RStr, RString, RVec},
};
use libloading::os::unix::{RTLD_LOCAL, RTLD_NOW};
use plugin_api::abi::{Host, PluginModuleRef, ROOT_SYMBOL, Start};

use super::error::chain;

/// An open library with a checked interface. Stays open when dropped: only [`Library::close`] closes it.
pub(super) struct Library {
    handle: ManuallyDrop<libloading::os::unix::Library>,
    module: PluginModuleRef,
}

/// Why a library's interface cannot be used.
pub(super) enum Mismatch {
    /// The dynamic linker's words.
    Linker(String),
    /// What differs.
    Interface(String),
}

impl Library {
    /// Opens the library at `path` and checks its interface. To be called on the plugin's own thread: this runs
    /// its code. A library that does not pass stays open, for its constructors may have started something.
    pub(super) fn open(path: &Path) -> Result<Self, Mismatch> {
        // SAFETY: the file was vetted, is a private copy that nobody else writes, and comes from the operator's
        // plugin folder, whose files are trusted to run.
        let opened = unsafe { libloading::os::unix::Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
        let handle = ManuallyDrop::new(opened.map_err(|e| Mismatch::Linker(chain(&e)))?);
        let module = check(&handle).map_err(Mismatch::Interface)?;
        Ok(Self { handle, module })
    }

    /// The plugin's description of itself, JSON.
    pub(super) fn describe(&self, host: &Host) -> Result<Vec<u8>, String> {
        let mut out = RVec::new();
        let described = (self.module.describe())(host, &mut out);
        let out = out.into_vec();
        if described { Ok(out) } else { Err(String::from_utf8_lossy(&out).into_owned()) }
    }

    /// Runs the plugin until it stops.
    pub(super) fn main(&self, host: &Host, start: &StartFacts<'_>) -> Result<(), String> {
        let start = Start {
            size: size_of::<Start<'_>>() as u32,
            threads: start.threads,
            server: RStr::from_str(start.server),
            prefix: RStr::from_str(start.prefix),
            settings: RSlice::from_slice(start.settings),
            gateway_version: RStr::from_str(env!("CARGO_PKG_VERSION")),
            reserved: [0; 4],
        };
        let mut error = RString::new();
        let served = (self.module.main())(host, &start, &mut error);
        if served { Ok(()) } else { Err(error.into_string()) }
    }

    /// Has the plugin give back what its statics own, and closes the library. To be called when the plugin's last
    /// thread has ended, on a thread that ends right after.
    pub(super) fn close(self) -> Result<(), String> {
        (self.module.reclaim())();
        ManuallyDrop::into_inner(self.handle).close().map_err(|e| chain(&e))
    }
}

/// What a plugin starts with.
pub(super) struct StartFacts<'a> {
    pub(super) threads: u32,
    pub(super) server: &'a str,
    pub(super) prefix: &'a str,
    pub(super) settings: &'a [u8],
}

/// Checks the header, and the layout of everything reachable from the module. With fresh `CheckingGlobals` each
/// time: those of the process would keep pointers into the library for ever.
fn check(library: &libloading::os::unix::Library) -> Result<PluginModuleRef, String> {
    // SAFETY: what the symbol points at is taken for a header only if its magic says so.
    let symbol = unsafe { library.get::<AbiHeaderRef>(ROOT_SYMBOL) };
    let header = *symbol.map_err(|e| chain(&e))?;
    if !header.is_valid() {
        return Err(format!("its header is of abi_stable {}.{}", header.abi_major, header.abi_minor));
    }
    let header = header.upgrade().map_err(|e| e.to_string())?;
    let theirs = header.layout().ok_or("its header carries no layout")?;
    let ours = <PluginModuleRef as StableAbi>::LAYOUT;
    // Either side may know more than the other; what one lacks at the end is never used by the other.
    let fits = |wanted, given| compare(wanted, given, &CheckingGlobals::new()).is_ok();
    if !fits(ours, theirs) && !fits(theirs, ours) {
        return Err(difference::explain(ours, theirs));
    }
    // SAFETY: the layouts agree, as just compared.
    let module = unsafe { header.init_root_module_with_unchecked_layout::<PluginModuleRef>() };
    module.map_err(|e| e.to_string())
}

/// Signals whose handler lies in one of `ranges`.
pub(super) fn handlers_in(ranges: &[(usize, usize)]) -> Vec<i32> {
    let inside = |at: usize| ranges.iter().any(|(start, stop)| (*start..*stop).contains(&at));
    let handler = |signal: i32| {
        let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: only asks; `action` is the struct it fills.
        let asked = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
        // SAFETY: filled, and all zeroes is a value of it too.
        (asked == 0).then(|| unsafe { action.assume_init() }.sa_sigaction)
    };
    (1..=64).filter(|signal| handler(*signal).is_some_and(inside)).collect()
}

/// Deletes a pthread key that a plugin left.
pub(super) fn delete_key(key: u32) {
    // SAFETY: the plugin made the key, its library is closed, and no thread that set it is left; or it was made in
    // `first_free_key`, which tells nobody.
    unsafe { libc::pthread_key_delete(key) };
}

/// Unmaps what a plugin mapped of its own private file and left.
pub(super) fn unmap(start: usize, stop: usize) {
    // SAFETY: a mapping of the plugin's private copy, made by the plugin itself, of which no code is left.
    unsafe { libc::munmap(start as *mut _, stop - start) };
}

/// The lowest pthread key that is free, and so about how many are not. `None`: none is. They are the whole process's.
pub(super) fn first_free_key() -> Option<u32> {
    let mut key = 0;
    // SAFETY: `key` is where the key goes, and without a destructor nothing is ever called for it.
    let made = unsafe { libc::pthread_key_create(&mut key, None) };
    if made != 0 {
        return None;
    }
    delete_key(key);
    Some(key)
}

/// The user whose rights this process has.
pub(super) fn user_id() -> u32 {
    // SAFETY: has no precondition and cannot fail.
    unsafe { libc::geteuid() }
}

/// Makes this process one that leaves nothing behind: no core file, an end with the thread that made it, and an end after
/// `limit`, unless the plugin makes other arrangements, which is why its parent looks at the time as well.
pub(super) fn confine(limit: Duration) {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `none` is the struct it reads. Where it is refused, a crash leaves a core file as ever.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) };
    // SAFETY: takes a number, and sends this process a signal when its parent ends.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    let seconds = u32::try_from(limit.as_secs().saturating_add(1)).unwrap_or(u32::MAX);
    // SAFETY: has no precondition; SIGALRM ends a process that has no handler for it, and this one has none yet.
    unsafe { libc::alarm(seconds) };
}

/// Whether a child has ended; it can still be waited for.
pub(super) fn has_ended(child: u32) -> bool {
    let mut about = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `about` is the struct it fills.
    let asked = unsafe { libc::waitid(libc::P_PID, child, about.as_mut_ptr(), how) };
    // SAFETY: filled, or all zeroes, which is a value of it too.
    let about = unsafe { about.assume_init() };
    // Unfilled: it has not. An error: there is no such child any more.
    asked != 0 || about.si_signo != 0
}

/// Ends every process of the group of a child that has not been waited for.
pub(super) fn kill_group(child: u32) {
    let Ok(group) = i32::try_from(child) else { return };
    // SAFETY: sends a signal; while its leader has not been waited for, the number is nobody else's.
    unsafe { libc::kill(-group, libc::SIGKILL) };
}

/// The kernel's id of this thread.
pub(super) fn thread_id() -> i32 {
    // SAFETY: has no precondition.
    unsafe { libc::gettid() }
}

/// Whether a thread of this process still exists. Asks the kernel itself: a `/proc` that is missing must not make
/// running threads look ended.
pub(super) fn is_alive(tid: i32) -> bool {
    // SAFETY: signal 0 is never delivered, only the thread's existence checked.
    let asked = unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), tid, 0) };
    asked == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// Ends the process at once. For a process that kept a library: destructors of statics, run by `exit`, would race
/// with the threads of that library.
pub(super) fn leave(code: i32) -> ! {
    // SAFETY: has no precondition.
    unsafe { libc::_exit(code) }
}
