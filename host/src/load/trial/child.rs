//! The child's half of a trial: `gateway trial`, which only a gateway starts.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    time::Duration,
};

use super::{Failure, Request, Said, Step};
use crate::{
    config::{Prefix, ServerEntry, ServerName},
    load::{
        LoadError, chain,
        instance::{self, Progress},
        leave_at_once, library,
        stage::Staged,
    },
};

/// Does what the gateway at the other end of standard input asks, and ends the process.
pub fn run() -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut line = String::new();
    BufReader::new(&socket).read_line(&mut line)?;
    let request: Request = serde_json::from_str(&line)?;
    confine(Duration::from_millis(request.limit_ms));
    let say = |said: Said| {
        // A gateway that has gone away needs no answer.
        let line = serde_json::to_string(&said).unwrap_or_default();
        let _ = writeln!(&socket, "{line}");
    };
    try_out(request, &say);
    // Not by returning: what the plugin has left behind is not to run once more.
    leave_at_once(0);
}

/// Nothing of this process is worth keeping.
fn confine(limit: Duration) {
    // The first to go when memory runs out. A kernel without it has its own ideas.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    library::confine(limit + Duration::from_secs(1));
}

fn try_out(request: Request, say: &dyn Fn(Said)) {
    let name = ServerName::parse("trial").expect("a good name");
    let prefix = Prefix::parse("/trial").expect("a good prefix");
    let mut entry = ServerEntry::new(name, request.path.clone(), prefix);
    let starts = request.settings.is_some();
    entry.settings = request.settings.unwrap_or_default();

    say(Said::Next(Step::Open));
    let staged = Staged::of_another(request.path);
    let tell = |progress: Progress| match progress {
        Progress::Opened => say(Said::Next(Step::Describe)),
        Progress::Described(json) => {
            say(Said::Described(text(json)));
            say(Said::Next(if starts { Step::Start } else { Step::Close }));
        }
        Progress::Ready(json) => say(Said::Manifest(text(json))),
        Progress::Ended => say(Said::Next(Step::Close)),
    };
    let (result, library) = instance::try_out(&entry, staged, starts, tell);
    if let Err(error) = result {
        say(Said::Failed(failure(error)));
    }
    say(Said::Closed(library));
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

fn failure(error: LoadError) -> Failure {
    match error {
        LoadError::Open { reason, .. } => Failure::Linker(reason),
        LoadError::WrongAbi { difference, .. } => Failure::Interface(difference),
        LoadError::Describe { reason, .. } => Failure::Describe(reason),
        LoadError::Declined { reason, .. } => Failure::Start(reason),
        LoadError::Settings { problems, .. } => Failure::Start(problems.join("; ")),
        other => Failure::Start(chain(&other)),
    }
}
