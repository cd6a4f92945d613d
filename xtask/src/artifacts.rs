//! The verbs that build the gateway and its plugins and put them where they are used:
//! `build`, `run`, `artifacts`, `test`.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
};

use crate::{
    cargo::{Role, Workspace, workspace},
    failure::{Failure, Result, cannot_start},
    variants,
};

/// `run [--release] [-- ARGS]`: builds, installs, then becomes the gateway.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let mut parts = args.splitn(2, |arg| arg == "--");
    let profile = Profile::parse("run", parts.next().unwrap_or_default())?;
    let workspace = workspace()?;
    let gateway = build_and_install(&workspace, profile, &workspace.root.join("plugins"))?;
    let mut command = std::process::Command::new(gateway);
    command.current_dir(&workspace.root).args(parts.next().unwrap_or_default());
    // Signals sent to the pid that the user started must reach the gateway.
    let error = command.exec();
    Err(cannot_start(&command, error))
}

/// `build [--release]`: builds and installs; the last line on stdout is the gateway's path.
pub(crate) fn build(args: &[String]) -> Result<()> {
    let profile = Profile::parse("build", args)?;
    let workspace = workspace()?;
    let gateway = build_and_install(&workspace, profile, &workspace.root.join("plugins"))?;
    println!("{}", gateway.display());
    Ok(())
}

/// `artifacts [--out DIR]`: what the tests open; the last line on stdout is the folder.
pub(crate) fn for_tests(args: &[String]) -> Result<()> {
    let workspace = workspace()?;
    let out = match args {
        [] => default_folder(&workspace),
        [flag, dir] if flag == "--out" => {
            std::path::absolute(dir).map_err(|e| Failure::at("cannot use", Path::new(dir), e))?
        }
        _ => return Err(Failure::Usage("`artifacts` takes `--out DIR` or nothing".into())),
    };
    install_artifacts(&workspace, &out)?;
    println!("{}", out.display());
    Ok(())
}

/// `test [ARGS]`: the artifacts, then `cargo test --workspace ARGS`.
pub(crate) fn test(args: &[String]) -> Result<()> {
    let workspace = workspace()?;
    let out = default_folder(&workspace);
    install_artifacts(&workspace, &out)?;
    let mut command = workspace.cargo("test");
    let error = command.arg("--workspace").args(args).env("GATEWAY_TEST_ARTIFACTS", out).exec();
    Err(cannot_start(&command, error))
}

fn default_folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("test-artifacts")
}

/// Which cargo profile to build with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Dev,
    Release,
}

impl Profile {
    fn flag(self) -> Option<&'static str> {
        (self == Self::Release).then_some("--release")
    }

    fn parse(verb: &str, args: &[String]) -> Result<Self> {
        match args {
            [] => Ok(Self::Dev),
            [flag] if flag == "--release" => Ok(Self::Release),
            _ => Err(Failure::Usage(format!("`{verb}` does not take `{}`", args.join(" ")))),
        }
    }
}

/// Builds the gateway and the plugins, installs the plugins in `plugins` and returns the gateway's path.
pub(crate) fn build_and_install(workspace: &Workspace, profile: Profile, plugins: &Path) -> Result<PathBuf> {
    let _lock = lock(workspace)?;
    let mut command = workspace.cargo("build");
    command.args(["-p", "host"]).args(profile.flag());
    let gateway = workspace.build(&mut command)?.gateway()?.to_owned();
    build_libraries(workspace, profile, &workspace.names(&[Role::Plugin]), plugins)?;
    Ok(gateway)
}

/// Builds the libraries of these packages and installs them in `folder`. Never in one build with the gateway: cargo
/// would give them the features that the gateway needs of a crate, and tokio's `signal`, for one, leaves two open
/// sockets behind with each loading.
pub(crate) fn build_libraries(
    workspace: &Workspace,
    profile: Profile,
    packages: &[&str],
    folder: &Path,
) -> Result<()> {
    let mut command = workspace.cargo("build");
    command.args(packages.iter().flat_map(|name| ["-p", name])).args(profile.flag());
    let built = workspace.build(&mut command)?;
    for library in built.libraries.iter().filter(|l| packages.contains(&l.package.as_str())) {
        install(&library.path, &folder.join(format!("{}.so", library.package)))?;
    }
    Ok(())
}

fn install_artifacts(workspace: &Workspace, out: &Path) -> Result<()> {
    let _lock = lock(workspace)?;
    // Test targets are part of this build only so that cargo resolves features as `cargo test --workspace` does
    // (dev-dependencies count): what is compiled here is what that finds fresh.
    let built = workspace.build(workspace.cargo("build").args(["--workspace", "--bins", "--tests"]))?;
    install(built.gateway()?, &out.join("gateway"))?;
    build_libraries(workspace, Profile::Dev, &workspace.names(&[Role::Plugin, Role::Fixture]), out)?;
    variants::install(workspace, &out.join("versions"))
}

/// One build-and-install at a time: cargo's own lock ends with the build, and another build could replace what
/// is being copied. Released when the file is closed, at the latest by `exec`.
pub(crate) fn lock(workspace: &Workspace) -> Result<File> {
    let path = workspace.target.join(".xtask-lock");
    let lock = || {
        fs::create_dir_all(&workspace.target)?;
        let file = File::create(&path)?;
        file.lock()?;
        Ok::<_, std::io::Error>(file)
    };
    lock().map_err(|e| Failure::at("cannot lock", &path, e))
}

/// Copies `from` to `to` by way of a new file and a rename: whoever has the old one open or mapped keeps it, and
/// nobody ever sees half a file. Equal content is left alone, so that nothing that watches the folder wakes up.
pub(crate) fn install(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).map_err(|e| Failure::at("cannot read", from, e))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let temporary = to.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let install = || {
        fs::create_dir_all(to.parent().unwrap_or(Path::new(".")))?;
        fs::copy(from, &temporary)?;
        fs::rename(&temporary, to)
    };
    install().map_err(|e| {
        // Best effort: the error that matters is the first one.
        let _ = fs::remove_file(&temporary);
        Failure::at("cannot install", to, e)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    /// A folder of its own for each test, removed at the end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(test: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("xtask-{test}-{}", std::process::id()));
            fs::create_dir_all(&folder).expect("the temporary folder can be written");
            Self(folder)
        }

        fn file(&self, name: &str, content: &str) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, content).expect("the scratch folder can be written");
            path
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn inode(path: &Path) -> u64 {
        fs::metadata(path).expect("the file is there").ino()
    }

    #[test]
    fn a_changed_library_is_a_new_file_under_the_old_name() {
        let scratch = Scratch::new("changed");
        let (new, installed) = (scratch.file("new", "new code"), scratch.file("greet.so", "old code"));
        let mapped = File::open(&installed).expect("the file is there");

        install(&new, &installed).expect("the scratch folder can be written");

        assert_eq!(fs::read_to_string(&installed).expect("the file is there"), "new code");
        assert_ne!(mapped.metadata().expect("the file is open").ino(), inode(&installed));
        assert_eq!(std::io::read_to_string(mapped).expect("the file is open"), "old code");
        assert_eq!(fs::read_dir(&scratch.0).expect("the folder is there").count(), 2);
    }

    #[test]
    fn an_equal_library_is_left_alone() {
        let scratch = Scratch::new("equal");
        let (new, installed) = (scratch.file("new", "same"), scratch.file("greet.so", "same"));
        let before = inode(&installed);

        install(&new, &installed).expect("there is nothing to do");

        assert_eq!(inode(&installed), before);
    }

    #[test]
    fn a_program_stays_executable_and_its_folder_is_made() {
        let scratch = Scratch::new("program");
        let program = scratch.file("built", "code");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("the file is ours");
        let installed = scratch.0.join("a/b/gateway");

        install(&program, &installed).expect("the scratch folder can be written");

        let mode = fs::metadata(&installed).expect("the file is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
    }
}
