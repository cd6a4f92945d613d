//! The gateway's half of a trial: the child, what it says, and how it ends.
//!
//! In:   the program, the request, a limit.
//! Out:  what the plugin said, or how it ended the child.
//! Never: waits longer than told, or keeps more of what a child says than a manifest may be long, whatever it does.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    os::{
        fd::OwnedFd,
        unix::{
            net::UnixStream,
            process::{CommandExt, ExitStatusExt},
        },
    },
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{Objection, Request, Said, TrialError, TrialStep, Tried};
use crate::load::{library, manifest::MANIFEST_MAX};

/// How long the child may take for itself, until it opens the library.
const OWN_START: Duration = Duration::from_secs(30);
/// Longest line of a child: a manifest in quotation marks, each of its bytes escaped.
const LINE_MAX: usize = 6 * MANIFEST_MAX + 64;
/// How much of what a plugin writes to stderr is logged if it ends the child.
const STDERR_MAX: usize = 300;

/// A child under way. Killed when dropped, with every process it has started.
pub(super) struct Process {
    child: Child,
    is_reaped: bool,
    socket: BufReader<UnixStream>,
    /// Where it writes what is not for us; without a name, so that it goes when both have closed it.
    stderr: File,
}

/// What comes from a child.
enum Heard {
    Said(Said),
    /// It has hung up.
    End,
    /// Nothing, in all the time it had.
    Silence,
    /// A line that is too long.
    TooMuch,
}

impl Process {
    pub(super) fn begin(program: &Path, request: &Request) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        // A file, because a pipe that nobody empties holds up who writes to it.
        let path = request.path.with_extension("stderr");
        let stderr = File::options().read(true).write(true).create_new(true).open(&path)?;
        fs::remove_file(&path)?;
        let mut command = Command::new(program);
        command.arg("trial").stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(stderr.try_clone()?);
        // A group of its own, so that what a constructor forks ends with it.
        let child = command.process_group(0).spawn()?;
        let mut process = Self { child, is_reaped: false, socket: BufReader::new(ours), stderr };
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        process.socket.get_mut().write_all(&line)?;
        // `command` ends here, and with it our copy of the child's end: when the child ends, so does the conversation.
        Ok(process)
    }

    /// Hears the child out.
    pub(super) fn follow(mut self, limit: Duration) -> Result<Tried, TrialError> {
        let no_child = |error: io::Error| TrialError::NoChild { reason: error.to_string() };
        let mut end = Instant::now() + OWN_START;
        let mut tried = Tried::default();
        let mut step = None;
        loop {
            let helpless = |reason: &str| Err(TrialError::NoChild { reason: reason.into() });
            match self.next(end).map_err(no_child)? {
                Heard::Said(Said::Next(next)) => {
                    if step.is_none() {
                        end = Instant::now() + limit;
                    }
                    step = Some(next);
                }
                Heard::Said(Said::Described(json)) => tried.description = json,
                Heard::Said(Said::Manifest(json)) => tried.manifest = Some(json),
                Heard::Said(Said::Refused(Objection::Start(reason))) => tried.start_failure = Some(reason),
                Heard::Said(Said::Refused(objection)) => return Err(TrialError::Refused(objection)),
                Heard::Said(Said::Helpless(reason)) => return helpless(&reason),
                Heard::Said(Said::Closed(library)) => {
                    tried.library = library;
                    return Ok(tried);
                }
                // It has said what was asked, and only its end takes long: unload has limits of its own for that.
                Heard::Silence if tried.manifest.is_some() && step == Some(TrialStep::Close) => {
                    tried.library = format!("kept: it did not stop within {limit:?}");
                    return Ok(tried);
                }
                Heard::Silence => {
                    return step.map_or_else(
                        || helpless("it did not begin"),
                        |step| Err(TrialError::Hung { step, limit }),
                    );
                }
                Heard::TooMuch => {
                    let reason = format!("it says more than {LINE_MAX} bytes of itself");
                    return Err(TrialError::Refused(Objection::Describe(reason)));
                }
                Heard::End => {
                    let status = self.ended(end).map_err(no_child)?;
                    let Some(step) = step else { return helpless("it ended before it began") };
                    return Err(match status {
                        None => TrialError::Hung { step, limit },
                        Some(status) if status.signal() == Some(libc::SIGKILL) => TrialError::Killed { step },
                        Some(status) => {
                            let how = how_it_ended(status);
                            let said = self.last_words();
                            tracing::warn!(how, said, "a file ended its trial");
                            TrialError::Crashed { step, how }
                        }
                    });
                }
            }
        }
    }

    /// The next line. What it holds is the child's, and so the plugin's: nothing is taken for granted.
    fn next(&mut self, end: Instant) -> io::Result<Heard> {
        let mut line = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Heard::Silence);
            }
            self.socket.get_ref().set_read_timeout(Some(left))?;
            let read = match self.socket.fill_buf() {
                Ok([]) => return Ok(Heard::End),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Heard::Silence),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(Heard::End),
                Err(error) => return Err(error),
            };
            let (taken, is_whole) = match read.iter().position(|byte| *byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (read.len(), false),
            };
            line.extend_from_slice(&read[..taken]);
            self.socket.consume(taken);
            if line.len() > LINE_MAX {
                return Ok(Heard::TooMuch);
            }
            if is_whole {
                // What is no line of ours was written by the plugin to the descriptor it found.
                match serde_json::from_slice(&line) {
                    Ok(said) => return Ok(Heard::Said(said)),
                    Err(_) => line.clear(),
                }
            }
        }
    }

    /// How the child ended, which has hung up; `None`: it has not, until `end`.
    fn ended(&mut self, end: Instant) -> io::Result<Option<ExitStatus>> {
        let mut pause = Duration::from_micros(100);
        while !library::has_ended(self.child.id()) {
            if Instant::now() > end {
                return Ok(None);
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(5));
        }
        self.reap().map(Some)
    }

    /// Ends what the child has started, and takes its own end.
    fn reap(&mut self) -> io::Result<ExitStatus> {
        if !std::mem::replace(&mut self.is_reaped, true) {
            // Before the wait: from then on somebody else's group may have the number.
            library::kill_group(self.child.id());
        }
        self.child.wait()
    }

    /// The last line of what the plugin wrote to stderr: a dynamic linker that gives up says there why.
    fn last_words(&mut self) -> String {
        let mut kept = Vec::new();
        let end = self.stderr.seek(SeekFrom::End(0)).unwrap_or_default();
        let from = SeekFrom::Start(end.saturating_sub(4 * STDERR_MAX as u64));
        // What cannot be read cannot be told.
        let _ = self.stderr.seek(from).and_then(|_| self.stderr.read_to_end(&mut kept));
        let text = String::from_utf8_lossy(&kept);
        let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        line.chars().filter(|c| !c.is_control()).take(STDERR_MAX).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It is to leave no zombie, however it ended.
        let _ = self.reap();
    }
}

fn how_it_ended(status: ExitStatus) -> String {
    let Some(signal) = status.signal() else {
        return format!("exit code {}", status.code().unwrap_or_default());
    };
    let name = match signal {
        libc::SIGSEGV => "SIGSEGV, a wrong address",
        libc::SIGBUS => "SIGBUS, a wrong address",
        libc::SIGILL => "SIGILL, an instruction this machine does not have",
        libc::SIGABRT => "SIGABRT, abort",
        libc::SIGFPE => "SIGFPE, a wrong calculation",
        libc::SIGTRAP => "SIGTRAP, a trap",
        _ => return format!("signal {signal}"),
    };
    format!("signal {signal}: {name}")
}
