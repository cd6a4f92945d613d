//! What cargo knows: the packages of the workspace, and what a build made. Paths are read from cargo's messages,
//! never guessed: where a cdylib ends up depends on cargo's version and on how it was asked.

use std::{
    collections::{BTreeMap, BTreeSet},
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
    /// What it takes from the registry.
    crates: Vec<Crate>,
}

/// A dependency on a crate of the registry.
#[derive(Debug)]
struct Crate {
    name: String,
    requirement: String,
    default_features: bool,
    features: Vec<String>,
    /// Only its tests need it.
    is_for_tests: bool,
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
    let dependencies = json["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
    let crates = dependencies.iter().filter(|d| d["source"].is_string()).map(dependency).collect();
    Package { id: text(&json["id"]), name: text(&json["name"]), role, crates }
}

fn dependency(json: &Value) -> Crate {
    let features = json["features"].as_array().map(Vec::as_slice).unwrap_or_default();
    Crate {
        name: text(&json["name"]),
        requirement: text(&json["req"]),
        default_features: json["uses_default_features"].as_bool().unwrap_or(true),
        features: features.iter().map(text).collect(),
        is_for_tests: json["kind"] == "dev",
    }
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

    /// What a build of all plugins and fixtures takes from the registry, as lines of `[dependencies]`.
    pub(crate) fn crates_of_plugins(&self) -> String {
        let is_in_it = |p: &&Package| p.role != Role::Other || p.name == "plugin-api";
        lines(self.packages.iter().filter(is_in_it).flat_map(|p| &p.crates).filter(|c| !c.is_for_tests))
    }

    /// What a build of the whole workspace, tests included, takes from the registry, as lines of `[dependencies]`.
    pub(crate) fn crates_of_all(&self) -> String {
        lines(self.packages.iter().flat_map(|p| &p.crates))
    }

    /// `cargo SUBCOMMAND --locked` at the root.
    pub(crate) fn cargo(&self, subcommand: &str) -> Command {
        let mut command = cargo();
        command.current_dir(&self.root).arg(subcommand).arg("--locked");
        command
    }

    /// Runs a `cargo build` whose progress and errors go to stderr as ever, and reads what it made.
    pub(crate) fn build(&self, command: &mut Command) -> Result<Built> {
        let mut built = Built::default();
        for message in messages(command.arg(MESSAGES))? {
            built.libraries.extend(self.library(&message));
            built.programs.extend(executable(&message));
        }
        Ok(built)
    }

    fn library(&self, message: &Value) -> Option<Library> {
        let package = self.packages.iter().find(|p| message["package_id"] == p.id.as_str())?;
        if package.role == Role::Other || !is_product(message, "cdylib") {
            return None;
        }
        Some(Library { package: package.name.clone(), path: shared_library(message)? })
    }
}

/// Runs a `cargo build` or `cargo rustc` of anything, with `rustc` for the compiler of the last crate, and finds what
/// it made of the target called `name`.
pub(crate) fn product_of(command: &mut Command, rustc: &[&str], name: &str) -> Result<PathBuf> {
    let is_ours = |message: &&Value| is_product(message, "cdylib") && message["target"]["name"] == name;
    let messages = messages(command.arg(MESSAGES).args(rustc))?;
    let library = messages.iter().find(is_ours).and_then(shared_library);
    let program =
        || messages.iter().filter_map(executable).find(|(made, _)| made == name).map(|(_, path)| path);
    let product = library.or_else(program);
    product.ok_or_else(|| Failure::Work(format!("cargo made nothing called `{name}`")))
}

const MESSAGES: &str = "--message-format=json-render-diagnostics";

/// Runs cargo to its end and reads what it prints. Its progress goes to stderr as ever.
fn messages(command: &mut Command) -> Result<Vec<Value>> {
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|e| cannot_start(command, e))?;
    let stdout = child.stdout.take().expect("stdout was asked for as a pipe");
    let mut messages = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let line = line.map_err(|e| Failure::Work(format!("cannot read what cargo prints: {e}")))?;
        // Cargo shares its stdout with build scripts' warnings and the like: not every line is ours.
        messages.extend(serde_json::from_str::<Value>(&line));
    }
    let status = child.wait().map_err(|e| cannot_start(command, e))?;
    if status.success() { Ok(messages) } else { Err(ended_badly(command, status)) }
}

fn shared_library(message: &Value) -> Option<PathBuf> {
    let mut paths = message["filenames"].as_array()?.iter().map(|path| PathBuf::from(text(path)));
    paths.find(|p| p.extension() == Some(std::env::consts::DLL_EXTENSION.as_ref()))
}

fn executable(message: &Value) -> Option<(String, PathBuf)> {
    let path = message["executable"].as_str().filter(|_| is_product(message, "bin"))?;
    Some((text(&message["target"]["name"]), path.into()))
}

/// Each crate once, with all the features that are asked for.
fn lines<'a>(crates: impl Iterator<Item = &'a Crate>) -> String {
    let mut wanted: BTreeMap<&str, (&str, bool, BTreeSet<&str>)> = BTreeMap::new();
    for one in crates {
        let (_, default_features, features) =
            wanted.entry(&one.name).or_insert((&one.requirement, false, BTreeSet::new()));
        *default_features |= one.default_features;
        features.extend(one.features.iter().map(String::as_str));
    }
    let line = |(name, (version, default_features, features)): (_, (_, bool, BTreeSet<_>))| {
        let features = Vec::from_iter(features);
        format!(
            "{name} = {{ version = \"{version}\", default-features = {default_features}, features = {features:?} }}\n"
        )
    };
    wanted.into_iter().map(line).collect()
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

    #[test]
    fn a_crate_is_wanted_once_with_the_features_of_all() {
        let dependency = |kind: Option<&str>, default: bool, features: &[&str]| {
            json!({
                "name": "tokio", "source": "registry", "req": "^1", "kind": kind,
                "uses_default_features": default, "features": features,
            })
        };
        let ours = json!({"name": "plugin-api", "source": null, "req": "*"});
        let plugin = json!({"gateway": {"plugin": true}});
        let workspace = workspace_of(&[
            json!({"id": "1", "name": "greet", "metadata": plugin, "dependencies":
                [dependency(None, false, &["rt"]), ours, dependency(Some("dev"), true, &["full"])]}),
            json!({"id": "2", "name": "plugin-api", "dependencies": [dependency(None, false, &["net", "rt"])]}),
            json!({"id": "3", "name": "host", "dependencies": [dependency(None, false, &["signal"])]}),
        ]);
        assert_eq!(
            workspace.crates_of_plugins(),
            "tokio = { version = \"^1\", default-features = false, features = [\"net\", \"rt\"] }\n"
        );
        assert_eq!(
            workspace.crates_of_all(),
            "tokio = { version = \"^1\", default-features = true, \
             features = [\"full\", \"net\", \"rt\", \"signal\"] }\n"
        );
    }
}
