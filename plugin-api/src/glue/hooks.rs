//! Seven functions of libc as everything linked into the plugin sees them, std included, so that the host learns
//! which threads, pthread keys and mappings the plugin has made and can tell when it is really gone, and what it prints
//! (`prints` has those two).
//!
//! `export_plugin!` defines them as weak hidden symbols of the plugin: the static linker binds the references of
//! std and of C dependencies to them, and nothing outside the plugin ever sees them. Each calls the real
//! function. Why std needs this: it makes one pthread key per load and never deletes it (a process has 1,024,
//! and std aborts when they run out), and nothing else says when a thread's destructors have run.
//!
//! | unsafe | why it holds | test that pins it |
//! |---|---|---|
//! | `real`: `dlsym` | looks up a name libc always has | `threads_and_keys_work_where_the_hooks_are_linked` |
//! | the five wrappers | same signature as the real function, arguments passed on unchanged | same |
//! | `trampoline`: the box | made by `thread_create` for exactly one thread | same |
//! | `reclaim` | the host calls it once, after the last thread has ended | `a_loaded_library_is_mapped_and_an_unloaded_one_is_not` |

use std::{
    ffi::{CStr, c_int, c_void},
    mem::transmute,
    ptr::null_mut,
    sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering::Relaxed},
};

pub use super::prints::{write, writev};

use super::{HOST, heap, prints};
use crate::abi::{Host, THREAD_FAILED, THREAD_SPAWNING, THREAD_STARTED};

/// Keys made before the host is known, while the library is opened, plus one; 0 is a free place.
static EARLY_KEYS: [AtomicU32; 16] = [const { AtomicU32::new(0) }; 16];
/// Threads made before the host is known. They are never heard of again, so they keep the library open.
static EARLY_THREADS: AtomicUsize = AtomicUsize::new(0);

/// Tells the host of the threads, keys and memory taken before it was known.
pub(super) fn report_early(host: &Host) {
    prints::prepare();
    heap::report(host);
    for _ in 0..EARLY_THREADS.swap(0, Relaxed) {
        (host.table.thread())(host.context, THREAD_SPAWNING, 0);
    }
    for place in &EARLY_KEYS {
        if let Some(key) = place.swap(0, Relaxed).checked_sub(1) {
            (host.table.thread_key())(host.context, key, true);
        }
    }
}

fn key_made(key: u32) {
    match HOST.get() {
        Some(host) => (host.table.thread_key())(host.context, key, true),
        None => {
            let _ = EARLY_KEYS.iter().find(|p| p.compare_exchange(0, key + 1, Relaxed, Relaxed).is_ok());
        }
    }
}

fn key_deleted(key: u32) {
    match HOST.get() {
        Some(host) => (host.table.thread_key())(host.context, key, false),
        None => {
            let _ = EARLY_KEYS.iter().find(|p| p.compare_exchange(key + 1, 0, Relaxed, Relaxed).is_ok());
        }
    }
}

/// [`crate::abi::PluginModule::reclaim`]: gives back what was made before the host was known and could not be told,
/// and what statics still own.
pub extern "C" fn reclaim() -> usize {
    for place in &EARLY_KEYS {
        if let Some(key) = place.swap(0, Relaxed).checked_sub(1) {
            // SAFETY: the key is this library's own, and no thread of it is left.
            unsafe { real_key_delete()(key) };
        }
    }
    heap::free_all()
}

pub(super) fn real(cache: &AtomicPtr<c_void>, name: &CStr) -> *mut c_void {
    let mut at = cache.load(Relaxed);
    if at.is_null() {
        // SAFETY: `name` is a C string; `RTLD_DEFAULT` begins the search at the program, so that the hidden
        // symbols of this library are not found.
        at = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
        cache.store(at, Relaxed);
    }
    at
}

type KeyDelete = unsafe extern "C" fn(u32) -> c_int;

fn real_key_delete() -> KeyDelete {
    static REAL: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
    let at = real(&REAL, c"pthread_key_delete");
    // SAFETY: this is the signature of POSIX's function of that name.
    unsafe { transmute::<*mut c_void, KeyDelete>(at) }
}

type Destructor = Option<unsafe extern "C" fn(*mut c_void)>;

/// `pthread_key_create`.
///
/// # Safety
/// As for the real function.
pub unsafe extern "C" fn key_create(key: *mut u32, destructor: Destructor) -> c_int {
    type F = unsafe extern "C" fn(*mut u32, Destructor) -> c_int;
    static REAL: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
    // SAFETY: this is the signature of POSIX's function of that name.
    let f = unsafe { transmute::<*mut c_void, F>(real(&REAL, c"pthread_key_create")) };
    // SAFETY: the caller's own arguments.
    let result = unsafe { f(key, destructor) };
    if result == 0 {
        // SAFETY: the real function has just written it.
        key_made(unsafe { *key });
    }
    result
}

/// `pthread_key_delete`.
///
/// # Safety
/// As for the real function.
pub unsafe extern "C" fn key_delete(key: u32) -> c_int {
    key_deleted(key);
    // SAFETY: the caller's own argument.
    unsafe { real_key_delete()(key) }
}

/// `mmap64`.
///
/// # Safety
/// As for the real function.
pub unsafe extern "C" fn map(
    at: *mut c_void,
    len: usize,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: i64,
) -> *mut c_void {
    type F = unsafe extern "C" fn(*mut c_void, usize, c_int, c_int, c_int, i64) -> *mut c_void;
    static REAL: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
    // SAFETY: this is the signature of libc's function of that name.
    let f = unsafe { transmute::<*mut c_void, F>(real(&REAL, c"mmap64")) };
    // SAFETY: the caller's own arguments.
    let mapped = unsafe { f(at, len, protection, flags, fd, offset) };
    if mapped != libc::MAP_FAILED
        && let Some(host) = HOST.get()
    {
        (host.table.mapping())(host.context, mapped as usize, len, true);
    }
    mapped
}

/// `munmap`.
///
/// # Safety
/// As for the real function.
pub unsafe extern "C" fn unmap(at: *mut c_void, len: usize) -> c_int {
    type F = unsafe extern "C" fn(*mut c_void, usize) -> c_int;
    static REAL: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
    // SAFETY: this is the signature of POSIX's function of that name.
    let f = unsafe { transmute::<*mut c_void, F>(real(&REAL, c"munmap")) };
    // Before the unmapping: afterwards the address may already be somebody else's.
    if let Some(host) = HOST.get() {
        (host.table.mapping())(host.context, at as usize, len, false);
    }
    // SAFETY: the caller's own arguments.
    unsafe { f(at, len) }
}

type Body = extern "C" fn(*mut c_void) -> *mut c_void;

/// `pthread_create`.
///
/// # Safety
/// As for the real function.
pub unsafe extern "C" fn thread_create(
    thread: *mut c_void,
    attributes: *const c_void,
    body: Body,
    argument: *mut c_void,
) -> c_int {
    type F = unsafe extern "C" fn(*mut c_void, *const c_void, Body, *mut c_void) -> c_int;
    static REAL: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
    // SAFETY: this is the signature of POSIX's function of that name.
    let f = unsafe { transmute::<*mut c_void, F>(real(&REAL, c"pthread_create")) };
    let Some(host) = HOST.get() else {
        // SAFETY: the caller's own arguments.
        let result = unsafe { f(thread, attributes, body, argument) };
        if result == 0 {
            EARLY_THREADS.fetch_add(1, Relaxed);
        }
        return result;
    };
    (host.table.thread())(host.context, THREAD_SPAWNING, 0);
    let begun = Box::into_raw(Box::new((body, argument)));
    // SAFETY: the caller's own arguments, but for the body, which takes the box as its argument.
    let result = unsafe { f(thread, attributes, trampoline, begun.cast()) };
    if result != 0 {
        // SAFETY: no thread was made, so the box is still ours.
        drop(unsafe { Box::from_raw(begun) });
        (host.table.thread())(host.context, THREAD_FAILED, 0);
    }
    result
}

extern "C" fn trampoline(begun: *mut c_void) -> *mut c_void {
    // SAFETY: `thread_create` made the box for this one thread.
    let begun = unsafe { Box::from_raw(begun.cast::<(Body, *mut c_void)>()) };
    let (body, argument) = *begun;
    if let Some(host) = HOST.get() {
        // SAFETY: has no precondition.
        let tid = unsafe { libc::gettid() };
        (host.table.thread())(host.context, THREAD_STARTED, tid);
    }
    body(argument)
}

/// Defines the seven symbols in the plugin.
#[doc(hidden)]
#[macro_export]
macro_rules! __plugin_hooks {
    () => {
        #[cfg(target_os = "linux")]
        $crate::__plugin_hooks!(
            "pthread_key_create" = key_create,
            "pthread_key_delete" = key_delete,
            "pthread_create" = thread_create,
            "mmap64" = map,
            "munmap" = unmap,
            "write" = write,
            "writev" = writev,
        );
    };
    ($($name:literal = $function:ident),* $(,)?) => {$(
        ::core::arch::global_asm!(
            concat!(".weak ", $name),
            concat!(".hidden ", $name),
            concat!(".type ", $name, ",@function"),
            concat!($name, ":"),
            #[cfg(target_arch = "x86_64")]
            "jmp {f}",
            #[cfg(target_arch = "aarch64")]
            "b {f}",
            f = sym $crate::glue::hooks::$function,
        );
    )*};
}
