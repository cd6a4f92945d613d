//! What the checks need: Node, Python, Chromium, and the pinned packages, which go under target/e2e.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Group, Program, Runtime};
use crate::{
    cargo::Workspace,
    failure::{Failure, Result, succeed},
};

/// The programs of this machine that the checks use.
#[derive(Debug)]
pub(super) struct Tools {
    python: PathBuf,
    node: PathBuf,
    chromium: PathBuf,
}

/// Finds what `groups` need; one failure names everything that is missing.
pub(super) fn tools(groups: &[&Group]) -> Result<Tools> {
    let uses = |runtime: fn(&Group) -> bool| groups.iter().any(|g| runtime(g));
    let python = find(&["python3"], "-c", "import sys; print(*sys.version_info[:2])", (3, 11));
    let node = find(&["node", "nodejs"], "-p", "process.versions.node", (20, 0));
    let chromium = std::env::var_os("CHROMIUM")
        .map(PathBuf::from)
        .or_else(|| find(&["chromium", "chromium-browser", "google-chrome"], "--version", "", (0, 0)));
    let mut missing = Vec::new();
    if python.is_none() && uses(|g| g.runtime != Runtime::Node) {
        missing.push("Python 3.11 or newer (python3)");
    }
    if node.is_none() && uses(|g| g.runtime == Runtime::Node) {
        missing.push("Node 20 or newer (node, npm)");
    }
    if chromium.is_none() && uses(|g| g.name == "browser") {
        missing.push("Chromium (chromium, or $CHROMIUM)");
    }
    if !missing.is_empty() {
        return Err(Failure::Work(format!(
            "the end-to-end checks need {}; .ci/run shows how to install it on Debian",
            missing.join(", ")
        )));
    }
    Ok(Tools {
        python: python.unwrap_or_default(),
        node: node.unwrap_or_default(),
        chromium: chromium.unwrap_or_default(),
    })
}

/// The first of `names` in PATH that prints a version that is new enough, with its folder: not every program that
/// is told to start another one looks in PATH.
fn find(names: &[&str], flag: &str, question: &str, at_least: (u32, u32)) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let candidates = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    candidates.filter(|candidate| candidate.is_file()).find(|program| {
        let words = [flag, question].into_iter().filter(|word| !word.is_empty());
        let Ok(output) = Command::new(program).args(words).output() else { return false };
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut numbers = printed.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<u32>().ok());
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        output.status.success() && version >= at_least
    })
}

/// Fills `folder` with the checks and the packages they import. What is already there and right stays.
pub(super) fn folder(workspace: &Workspace, folder: &Path, tools: &Tools, groups: &[&Group]) -> Result<()> {
    let source = workspace.root.join("tests/e2e");
    fs::create_dir_all(folder).map_err(|e| Failure::at("cannot create", folder, e))?;
    // Node looks for packages upwards from a script, so the scripts have to lie beside node_modules.
    let files = fs::read_dir(&source).map_err(|e| Failure::at("cannot read", &source, e))?;
    for file in files.filter_map(std::result::Result::ok) {
        if file.path().is_file() {
            fs::copy(file.path(), folder.join(file.file_name()))
                .map_err(|e| Failure::at("cannot copy", &file.path(), e))?;
        }
    }
    for group in groups {
        match group.runtime {
            Runtime::Python(requirements) => virtual_environment(folder, tools, requirements)?,
            Runtime::Node => node_modules(folder)?,
        }
    }
    Ok(())
}

fn virtual_environment(folder: &Path, tools: &Tools, requirements: &str) -> Result<()> {
    let environment = folder.join(requirements).with_extension("venv");
    once(&folder.join(requirements), &environment, || {
        eprintln!("==> installing {requirements}");
        succeed(Command::new(&tools.python).args(["-m", "venv", "--clear"]).arg(&environment))?;
        succeed(
            Command::new(environment.join("bin/python"))
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r"])
                .arg(folder.join(requirements)),
        )
    })
}

fn node_modules(folder: &Path) -> Result<()> {
    once(&folder.join("package-lock.json"), &folder.join("node_modules"), || {
        eprintln!("==> installing package-lock.json");
        let flags = ["ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"];
        succeed(Command::new("npm").current_dir(folder).args(flags))
    })
}

/// Does `install` unless it was done, to its end, for the same content of `lock`.
fn once(lock: &Path, installed: &Path, install: impl FnOnce() -> Result<()>) -> Result<()> {
    let stamp = installed.join(".installed-from");
    let wanted = fs::read(lock).map_err(|e| Failure::at("cannot read", lock, e))?;
    if fs::read(&stamp).is_ok_and(|had| had == wanted) {
        return Ok(());
    }
    install()?;
    fs::write(&stamp, wanted).map_err(|e| Failure::at("cannot write", &stamp, e))
}

impl Tools {
    /// How `group` is started on the gateway at `url`.
    pub(super) fn command(&self, group: &Group, folder: &Path, url: &str) -> Program {
        let path = match group.runtime {
            Runtime::Python(requirements) => {
                folder.join(requirements).with_extension("venv").join("bin/python")
            }
            Runtime::Node => self.node.clone(),
        };
        let chromium = self.chromium.display().to_string();
        let args = vec![group.script.to_owned(), url.to_owned(), chromium];
        Program { path, args, folder: folder.to_owned() }
    }
}
