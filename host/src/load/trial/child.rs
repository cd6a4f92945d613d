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
        LoadError,
        body::{Body, Progress, Trial},
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
    BufReader::new(&socket).read_line(&mut line)?;
    let request: Request = serde_json::from_str(&line)?;
    confine(Duration::from_millis(request.limit_ms));
    let gateway = Gateway(socket.try_clone()?);
    try_out(request, &Gateway(socket), gateway);
    // Not by returning: what the plugin has left behind is not to run once more.
    leave_at_once(0);
}

/// The other end of the conversation.
struct Gateway(UnixStream);

impl Gateway {
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
    library::confine(limit + Duration::from_secs(1));
}

fn try_out(request: Request, gateway: &Gateway, for_plugin: Gateway) {
    let name = ServerName::parse("trial").expect("a good name");
    let prefix = Prefix::parse("/trial").expect("a good prefix");
    let mut entry = ServerEntry::new(name, request.path.clone(), prefix);
    let starts = request.settings.is_some();
    entry.settings = request.settings.unwrap_or_default();

    gateway.say(&Said::Next(Step::Open));
    let tell = move |progress: Progress<'_>| match progress {
        Progress::Opened => for_plugin.say(&Said::Next(Step::Describe)),
        Progress::Described(json) => {
            for_plugin.say(&Said::Described(text(json)));
            for_plugin.say(&Said::Next(if starts { Step::Start } else { Step::Close }));
        }
        Progress::Ended => for_plugin.say(&Said::Next(Step::Close)),
    };
    let trial = Trial { starts, tell: Box::new(tell) };
    let (body, mailbox) =
        match Body::begin(&entry, VERSION_UNKNOWN, Staged::of_another(request.path), Some(trial)) {
            Ok(begun) => begun,
            Err(error) => return gateway.say(&Said::Failed(failure(error))),
        };
    // Without a limit: the gateway ends this process when it has waited long enough.
    while let Ok(Stage::Ready(json)) = body.stages.recv() {
        gateway.say(&Said::Manifest(text(&json)));
        mailbox.stop();
    }
    let (result, became) = body.finish(&mailbox);
    if let Err(error) = result {
        gateway.say(&Said::Failed(failure(error)));
    }
    gateway.say(&Said::Closed(became.map(|became| became.to_string()).unwrap_or_default()));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
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
