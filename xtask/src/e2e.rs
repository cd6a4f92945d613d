//! `e2e`: programs that others wrote against a running gateway. Their checks live in tests/e2e; this file prepares
//! what they need, starts the gateway, and counts.
//!
//! Every line of a check that begins with `ok ` has passed, with `FAIL ` has failed; the rest is for people.

mod prepare;

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use crate::{
    cargo::workspace,
    failure::{Failure, Result, cannot_start},
    gateway::Gateway,
};

/// Longest one group may take. A group that is stuck must not hold up the rest.
const GROUP_LIMIT: Duration = Duration::from_secs(180);

/// One program of tests/e2e.
struct Group {
    name: &'static str,
    runtime: Runtime,
    script: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Runtime {
    /// Python, in the virtual environment made from this file.
    Python(&'static str),
    Node,
}

const PYTHON_2: Runtime = Runtime::Python("requirements-mcp-2.txt");
const PYTHON_1: Runtime = Runtime::Python("requirements-mcp-1.txt");

const GROUPS: [Group; 7] = [
    Group { name: "python-2", runtime: PYTHON_2, script: "python_2.py" },
    Group { name: "python-2-asks", runtime: PYTHON_2, script: "python_2_asks.py" },
    Group { name: "python-1", runtime: PYTHON_1, script: "python_1.py" },
    Group { name: "typescript-1", runtime: Runtime::Node, script: "typescript_1.mjs" },
    Group { name: "typescript-2", runtime: Runtime::Node, script: "typescript_2.mjs" },
    Group { name: "openapi", runtime: PYTHON_2, script: "openapi.py" },
    Group { name: "browser", runtime: Runtime::Node, script: "browser.mjs" },
];

/// `e2e [--url URL] [GROUP..]`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let asked = Asked::parse(args)?;
    let workspace = workspace()?;
    let tools = prepare::tools(&workspace, &asked.groups)?;
    let folder = workspace.target.join("e2e");
    prepare::folder(&workspace, &folder, &tools, &asked.groups)?;

    let gateway = match asked.url {
        Some(_) => None,
        None => Some(Gateway::start(&workspace, &folder)?),
    };
    let url = asked.url.unwrap_or_else(|| gateway.as_ref().map(Gateway::url).unwrap_or_default());
    let mut tally = Tally::default();
    for group in asked.groups {
        println!("\n{}", group.name);
        tally.run(group, &tools.command(group, &folder, &url));
    }
    if let Some(gateway) = gateway {
        println!("\ngateway");
        match gateway.stop() {
            Ok(()) => tally.take("ok   ends with exit code 0 on SIGTERM"),
            Err(error) => tally.take(&format!("FAIL ends with exit code 0 on SIGTERM: {error}")),
        }
    }
    println!("\n{} passed, {} failed", tally.passed, tally.failed);
    if tally.failed == 0 { Ok(()) } else { Err(Failure::Work("some checks failed".into())) }
}

struct Asked {
    url: Option<String>,
    groups: Vec<&'static Group>,
}

impl Asked {
    fn parse(args: &[String]) -> Result<Self> {
        let mut asked = Self { url: None, groups: Vec::new() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if arg == "--url" {
                let url = args.next().ok_or_else(|| Failure::Usage("`--url` needs a value".into()))?;
                asked.url = Some(url.trim_end_matches('/').to_owned());
                continue;
            }
            let group = GROUPS.iter().find(|g| g.name == arg);
            asked.groups.push(group.ok_or_else(|| {
                let names = GROUPS.iter().map(|g| g.name).collect::<Vec<_>>().join(", ");
                Failure::Usage(format!("`e2e` knows no group `{arg}`; there are {names}"))
            })?);
        }
        if asked.groups.is_empty() {
            asked.groups = GROUPS.iter().collect();
        }
        Ok(asked)
    }
}

#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    failed: usize,
}

/// What has to be started for one group.
struct Program {
    path: PathBuf,
    args: Vec<String>,
    folder: PathBuf,
}

impl Tally {
    fn take(&mut self, line: &str) {
        self.passed += usize::from(line.starts_with("ok "));
        self.failed += usize::from(line.starts_with("FAIL "));
        println!("  {line}");
    }

    /// Runs one group to its end. A program that dies, hangs or checks nothing counts as a failed check.
    fn run(&mut self, group: &Group, program: &Program) {
        let before = (self.passed, self.failed);
        let ended = self.listen(program);
        let failed_nothing = self.failed == before.1;
        match ended {
            Err(error) => self.take(&format!("FAIL {}: {error}", group.name)),
            Ok(false) if failed_nothing => self.take(&format!("FAIL {}: ended with an error", group.name)),
            Ok(_) if (self.passed, self.failed) == before => {
                self.take(&format!("FAIL {}: checked nothing", group.name));
            }
            Ok(_) => {}
        }
    }

    /// Whether the program ended well.
    fn listen(&mut self, program: &Program) -> Result<bool> {
        let mut command = Command::new(&program.path);
        command.args(&program.args).current_dir(&program.folder).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| cannot_start(&command, e))?;
        let lines = lines_of(&mut child);
        let deadline = Instant::now() + GROUP_LIMIT;
        let ended_well = loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.take(&line),
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    break child.wait().is_ok_and(|status| status.success());
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    // Nothing more can be done if the kill fails: the failure is reported either way.
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(Failure::Work(format!("did not end within {GROUP_LIMIT:?}")));
                }
            }
        };
        Ok(ended_well)
    }
}

fn lines_of(child: &mut Child) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    let stdout = child.stdout.take().expect("stdout was asked for as a pipe");
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(std::io::Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}
