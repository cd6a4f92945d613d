//! The project's own commands: `cargo xtask VERB`. Needs rustup and gcc only, except where a verb says otherwise.
//!
//! In:   the command line, and what cargo says about the workspace.
//! Out:  a built tree, installed plugins, or the program that the verb ends in (`exec`ed, so its pid is ours).
//! Fails: with one line on stderr and exit code 1; 2 for a command line that it does not understand.

mod artifacts;
mod bench;
mod cargo;
mod check;
mod collector;
mod conformance;
mod e2e;
mod failure;
mod fuzz;
mod gateway;
mod issuer;
mod promtool;
mod schemathesis;
mod soak;
mod swaps;
mod tools;
mod variants;
mod vendor;

use std::process::ExitCode;

use failure::{Failure, Result};

const HELP: &str = "\
usage: cargo xtask VERB

  run [--release] [-- ARGS]  build gateway and plugins, install them in plugins/, become the gateway (in the
                             workspace root, with ARGS; none means `serve` on gateway.toml)
  build [--release]          the first half of `run`; the last line on stdout is the gateway's path
  test [ARGS]                every Rust test: cargo test --workspace ARGS
  check                      rustfmt, clippy with warnings denied, lock files, test, cargo-deny
  e2e [--url URL] [GROUP..]  other people's MCP clients, an OpenAPI validator and a browser against the gateway,
                             or against one that runs at URL; needs Python 3.11 and Chromium, and fetches Node
                             if there is no Node 22
  conformance [--url URL] [SUITE..]
                             the official MCP conformance suite against the everything plugin in the gateway, or
                             against the MCP endpoint at URL; fetches Node, with Python 3.11, if there is no Node 22
  schemathesis [SECONDS]     requests made up from /openapi.json against a gateway, for 20 seconds, and against one that
                             asks for a key: every answer as the document says; needs Python 3.11
  promtool                   what a gateway exposes at /metrics, and the alert rules and the dashboard of deploy/ that ask for
                             it: with promtool (2.42 or newer; in Debian's package prometheus) and Python 3.11
  fuzz [SECONDS]             the vetting of libraries against a fuzzer, for 600 seconds; needs cargo-fuzz and g++
  soak [--rounds N] [--valgrind]
                             load, call and unload greet and the fixture uses_everything, N times each (10,000), in a
                             release build: each time all of it has to be gone, and nothing may grow; under valgrind
                             in fewer rounds, for a minute
  swaps [TIMES]              one build of greet for another, 1,000 times, in a release build under a load of 64
                             connections through every door: no call may fail, every old library has to be gone
  bench [--instructions] [--only SETTING,..] [--rounds N]
                             what a request costs with and without keys, tokens, limits, audit, log lines, metrics and
                             traces, in a release build: CPU time, of 16 connections, in N rounds of a second for each
                             (15); or instructions, of one connection, under valgrind, N times (1). `--only` some
                             settings, e.g. off,metrics,log: the first is what the others are compared with
  collector [ADDRESS]        a collector of OpenTelemetry at ADDRESS (127.0.0.1:4318) that prints the traces it gets as trees;
                             start a gateway with OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 to see its calls
  artifacts [--out DIR]      what the tests open: every plugin, every fixture, the gateway, and variants of some with
                             other versions of plugin-api, in DIR (target/test-artifacts), which is the last line
                             on stdout
  vendor-ui                  fetch Swagger UI and ReDoc again into host/assets; needs npm, tar, gzip, sha256sum
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let verb = args.next().unwrap_or_default();
    match dispatch(&verb, args.collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => {
            eprint!("error: {message}\n\n{HELP}");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(verb: &str, args: Vec<String>) -> Result<()> {
    match verb {
        "run" => artifacts::run(&args),
        "build" => artifacts::build(&args),
        "test" => artifacts::test(&args),
        "artifacts" => artifacts::for_tests(&args),
        "check" => check::check(&args),
        "e2e" => e2e::run(&args),
        "conformance" => conformance::run(&args),
        "fuzz" => fuzz::run(&args),
        "schemathesis" => schemathesis::run(&args),
        "promtool" => promtool::run(&args),
        "soak" => soak::soak(&args),
        "swaps" => swaps::swaps(&args),
        "bench" => bench::bench(&args),
        "collector" => collector::run(&args),
        "vendor-ui" => vendor::vendor_ui(&args),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        "" => Err(Failure::Usage("no verb given".into())),
        other => Err(Failure::Usage(format!("there is no verb `{other}`"))),
    }
}
