//! `gateway schema`: the JSON schema of gateway.toml.

use std::io::{self, Write};

use crate::config;

/// Prints the schema as gateway.schema.json holds it.
pub fn print(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{:#}", config::schema())
}
