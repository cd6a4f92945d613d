//! Why a verb stopped. A person reads it and nothing matches on it, so a sentence is enough.

use std::{fmt, path::Path, process::Command};

pub(crate) type Result<T> = std::result::Result<T, Failure>;

#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line makes no sense; the help text follows the sentence.
    Usage(String),
    /// The work could not be done. One line: what failed, on what, what to do next.
    Work(String),
}

impl Failure {
    /// `action` (“cannot read”) on `path` failed because of `cause`.
    pub(crate) fn at(action: &str, path: &Path, cause: impl fmt::Display) -> Self {
        Self::Work(format!("{action} `{}`: {cause}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) | Self::Work(message) => f.write_str(message),
        }
    }
}

/// Runs `command` to its end; anything but exit code 0 is a failure that names it.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().map_err(|e| cannot_start(command, e))?;
    if status.success() { Ok(()) } else { Err(ended_badly(command, status)) }
}

/// Runs `command` to its end and returns what it printed on stdout.
pub(crate) fn output_of(command: &mut Command) -> Result<String> {
    let output =
        command.stderr(std::process::Stdio::inherit()).output().map_err(|e| cannot_start(command, e))?;
    if !output.status.success() {
        return Err(ended_badly(command, output.status));
    }
    String::from_utf8(output.stdout)
        .map_err(|_| Failure::Work(format!("`{}` printed something that is not UTF-8", shown(command))))
}

/// That the program could not be started at all.
pub(crate) fn cannot_start(command: &Command, cause: std::io::Error) -> Failure {
    Failure::Work(format!("cannot start `{}`: {cause}", command.get_program().display()))
}

/// That the program said no.
pub(crate) fn ended_badly(command: &Command, status: std::process::ExitStatus) -> Failure {
    Failure::Work(format!("`{}` failed ({status})", shown(command)))
}

/// The command as it would be typed.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
