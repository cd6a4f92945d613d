//! The command line: what the operator typed, in checked form, and the verbs that do not serve.
//!
//! Stdout carries what was asked for, stderr the talk about it.
//! Exit codes: 0 fine, 1 a server does not start or the gateway failed, 2 wrong usage or a bad file.

mod banner;
pub mod check;
pub mod health;
pub mod inspect;
pub mod key;
pub mod remote;
pub mod schema;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use serde_json::{Map, Value};

use crate::config::{self, Scope};

pub use banner::Banner;

/// Turns compiled plugins into MCP servers.
#[derive(Debug, Clone, Parser)]
#[command(name = "gateway", version, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    serve: ServeArgs,
}

const EXAMPLES: &str = "\
Examples:
  gateway                                serve what ./gateway.toml names
  gateway --listen 127.0.0.1:0           the same, on a free port
  gateway serve --config /etc/gateway/gateway.toml
  gateway check                          would it start?
  gateway reload                         have the running gateway follow what has changed
  gateway servers                        what does it serve?
  gateway health                         is it ready? for containers
  gateway inspect plugins/greet.so       what is this file?
  gateway key new --name ci --scope greet
                                         a key for somebody who may call `greet`
  gateway schema > gateway.schema.json   what `#:schema` in gateway.toml names";

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Verb {
    /// Load the plugins and serve them until SIGINT or SIGTERM (the default)
    Serve(ServeArgs),
    /// Check gateway.toml and load every plugin, tell what is wrong, and exit
    ///
    /// Exit codes: 0 all is well, 1 a server does not start, 2 gateway.toml is wrong.
    Check(CheckArgs),
    /// Have the gateway that serves gateway.toml follow what has changed, and try again what has failed
    ///
    /// Exit codes: 0 all that is on the disk is served, 1 a server does not start, 2 gateway.toml is wrong or no gateway
    /// serves it. What is refused leaves what served before as it was.
    Reload(RemoteArgs),
    /// Tell what the gateway that serves gateway.toml serves
    ///
    /// Exit codes: 0 all that is on the disk is served, 1 something is not, 2 no gateway serves gateway.toml.
    Servers(RemoteArgs),
    /// Ask the gateway that serves gateway.toml whether it is ready, for containers and scripts
    ///
    /// Exit codes: 0 it is, 1 it is not or does not answer in time, 2 no gateway serves gateway.toml.
    Health(HealthArgs),
    /// Tell what a plugin is and whether it would load, without running it
    ///
    /// Exit codes: 0 it would load, 1 it would not, 2 it cannot be read.
    Inspect(InspectArgs),
    /// Make keys for callers
    #[command(subcommand)]
    Key(KeyVerb),
    /// Print the JSON schema of gateway.toml, for editors
    Schema,
    /// Try a library out, for the gateway that started this process
    #[command(hide = true)]
    Trial,
}

/// `gateway serve`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ServeArgs {
    /// The file that names the servers
    #[arg(short, long, value_name = "FILE", env = "GATEWAY_CONFIG", default_value = "gateway.toml")]
    pub config: PathBuf,
    /// Listen here instead of where the file says; port 0 picks a free port
    #[arg(long, value_name = "ADDR", env = "GATEWAY_LISTEN", value_parser = config::parse_listen)]
    pub listen: Option<SocketAddr>,
}

/// `gateway check`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CheckArgs {
    /// The file to check
    #[arg(short, long, value_name = "FILE", env = "GATEWAY_CONFIG", default_value = "gateway.toml")]
    pub config: PathBuf,
}

/// `gateway reload`, `gateway servers`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RemoteArgs {
    /// The file that the running gateway was started with
    #[arg(short, long, value_name = "FILE", env = "GATEWAY_CONFIG", default_value = "gateway.toml")]
    pub config: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `gateway health`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct HealthArgs {
    /// The file that the running gateway was started with
    #[arg(short, long, value_name = "FILE", env = "GATEWAY_CONFIG", default_value = "gateway.toml")]
    pub config: PathBuf,
    /// Ask only whether it is alive, as /livez does, and not whether it should get calls
    #[arg(long)]
    pub live: bool,
    /// How long it may take to answer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = config::parse_duration)]
    pub timeout: Duration,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `gateway inspect`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct InspectArgs {
    /// The library
    pub file: PathBuf,
    /// Also load it, in a child process, and tell its settings, its tools and their schemas
    #[arg(long)]
    pub load: bool,
    /// The settings to start it with, a JSON object, for a plugin whose tools depend on them
    #[arg(long, value_name = "JSON", requires = "load", value_parser = parse_settings)]
    pub settings: Option<Map<String, Value>>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `gateway key`.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum KeyVerb {
    /// Make an API key: print it, once, and the table for gateway.toml that lets its holder in
    New(NewKeyArgs),
}

/// `gateway key new`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct NewKeyArgs {
    /// Who it is for: the name in logs and audit
    #[arg(long, value_name = "NAME", value_parser = key::parse_name)]
    pub name: String,
    /// What its holder may do, e.g. `greet` or `greet:echoHai`; can be given more than once
    #[arg(long = "scope", value_name = "SCOPE", value_parser = key::parse_scope)]
    pub scopes: Vec<Scope>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

fn parse_settings(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("this is not a JSON object: {error}"))
}

impl Cli {
    /// A bare `gateway` serves.
    pub fn verb(self) -> Verb {
        self.verb.unwrap_or(Verb::Serve(self.serve))
    }
}

/// How a verb that does not serve ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Fine,
    /// A server does not start, or the answer could not be written.
    Failed,
    /// gateway.toml, or the file that was asked about, is wrong or missing.
    BadFile,
}

impl Outcome {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Failed => 1,
            Self::BadFile => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(args: &[&str], expected: Result<Verb, clap::error::ErrorKind>) {
        let parsed = Cli::try_parse_from([&["gateway"], args].concat());
        assert_eq!(parsed.map(Cli::verb).map_err(|error| error.kind()), expected, "{args:?}");
    }

    fn serve(config: &str, listen: Option<&str>) -> Verb {
        let listen = listen.map(|text| text.parse().expect("the test names a good address"));
        Verb::Serve(ServeArgs { config: config.into(), listen })
    }

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_is_what_a_bare_gateway_does() {
        check(&[], Ok(serve("gateway.toml", None)));
        check(&["serve"], Ok(serve("gateway.toml", None)));
        check(&["--listen", "[::1]:0"], Ok(serve("gateway.toml", Some("[::1]:0"))));
        check(&["serve", "-c", "x", "--listen", "1.2.3.4:5"], Ok(serve("x", Some("1.2.3.4:5"))));
    }

    #[test]
    fn a_running_gateway_is_named_by_its_file() {
        let args = |config: &str, json| RemoteArgs { config: config.into(), json };
        check(&["reload"], Ok(Verb::Reload(args("gateway.toml", false))));
        check(&["servers", "-c", "x", "--json"], Ok(Verb::Servers(args("x", true))));
    }

    #[test]
    fn a_key_is_for_somebody() {
        let scopes =
            ["greet", "calc:add"].map(|text| Scope::parse(text).expect("the test's own scope")).to_vec();
        let new = |scopes| Verb::Key(KeyVerb::New(NewKeyArgs { name: "ci".into(), scopes, json: false }));
        check(&["key", "new", "--name", "ci"], Ok(new(Vec::new())));
        check(&["key", "new", "--name", "ci", "--scope", "greet", "--scope", "calc:add"], Ok(new(scopes)));
        check(&["key", "new"], Err(clap::error::ErrorKind::MissingRequiredArgument));
        check(&["key", "new", "--name", "c i"], Err(clap::error::ErrorKind::ValueValidation));
        check(
            &["key", "new", "--name", "ci", "--scope", "a b"],
            Err(clap::error::ErrorKind::ValueValidation),
        );
        check(&["key"], Err(clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand));
    }

    #[test]
    fn health_is_asked_with_a_time_limit() {
        let health = |live, seconds| {
            let timeout = Duration::from_secs(seconds);
            Verb::Health(HealthArgs { config: "gateway.toml".into(), live, timeout, json: false })
        };
        check(&["health"], Ok(health(false, 5)));
        check(&["health", "--live", "--timeout", "2m"], Ok(health(true, 120)));
        check(&["health", "--timeout", "5"], Err(clap::error::ErrorKind::ValueValidation));
    }

    #[test]
    fn check_and_schema_do_not_listen() {
        check(&["check", "--config", "x"], Ok(Verb::Check(CheckArgs { config: "x".into() })));
        check(&["schema"], Ok(Verb::Schema));
        check(&["check", "--listen", "1.2.3.4:5"], Err(clap::error::ErrorKind::UnknownArgument));
        check(&["--listen", "1.2.3.4:5", "check"], Err(clap::error::ErrorKind::ArgumentConflict));
        check(&["chekc"], Err(clap::error::ErrorKind::InvalidSubcommand));
    }

    #[test]
    fn a_bad_address_is_refused_with_the_words_of_the_file() {
        let error =
            Cli::try_parse_from(["gateway", "--listen", "localhost:80"]).expect_err("it is no address");
        let expected = "`localhost:80` is not an address to listen on; write \"127.0.0.1:80\"";
        assert!(error.to_string().contains(expected), "{error}");
    }
}
