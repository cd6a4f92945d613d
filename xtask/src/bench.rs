//! `bench`: what a request costs the gateway, and how much of that are keys, tokens, limits, the audit log, the log, metrics and
//! traces.
//!
//! In:   a release build of the gateway, of `greet`, and of the tests' load generator, authorization server and sink of spans.
//! Out:  a table on stdout: how the gateway is set up, by what is asked for; with ratios to the first line.
//! Fails: if an answer is wrong. Never because something is slow.

mod cpu;
mod instructions;
mod setting;
mod sink;
mod table;

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::{
    artifacts::{Profile, build_libraries, install, lock},
    cargo::{Workspace, workspace},
    failure::{Failure, Result, output_of, succeed},
    gateway::Gateway,
    issuer::Issuer,
};
use setting::{SETTINGS, Setting};
use sink::Sink;

/// What is asked for, as the load generator calls it.
const KINDS: [&str; 4] = ["rest", "mcp-2026", "mcp-2025", "list-2026"];

/// `bench [--instructions] [--only SETTING,..] [--rounds N]`.
pub(crate) fn bench(args: &[String]) -> Result<()> {
    let Asked { what, settings, rounds } = Asked::parse(args)?;
    if what == What::Instructions {
        let there = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
        there.map_err(|_| Failure::Work("valgrind is not installed; apt-get install valgrind".into()))?;
    }
    let mut bench = Bench::prepare(&workspace()?)?;
    match what {
        What::Cpu => cpu::measure(&mut bench, &settings, rounds),
        What::Instructions => instructions::measure(&mut bench, &settings, rounds),
    }
}

/// What is needed for a measurement.
struct Bench {
    folder: PathBuf,
    gateway: PathBuf,
    load: PathBuf,
    issuer: Issuer,
    sink: Sink,
}

/// A gateway that runs, and what its callers show.
struct Running {
    gateway: Gateway,
    /// A line for the head of every request.
    header: Option<String>,
}

impl Bench {
    fn prepare(workspace: &Workspace) -> Result<Self> {
        let folder = workspace.target.join("bench");
        let _lock = lock(workspace)?;
        let mut command = workspace.cargo("build");
        // A build of its own: the tests need features of crates that the gateway does without.
        let built = workspace.build(command.args(["--release", "-p", "host"]))?;
        install(built.gateway()?, &folder.join("gateway"))?;
        build_libraries(workspace, Profile::Release, &["greet"], &folder.join("plugins"))?;
        let mut command = workspace.cargo("build");
        let programs = ["--bin", "load", "--bin", "authorization_server", "--bin", "otlp_sink"];
        let built = workspace.build(command.args(["--release", "-p", "tests"]).args(programs))?;
        let issuer = Issuer::start(built.program("authorization_server")?, &["greet"])?;
        let sink = Sink::start(built.program("otlp_sink")?)?;
        let (gateway, load) = (folder.join("gateway"), built.program("load")?.to_owned());
        Ok(Self { folder, gateway, load, issuer, sink })
    }

    /// Starts a gateway that is set up like that. `command`: its program, perhaps as an argument of another one.
    fn start(&mut self, setting: &Setting, command: Command) -> Result<Running> {
        let file = setting.write_config(&self.folder, self.issuer.url())?;
        // Of log lines only what it takes to make them counts, and not the disk.
        let log = if setting.logs_calls() { "/dev/null".into() } else { self.folder.join("gateway.log") };
        let variables = setting.variables(self.sink.url());
        let gateway = Gateway::start_by(command, &self.folder, &file, &variables, log)?;
        let header = setting.header(&mut self.issuer, &format!("{}/greet", gateway.url()))?;
        Ok(Running { gateway, header })
    }

    /// Has the plugins tried, so that gateways that are started next need not.
    fn try_plugins(&self, setting: &Setting) -> Result<()> {
        let file = setting.write_config(&self.folder, self.issuer.url())?;
        let mut command = Command::new(&self.gateway);
        succeed(command.args(["check", "--config", &file]).current_dir(&self.folder).stdout(Stdio::null()))
    }

    /// Sends requests by so many connections, of each kind as many or for as long as is said. How many were answered.
    fn load(&self, to: &Running, connections: u32, amounts: &[(&str, String)]) -> Result<u64> {
        let mut command = Command::new(&self.load);
        let address: SocketAddr = to.gateway.address();
        command.args([address.to_string(), connections.to_string()]);
        command.args(amounts.iter().map(|(kind, amount)| format!("{kind}={amount}")));
        command.envs(to.header.iter().map(|line| ("LOAD_HEADER", line)));
        let counts = output_of(&mut command)?;
        Ok(counts.lines().filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum())
    }
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    /// CPU time of the process.
    Cpu,
    /// Instructions of the process, outside of the kernel.
    Instructions,
}

/// What the command line asks for.
struct Asked {
    what: What,
    /// In the order of all that there are.
    settings: Vec<&'static Setting>,
    rounds: usize,
}

impl Asked {
    fn parse(args: &[String]) -> Result<Self> {
        let (mut rounds, mut what, mut settings) = (None, What::Cpu, SETTINGS.iter().collect());
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--instructions" => what = What::Instructions,
                "--only" => settings = only(args.next().map_or("", String::as_str))?,
                "--rounds" => {
                    let number =
                        args.next().and_then(|number| number.parse().ok()).filter(|rounds| *rounds > 0);
                    rounds = Some(number.ok_or_else(|| Failure::Usage("`--rounds` takes a number".into()))?);
                }
                other => return Err(Failure::Usage(format!("`bench` does not take `{other}`"))),
            }
        }
        // Instructions are nearly the same each time; CPU time is not, on a machine that has something else to do as well.
        let usual = if what == What::Cpu { 15 } else { 1 };
        Ok(Self { rounds: rounds.unwrap_or(usual), what, settings })
    }
}

/// The settings of these names.
fn only(names: &str) -> Result<Vec<&'static Setting>> {
    let names: Vec<_> = names.split(',').collect();
    match names.iter().find(|name| SETTINGS.iter().all(|setting| setting.name != **name)) {
        None => Ok(SETTINGS.iter().filter(|setting| names.contains(&setting.name)).collect()),
        Some(unknown) => {
            let known = SETTINGS.each_ref().map(|setting| setting.name).join(", ");
            Err(Failure::Usage(format!("`bench` knows no setting `{unknown}`; there are {known}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Result<Asked> {
        Asked::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn instructions_are_counted_once_and_cpu_time_many_times_unless_it_is_said() {
        let is = |line: &str, what, rounds| {
            let asked = asked(line).expect("it is understood");
            assert_eq!(
                (asked.what, asked.rounds, asked.settings.len()),
                (what, rounds, SETTINGS.len()),
                "{line}"
            );
        };
        is("", What::Cpu, 15);
        is("--rounds 3", What::Cpu, 3);
        is("--instructions", What::Instructions, 1);
        is("--rounds 3 --instructions", What::Instructions, 3);
        for line in ["--rounds", "--rounds 0", "--rounds many", "--fast", "--only", "--only off,nothing"] {
            assert!(matches!(asked(line), Err(Failure::Usage(_))), "{line}");
        }
    }

    #[test]
    fn some_settings_may_be_picked() {
        let picked = asked("--only log,off").expect("it is understood").settings;
        assert_eq!(picked.iter().map(|setting| setting.name).collect::<Vec<_>>(), ["off", "log"]);
    }
}
