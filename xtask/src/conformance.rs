//! `conformance`: the official MCP conformance suite against the everything plugin, loaded by a running gateway.
//!
//! The suite itself scores only what a revision of the specification requires. Here everything counts: its verdict
//! is not asked for, its result files are read. Nothing is expected to fail, so there is no list of such things.

mod results;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use self::results::{Scenario, Tally};
use crate::{
    cargo::workspace,
    failure::{Failure, Result, cannot_start},
    gateway::Gateway,
    tools::{self, Node},
};

/// Longest one start of the suite may take; half a minute is usual.
const RUN_LIMIT: Duration = Duration::from_secs(300);

/// Its program, in the folder that it is installed in.
const PROGRAM: &str = "node_modules/@modelcontextprotocol/conformance/dist/index.js";

/// What is run and counted under one name.
struct Suite {
    name: &'static str,
    /// The arguments of each start of the program.
    runs: &'static [[&'static str; 2]],
    /// How many checks have to run, passed or failed. A scenario that skips what it cannot find, or a release that
    /// lost some, must not pass for want of checks.
    checks_min: usize,
}

const SUITES: [Suite; 3] = [
    Suite { name: "2025-11-25", runs: &[["--requirements", "2025-11-25"]], checks_min: 83 },
    // With what that revision does not require: tasks-*, http-*header-*, json-schema-2020-12.
    Suite { name: "2026-07-28", runs: &[["--requirements", "2026-07-28"]], checks_min: 196 },
    // In no revision's list, so they have to be asked for one by one.
    Suite {
        name: "skills",
        runs: &[
            ["--scenario", "sep-2640-skills-directory"],
            ["--scenario", "sep-2640-skills-enumeration"],
            ["--scenario", "sep-2640-skills-manifest"],
        ],
        checks_min: 45,
    },
];

/// `conformance [--url URL] [SUITE..]`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let asked = Asked::parse(args)?;
    let workspace = workspace()?;
    let node = Node::find_or_install(&workspace, tools::python().as_deref())?.ok_or_else(|| {
        Failure::Work(
            "the conformance suite needs Node 22 or newer, or a Python 3.11 to install it with".into(),
        )
    })?;
    let folder = workspace.target.join("conformance");
    tools::copy_files(&workspace.root.join("tests/conformance"), &folder)?;
    node.install_packages(&folder)?;

    let gateway = match asked.url {
        Some(_) => None,
        None => Some(Gateway::start(&workspace, &folder)?),
    };
    let own = gateway.as_ref().map(|gateway| format!("{}/everything/mcp", gateway.url()));
    let place = Place { node, url: asked.url.or(own).unwrap_or_default(), folder };
    let mut total = Tally::default();
    for suite in asked.suites {
        total += place.run(suite)?;
    }
    if let Some(Err(error)) = gateway.map(Gateway::stop) {
        println!("\nFAIL ends with exit code 0 on SIGTERM: {error}");
        total.failed += 1;
    }
    println!("\n{} passed, {} failed", total.passed, total.failed);
    match total {
        Tally { failed: 1.., .. } => {
            Err(Failure::Work(format!("some checks failed; all results: `{}`", place.folder.display())))
        }
        Tally { passed: 0, .. } => Err(Failure::Work("nothing was checked".into())),
        Tally { .. } => Ok(()),
    }
}

struct Asked {
    url: Option<String>,
    suites: Vec<&'static Suite>,
}

impl Asked {
    fn parse(args: &[String]) -> Result<Self> {
        let mut asked = Self { url: None, suites: Vec::new() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if arg == "--url" {
                let url = args.next().ok_or_else(|| Failure::Usage("`--url` needs a value".into()))?;
                asked.url = Some(url.to_owned());
                continue;
            }
            let suite = SUITES.iter().find(|s| s.name == arg);
            asked.suites.push(suite.ok_or_else(|| {
                let names = SUITES.iter().map(|s| s.name).collect::<Vec<_>>().join(", ");
                Failure::Usage(format!("`conformance` knows no suite `{arg}`; there are {names}"))
            })?);
        }
        if asked.suites.is_empty() {
            asked.suites = SUITES.iter().collect();
        }
        Ok(asked)
    }
}

/// Where the suites run: with what, on what, and where their results go.
struct Place {
    node: Node,
    url: String,
    folder: PathBuf,
}

impl Place {
    /// Runs one suite and prints what failed of it.
    fn run(&self, suite: &Suite) -> Result<Tally> {
        println!("\n{} on {}", suite.name, self.url);
        let results = self.folder.join(suite.name);
        let log = self.folder.join(format!("{}.log", suite.name));
        // What an earlier run left must not be counted.
        if results.exists() {
            fs::remove_dir_all(&results).map_err(|e| Failure::at("cannot remove", &results, e))?;
        }
        fs::create_dir_all(&results).map_err(|e| Failure::at("cannot create", &results, e))?;
        let log_file = File::create(&log).map_err(|e| Failure::at("cannot create", &log, e))?;
        let mut problems = Vec::new();
        for arguments in suite.runs {
            problems.extend(self.start(*arguments, &results, &log_file)?);
        }

        let scenarios = results::read(&results)?;
        let mut tally = scenarios.iter().map(Scenario::tally).sum::<Tally>();
        for line in scenarios.iter().flat_map(Scenario::lines) {
            println!("  {line}");
        }
        // The suite also ends with an error for each of the checks above; alone, it is news.
        if tally.failed > 0 {
            problems.retain(|problem| *problem != Problem::EndedBadly);
        }
        if tally.passed + tally.failed < suite.checks_min {
            problems.push(Problem::TooFew { ran: tally.passed + tally.failed, checks_min: suite.checks_min });
        }
        for problem in &problems {
            println!("  FAIL {}: {}; see `{}`", suite.name, problem.sentence(), log.display());
        }
        tally.failed += problems.len();
        println!("  {}: {}", suite.name, tally.sentence());
        Ok(tally)
    }

    /// Starts the program once and waits for its end, which is all that is learnt from it.
    fn start(&self, arguments: [&str; 2], results: &Path, log: &File) -> Result<Option<Problem>> {
        let share = || log.try_clone().map_err(|e| Failure::at("cannot share the log of", results, e));
        let mut command = Command::new(&self.node.program);
        command
            .current_dir(&self.folder)
            .args([PROGRAM, "server", "--url", &self.url])
            .args(arguments)
            .arg("--output-dir")
            .arg(results)
            .stdin(Stdio::null())
            .stdout(share()?)
            .stderr(share()?);
        let mut child = command.spawn().map_err(|e| cannot_start(&command, e))?;
        let deadline = Instant::now() + RUN_LIMIT;
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Ok((!status.success()).then_some(Problem::EndedBadly)),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(50)),
                Ok(None) | Err(_) => {
                    // Nothing more can be done if the kill fails: the failure is reported either way.
                    let _ = child.kill();
                    let _ = child.wait();
                    return Ok(Some(Problem::Stuck));
                }
            }
        }
    }
}

/// What can be wrong with a suite as a whole.
#[derive(Debug, PartialEq, Eq)]
enum Problem {
    EndedBadly,
    Stuck,
    TooFew { ran: usize, checks_min: usize },
}

impl Problem {
    fn sentence(&self) -> String {
        match self {
            Self::EndedBadly => "ended with an error that no check accounts for".into(),
            Self::Stuck => format!("did not end within {RUN_LIMIT:?}"),
            Self::TooFew { ran, checks_min } => format!("{ran} checks ran, there have to be {checks_min}"),
        }
    }
}
