//! The `gateway` program.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;
use host::{
    RunError,
    cli::{Cli, KeyVerb, Outcome, ServeArgs, Verb, check, health, inspect, key, remote, schema},
    load,
};

fn main() -> ExitCode {
    load::prepare_process();
    // A plugin that captured a backtrace would leave 31 MiB behind when it is unloaded.
    #[expect(unsafe_code, reason = "the environment can only be changed so, and only here")]
    // SAFETY: the process has one thread yet, so nobody reads the environment meanwhile.
    unsafe {
        std::env::set_var("RUST_LIB_BACKTRACE", "0");
    }

    // Not locked: plugins log to stderr from their own threads.
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let done = match Cli::parse().verb() {
        Verb::Serve(args) => serve(&args, &mut err),
        Verb::Check(args) => check::check(&args.config, &mut out, &mut err),
        Verb::Reload(args) => remote::reload(&args, &mut out, &mut err),
        Verb::Servers(args) => remote::servers(&args, &mut out, &mut err),
        Verb::Health(args) => health::health(&args, &mut out, &mut err),
        Verb::Inspect(args) => inspect::inspect(&args, &mut out, &mut err),
        Verb::Key(KeyVerb::New(args)) => key::make(&args, &mut out, &mut err),
        Verb::Trial => load::run_trial().map(|()| Outcome::Fine),
        Verb::Schema => schema::print(&mut out).map(|()| Outcome::Fine),
    };
    let outcome = done.unwrap_or_else(|error| {
        // Nobody reads stdout any more; if nobody reads stderr either, nobody can be told.
        let _ = writeln!(err, "error: cannot write the answer: {error}");
        Outcome::Failed
    });
    // What cannot be flushed now cannot be told either.
    let _ = out.flush();
    load::leave_process(outcome.code())
}

fn serve(args: &ServeArgs, err: &mut dyn io::Write) -> io::Result<Outcome> {
    match host::run(args) {
        Ok(()) => Ok(Outcome::Fine),
        Err(RunError::Config(error)) => check::tell(&error, &args.config, err).map(|()| Outcome::BadFile),
        Err(error) => writeln!(err, "error: {}", load::chain(&error)).map(|()| Outcome::Failed),
    }
}
