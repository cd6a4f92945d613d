//! `gateway reload`, `gateway servers`, and how `gateway health` asks: the gateway that serves a gateway.toml is reached
//! through its control socket.

use std::{
    io::{self, Write},
    path::Path,
    time::Duration,
};

use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use unicode_width::UnicodeWidthStr;

use super::{Outcome, RemoteArgs};
use crate::{load::chain, serve::sockets_of};

/// `gateway reload`.
pub fn reload(args: &RemoteArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Outcome> {
    let (status, answer) = match ask(&args.config, Method::POST, "/admin/reload") {
        Ok(answered) => answered,
        Err(error) => return unreachable(&error, &args.config, err),
    };
    let reload = if status.is_success() { &answer } else { &answer["reload"] };
    if reload.is_null() {
        writeln!(err, "error: {}", text(&answer["detail"]))?;
        return Ok(Outcome::Failed);
    }
    if args.json {
        writeln!(out, "{reload:#}")?;
    } else {
        tell_reload(reload, out, err)?;
    }
    let is_about_the_file = |refused: &Value| refused["server"].is_null();
    Ok(match list(&reload["refused"]) {
        [] if list(&reload["failed"]).is_empty() => Outcome::Fine,
        [] => Outcome::Failed,
        refused if refused.iter().any(is_about_the_file) => Outcome::BadFile,
        _ => Outcome::Failed,
    })
}

/// `gateway servers`.
pub fn servers(args: &RemoteArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Outcome> {
    let (_, answer) = match ask(&args.config, Method::GET, "/servers") {
        Ok(answered) => answered,
        Err(error) => return unreachable(&error, &args.config, err),
    };
    if args.json {
        writeln!(out, "{answer:#}")?;
    } else {
        tell_servers(&answer, out)?;
    }
    let is_running = |server: &Value| server["state"] == "running";
    let all_is_served =
        list(&answer["servers"]).iter().all(is_running) && list(&answer["reload"]["refused"]).is_empty();
    Ok(if all_is_served { Outcome::Fine } else { Outcome::Failed })
}

pub(super) fn unreachable(error: &io::Error, config: &Path, err: &mut dyn Write) -> io::Result<Outcome> {
    let config = config.display();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => writeln!(
            err,
            "error: no gateway of this user serves `{config}`; start one, or name its file with --config"
        )?,
        _ => writeln!(err, "error: cannot ask the gateway that serves `{config}`: {}", chain(error))?,
    }
    Ok(Outcome::BadFile)
}

/// One request to the gateway that serves the file at `config`. Takes as long as the gateway does.
fn ask(config: &Path, method: Method, path: &str) -> io::Result<(StatusCode, Value)> {
    ask_within(Duration::MAX, config, method, path)
}

/// As [`ask`], but fails with `TimedOut` if that takes longer than `limit`.
pub(super) fn ask_within(
    limit: Duration,
    config: &Path,
    method: Method,
    path: &str,
) -> io::Result<(StatusCode, Value)> {
    let sockets = sockets_of(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = async {
        let mut stream = Err(io::ErrorKind::NotFound.into());
        for socket in sockets {
            stream = UnixStream::connect(socket).await;
            if stream.is_ok() {
                break;
            }
        }
        let stream = stream?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // It ends with the answer's connection.
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
        let request = request.body(Empty::<bytes::Bytes>::new()).map_err(io::Error::other)?;
        let (parts, body) = sender.send_request(request).await.map_err(io::Error::other)?.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        Ok((parts.status, serde_json::from_slice(&body)?))
    };
    // Made in the runtime, whose clock it takes.
    runtime.block_on(async { tokio::time::timeout(limit, answer).await.map_err(io::Error::from)? })
}

fn tell_reload(reload: &Value, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
    let (took, changes) = (&reload["took_ms"], list(&reload["changes"]));
    match text(&reload["outcome"]).as_str() {
        "applied" => writeln!(out, "reloaded in {took} ms")?,
        "unchanged" => writeln!(out, "nothing has changed")?,
        _ if changes.is_empty() && list(&reload["settings"]).is_empty() => {
            writeln!(out, "refused: what served before goes on")?
        }
        _ => writeln!(
            out,
            "reloaded in part, in {took} ms: what served before goes on where this was refused"
        )?,
    }
    let rows = changes.iter().map(|change| {
        let generation = match &change["generation"] {
            Value::Null => String::new(),
            generation => format!("generation {generation}"),
        };
        vec![text(&change["server"]), text(&change["change"]), generation]
    });
    table(rows.collect(), out)?;
    for settings in list(&reload["settings"]) {
        writeln!(out, "  [{}] holds as it is written now", text(settings))?;
    }
    for waiting in list(&reload["needs_restart"]) {
        let (key, holds, written) =
            (text(&waiting["key"]), text(&waiting["holds"]), text(&waiting["written"]));
        writeln!(err, "warning: {key}: \"{written}\" takes a restart; until then it is \"{holds}\"")?;
    }
    for ignored in list(&reload["ignored"]) {
        writeln!(err, "warning: {}: {}", text(&ignored["file"]), text(&ignored["reason"]))?;
    }
    // What is wrong with gateway.toml, with the lines it is about.
    if let Some(report) = reload["report"].as_str() {
        writeln!(err, "{report}")?;
    }
    let said = |refused: &&Value| reload["report"].is_null() || !refused["server"].is_null();
    for refused in list(&reload["refused"]).iter().filter(said).chain(list(&reload["failed"])) {
        writeln!(err, "error: {}", text(&refused["reason"]))?;
    }
    Ok(())
}

fn tell_servers(answer: &Value, out: &mut dyn Write) -> io::Result<()> {
    let row = |server: &Value| {
        let state = match (&server["code"], &server["refused"]) {
            (Value::Null, Value::Null) => text(&server["state"]),
            (Value::Null, refused) => {
                format!(
                    "{}; what is on the disk is refused: {}",
                    text(&server["state"]),
                    text(&refused["reason"])
                )
            }
            _ => format!("{}: {}", text(&server["state"]), text(&server["reason"])),
        };
        let (generation, tools) = (&server["generation"], &server["tools"]);
        let number = |value: &Value, thing: &str| match value.as_u64() {
            None => String::new(),
            Some(number) => format!("{number} {thing}{}", if number == 1 { "" } else { "s" }),
        };
        let generation = generation.as_u64().map(|number| format!("generation {number}")).unwrap_or_default();
        vec![text(&server["name"]), text(&server["prefix"]), generation, number(tools, "tool"), state]
    };
    table(list(&answer["servers"]).iter().map(row).collect(), out)?;
    let reload = &answer["reload"];
    let has_row =
        |refused: &Value| list(&answer["servers"]).iter().any(|row| row["name"] == refused["server"]);
    for refused in list(&reload["refused"]).iter().filter(|refused| !has_row(refused)) {
        let line = refused["line"].as_u64().map(|line| format!("line {line}: ")).unwrap_or_default();
        writeln!(out, "gateway.toml on the disk is refused: {line}{}", text(&refused["reason"]))?;
    }
    for key in list(&reload["needs_restart"]) {
        writeln!(out, "{} on the disk takes a restart", text(key))?;
    }
    for ignored in list(&reload["ignored"]) {
        writeln!(out, "{} is ignored: {}", text(&ignored["file"]), text(&ignored["reason"]))?;
    }
    Ok(())
}

/// Rows in columns, indented; the last column is as wide as it comes.
fn table(rows: Vec<Vec<String>>, out: &mut dyn Write) -> io::Result<()> {
    let width = |column: usize| rows.iter().map(|row| row[column].width()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len)).map(width).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths);
        let line: String =
            cells.map(|(cell, width)| format!("{cell}{:1$}  ", "", width - cell.width())).collect();
        writeln!(out, "  {}", line.trim_end())?;
    }
    Ok(())
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
