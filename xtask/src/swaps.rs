//! `swaps`: one build of a plugin for another, over and over, under load, in a release build.

use std::process::Command;

use crate::{
    artifacts::{Profile, build_libraries, install, lock},
    cargo::workspace,
    failure::{Failure, Result, shown, succeed},
    variants,
};

const TIMES: u32 = 1_000;
const CONNECTIONS: u32 = 64;

/// `swaps [TIMES]`: fails if a call fails, a library is not gone, or memory grows.
pub(crate) fn swaps(args: &[String]) -> Result<()> {
    let times = match args {
        [] => TIMES,
        [times] => {
            let number = times.parse().ok().filter(|times| *times > 0);
            number.ok_or_else(|| Failure::Usage(format!("`{times}` is no number of swaps")))?
        }
        _ => return Err(Failure::Usage("`swaps` takes TIMES or nothing".into())),
    };
    let workspace = workspace()?;
    let folder = workspace.target.join("swaps");
    let program = {
        let _lock = lock(&workspace)?;
        let mut command = workspace.cargo("build");
        command.args(["-p", "tests", "-p", "host", "--bin", "swaps", "--bin", "gateway", "--release"]);
        let built = workspace.build(&mut command)?;
        install(built.program("gateway")?, &folder.join("gateway"))?;
        build_libraries(&workspace, Profile::Release, &["greet"], &folder)?;
        install(&variants::build_other_greet(&workspace)?, &folder.join("other_greet.so"))?;
        built.program("swaps")?.to_owned()
    };
    let mut command = Command::new(program);
    command.args(["greet.so", "other_greet.so"].map(|name| folder.join(name)));
    command.args([times, CONNECTIONS].map(|number| number.to_string()));
    command.env("GATEWAY_TEST_ARTIFACTS", &folder);
    eprintln!("==> {}", shown(&command));
    succeed(&mut command)
}
