//! Why a server could not be started.

use std::{path::PathBuf, time::Duration};

use crate::config::ServerName;

use super::{
    manifest::ManifestError,
    trial::{Objection, TrialError},
    vet::{Facts, Rejection},
};

/// Why a server could not be started. Each variant names it; the cause is in `source()`.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields of an error are what its message says they are")]
pub enum LoadError {
    /// The library cannot be read.
    #[error("server `{server}`: cannot read `{}`", .path.display())]
    Read { server: ServerName, path: PathBuf, source: std::io::Error },

    /// The file is no plugin for this gateway, as can be seen without running it.
    #[error("server `{server}`: cannot use `{}`", .path.display())]
    Rejected { server: ServerName, path: PathBuf, source: Rejection },

    /// No private copy of the library could be made.
    #[error("server `{server}`: cannot copy its library to `{}`; set TMPDIR to a directory with room", .path.display())]
    Stage { server: ServerName, path: PathBuf, source: std::io::Error },

    /// Every library takes one, and Rust's standard library ends a process that has run out of them.
    #[error(
        "server `{server}`: this process has nearly run out of pthread keys, which libraries that were kept still hold; \
         restart the gateway"
    )]
    NoKeys { server: ServerName },

    /// The system has no thread for it.
    #[error("server `{server}`: cannot make a thread for it")]
    Thread { server: ServerName, source: std::io::Error },

    /// It did not pass its trial in a child process.
    #[error("server `{server}`: cannot use `{}`", .path.display())]
    Trial { server: ServerName, path: PathBuf, source: TrialError },

    /// The dynamic linker refused the library. The linker's own words are in `reason`.
    #[error("server `{server}`: the dynamic linker refuses `{}`: {reason}{}", .path.display(), linker_hint(.reason))]
    Open { server: ServerName, path: PathBuf, reason: String },

    /// The interface it was built with differs from ours in a way that cannot be bridged.
    #[error(
        "server `{server}`: the plugin was built with plugin-api {found}, this gateway speaks {ours}, and they differ: \
         {difference}; rebuild it with plugin-api {ours}"
    )]
    WrongAbi { server: ServerName, found: String, ours: &'static str, difference: String },

    /// It cannot say what it is. `reason` is the plugin's own wording.
    #[error("server `{server}`: the plugin cannot describe itself: {reason}")]
    Describe { server: ServerName, reason: String },

    /// Its settings do not fit the schema the plugin declares.
    #[error("server `{server}`: `[server.settings]` does not fit the plugin: {}", .problems.join("; "))]
    Settings { server: ServerName, problems: Vec<String> },

    /// `reason` is the plugin's own wording, already copied into host memory.
    #[error("server `{server}`: the plugin declined to start: {reason}")]
    Declined { server: ServerName, reason: String },

    /// It took too long. Its library stays mapped, for its code may still run.
    #[error(
        "server `{server}`: the plugin was not ready within {limit:?}; raise `start_timeout` if it needs longer"
    )]
    StartTimeout { server: ServerName, limit: Duration },

    /// What it says it offers cannot be served.
    #[error("server `{server}`: the plugin's manifest cannot be used")]
    Manifest { server: ServerName, source: ManifestError },
}

fn linker_hint(reason: &str) -> &'static str {
    // What glibc says where the copy lies on a file system mounted `noexec`.
    if reason.contains("failed to map segment") {
        "; set TMPDIR to a directory that is not mounted noexec"
    } else {
        ""
    }
}

impl LoadError {
    /// Why the file at `path`, whose descriptor says `facts`, is not loaded after its trial. What was refused there in
    /// good order is told in the words in which it is refused here.
    pub(super) fn of_trial(server: ServerName, path: PathBuf, facts: &Facts, fault: TrialError) -> Self {
        match fault {
            TrialError::Refused(Objection::Linker(reason)) => Self::Open { server, path, reason },
            TrialError::Refused(Objection::Interface(difference)) => {
                let (found, ours) = (facts.plugin_api.clone(), plugin_api::abi::VERSION);
                Self::WrongAbi { server, found, ours, difference }
            }
            TrialError::Refused(Objection::Describe(reason)) => Self::Describe { server, reason },
            source => Self::Trial { server, path, source },
        }
    }

    /// The stable word for this kind of failure, e.g. in `/servers`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "unreadable",
            Self::Rejected { .. } => "not_a_plugin",
            Self::Stage { .. } | Self::NoKeys { .. } | Self::Thread { .. } => "no_resources",
            Self::Trial { source: TrialError::NoChild { .. }, .. } => "no_resources",
            Self::Trial { source: TrialError::Killed { .. }, .. } => "no_resources",
            Self::Trial { source: TrialError::Hung { .. }, .. } => "hangs",
            Self::Trial { .. } => "crashes",
            Self::Open { .. } => "linker_error",
            Self::WrongAbi { .. } => "wrong_abi",
            Self::Describe { .. } => "bad_description",
            Self::Settings { .. } => "bad_settings",
            Self::Declined { .. } => "declined",
            Self::StartTimeout { .. } => "start_timeout",
            Self::Manifest { .. } => "bad_manifest",
        }
    }
}

/// An error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
