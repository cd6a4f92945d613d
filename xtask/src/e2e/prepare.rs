//! What the checks need: Node, Python, Chromium, and the pinned packages, which go under target/e2e.

use std::path::{Path, PathBuf};

use super::{Group, Program, Runtime};
use crate::{
    cargo::Workspace,
    failure::{Failure, Result},
    tools::{self, Node},
};

/// The programs that the checks use. One that no group needs may be absent.
#[derive(Debug)]
pub(super) struct Tools {
    python: Option<PathBuf>,
    node: Option<Node>,
    chromium: Option<PathBuf>,
}

/// Finds what `groups` need; one failure names everything that is missing.
pub(super) fn tools(workspace: &Workspace, groups: &[&Group]) -> Result<Tools> {
    let uses = |runtime: fn(&Group) -> bool| groups.iter().any(|g| runtime(g));
    let python = tools::python();
    let node = if uses(|g| g.runtime == Runtime::Node) {
        Node::find_or_install(workspace, python.as_deref())?
    } else {
        None
    };
    let chromium = std::env::var_os("CHROMIUM")
        .map(PathBuf::from)
        .or_else(|| tools::find(&["chromium", "chromium-browser", "google-chrome"], "--version", "", (0, 0)));
    let mut missing = Vec::new();
    if python.is_none() && uses(|g| g.runtime != Runtime::Node) {
        missing.push("Python 3.11 or newer (python3)");
    }
    if node.is_none() && uses(|g| g.runtime == Runtime::Node) {
        missing.push("Node 22 or newer (node, npm), or a Python to install it with");
    }
    if chromium.is_none() && uses(|g| g.name.starts_with("browser")) {
        missing.push("Chromium (chromium, or $CHROMIUM)");
    }
    if !missing.is_empty() {
        return Err(Failure::Work(format!(
            "the end-to-end checks need {}; .ci/run shows how to install it on Debian",
            missing.join(", ")
        )));
    }
    Ok(Tools { python, node, chromium })
}

/// Fills `folder` with the checks and the packages they import. What is already there and right stays.
pub(super) fn folder(workspace: &Workspace, folder: &Path, tools: &Tools, groups: &[&Group]) -> Result<()> {
    tools::copy_files(&workspace.root.join("tests/e2e"), folder)?;
    for group in groups {
        match (group.runtime, &tools.python, &tools.node) {
            (Runtime::Python(requirements), Some(python), _) => {
                tools::environment(folder, python, requirements)?;
            }
            (Runtime::Node, _, Some(node)) => node.install_packages(folder)?,
            (Runtime::Python(_) | Runtime::Node, _, _) => {}
        }
    }
    Ok(())
}

impl Tools {
    /// How `group` is started on the gateway at `url`.
    pub(super) fn command(&self, group: &Group, folder: &Path, url: &str) -> Program {
        let path = match group.runtime {
            Runtime::Python(requirements) => {
                folder.join(requirements).with_extension("venv").join("bin/python")
            }
            Runtime::Node => self.node.as_ref().map(|node| node.program.clone()).unwrap_or_default(),
        };
        let chromium = self.chromium.as_deref().unwrap_or(Path::new("")).display().to_string();
        let args = vec![group.script.to_owned(), url.to_owned(), chromium];
        Program { path, args, folder: folder.to_owned() }
    }
}
