//! The audit log on real files and fifos.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead as _, BufReader},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
    sync::PoisonError,
    time::Duration,
};

use super::{
    Audit, Event, NotRecorded, Pace, WAITING_MAX,
    line::{Line, tests::line},
};
use crate::config;

/// Nothing is waited for that long: it is where a test would fail.
const LONG: Duration = Duration::from_secs(60);
/// Looks for what nobody reports at once.
const HASTY: Pace = Pace { check: Duration::ZERO, retry: Duration::from_millis(1) };
/// Looks for it never.
const IDLE: Pace = Pace { check: LONG, retry: LONG };

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("audit-{}", uuid::Uuid::now_v7().simple()));
        fs::create_dir(&folder).expect("a folder");
        Self(folder)
    }

    fn log(&self) -> PathBuf {
        self.0.join("audit.log")
    }

    fn fifo(&self) -> PathBuf {
        let path = self.0.join("fifo");
        let made = Command::new("mkfifo").arg(&path).status();
        assert!(made.is_ok_and(|status| status.success()), "mkfifo makes a fifo");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn open(path: &Path, pace: Pace) -> Audit {
    let config = config::Audit { path: Some(path.to_owned()), required: true };
    Audit::open_at(&config, pace).expect("it can be opened")
}

fn open_error(path: &Path) -> String {
    let config = config::Audit { path: Some(path.to_owned()), required: true };
    Audit::open(&config).expect_err("it cannot be opened").to_string()
}

impl Audit {
    fn record(&self, request_id: &str) {
        self.reserve().expect("a place").write(&line(request_id));
    }

    /// Waits until every line has been written, and what `reopen` has asked for has been done.
    fn settle(&self) {
        let shared = self.shared.as_ref().expect("it has a file");
        let is_busy = |state: &mut super::State| state.unwritten > 0 || state.reopen.0 > state.reopen.1;
        let waited = shared.done.wait_timeout_while(shared.lock(), LONG, is_busy);
        assert!(!waited.unwrap_or_else(PoisonError::into_inner).1.timed_out(), "the writer is not done");
    }

    /// Waits until the writer has seen that it cannot write.
    fn fail(&self) {
        let shared = self.shared.as_ref().expect("it has a file");
        let waited = shared.done.wait_timeout_while(shared.lock(), LONG, |state| !state.is_failing);
        assert!(!waited.unwrap_or_else(PoisonError::into_inner).1.timed_out(), "the writer has not failed");
    }
}

/// The ids in a file, one after another; of lines without one the event and its number.
fn ids(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("the file is there");
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    text.lines().map(id).collect::<Vec<_>>().join(" ")
}

fn id(line: &str) -> String {
    let Ok(line) = serde_json::from_str::<serde_json::Value>(line) else { return format!("({line})") };
    match line["request_id"].as_str() {
        Some(id) => id.to_owned(),
        None => format!("{}:{}", line["event"].as_str().expect("an event"), line["lines"]),
    }
}

#[test]
fn lines_are_appended_to_a_file_that_only_its_owner_reads() {
    let folder = Folder::new();
    let audit = open(&folder.log(), HASTY);
    assert!(audit.is_required());
    audit.record("r1");
    let refused = Line { event: Event::Refused, ..line("r2") };
    audit.reserve().expect("a place").write(&refused);
    assert_eq!((audit.close(LONG), audit.lost()), (0, 0));
    let mode = fs::metadata(folder.log()).expect("the file is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = open(&folder.log(), HASTY);
    again.record("r3");
    assert_eq!(again.close(LONG), 0);
    assert_eq!(ids(&folder.log()), "r1 r2 r3");
}

#[test]
fn without_a_path_nothing_is_kept_and_nothing_fails() {
    let audit = Audit::open(&config::Audit { path: None, required: true }).expect("nothing to open");
    for _ in 0..2 * WAITING_MAX {
        audit.record("r1");
    }
    audit.count_lost();
    audit.reopen();
    assert_eq!((audit.is_required(), audit.lost(), audit.close(Duration::ZERO)), (false, 0, 0));
}

#[test]
fn a_place_that_is_not_used_leaves_no_line() {
    let folder = Folder::new();
    let audit = open(&folder.log(), HASTY);
    // As many calls as one likes may be open at once.
    let mut slots: Vec<_> = (0..2 * WAITING_MAX).map(|_| audit.reserve().expect("a place")).collect();
    slots.pop().expect("a place").write(&line("r1"));
    audit.settle();
    audit.record("r2");
    audit.count_lost();
    drop(slots);
    assert_eq!((audit.close(LONG), audit.lost()), (0, 1));
    let told = ids(&folder.log());
    assert!(["r1 r2 lost:1", "r1 lost:1 r2"].contains(&told.as_str()), "{told}");
}

#[test]
fn no_place_is_promised_while_too_many_lines_wait() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    // Without a writer there is nobody to wait for yet.
    let first = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&fifo);
    let audit = open(&fifo, HASTY);
    let mut reader = BufReader::new(File::open(&fifo).expect("it has a writer")).lines();
    drop(first.expect("the fifo is there"));
    let early = audit.reserve().expect("a place");
    // Nobody reads, and the fifo holds a small part of it.
    let mut written = 0;
    let full = loop {
        match audit.reserve() {
            Ok(slot) => slot.write(&line(&written.to_string())),
            Err(error) => break error,
        }
        written += 1;
    };
    assert_eq!(full, NotRecorded::Full);
    assert!(written >= WAITING_MAX);
    // What was promised is kept.
    early.write(&line("early"));
    let last = reader.nth(written).map(|line| id(&line.expect("text")));
    assert_eq!(last.as_deref(), Some("early"));
    audit.settle();
    audit.record("r1");
    assert_eq!((audit.close(LONG), audit.lost()), (0, 0));
}

#[test]
fn a_file_that_was_moved_away_is_made_anew() {
    let folder = Folder::new();
    let audit = open(&folder.log(), HASTY);
    let rotated = folder.0.join("audit.log.1");
    audit.record("r1");
    audit.settle();
    fs::rename(folder.log(), &rotated).expect("it is there");
    audit.record("r2");
    audit.settle();
    // And another one is put in its place, by somebody who wants it so.
    fs::rename(folder.log(), folder.0.join("audit.log.2")).expect("it is there");
    fs::write(folder.log(), "").expect("a file");
    audit.record("r3");
    audit.settle();
    fs::remove_file(folder.log()).expect("it is there");
    audit.record("r4");
    assert_eq!(audit.close(LONG), 0);
    assert_eq!(
        [rotated, folder.0.join("audit.log.2"), folder.log()].map(|path| ids(&path)),
        ["r1", "r2", "r4"]
    );
}

#[test]
fn a_file_is_opened_anew_when_somebody_asks() {
    let folder = Folder::new();
    let audit = open(&folder.log(), IDLE);
    audit.record("r1");
    audit.settle();
    let rotated = folder.0.join("audit.log.1");
    fs::rename(folder.log(), &rotated).expect("it is there");
    // Nobody looks within a minute, so this goes where the file went.
    audit.record("r2");
    audit.settle();
    audit.reopen();
    audit.settle();
    assert_eq!(ids(&folder.log()), "", "before there is a line to write");
    audit.record("r3");
    assert_eq!(audit.close(LONG), 0);
    assert_eq!([rotated, folder.log()].map(|path| ids(&path)), ["r1 r2", "r3"]);
}

#[test]
fn a_file_that_cannot_be_made_anew_yet_goes_on_where_it_is() {
    let folder = Folder::new();
    let audit = open(&folder.log(), HASTY);
    let rotated = folder.0.join("audit.log.1");
    audit.record("r1");
    audit.settle();
    fs::rename(folder.log(), &rotated).expect("it is there");
    fs::create_dir(folder.log()).expect("what cannot be written");
    audit.record("r2");
    audit.settle();
    fs::remove_dir(folder.log()).expect("it is there");
    audit.record("r3");
    assert_eq!(audit.close(LONG), 0);
    assert_eq!([rotated, folder.log()].map(|path| ids(&path)), ["r1 r2", "r3"]);
}

#[test]
fn while_nothing_can_be_written_nothing_is_promised_and_afterwards_it_is_told() {
    let folder = Folder::new();
    let inner = folder.0.join("logs");
    fs::create_dir(&inner).expect("a folder");
    let path = inner.join("audit.log");
    let audit = open(&path, HASTY);
    let (early, late) = (audit.reserve().expect("a place"), audit.reserve().expect("a place"));
    fs::remove_dir_all(&inner).expect("it is there");
    early.write(&line("r1"));
    audit.fail();
    assert!(audit.is_failing());
    for _ in 0..3 {
        assert_eq!(audit.reserve().expect_err("it fails"), NotRecorded::Failing);
        audit.count_lost();
    }
    // What was promised is kept.
    late.write(&line("r2"));
    fs::create_dir(&inner).expect("a folder");
    audit.settle();
    audit.record("r3");
    assert_eq!((audit.close(LONG), audit.lost(), audit.is_failing()), (0, 3, false));
    let told = ids(&path);
    assert!(["r1 r2 lost:3 r3", "r1 r2 r3 lost:3"].contains(&told.as_str()), "{told}");
}

#[test]
fn what_cannot_be_written_at_the_end_is_counted() {
    let folder = Folder::new();
    let inner = folder.0.join("logs");
    fs::create_dir(&inner).expect("a folder");
    let audit = open(&inner.join("audit.log"), HASTY);
    fs::remove_dir_all(&inner).expect("it is there");
    audit.record("r1");
    audit.fail();
    assert_eq!((audit.close(LONG), audit.lost()), (1, 1));
}

#[test]
fn a_line_that_somebody_left_unfinished_is_not_continued() {
    let folder = Folder::new();
    fs::write(folder.log(), "{\"request_id\":\"r1\"}\n{\"reque").expect("a file");
    let audit = open(&folder.log(), HASTY);
    audit.record("r2");
    audit.record("r3");
    assert_eq!(audit.close(LONG), 0);
    assert_eq!(ids(&folder.log()), "r1 ({\"reque) r2 r3");
}

#[test]
fn only_files_and_fifos_that_somebody_reads_are_opened() {
    let folder = Folder::new();
    assert_eq!(open_error(&folder.0), "Is a directory (os error 21)");
    assert_eq!(open_error(&folder.0.join("no/audit.log")), "No such file or directory (os error 2)");
    assert_eq!(open_error(&folder.fifo()), "nobody reads from the other end of it");
    assert_eq!(
        open_error(Path::new("/dev/null")),
        "it is neither a file nor a fifo, nor /dev/stdout or /dev/stderr"
    );
    for output in ["/dev/stdout", "/dev/stderr"] {
        let audit = open(Path::new(output), HASTY);
        audit.reopen();
        assert_eq!(audit.close(LONG), 0);
    }
}

#[test]
fn a_fifo_takes_more_than_it_can_hold_and_a_reader_that_comes_again() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    // Without a writer there is nobody to wait for yet.
    let first = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&fifo);
    let audit = open(&fifo, HASTY);
    let mut reader = BufReader::new(File::open(&fifo).expect("it has a writer")).lines();
    drop(first.expect("the fifo is there"));
    let subject = "x".repeat(256);
    for at in 0..1000 {
        let id = at.to_string();
        audit.reserve().expect("a place").write(&Line { subject: Some(&subject), ..line(&id) });
    }
    for at in 0..1000 {
        let read = reader.next().expect("a line").expect("text");
        assert_eq!(id(&read), at.to_string());
    }
    audit.settle();
    drop(reader);
    audit.record("r1");
    audit.fail();
    let mut reader = BufReader::new(File::open(&fifo).expect("it has a writer")).lines();
    audit.settle();
    assert_eq!((audit.close(LONG), audit.lost()), (0, 0));
    assert_eq!(id(&reader.next().expect("a line").expect("text")), "r1");
}

#[test]
fn the_end_waits_for_calls_that_were_promised_a_place_and_for_no_longer_than_it_may() {
    let folder = Folder::new();
    let audit = open(&folder.log(), HASTY);
    let (waited_for, too_late) = (audit.reserve().expect("a place"), audit.reserve().expect("a place"));
    std::thread::scope(|scope| {
        let closing = scope.spawn(|| audit.close(LONG));
        let shared = audit.shared.as_ref().expect("it has a file");
        while shared.lock().closing.is_none() {
            std::thread::yield_now();
        }
        assert_eq!(audit.reserve().expect_err("it closes"), NotRecorded::Closed);
        waited_for.write(&line("r1"));
        // A place that comes back unused ends the wait as well.
        drop(too_late);
        assert_eq!(closing.join().expect("it does not panic"), 0);
    });
    assert_eq!(ids(&folder.log()), "r1");

    let audit = open(&folder.log(), HASTY);
    let too_late = audit.reserve().expect("a place");
    audit.record("r2");
    audit.close(Duration::ZERO);
    assert_eq!(audit.close(LONG), 0);
    too_late.write(&line("r3"));
    assert_eq!((ids(&folder.log()), audit.lost()), ("r1 r2".into(), 1));
}

#[test]
fn calls_outlive_a_log_that_nobody_has_closed() {
    let folder = Folder::new();
    let audit = open(&folder.log(), HASTY);
    let shared = audit.shared.clone().expect("it has a file");
    let slot = audit.reserve().expect("a place");
    drop(audit);
    slot.write(&line("r1"));
    let waited = shared.done.wait_timeout_while(shared.lock(), LONG, |state| !state.has_ended);
    assert!(!waited.unwrap_or_else(PoisonError::into_inner).1.timed_out(), "the writer has not ended");
    assert_eq!(ids(&folder.log()), "r1");
}

#[test]
fn a_log_that_nobody_has_closed_is_written_once_it_can_be() {
    let folder = Folder::new();
    let inner = folder.0.join("logs");
    fs::create_dir(&inner).expect("a folder");
    let path = inner.join("audit.log");
    let audit = open(&path, HASTY);
    let shared = audit.shared.clone().expect("it has a file");
    let wait = |is_early: fn(&mut super::State) -> bool| {
        let waited = shared.done.wait_timeout_while(shared.lock(), LONG, is_early);
        assert!(!waited.unwrap_or_else(PoisonError::into_inner).1.timed_out(), "the writer does not go on");
    };
    let (early, late) = (audit.reserve().expect("a place"), audit.reserve().expect("a place"));
    fs::remove_dir_all(&inner).expect("it is there");
    drop(audit);
    early.write(&line("r1"));
    wait(|state| !state.is_failing);
    late.write(&line("r2"));
    fs::create_dir(&inner).expect("a folder");
    wait(|state| !state.has_ended);
    assert_eq!((ids(&path), shared.lock().lost), ("r1 r2".into(), 0));
}

#[test]
fn lines_of_many_threads_are_all_there_and_whole() {
    let folder = Folder::new();
    let audit = open(&folder.log(), HASTY);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let audit = &audit;
            scope.spawn(move || (0..500).for_each(|at| audit.record(&format!("{thread}-{at}"))));
        }
    });
    assert_eq!(audit.close(LONG), 0);
    let told = ids(&folder.log());
    let told: std::collections::BTreeSet<_> = told.split(' ').collect();
    assert_eq!(told.len(), 2000);
}
