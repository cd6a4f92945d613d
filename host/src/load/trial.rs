//! A file that has not passed before is first opened and described in a child process, so that one which crashes the
//! dynamic linker, or in a constructor, costs the child and not the gateway.
//!
//! In:   the private copy that will be loaded, and how long the child may take.
//! Out:  what the plugin said of itself, or a [`TrialError`]. Passed once, a content is not tried again.
//! Never: judges what the file may do later; only that opening, describing and closing it ends nothing.

mod cache;
pub(super) mod child;

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Read, Write},
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::{Digest, Plugins};
use cache::Cache;

/// How much of what a child wrote to stderr is told.
const STDERR_MAX: usize = 300;

/// What a child is asked, one line of JSON on the socket that is its standard input: settings may hold secrets, and a
/// command line is for everybody to read.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    path: PathBuf,
    limit_ms: u64,
    /// Present: start it with these settings too.
    settings: Option<Map<String, Value>>,
}

/// What a child says, line by line on the same socket.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    /// What it is about to do.
    Next(Step),
    /// What the plugin says it is, JSON.
    Described(String),
    /// What the plugin offers, JSON.
    Manifest(String),
    /// Why it goes no further.
    Failed(Failure),
    /// The end: what became of the library.
    Closed(String),
}

/// What may end a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The dynamic linker maps it and runs its constructors.
    Open,
    /// It describes itself.
    Describe,
    /// It is started.
    Start,
    /// It is closed, which runs its destructors.
    Close,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open => "while the dynamic linker opened it and its constructors ran",
            Self::Describe => "while it described itself",
            Self::Start => "while it started",
            Self::Close => "while it was closed and its destructors ran",
        })
    }
}

/// Why a child goes no further. Texts are the linker's, abi_stable's or the plugin's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The dynamic linker refuses it.
    #[error("the dynamic linker refuses it: {0}")]
    Linker(String),
    /// It was built with another interface.
    #[error("its interface is not this gateway's: {0}")]
    Interface(String),
    /// It cannot say what it is.
    #[error("it cannot describe itself: {0}")]
    Describe(String),
    /// It does not start.
    #[error("it does not start: {0}")]
    Start(String),
}

/// What a plugin said in its trial.
#[derive(Debug, Clone, Default)]
pub struct Tried {
    /// `describe`'s answer, JSON.
    pub description: String,
    /// The manifest, JSON, if it was started and got so far.
    pub manifest: Option<String>,
    /// Why it did not start, if it was to.
    pub start_failure: Option<String>,
    /// What became of the library in the child: `gone`, or `kept: ` and why.
    pub library: String,
}

/// Why a file did not pass its trial.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of an error are what its message says they are")]
pub enum TrialError {
    /// It ended the child.
    #[error("tried in a child process, it ended that process ({how}) {step}{}; this is a bug of the plugin, or the file is damaged", said_in_words(.said))]
    Crashed { step: Step, how: String, said: String },
    /// The child had to be killed.
    #[error(
        "tried in a child process, it did not get on within {limit:?} {step}; raise `start_timeout` if it needs longer"
    )]
    Hung { step: Step, limit: Duration },
    /// It was refused in good order.
    #[error("{0}")]
    Refused(Failure),
    /// Nothing is known about the file.
    #[error("the child process for its trial cannot be used: {reason}")]
    NoChild { reason: String },
}

fn said_in_words(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(", saying `{said}`") }
}

impl TrialError {
    /// Whether another trial of the same content could end otherwise: it says something about this machine at this
    /// moment.
    fn is_passing(&self) -> bool {
        matches!(self, Self::Hung { .. } | Self::NoChild { .. })
    }
}

type Verdict = Result<Arc<Tried>, TrialError>;

/// Holds trials, and remembers how they ended.
#[derive(Debug)]
pub(super) struct Trials {
    /// The gateway's own program, which is the child's.
    program: PathBuf,
    cache: Option<Cache>,
    verdicts: Mutex<HashMap<Digest, Arc<OnceLock<Verdict>>>>,
}

impl Trials {
    pub(super) fn new(program: PathBuf, plugins: &Plugins) -> Self {
        let cache = plugins.cache_dir.as_deref().and_then(Cache::open);
        Self { program, cache, verdicts: Mutex::default() }
    }

    fn verdicts(&self) -> MutexGuard<'_, HashMap<Digest, Arc<OnceLock<Verdict>>>> {
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the content `digest`, of which there is a copy at `path`, passes. Who asks about a content that is being
    /// tried waits for that trial.
    pub(super) fn judge(&self, digest: Digest, path: &Path, limit: Duration) -> Result<(), TrialError> {
        let verdict = self.verdicts().entry(digest).or_default().clone();
        let verdict = verdict.get_or_init(|| {
            if self.cache.as_ref().is_some_and(|cache| cache.has(digest)) {
                return Ok(Arc::default());
            }
            let began = Instant::now();
            let tried = self.hold(path, limit, None);
            let elapsed_ms = began.elapsed().as_micros() as f64 / 1000.0;
            let library = tried.as_ref().map(|tried| tried.library.as_str()).unwrap_or_default();
            tracing::debug!(sha256 = %digest, elapsed_ms, passed = tried.is_ok(), library, "file tried");
            if let (Ok(_), Some(cache)) = (&tried, &self.cache) {
                cache.add(digest);
            }
            tried.map(Arc::new)
        });
        if verdict.as_ref().is_err_and(TrialError::is_passing) {
            self.verdicts().remove(&digest);
        }
        verdict.as_ref().map(drop).map_err(Clone::clone)
    }

    /// Opens, describes and closes the library at `path` in a child; with `settings`, starts it as well.
    pub(super) fn hold(
        &self,
        path: &Path,
        limit: Duration,
        settings: Option<Map<String, Value>>,
    ) -> Result<Tried, TrialError> {
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let request = Request { path: path.to_owned(), limit_ms, settings };
        Trial::begin(&self.program, &request).map_err(no_child)?.follow(limit)
    }
}

fn no_child(error: io::Error) -> TrialError {
    TrialError::NoChild { reason: error.to_string() }
}

/// A child under way. Killed when dropped.
struct Trial {
    child: Child,
    socket: BufReader<UnixStream>,
    stderr: mpsc::Receiver<String>,
}

impl Trial {
    fn begin(program: &Path, request: &Request) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = Command::new(program);
        command.arg("trial").stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let (said, stderr) = mpsc::channel();
        let pipe = child.stderr.take();
        // Read to its end, which a process that the plugin started may put off: nobody waits for that.
        thread::Builder::new().name("trial".into()).spawn(move || {
            // Its receiver may have given up.
            let _ = said.send(pipe.map(last_words).unwrap_or_default());
        })?;
        let mut trial = Self { child, socket: BufReader::new(ours), stderr };
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        trial.socket.get_mut().write_all(&line)?;
        Ok(trial)
    }

    /// Hears the child out. `Command` is gone by now, and with it our copy of the child's end: when the child ends, so
    /// does the conversation.
    fn follow(mut self, limit: Duration) -> Result<Tried, TrialError> {
        let end = Instant::now() + limit;
        let mut tried = Tried::default();
        let mut step = Step::Open;
        loop {
            match self.next(end).map_err(no_child)? {
                Heard::Said(Said::Next(next)) => step = next,
                Heard::Said(Said::Described(json)) => tried.description = json,
                Heard::Said(Said::Manifest(json)) => tried.manifest = Some(json),
                Heard::Said(Said::Failed(Failure::Start(reason))) => tried.start_failure = Some(reason),
                Heard::Said(Said::Failed(failure)) => return Err(TrialError::Refused(failure)),
                Heard::Said(Said::Closed(library)) => {
                    tried.library = library;
                    return Ok(tried);
                }
                Heard::End => {
                    let Some(status) = self.ended(end).map_err(no_child)? else {
                        return Err(TrialError::Hung { step, limit });
                    };
                    let said = self.stderr.recv_timeout(Duration::from_millis(200)).unwrap_or_default();
                    return Err(TrialError::Crashed { step, how: how_it_ended(status), said });
                }
                Heard::Silence => return Err(TrialError::Hung { step, limit }),
            }
        }
    }

    fn next(&mut self, end: Instant) -> io::Result<Heard> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Heard::Silence);
        }
        self.socket.get_ref().set_read_timeout(Some(left))?;
        let mut line = String::new();
        match self.socket.read_line(&mut line) {
            Ok(0) => Ok(Heard::End),
            // Cut short by its end.
            Ok(_) if !line.ends_with('\n') => Ok(Heard::End),
            Ok(_) => Ok(Heard::Said(serde_json::from_str(&line)?)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Heard::Silence),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(Heard::End),
            Err(error) => Err(error),
        }
    }

    /// How the child ended, which has hung up; `None`: it has not, until `end`.
    fn ended(&mut self, end: Instant) -> io::Result<Option<ExitStatus>> {
        let mut pause = Duration::from_micros(100);
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() > end {
                return Ok(None);
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(5));
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        // It may have ended; either way it is to leave no zombie.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What comes from a child.
enum Heard {
    Said(Said),
    /// It has hung up.
    End,
    /// Nothing, in all the time it had.
    Silence,
}

/// The last line of what a child wrote, in one short line; a dynamic linker that gives up says there why.
fn last_words(mut pipe: impl Read) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = pipe.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..read]);
        // Whatever it writes, only the end is kept.
        kept.drain(..kept.len().saturating_sub(2 * STDERR_MAX));
    }
    let text = String::from_utf8_lossy(&kept);
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(STDERR_MAX).collect()
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
        libc::SIGKILL => "SIGKILL, perhaps out of memory",
        libc::SIGTRAP => "SIGTRAP, a trap",
        _ => return format!("signal {signal}"),
    };
    format!("signal {signal}: {name}")
}
