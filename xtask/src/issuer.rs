//! The authorization server of the tests, as a program.

use std::{
    io::{BufRead, BufReader, Lines, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::failure::{Failure, Result, cannot_start};

/// Runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Issuer {
    child: Child,
    asked: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
    url: String,
}

impl Issuer {
    /// Starts `program` on a free port, for these scopes; returns when it listens.
    pub(crate) fn start(program: &Path, scopes: &[&str]) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg("127.0.0.1:0").args(scopes).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| cannot_start(&command, e))?;
        let asked = child.stdin.take().expect("stdin was asked for as a pipe");
        let said = BufReader::new(child.stdout.take().expect("stdout was asked for as a pipe")).lines();
        let mut issuer = Self { child, asked, said, url: String::new() };
        issuer.url = issuer.line()?;
        Ok(issuer)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A token for `audience`, with all scopes.
    pub(crate) fn token(&mut self, audience: &str) -> Result<String> {
        let asked = writeln!(self.asked, "{audience}");
        asked.map_err(|e| Failure::Work(format!("cannot ask the authorization server for a token: {e}")))?;
        self.line()
    }

    fn line(&mut self) -> Result<String> {
        let line = self.said.next().and_then(std::result::Result::ok);
        line.ok_or_else(|| Failure::Work("the authorization server has ended".into()))
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        // It has no other way to end, and may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
