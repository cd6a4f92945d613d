//! A library from the first instruction of it to the last: the one thread on which it is opened, described and entered.
//!
//! In:   a staged copy, and what the server's table says.
//! Out:  what the thread says, through `stages`; then how it ended, and what became of the library.
//! Never: waits without a limit, except in a child whose parent does.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    LoadError, census,
    close::{Ended, close, join, keep},
    error::chain,
    library::{self, Library, Mismatch, StartFacts},
    mailbox::{Mailbox, Stage},
    settings,
    stage::Staged,
    unloaded::{Kept, Unloaded},
};
use crate::config::{ServerEntry, ServerName};

/// How long a plugin may take from STOP to the return of its `main`.
const STOP_LIMIT: Duration = Duration::from_secs(8);

/// What holds a library.
#[derive(Debug)]
pub(super) struct Body {
    thread: JoinHandle<Ended>,
    pub(super) stages: Receiver<Stage>,
    staged: Staged,
}

/// What the plugin's thread is to do.
struct Job {
    entry: ServerEntry,
    mailbox: Arc<Mailbox>,
    /// The version of plugin-api that its file names.
    built_with: String,
    /// Present: the library is only tried out.
    tryout: Option<Tryout>,
}

/// How a library is tried out.
pub(super) struct Tryout {
    /// Whether it goes beyond describing itself.
    pub(super) starts: bool,
    pub(super) tell: Tell,
}

/// Hears how far a library has come, on the plugin's thread and before it goes on: the next step may be its last.
pub(super) type Tell = Box<dyn Fn(Progress<'_>) + Send>;

/// What a library that is tried out has done.
pub(super) enum Progress<'a> {
    /// It is open, and its interface fits.
    Opened,
    /// What it says it is.
    Described(&'a [u8]),
    /// Its thread is about to end.
    Ended,
}

impl Job {
    /// The one thread on which a plugin is entered.
    fn run(self, path: &Path) -> Ended {
        let tid = library::thread_id();
        let (library, result) = match Library::open(path) {
            Err(mismatch) => (None, Err(self.mismatch(path, mismatch))),
            Ok(library) => {
                self.tell(Progress::Opened);
                let result = self.serve(&library);
                (Some(library), result)
            }
        };
        if self.mailbox.abandon() {
            let error = result.as_ref().err().map(|error: &LoadError| chain(error)).unwrap_or_default();
            tracing::error!(server = self.entry.name.as_str(), error, "server ended by itself");
        }
        self.tell(Progress::Ended);
        self.mailbox.say(Stage::Ended);
        Ended { tid, library, result }
    }

    fn tell(&self, progress: Progress<'_>) {
        if let Some(tryout) = &self.tryout {
            (tryout.tell)(progress);
        }
    }

    fn serve(&self, library: &Library) -> Result<(), LoadError> {
        let server = || self.entry.name.clone();
        let host = self.mailbox.host();
        let described =
            library.describe(&host).map_err(|reason| LoadError::Describe { server: server(), reason })?;
        self.tell(Progress::Described(&described));
        if self.tryout.as_ref().is_some_and(|tryout| !tryout.starts) {
            return Ok(());
        }
        settings::check(&self.entry, &described)?;
        let settings = serde_json::Value::Object(self.entry.settings.clone()).to_string();
        let start = StartFacts {
            threads: self.entry.threads.into(),
            server: self.entry.name.as_str(),
            prefix: self.entry.prefix.as_str(),
            settings: settings.as_bytes(),
        };
        let served = library.main(&host, &start);
        served.map_err(|reason| LoadError::Declined { server: server(), reason })
    }

    fn mismatch(&self, path: &Path, mismatch: Mismatch) -> LoadError {
        let server = self.entry.name.clone();
        match mismatch {
            Mismatch::Linker(reason) => {
                // The operator knows the file by its own name, not by that of the copy.
                let reason = reason.replace(&*path.to_string_lossy(), "the library");
                LoadError::Open { server, path: self.entry.plugin.clone(), reason }
            }
            Mismatch::Interface(difference) => {
                let (found, ours) = (self.built_with.clone(), plugin_api::abi::VERSION);
                LoadError::WrongAbi { server, found, ours, difference }
            }
        }
    }
}

impl Body {
    /// Opens the library on a thread made for it. `built_with`: the version of plugin-api that its file names.
    pub(super) fn begin(
        entry: &ServerEntry,
        built_with: &str,
        staged: Staged,
        tryout: Option<Tryout>,
    ) -> Result<(Self, Arc<Mailbox>), LoadError> {
        let no_thread = |source: io::Error| LoadError::Thread { server: entry.name.clone(), source };
        let (said, stages) = mpsc::channel();
        let mailbox = Mailbox::new(entry, said).map_err(no_thread)?;
        let job =
            Job { entry: entry.clone(), mailbox: mailbox.clone(), built_with: built_with.into(), tryout };
        let path = staged.path().to_owned();
        let thread = thread::Builder::new()
            .name(format!("plugin:{}", entry.name))
            .spawn(move || job.run(&path))
            .map_err(no_thread)?;
        Ok((Self { thread, stages, staged }, mailbox))
    }

    /// Cleans up after a start that ended by itself; why it did.
    pub(super) fn failed(self, entry: &ServerEntry, mailbox: &Arc<Mailbox>) -> LoadError {
        let (began, (result, became)) = (Instant::now(), self.finish(mailbox));
        if let Some(became) = became {
            became.noted(&entry.name, began);
        }
        let declined = || LoadError::Declined {
            server: entry.name.clone(),
            reason: "it returned without serving".into(),
        };
        result.err().unwrap_or_else(declined)
    }

    /// Closes the library whose thread has said that it ends: how that ended, and what became of the library. `None`: it
    /// was never opened.
    pub(super) fn finish(self, mailbox: &Arc<Mailbox>) -> (Result<(), LoadError>, Option<Unloaded>) {
        let Self { thread, staged, .. } = self;
        let Some(Ended { library, result, .. }) = join(thread) else {
            return (Ok(()), Some(keep(mailbox, staged, Kept::Thread)));
        };
        let became = match library {
            Some(library) => Some(close(library, mailbox, staged)),
            // Not opened, or opened but unknown: in the latter case the copy stays mapped.
            None => match census::mappings(staged.path()) {
                Ok(left) if left.is_empty() => None,
                Ok(_) => Some(keep(mailbox, staged, Kept::Interface)),
                Err(error) => Some(keep(mailbox, staged, Kept::EndUnseen { reason: error.to_string() })),
            },
        };
        (result, became)
    }

    /// Stops the plugin and closes its library.
    pub(super) fn stop(self, server: &ServerName, mailbox: &Arc<Mailbox>) -> Unloaded {
        let began = Instant::now();
        mailbox.stop();
        loop {
            let left = (began + STOP_LIMIT).saturating_duration_since(Instant::now());
            match self.stages.recv_timeout(left) {
                // A plugin may announce itself again until the end.
                Ok(Stage::Ready(_)) => {}
                Ok(Stage::Ended) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let kept = self.keep(mailbox, Kept::Main { limit: STOP_LIMIT });
                    return kept.noted(server, began);
                }
            }
        }
        let Self { thread, staged, .. } = self;
        let became = match join(thread) {
            Some(Ended { library: Some(library), .. }) => close(library, mailbox, staged),
            _ => keep(mailbox, staged, Kept::Thread),
        };
        became.noted(server, began)
    }

    /// Leaves the library, its thread and all they can reach as they are, for ever.
    pub(super) fn keep(self, mailbox: &Arc<Mailbox>, why: Kept) -> Unloaded {
        std::mem::forget(self.stages);
        keep(mailbox, self.staged, why)
    }
}
