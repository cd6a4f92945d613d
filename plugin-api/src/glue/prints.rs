//! What the plugin prints, as lines of the gateway's log that say whose they are, and in which call.
//!
//! In:   `write` and `writev` as everything linked into the plugin sees them (see `hooks`), std's `println!`, `eprintln!` and
//! `dbg!` included. C's own `printf` is not: its buffer and its `write` are in libc.
//! Out:  what goes to descriptor 1 or 2 is taken, line by line; all else is the real function's, as is everything before the
//! host is known or while its log is off. A line at a level that nobody hears is nobody's, but for those that tell why the
//! process is about to end.
//! Never: allocates for text that is UTF-8, since std says in this way that memory has run out; or waits for a lock that its
//! own thread has, since a signal's handler may print.
//!
//! | unsafe | why it holds | test that pins it |
//! |---|---|---|
//! | the two wrappers | same signature as the real function, arguments passed on unchanged | `what_a_plugin_prints_is_in_the_log_a_line_at_a_time` |
//! | what they read | the caller says that so many bytes, or pieces, are there to be written | same |

use std::{
    cell::Cell,
    ffi::{c_int, c_void},
    io::Write as _,
    mem::transmute,
    process,
    ptr::null_mut,
    slice,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicPtr, AtomicU32, Ordering::Relaxed},
    },
};

use libc::iovec;

use super::{HOST, hooks::real, log};
use crate::abi::Host;

/// Longest line, in bytes: a longer one is logged in pieces.
const LINE_MAX: usize = 4096;
/// How many pieces the kernel takes at once; `writev` of more fails.
const PIECES_MAX: usize = 1024;

/// Levels as in [`crate::abi::LogRecord`]: what is printed to stdout is worth a look, to stderr one more.
static OUT: Stream = Stream::new("stdout", 3);
static ERR: Stream = Stream::new("stderr", 2);

/// What std prints to stderr right before it ends the process begins so. The host takes a record of stderr at level 1 for that,
/// and does not drop it.
const LAST_WORDS: [&[u8]; 4] = [
    b"fatal runtime error",
    b"memory allocation of ",
    b"thread panicked while processing panic",
    b"thread caused non-unwinding panic",
];

fn is_last_words(bytes: &[u8]) -> bool {
    LAST_WORDS.iter().any(|begin| bytes.starts_with(begin))
}

thread_local! {
    // Const and without a destructor: it is there until the thread has ended.
    static IS_INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// One of the two, and what of its last line is there.
struct Stream {
    target: &'static str,
    level: u32,
    line: Mutex<Line>,
}

struct Line {
    bytes: [u8; LINE_MAX],
    len: usize,
}

impl Stream {
    const fn new(target: &'static str, level: u32) -> Self {
        Self { target, level, line: Mutex::new(Line { bytes: [0; LINE_MAX], len: 0 }) }
    }

    /// Runs `f` with the line and with what logs; not if this very thread is doing so already.
    fn with(&self, host: &Host, f: impl FnOnce(&mut Line, &mut dyn FnMut(&str))) {
        if IS_INSIDE.replace(true) {
            return;
        }
        let heard = log::max_level(host);
        let mut say = |text: &str| {
            let is_last = self.level == ERR.level && is_last_words(text.as_bytes());
            let level = if is_last { 1 } else { self.level };
            if level <= heard {
                log::say(host, level, self.target, text);
            }
        };
        f(&mut self.line.lock().unwrap_or_else(PoisonError::into_inner), &mut say);
        IS_INSIDE.set(false);
    }
}

impl Line {
    /// Appends `bytes`, and logs each line that is whole by then.
    fn append(&mut self, mut bytes: &[u8], log: &mut dyn FnMut(&str)) {
        // They are known by how their line begins, whatever was printed before.
        if self.len > 0 && is_last_words(bytes) {
            self.end(log);
        }
        while !bytes.is_empty() {
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = &bytes[..end.unwrap_or(bytes.len())];
            let taken = part.len().min(LINE_MAX - self.len);
            self.bytes[self.len..][..taken].copy_from_slice(&part[..taken]);
            self.len += taken;
            bytes = &bytes[taken..];
            if taken < part.len() {
                self.cut(log);
            } else if end.is_some() {
                self.end(log);
                bytes = &bytes[1..];
            }
        }
    }

    /// The line is whole. An empty one says nothing.
    fn end(&mut self, log: &mut dyn FnMut(&str)) {
        let line = &self.bytes[..self.len];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.is_empty() {
            log(&String::from_utf8_lossy(line));
        }
        self.len = 0;
    }

    /// There is no room: what is there is a line, but for a character that is not whole.
    fn cut(&mut self, log: &mut dyn FnMut(&str)) {
        let line = &self.bytes[..self.len];
        let last = line.utf8_chunks().last().map(|chunk| chunk.invalid()).unwrap_or_default();
        let is_begun = str::from_utf8(last).is_err_and(|error| error.error_len().is_none());
        let whole = self.len - if is_begun { last.len() } else { 0 };
        log(&String::from_utf8_lossy(&line[..whole]));
        self.bytes.copy_within(whole..self.len, 0);
        self.len -= whole;
    }
}

/// The process that the log is in. A child that the plugin forks may hold locks of it that nobody gives back.
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// Looks the real functions up while that is safe: in a signal's handler and after a `fork` it is not.
pub(super) fn prepare() {
    real_write();
    real_writev();
    PROCESS.store(process::id(), Relaxed);
}

/// Has std hand over what it keeps of a line to stdout. Waits for whoever has locked stdout.
pub(super) fn flush_std() {
    // It goes through `write`, which never fails where it is taken, and nobody is told where it is not.
    let _ = std::io::stdout().flush();
}

/// Logs what was printed without a line's end. Nothing of the plugin prints any more, or it does so for nobody.
pub(super) fn flush(host: &Host) {
    for stream in [&OUT, &ERR] {
        stream.with(host, |line, log| line.end(log));
    }
}

/// Where what is written to `fd` goes, if it is the log's.
fn stream(fd: c_int) -> Option<(&'static Host, &'static Stream)> {
    let stream = match fd {
        libc::STDOUT_FILENO => &OUT,
        libc::STDERR_FILENO => &ERR,
        _ => return None,
    };
    let host = HOST.get()?;
    // A handler that interrupts a print, or memory that runs out in one.
    let is_free = !IS_INSIDE.get() && PROCESS.load(Relaxed) == process::id();
    (is_free && log::max_level(host) > 0).then_some((host, stream))
}

type Write = unsafe extern "C" fn(c_int, *const c_void, usize) -> isize;

fn real_write() -> Write {
    static REAL: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
    // SAFETY: this is the signature of POSIX's function of that name.
    unsafe { transmute::<*mut c_void, Write>(real(&REAL, c"write")) }
}

type Writev = unsafe extern "C" fn(c_int, *const iovec, c_int) -> isize;

fn real_writev() -> Writev {
    static REAL: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
    // SAFETY: this is the signature of POSIX's function of that name.
    unsafe { transmute::<*mut c_void, Writev>(real(&REAL, c"writev")) }
}

/// Whether there can be so many bytes there. What cannot be is left to the real function, which says so.
fn is_sound(at: *const c_void, len: usize) -> bool {
    !at.is_null() && len > 0 && isize::try_from(len).is_ok()
}

/// `write`.
///
/// # Safety
/// As for the real function.
pub unsafe extern "C" fn write(fd: c_int, at: *const c_void, len: usize) -> isize {
    match stream(fd) {
        Some((host, stream)) if is_sound(at, len) => {
            // SAFETY: the caller says that `len` bytes are there.
            let bytes = unsafe { slice::from_raw_parts(at.cast::<u8>(), len) };
            stream.with(host, |line, log| line.append(bytes, log));
            len.cast_signed()
        }
        // SAFETY: the caller's own arguments.
        _ => unsafe { real_write()(fd, at, len) },
    }
}

/// `writev`.
///
/// # Safety
/// As for the real function.
pub unsafe extern "C" fn writev(fd: c_int, pieces: *const iovec, count: c_int) -> isize {
    if let (Some((host, stream)), Ok(number @ 1..=PIECES_MAX)) = (stream(fd), usize::try_from(count))
        && !pieces.is_null()
    {
        // SAFETY: the caller says that `count` pieces are there.
        let pieces = unsafe { slice::from_raw_parts(pieces, number) };
        let whole = pieces.iter().try_fold(0isize, |sum, piece| sum.checked_add_unsigned(piece.iov_len));
        let is_sound = |piece: &iovec| piece.iov_len == 0 || is_sound(piece.iov_base, piece.iov_len);
        if let Some(whole) = whole.filter(|_| pieces.iter().all(is_sound)) {
            stream.with(host, |line, log| {
                for piece in pieces.iter().filter(|piece| piece.iov_len > 0) {
                    // SAFETY: the caller says of each piece that so many bytes are there.
                    let bytes = unsafe { slice::from_raw_parts(piece.iov_base.cast::<u8>(), piece.iov_len) };
                    line.append(bytes, log);
                }
            });
            return whole;
        }
    }
    // SAFETY: the caller's own arguments.
    unsafe { real_writev()(fd, pieces, count) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is logged of `pieces`, written one after another, and then of the end.
    fn check(pieces: &[&[u8]], expected: &[&str]) {
        let mut line = Line { bytes: [0; LINE_MAX], len: 0 };
        let mut logged = Vec::new();
        let mut log = |text: &str| logged.push(text.to_owned());
        pieces.iter().for_each(|bytes| line.append(bytes, &mut log));
        line.end(&mut log);
        assert_eq!(logged, expected);
    }

    #[test]
    fn a_line_is_logged_when_it_is_whole_whatever_pieces_it_comes_in() {
        check(&[b"one\ntwo\n"], &["one", "two"]);
        check(&[b"o", b"ne", b"\nt", b"wo"], &["one", "two"]);
        check(&[b"\n\r\n", b"one\r\n"], &["one"]);
        check(&["é".as_bytes().split_at(1).0, "é\n".as_bytes().split_at(1).1], &["é"]);
        check(&[b"a\xff\xc3b\n"], &["a\u{fffd}\u{fffd}b"]);
        check(&[], &[]);
    }

    #[test]
    fn what_std_says_before_it_ends_the_process_is_a_line_of_its_own() {
        check(
            &[b"half a li", b"memory allocation of ", b"9", b" bytes failed\n"],
            &["half a li", "memory allocation of 9 bytes failed"],
        );
        check(&[b"no fatal ", b"error\n"], &["no fatal error"]);
        assert!(is_last_words(b"fatal runtime error: thread local panicked on drop, aborting"));
        assert!(!is_last_words(b"fatal") && !is_last_words(b"thread 'main' panicked"));
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_between_characters() {
        let full = "x".repeat(LINE_MAX);
        check(&[full.as_bytes(), b"\n"], &[&full]);
        check(&[full.as_bytes(), b"y\n"], &[&full, "y"]);
        let odd = format!("{}é", "x".repeat(LINE_MAX - 1));
        check(&[odd.as_bytes()], &[&full[1..], "é"]);
        check(&[&[0xff; LINE_MAX + 1]], &[&"\u{fffd}".repeat(LINE_MAX), "\u{fffd}"]);
        let twice = full.repeat(2);
        check(&[twice.as_bytes()], &[&full, &full]);
    }
}
