//! `promtool`: what the gateway exposes, and what deploy/ makes of it, in the eyes of Prometheus' own tools.
//!
//! In:   a gateway that has had calls of every kind, its `/metrics` in both formats; deploy/prometheus and deploy/grafana.
//! Out:  nothing to complain about: the exposition, the alert rules and their tests, every query of the dashboard, and every
//!       name and label in them, which has to be one that the gateway exposes.
//! Fails: with what is wrong. Needs promtool, and Python for OpenMetrics.

mod calls;
mod exposed;
mod promql;
mod queries;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::json;

use crate::{
    artifacts::{Profile, build_libraries, lock},
    cargo::{Workspace, workspace},
    failure::{Failure, Result, cannot_start, shown, succeed},
    gateway::Gateway,
    tools,
};
use calls::Client;
use exposed::Exposed;
use queries::Query;

const REQUIREMENTS: &str = "requirements-prometheus.txt";
const CONFIG: &str = "gateway_metrics.toml";

/// `promtool`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    if !args.is_empty() {
        return Err(Failure::Usage("`promtool` takes nothing".into()));
    }
    let workspace = workspace()?;
    let promtool = find()?;
    let folder = workspace.target.join("promtool");
    let (text, open_metrics) = scrape(&workspace, &folder)?;
    fs::write(folder.join("metrics.txt"), &text).map_err(|e| Failure::at("cannot write into", &folder, e))?;
    says_nothing(Command::new(&promtool).args(["check", "metrics"]), &text)?;
    is_open_metrics(&folder, &open_metrics)?;

    let deploy = workspace.root.join("deploy");
    let rules = deploy.join("prometheus");
    succeed(Command::new(&promtool).args(["check", "rules"]).arg(rules.join("alerts.yml")))?;
    succeed(Command::new(&promtool).args(["test", "rules"]).arg(rules.join("alerts_test.yml")))?;
    let alerts = queries::of_rules(&read(&rules.join("alerts.yml"))?);
    are_tested(&alerts, &read(&rules.join("alerts_test.yml"))?)?;
    let dashboard = queries::of_dashboard(&read(&deploy.join("grafana/dashboard.json"))?)?;
    parse(&promtool, &folder, &dashboard)?;
    let exposed = Exposed::parse(&text);
    let wrong: Vec<_> = alerts.iter().chain(&dashboard).flat_map(|query| exposed.lacks(query)).collect();
    if !wrong.is_empty() {
        return Err(Failure::Work(format!("the gateway does not expose that:\n  {}", wrong.join("\n  "))));
    }
    println!(
        "{} alerts and {} queries of the dashboard ask for what there is",
        alerts.len(),
        dashboard.len()
    );
    Ok(())
}

/// `$PROMTOOL`, or the one in PATH.
fn find() -> Result<PathBuf> {
    let named = std::env::var_os("PROMTOOL").map(PathBuf::from);
    named.or_else(|| tools::find(&["promtool"], "--version", "", (2, 42))).ok_or_else(|| {
        Failure::Work(
            "promtool 2.42 or newer is not installed (on Debian it is in the package prometheus, which starts a server; \
             .ci/run shows how to unpack it instead): put it in PATH, or its path in PROMTOOL"
                .into(),
        )
    })
}

/// What a gateway exposes after calls of every kind: as text, and as OpenMetrics.
fn scrape(workspace: &Workspace, folder: &Path) -> Result<(String, String)> {
    tools::copy_files(&workspace.root.join("tests/e2e"), folder)?;
    {
        let _lock = lock(workspace)?;
        build_libraries(workspace, Profile::Dev, &["panics_in_call"], &folder.join("plugins"))?;
    }
    let gateway = Gateway::start_on(workspace, folder, CONFIG, &[])?;
    let client = Client { address: gateway.address() };
    calls::of_every_kind(&client)?;
    calls::changes(&client, &folder.join(CONFIG))?;
    let scraped = (client.metrics("text/plain")?, client.metrics("application/openmetrics-text")?);
    gateway.stop()?;
    Ok(scraped)
}

/// Runs `command` on `input`. It fails, or says something: that is wrong.
fn says_nothing(command: &mut Command, input: &str) -> Result<()> {
    let (is_well, said) = said(command, input)?;
    if is_well && said.is_empty() {
        return Ok(());
    }
    Err(Failure::Work(format!("`{}` has found something:\n{said}", shown(command))))
}

/// Whether it ended well, and what it said on stdout and stderr.
fn said(command: &mut Command, input: &str) -> Result<(bool, String)> {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| cannot_start(command, e))?;
    let mut stdin = child.stdin.take().expect("stdin was asked for as a pipe");
    // All of it is read before there is anything to say. One that ends before that says why.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().map_err(|e| cannot_start(command, e))?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

fn is_open_metrics(folder: &Path, told: &str) -> Result<()> {
    let python = tools::python().ok_or_else(|| {
        Failure::Work("the check of OpenMetrics needs Python 3.11 or newer (python3)".into())
    })?;
    let environment = tools::environment(folder, &python, REQUIREMENTS)?;
    let mut command = Command::new(environment.join("bin/python"));
    match said(command.current_dir(folder).arg("open_metrics.py"), told)? {
        (true, said) => {
            print!("{said}");
            Ok(())
        }
        (false, said) => Err(Failure::Work(format!("what is told is no OpenMetrics:\n{said}"))),
    }
}

/// Every alert has to fire in a test.
fn are_tested(alerts: &[Query], tests: &str) -> Result<()> {
    let is_tested = |alert: &&Query| tests.contains(&format!("alertname=\"{}\"", alert.name));
    match alerts.iter().find(|alert| !is_tested(alert)) {
        Some(alert) => Err(Failure::Work(format!("no test has the alert `{}` fire", alert.name))),
        None => Ok(()),
    }
}

/// promtool knows rules only: each query becomes the expression of one.
fn parse(promtool: &Path, folder: &Path, queries: &[Query]) -> Result<()> {
    let rules: Vec<_> = queries
        .iter()
        .enumerate()
        .map(|(at, query)| json!({ "record": format!("query:{at}"), "expr": query.expression }))
        .collect();
    let path = folder.join("dashboard_rules.yml");
    // JSON is YAML.
    let text = json!({ "groups": [{ "name": "dashboard", "rules": rules }] }).to_string();
    fs::write(&path, text).map_err(|e| Failure::at("cannot write", &path, e))?;
    succeed(Command::new(promtool).args(["check", "rules"]).arg(&path))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|e| Failure::at("cannot read", path, e))
}
