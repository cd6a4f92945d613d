//! `soak`: loads and unloads, over and over, in a release build. What a test does in fifty rounds may still run out
//! of something in a thousand: a process has 1,024 pthread keys.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    artifacts::{Profile, build_libraries, install, lock},
    cargo::workspace,
    failure::{Failure, Result, shown, succeed},
};

/// The plugin most like those of an author, and the one that does all that is hard to undo.
const LIBRARIES: [&str; 2] = ["greet", "uses_everything"];
const ROUNDS: u32 = 10_000;
/// About a minute's worth, for both.
const ROUNDS_UNDER_VALGRIND: u32 = 20;

/// `soak [--rounds N] [--valgrind]`: every plugin of `LIBRARIES` in turn; stops at the first that leaves something.
pub(crate) fn soak(args: &[String]) -> Result<()> {
    let Asked { rounds, valgrind } = Asked::parse(args)?;
    if valgrind {
        let there = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
        there.map_err(|_| Failure::Work("valgrind is not installed; apt-get install valgrind".into()))?;
    }
    let workspace = workspace()?;
    let folder = workspace.target.join("soak");
    let program = {
        let _lock = lock(&workspace)?;
        let mut command = workspace.cargo("build");
        command.args(["-p", "tests", "-p", "host", "--bin", "soak", "--bin", "gateway", "--release"]);
        let built = workspace.build(&mut command)?;
        // Files are tried in children of it.
        install(built.program("gateway")?, &folder.join("gateway"))?;
        // One by one: together, one would get the features that the other needs of a crate.
        for library in LIBRARIES {
            build_libraries(&workspace, Profile::Release, &[library], &folder)?;
        }
        built.program("soak")?.to_owned()
    };
    for library in LIBRARIES {
        let mut command = if valgrind { under_valgrind(&program) } else { Command::new(&program) };
        command.arg(folder.join(format!("{library}.so"))).arg(rounds.to_string());
        command.env("GATEWAY_TEST_ARTIFACTS", &folder);
        // As in the gateway.
        command.env("RUST_LIB_BACKTRACE", "0");
        eprintln!("==> {}", shown(&command));
        succeed(&mut command)?;
    }
    Ok(())
}

/// Every error counts, and of what is left at the end what nothing points at any more. The names of functions in
/// libraries that are gone are kept for the report.
fn under_valgrind(program: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command
        .args(["--quiet", "--error-exitcode=1", "--leak-check=full", "--errors-for-leak-kinds=definite"])
        .args(["--show-leak-kinds=definite", "--keep-debuginfo=yes", "--num-callers=30"])
        .arg(program);
    command
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    rounds: u32,
    valgrind: bool,
}

impl Asked {
    fn parse(args: &[String]) -> Result<Self> {
        let (mut rounds, mut valgrind) = (None, false);
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--valgrind" => valgrind = true,
                "--rounds" => {
                    let number = args.next().and_then(|number| number.parse().ok());
                    rounds = Some(number.ok_or_else(|| Failure::Usage("`--rounds` takes a number".into()))?);
                }
                other => return Err(Failure::Usage(format!("`soak` does not take `{other}`"))),
            }
        }
        let usual = if valgrind { ROUNDS_UNDER_VALGRIND } else { ROUNDS };
        Ok(Self { rounds: rounds.unwrap_or(usual), valgrind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Result<Asked> {
        Asked::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn rounds_are_fewer_under_valgrind_unless_they_are_given() {
        let is = |line: &str, rounds, valgrind| {
            assert_eq!(asked(line).expect("it is understood"), Asked { rounds, valgrind }, "{line}");
        };
        is("", ROUNDS, false);
        is("--valgrind", ROUNDS_UNDER_VALGRIND, true);
        is("--valgrind --rounds 3", 3, true);
        is("--rounds 3", 3, false);
        for line in ["--rounds", "--rounds many", "--fast"] {
            assert!(matches!(asked(line), Err(Failure::Usage(_))), "{line}");
        }
    }
}
