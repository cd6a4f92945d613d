//! What cargo knows: the packages of the workspace, and what a build made. Paths are read from cargo's messages,
//! never guessed: where a cdylib ends up depends on cargo's version and on how it was asked.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::failure::{Failure, Result, cannot_start, ended_badly, output_of};

/// The workspace as `cargo metadata` tells it.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    packages: Vec<Package>,
}

#[derive(Debug)]
struct Package {
    id: String,
    name: String,
    role: Role,
}

/// What `[package.metadata.gateway]` says a package is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// `plugin = true`: ships, and is installed in plugins/.
    Plugin,
    /// `fixture = true`: a library that only the tests open.
    Fixture,
    /// Neither.
    Other,
}

/// A library made by a build.
#[derive(Debug)]
pub(crate) struct Library {
    pub(crate) package: String,
    pub(crate) path: PathBuf,
}

/// What one build made.
#[derive(Debug, Default)]
pub(crate) struct Built {
    programs: Vec<(String, PathBuf)>,
    pub(crate) libraries: Vec<Library>,
}

/// The cargo that runs this program, or the one in PATH.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Asks cargo for the workspace that this program belongs to, wherever it is started.
pub(crate) fn workspace() -> Result<Workspace> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let metadata = output_of(
        cargo()
            .args(["metadata", "--no-deps", "--locked", "--format-version=1", "--manifest-path"])
            .arg(manifest),
    )?;
    let metadata: Value =
        serde_json::from_str(&metadata).map_err(|e| Failure::Work(format!("cargo metadata: {e}")))?;
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(Workspace {
        root: text(&metadata["workspace_root"]).into(),
        target: text(&metadata["target_directory"]).into(),
        packages: packages.iter().map(package).collect(),
    })
}

fn package(json: &Value) -> Package {
    let marks = &json["metadata"]["gateway"];
    let marked = |key: &str| marks[key].as_bool().unwrap_or(false);
    let role = match (marked("plugin"), marked("fixture")) {
        (true, _) => Role::Plugin,
        (false, true) => Role::Fixture,
        (false, false) => Role::Other,
    };
    Package { id: text(&json["id"]), name: text(&json["name"]), role }
}

fn text(json: &Value) -> String {
    json.as_str().unwrap_or_default().to_owned()
}

impl Built {
    /// The gateway's program, which the build was asked for.
    pub(crate) fn gateway(&self) -> Result<&Path> {
        self.program("gateway")
    }

    /// A program that the build was asked for.
    pub(crate) fn program(&self, name: &str) -> Result<&Path> {
        let made = self.programs.iter().find(|(made, _)| made == name);
        made.map(|(_, path)| path.as_path())
            .ok_or_else(|| Failure::Work(format!("cargo made no program called `{name}`")))
    }
}

impl Workspace {
    /// The names of the packages of these roles.
    pub(crate) fn names(&self, roles: &[Role]) -> Vec<&str> {
        self.packages.iter().filter(|p| roles.contains(&p.role)).map(|p| p.name.as_str()).collect()
    }

    /// `cargo SUBCOMMAND --locked` at the root.
    pub(crate) fn cargo(&self, subcommand: &str) -> Command {
        let mut command = cargo();
        command.current_dir(&self.root).arg(subcommand).arg("--locked");
        command
    }

    /// Runs a `cargo build` whose progress and errors go to stderr as ever, and reads what it made.
    pub(crate) fn build(&self, command: &mut Command) -> Result<Built> {
        command.arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| cannot_start(command, e))?;
        let stdout = child.stdout.take().expect("stdout was asked for as a pipe");
        let mut built = Built::default();
        for line in BufReader::new(stdout).lines() {
            let line = line.map_err(|e| Failure::Work(format!("cannot read what cargo prints: {e}")))?;
            // Cargo shares its stdout with build scripts' warnings and the like: not every line is ours.
            let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
            built.libraries.extend(self.library(&message));
            built.programs.extend(executable(&message));
        }
        let status = child.wait().map_err(|e| cannot_start(command, e))?;
        if !status.success() {
            return Err(ended_badly(command, status));
        }
        Ok(built)
    }

    fn library(&self, message: &Value) -> Option<Library> {
        let package = self.packages.iter().find(|p| message["package_id"] == p.id.as_str())?;
        if package.role == Role::Other || !is_product(message, "cdylib") {
            return None;
        }
        let paths = message["filenames"].as_array()?.iter().map(|path| PathBuf::from(text(path)));
        let path =
            paths.into_iter().find(|p| p.extension() == Some(std::env::consts::DLL_EXTENSION.as_ref()))?;
        Some(Library { package: package.name.clone(), path })
    }
}

fn executable(message: &Value) -> Option<(String, PathBuf)> {
    let path = message["executable"].as_str().filter(|_| is_product(message, "bin"))?;
    Some((text(&message["target"]["name"]), path.into()))
}

/// Whether the message is about a product of `kind`, not about its test harness.
fn is_product(message: &Value, kind: &str) -> bool {
    message["reason"] == "compiler-artifact"
        && message["profile"]["test"] == false
        && message["target"]["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|k| k == kind))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workspace_of(packages: &[Value]) -> Workspace {
        Workspace {
            root: "/w".into(),
            target: "/w/target".into(),
            packages: packages.iter().map(package).collect(),
        }
    }

    fn artifact(package: &str, kind: &[&str], test: bool, files: &[&str]) -> Value {
        json!({
            "reason": "compiler-artifact", "package_id": package, "target": {"kind": kind, "name": "gateway"},
            "profile": {"test": test}, "filenames": files, "executable": files.first(),
        })
    }

    #[test]
    fn plugins_and_fixtures_are_told_by_their_metadata() {
        let workspace = workspace_of(&[
            json!({"id": "1", "name": "greet", "metadata": {"gateway": {"plugin": true}}}),
            json!({"id": "2", "name": "old_abi", "metadata": {"gateway": {"fixture": true}}}),
            json!({"id": "3", "name": "host", "metadata": null}),
        ]);
        assert_eq!(workspace.names(&[Role::Plugin]), ["greet"]);
        let roles: Vec<_> = workspace.packages.iter().map(|p| p.role).collect();
        assert_eq!(roles, [Role::Plugin, Role::Fixture, Role::Other]);
    }

    #[test]
    fn a_library_is_taken_from_where_cargo_says_it_is() {
        let plugin = json!({"id": "1", "name": "greet", "metadata": {"gateway": {"plugin": true}}});
        let workspace = workspace_of(&[plugin]);
        let made = artifact("1", &["cdylib", "rlib"], false, &["/x/libgreet.rlib", "/x/libgreet.so"]);
        let library = workspace.library(&made).expect("it is a plugin's cdylib");
        assert_eq!((library.package.as_str(), library.path), ("greet", PathBuf::from("/x/libgreet.so")));

        assert!(workspace.library(&artifact("1", &["cdylib"], true, &["/x/greet-1234"])).is_none());
        assert!(workspace.library(&artifact("2", &["cdylib"], false, &["/x/libother.so"])).is_none());
        assert!(workspace.library(&json!({"reason": "build-finished"})).is_none());
    }

    #[test]
    fn the_gateway_is_the_program_and_not_its_test_harness() {
        let made = executable(&artifact("3", &["bin"], false, &["/x/gateway"]));
        assert_eq!(made, Some(("gateway".into(), "/x/gateway".into())));
        assert_eq!(executable(&artifact("3", &["bin"], true, &["/x/deps/gateway-1234"])), None);
        assert_eq!(executable(&artifact("3", &["lib"], false, &["/x/libhost.rlib"])), None);
    }
}
