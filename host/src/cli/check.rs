//! `gateway check`: steps 1 and 2, then everything is stopped again.

use std::{
    io::{self, Write},
    path::Path,
};

use unicode_width::UnicodeWidthStr;

use super::Outcome;
use crate::{
    config::{Config, ConfigError},
    load::{self, Loader},
    mount::{MountTable, Mounted},
    reload::Origin,
    unload,
};

/// Checks the file at `path` and starts every server in it. The report goes to `out`, what is wrong with the file to `err`.
pub fn check(path: &Path, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Outcome> {
    let origin = match Origin::read(path, None) {
        Ok(origin) => origin,
        Err(error) => {
            tell(&error, path, err)?;
            return Ok(Outcome::BadFile);
        }
    };
    for ignored in origin.ignored() {
        writeln!(err, "warning: `{}` is ignored: {}", ignored.path.display(), ignored.reason)?;
    }
    let config = origin.config();
    if origin.entries().is_empty() {
        let path = path.display();
        writeln!(err, "warning: {path} has no [[server]] table: the gateway would serve nothing")?;
    }
    let table = MountTable::new(Loader::new(&config.plugins).load_all(origin.entries()));
    let written = report(config, &table.servers, out);
    let failed = table.servers.iter().any(|mounted| mounted.failure().is_some());
    // Also after a failed write: no library may be left running.
    unload::unload_all(&table.running());
    written?;
    Ok(if failed { Outcome::Failed } else { Outcome::Fine })
}

/// Tells what is wrong with the file at `path`.
pub fn tell(error: &ConfigError, path: &Path, err: &mut dyn Write) -> io::Result<()> {
    match error {
        ConfigError::Problems(problems) => {
            let count = counted(problems.len(), "problem");
            writeln!(err, "{problems}\n\nerror: {count} in {}", path.display())
        }
        error => writeln!(err, "error: {}", load::chain(error)),
    }
}

/// One line about the file, one about each server.
fn report(config: &Config, servers: &[Mounted], out: &mut dyn Write) -> io::Result<()> {
    let total = counted(servers.len(), "server");
    let path = config.path.display();
    match servers.iter().filter(|mounted| mounted.failure().is_some()).count() {
        0 => writeln!(out, "ok  {path}  {total}, listening on {}", config.listen)?,
        failed => writeln!(out, "failed  {path}  {failed} of {total} cannot start")?,
    }
    let rows: Vec<[String; 4]> = servers.iter().map(row).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].width()).max().unwrap_or(0);
    let widths = [0, 1, 2].map(width);
    for row in &rows {
        let cells = row.iter().zip(widths);
        let aligned: String =
            cells.map(|(cell, width)| format!("{cell}{:1$}  ", "", width - cell.width())).collect();
        writeln!(out, "  {aligned}{}", row[3])?;
    }
    Ok(())
}

fn row(mounted: &Mounted) -> [String; 4] {
    let entry = mounted.entry();
    let state = match (mounted, mounted.failure()) {
        (_, Some(failure)) => format!("failed: {}", failure.reason),
        (Mounted::Serving(mount), None) => counted(mount.tools.len(), "tool"),
        (_, None) => String::new(),
    };
    [entry.name.to_string(), entry.plugin.display().to_string(), entry.prefix.to_string(), state]
}

fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, ServerEntry};
    use crate::load::{Failed, LoadError, Server};

    #[test]
    fn a_failed_server_is_listed_with_the_whole_chain_of_causes() {
        let text = "[[server]]\nname = 'greet'\nplugin = 'no.so'\nprefix = '/greet'\n\
                    [[server]]\nname = 'c'\nplugin = 'plugins/c.so'\nprefix = '/c'\n";
        let config = config::parse(text, Path::new("gateway.toml"), config::Outside::NOTHING)
            .expect("the text is good");
        let failed = |entry: &ServerEntry| {
            let source = io::Error::from(io::ErrorKind::NotFound);
            let error = LoadError::Read { server: entry.name.clone(), path: entry.plugin.clone(), source };
            Mounted::new(Server::Failed(Failed { entry: entry.clone(), error }))
        };
        let servers: Vec<Mounted> = config.servers.iter().map(failed).collect();

        let mut out = Vec::new();
        report(&config, &servers, &mut out).expect("a Vec takes every byte");

        let expected = "\
failed  gateway.toml  2 of 2 servers cannot start
  greet  no.so         /greet  failed: server `greet`: cannot read `no.so`: entity not found
  c      plugins/c.so  /c      failed: server `c`: cannot read `plugins/c.so`: entity not found
";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn a_missing_file_is_a_bad_file() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let outcome = check(Path::new("/nowhere/gateway.toml"), &mut out, &mut err);
        assert_eq!(outcome.expect("a Vec takes every byte"), Outcome::BadFile);
        assert!(out.is_empty());
        assert_eq!(
            String::from_utf8_lossy(&err),
            "error: there is no file `/nowhere/gateway.toml`; write one (gateway.example.toml shows every key) or \
             name another with --config\n"
        );
    }
}
