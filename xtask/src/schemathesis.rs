//! `schemathesis`: requests made up from `/openapi.json`, good ones and bad ones, against a running gateway. Every answer has
//! to be one that the document describes; tests/e2e/schemathesis.toml says what more. Needs Python.

use std::{path::Path, process::Command};

use crate::{
    cargo::workspace,
    failure::{Failure, Result, succeed},
    gateway::Gateway,
    tools,
};

const REQUIREMENTS: &str = "requirements-schemathesis.txt";

/// Seconds for one gateway if nothing is said: every operation a few times.
const SECONDS: u32 = 20;

/// A gateway, and what requests have to carry to get anywhere in it.
const GATEWAYS: [(&str, Option<&str>); 2] = [
    ("gateway.toml", None),
    ("gateway_keys.toml", Some("X-API-Key: mgw_e2etests_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")),
];

/// `schemathesis [SECONDS]`: that long for each gateway; fails with what it found.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let seconds = match args {
        [] => SECONDS,
        [seconds] => {
            seconds.parse().map_err(|_| Failure::Usage(format!("`{seconds}` is no number of seconds")))?
        }
        _ => return Err(Failure::Usage("`schemathesis` takes SECONDS or nothing".into())),
    };
    let workspace = workspace()?;
    let python = tools::python().ok_or_else(|| {
        Failure::Work(
            "Schemathesis needs Python 3.11 or newer (python3); .ci/run shows how to install it".into(),
        )
    })?;
    let folder = workspace.target.join("schemathesis");
    tools::copy_files(&workspace.root.join("tests/e2e"), &folder)?;
    let environment = tools::environment(&folder, &python, REQUIREMENTS)?;
    for (config, header) in GATEWAYS {
        println!("\n==> {config}");
        let gateway = Gateway::start_on(&workspace, &folder, config, &[])?;
        let tested = test(&environment.join("bin/schemathesis"), &folder, &gateway.url(), header, seconds);
        gateway.stop()?;
        tested?;
    }
    Ok(())
}

fn test(program: &Path, folder: &Path, url: &str, header: Option<&str>, seconds: u32) -> Result<()> {
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .arg("run")
        .arg(format!("{url}/openapi.json"))
        .args(["--phases", "examples,coverage,fuzzing,stateful", "--checks", "all"])
        .args(["--max-time", &seconds.to_string()])
        // The same requests in the same order, so that what fails in one run does so in the next; what an earlier run found
        // is not replayed.
        .args(["--seed", "1", "--generation-database", "none"])
        // How long something takes on a machine that does other things as well is no finding.
        .args(["--suppress-health-check", "all", "--request-timeout", "60"]);
    if let Some(header) = header {
        command.args(["--header", header]);
    }
    succeed(&mut command)
}
