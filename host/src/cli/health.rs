//! `gateway health`: asks the gateway that serves a gateway.toml how it is, for a container without `curl`.

use std::io::{self, Write};

use http::Method;
use serde_json::{Value, json};

use super::{
    HealthArgs, Outcome,
    remote::{ask_within, list, text, unreachable},
};

/// `gateway health`: one line, or JSON; the exit code says the same.
pub fn health(args: &HealthArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Outcome> {
    let path = if args.live { "/livez" } else { "/readyz" };
    let (is_well, answer) = match ask_within(args.timeout, &args.config, Method::GET, path) {
        Ok((status, answer)) => (status.is_success(), answer),
        // It has the socket, so there is one; while it starts it answers nobody.
        Err(error) if error.kind() == io::ErrorKind::TimedOut => (false, json!({"status": "silent"})),
        Err(error) => return unreachable(&error, &args.config, err),
    };
    let told: String = match (args.json, is_well) {
        (true, _) => answer.to_string(),
        (false, true) => text(&answer["status"]),
        (false, false) => format!("not ready: {}", reason(&answer, args)),
    };
    writeln!(out, "{told}")?;
    Ok(if is_well { Outcome::Fine } else { Outcome::Failed })
}

/// Why not, in a few words.
fn reason(answer: &Value, args: &HealthArgs) -> String {
    let required = list(&answer["failed"]).iter().filter(|server| server["required"] == true);
    let failed: Vec<String> =
        required.map(|server| format!("{} ({})", text(&server["name"]), text(&server["code"]))).collect();
    match (answer["status"].as_str(), &*failed) {
        (Some("failed"), [_, ..]) => format!("what has to run does not: {}", failed.join(", ")),
        (Some("silent"), _) => format!("it has not answered within {:?}", args.timeout),
        (Some(status), _) => status.to_owned(),
        // Not an answer of /readyz, but a problem.
        (None, _) => text(&answer["detail"]),
    }
}
