//! The child's half of a trial: `gateway trial`, which only a gateway starts.
//!
//! In:   a request, on the socket that is standard input.
//! Out:  on the same socket, before each step what it is: the step may be the last.
//! Never: returns, once it has a request: what a plugin has left behind is not to run once more.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    time::Duration,
};

use super::{Objection, Purpose, Request, Said, TrialStep};
use crate::{
    config::{Prefix, ServerEntry, ServerName},
    load::{
        LoadError,
        body::{Body, Progress, Tryout},
        chain, leave_at_once, library,
        mailbox::Stage,
        stage::Staged,
    },
};

/// The gateway has read the file, and names the version when it passes on why this process refuses it.
const VERSION_UNKNOWN: &str = "";

/// Does what the gateway at the other end of standard input asks, and ends the process.
pub fn run() -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut line = String::new();
    let asked = BufReader::new(&socket).read_line(&mut line).and_then(|_| Ok(serde_json::from_str(&line)?));
    let by_hand =
        |_| io::Error::other("`gateway trial` is for the gateway itself; use `gateway inspect --load FILE`");
    let request: Request = asked.map_err(by_hand)?;
    confine(Duration::from_millis(request.limit_ms));
    let parent = Parent(socket.try_clone()?);
    try_out(request, &Parent(socket), parent);
    leave_at_once(0);
}

/// The gateway.
struct Parent(UnixStream);

impl Parent {
    fn say(&self, said: &Said) {
        // One write, so that a crash right after leaves a whole line. A gateway that has gone away needs none.
        let line = serde_json::to_string(said).unwrap_or_default() + "\n";
        let _ = (&self.0).write_all(line.as_bytes());
    }
}

/// Nothing of this process is worth keeping.
fn confine(limit: Duration) {
    // The first to go when memory runs out. A kernel without it has its own ideas.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    library::confine(limit);
}

fn try_out(request: Request, parent: &Parent, for_plugin: Parent) {
    let name = ServerName::parse("trial").expect("a good name");
    let prefix = Prefix::parse("/trial").expect("a good prefix");
    let mut entry = ServerEntry::new(name, request.path.clone(), prefix);
    let is_told = !matches!(request.purpose, Purpose::Pass);
    let starts = matches!(request.purpose, Purpose::Start(_));
    if let Purpose::Start(settings) = request.purpose {
        entry.settings = settings;
    }

    parent.say(&Said::Next(TrialStep::Open));
    let tell = move |progress: Progress<'_>| match progress {
        Progress::Opened => for_plugin.say(&Said::Next(TrialStep::Describe)),
        Progress::Described(json) => {
            if is_told {
                for_plugin.say(&Said::Described(text(json)));
            }
            for_plugin.say(&Said::Next(if starts { TrialStep::Start } else { TrialStep::Close }));
        }
        Progress::Ended => for_plugin.say(&Said::Next(TrialStep::Close)),
    };
    let tryout = Tryout { starts, tell: Box::new(tell) };
    let staged = Staged::of_another(request.path);
    let (body, mailbox) = match Body::begin(&entry, VERSION_UNKNOWN, staged, Some(tryout)) {
        Ok(begun) => begun,
        Err(error) => return parent.say(&Said::Helpless(chain(&error))),
    };
    // Without a limit: the gateway ends this process when it has waited long enough.
    while let Ok(Stage::Ready(json)) = body.stages.recv() {
        parent.say(&Said::Manifest(text(&json)));
        parent.say(&Said::Next(TrialStep::Close));
        mailbox.stop();
    }
    let (result, became) = body.finish(&mailbox);
    if let Err(error) = result {
        parent.say(&Said::Refused(objection(error)));
    }
    parent.say(&Said::Closed(became.map(|became| became.to_string()).unwrap_or_default()));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn objection(error: LoadError) -> Objection {
    match error {
        LoadError::Open { reason, .. } => Objection::Linker(reason),
        LoadError::WrongAbi { difference, .. } => Objection::Interface(difference),
        LoadError::Describe { reason, .. } => Objection::Describe(reason),
        LoadError::Declined { reason, .. } => Objection::Start(reason),
        LoadError::Settings { problems, .. } => {
            // There is no file here that has lines.
            let problems: Vec<&str> =
                problems.iter().map(|problem| problem.trim_start_matches("line 1: ")).collect();
            Objection::Start(format!("its settings: {}", problems.join("; ")))
        }
        other => Objection::Start(chain(&other)),
    }
}
