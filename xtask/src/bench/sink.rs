//! Where spans and durations go: the tests' `otlp_sink`, which takes whatever it is sent, and keeps nothing.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::failure::{Failure, Result, cannot_start};

/// Runs until this is dropped.
#[derive(Debug)]
pub(super) struct Sink {
    child: Child,
    url: String,
}

impl Sink {
    /// Starts `program`; returns when it listens.
    pub(super) fn start(program: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(|e| cannot_start(&command, e))?;
        let said = BufReader::new(child.stdout.take().expect("stdout was asked for as a pipe"));
        let mut sink = Self { child, url: String::new() };
        let url = said.lines().next().and_then(std::result::Result::ok);
        sink.url = url.ok_or_else(|| Failure::Work("`otlp_sink` has ended".into()))?;
        Ok(sink)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // It has no other way to end, and may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
