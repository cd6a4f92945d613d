//! `collector`: the tests' collector of OpenTelemetry, for people.

use std::process::Command;

use crate::{
    cargo::workspace,
    failure::{Failure, Result, succeed},
};

/// Where collectors usually take OTLP/HTTP.
const ADDRESS: &str = "127.0.0.1:4318";

/// `collector [ADDRESS]`: runs until it is interrupted.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let address = match args {
        [] => ADDRESS,
        [address] => address,
        _ => return Err(Failure::Usage("`collector` takes ADDRESS or nothing".into())),
    };
    let workspace = workspace()?;
    let mut command = workspace.cargo("build");
    command.args(["-p", "tests", "--bin", "collector"]);
    let built = workspace.build(&mut command)?;
    succeed(Command::new(built.program("collector")?).arg(address))
}
