//! `e2e`: programs that others wrote against a running gateway. Their checks live in tests/e2e; this file prepares
//! what they need, starts the gateway, and counts.
//!
//! Every line of a check that begins with `ok ` has passed, with `FAIL ` has failed; the rest is for people.

mod prepare;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use crate::{
    artifacts::lock,
    cargo::{Workspace, workspace},
    failure::{Failure, Result, cannot_start},
    gateway::Gateway,
    issuer::Issuer,
};

/// What the authorization server grants: the scopes of the servers in `gateway_oauth.toml`, one of them only to a client that
/// comes again.
const SCOPES: [&str; 3] = ["greet", "math", "math:extra?"];

/// Longest one group may take. A group that is stuck must not hold up the rest.
const GROUP_LIMIT: Duration = Duration::from_secs(180);

/// One program of tests/e2e.
struct Group {
    name: &'static str,
    runtime: Runtime,
    gateway: Config,
    script: &'static str,
}

/// The file that the gateway is started on for a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Config {
    /// `gateway.toml`: everybody may do everything.
    Open,
    /// `gateway_status.toml`: everybody may do everything, and some servers are in trouble.
    Trouble,
    /// `gateway_keys.toml`: who shows no key may use one server.
    Keys,
    /// `gateway_oauth.toml`, with an authorization server.
    OAuth,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Runtime {
    /// Python, in the virtual environment made from this file.
    Python(&'static str),
    Node,
}

const PYTHON_2: Runtime = Runtime::Python("requirements-mcp-2.txt");
const PYTHON_1: Runtime = Runtime::Python("requirements-mcp-1.txt");

const GROUPS: [Group; 12] = [
    group("python-2", PYTHON_2, Config::Open, "python_2.py"),
    group("python-2-asks", PYTHON_2, Config::Open, "python_2_asks.py"),
    group("python-1", PYTHON_1, Config::Open, "python_1.py"),
    group("typescript-1", Runtime::Node, Config::Open, "typescript_1.mjs"),
    group("typescript-2", Runtime::Node, Config::Open, "typescript_2.mjs"),
    group("openapi", PYTHON_2, Config::Open, "openapi.py"),
    group("browser", Runtime::Node, Config::Open, "browser.mjs"),
    group("browser-status", Runtime::Node, Config::Trouble, "browser_status.mjs"),
    group("browser-status-keys", Runtime::Node, Config::Keys, "browser_status_keys.mjs"),
    group("browser-keys", Runtime::Node, Config::Keys, "browser_keys.mjs"),
    group("oauth-python-2", PYTHON_2, Config::OAuth, "oauth_python_2.py"),
    group("oauth-typescript", Runtime::Node, Config::OAuth, "oauth_typescript.mjs"),
];

const fn group(name: &'static str, runtime: Runtime, gateway: Config, script: &'static str) -> Group {
    Group { name, runtime, gateway, script }
}

/// `e2e [--url URL] [GROUP..]`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let asked = Asked::parse(args)?;
    let workspace = workspace()?;
    let tools = prepare::tools(&workspace, &asked.groups)?;
    let folder = workspace.target.join("e2e");
    prepare::folder(&workspace, &folder, &tools, &asked.groups)?;

    let mut tally = Tally::default();
    for config in [Config::Open, Config::Trouble, Config::Keys, Config::OAuth] {
        let groups: Vec<&Group> = asked.groups.iter().copied().filter(|g| g.gateway == config).collect();
        if groups.is_empty() {
            continue;
        }
        let started = match asked.url {
            Some(_) => None,
            None => Some(Started::start(&workspace, &folder, config)?),
        };
        let own = started.as_ref().map(|started| started.gateway.url());
        let url = asked.url.clone().or(own).unwrap_or_default();
        for group in groups {
            println!("\n{}", group.name);
            tally.run(group, &tools.command(group, &folder, &url));
        }
        if let Some(started) = started {
            println!("\ngateway");
            match started.gateway.stop() {
                Ok(()) => tally.take("ok   ends with exit code 0 on SIGTERM"),
                Err(error) => tally.take(&format!("FAIL ends with exit code 0 on SIGTERM: {error}")),
            }
            if let Some(begins) = config.credentials_begin() {
                tally.take(&no_credential_in(&folder.join(config.file()).with_extension("log"), begins)?);
            }
        }
    }
    println!("\n{} passed, {} failed", tally.passed, tally.failed);
    if tally.failed == 0 { Ok(()) } else { Err(Failure::Work("some checks failed".into())) }
}

impl Config {
    fn file(self) -> &'static str {
        match self {
            Self::Open => "gateway.toml",
            Self::Trouble => "gateway_status.toml",
            Self::Keys => "gateway_keys.toml",
            Self::OAuth => "gateway_oauth.toml",
        }
    }

    /// What every key or token that clients of such a gateway show begins with; `None`: they show none.
    fn credentials_begin(self) -> Option<&'static str> {
        match self {
            Self::Open | Self::Trouble => None,
            Self::Keys => Some("mgw_e2e"),
            // `{"` in base64.
            Self::OAuth => Some("eyJ"),
        }
    }
}

/// The line of a check that no key or token, which begins like that, is in a log that tells everything that can be told.
fn no_credential_in(log: &Path, begins: &str) -> Result<String> {
    let what = "no key or token in its log";
    let text = fs::read_to_string(log).map_err(|e| Failure::at("cannot read", log, e))?;
    let lines = text.lines().count();
    Ok(match text.lines().find(|line| line.contains(begins)) {
        Some(line) => format!("FAIL {what}: {line}"),
        None if !text.contains("\"level\":\"DEBUG\"") => format!("FAIL {what}: it does not tell everything"),
        None => format!("ok   {what} ({lines} lines)"),
    })
}

/// What runs while groups are checked.
struct Started {
    gateway: Gateway,
    /// Ends when dropped, after the gateway.
    _issuer: Option<Issuer>,
}

impl Started {
    fn start(workspace: &Workspace, folder: &Path, config: Config) -> Result<Self> {
        let issuer = (config == Config::OAuth).then(|| issuer(workspace)).transpose()?;
        let variables: Vec<_> = issuer.iter().map(|issuer| ("ISSUER", issuer.url())).collect();
        let gateway = Gateway::start_on(workspace, folder, config.file(), &variables)?;
        Ok(Self { gateway, _issuer: issuer })
    }
}

fn issuer(workspace: &Workspace) -> Result<Issuer> {
    let _lock = lock(workspace)?;
    let mut build = workspace.cargo("build");
    let built = workspace.build(build.args(["-p", "tests", "--bin", "authorization_server"]))?;
    Issuer::start(built.program("authorization_server")?, &SCOPES)
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
        let open = |group: &&Group| group.gateway == Config::Open;
        match (&asked.url, asked.groups.is_empty()) {
            (None, true) => asked.groups = GROUPS.iter().collect(),
            // One that runs knows other keys and authorization servers, or none.
            (Some(_), true) => asked.groups = GROUPS.iter().filter(open).collect(),
            (Some(_), false) if !asked.groups.iter().all(open) => {
                return Err(Failure::Usage(
                    "the groups of keys, OAuth and the status page start gateways of their own: no `--url`"
                        .into(),
                ));
            }
            (_, false) => {}
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
