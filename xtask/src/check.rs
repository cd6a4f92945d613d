//! `check`: what a machine can say about a change before a person reads it.

use std::process::{Command, Stdio};

use crate::{
    cargo::{Workspace, workspace},
    failure::{Failure, Result, shown, succeed},
};

/// The cargo-deny that deny.toml was written for; `.ci/run` installs the same.
const CARGO_DENY: &str = "0.20.2";

/// rustfmt, clippy, the fuzz target's lock file, the tests, cargo-deny, in this order; stops at the first that fails.
pub(crate) fn check(args: &[String]) -> Result<()> {
    if !args.is_empty() {
        return Err(Failure::Usage("`check` takes no arguments".into()));
    }
    let workspace = workspace()?;
    step(crate::cargo::cargo().current_dir(&workspace.root).args(["fmt", "--all", "--check"]))?;
    step(workspace.cargo("clippy").args(["--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    fuzz_lock(&workspace)?;
    step(crate::cargo::cargo().current_dir(&workspace.root).args(["xtask", "test"]))?;
    deny(&workspace)
}

/// The fuzz target is a workspace of its own, which nothing else here builds: a crate that `host` comes to need is
/// missing in its lock file until somebody looks.
fn fuzz_lock(workspace: &Workspace) -> Result<()> {
    const UPDATE: [&str; 4] = ["update", "--workspace", "--manifest-path", "host/fuzz/Cargo.toml"];
    let mut command = crate::cargo::cargo();
    command.current_dir(&workspace.root).args(UPDATE);
    let remedy = format!("host/fuzz/Cargo.lock is out of date; {}", shown(&command));
    step(command.args(["--locked", "--quiet"])).map_err(|_| Failure::Work(remedy))
}

fn step(command: &mut Command) -> Result<()> {
    eprintln!("==> {}", shown(command));
    succeed(command)
}

/// A machine without cargo-deny, or that cannot reach the advisory database, still gets the rest of `check`;
/// it is told what was left out.
fn deny(workspace: &Workspace) -> Result<()> {
    let deny = || {
        let mut command = crate::cargo::cargo();
        command.current_dir(&workspace.root).args(["deny", "--locked"]);
        command
    };
    let quiet = |command: &mut Command| {
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    if !quiet(crate::cargo::cargo().args(["deny", "--version"])) {
        eprintln!(
            "==> left out: cargo deny is not installed; cargo install --locked cargo-deny --version {CARGO_DENY}"
        );
        return Ok(());
    }
    step(deny().args(["check", "bans", "licenses", "sources"]))?;
    if !quiet(deny().args(["fetch", "db"])) {
        eprintln!("==> left out: cargo deny check advisories; the advisory database cannot be reached");
        return Ok(());
    }
    step(deny().args(["--offline", "check", "advisories"]))
}
