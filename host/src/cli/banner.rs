//! What a person at a terminal sees once everything is up: every URL, and a line that can be pasted.

use std::{fmt, net::SocketAddr, time::Duration};

use crate::{
    config::Config,
    mount::Mounted,
    serve::{Shows, add_line, curl_line},
};

/// What a person at a terminal sees once everything is up.
#[derive(Debug)]
pub struct Banner<'a> {
    /// What is served.
    pub servers: &'a [Mounted],
    /// From which file.
    pub config: &'a Config,
    /// Where, without a slash at its end.
    pub base: &'a str,
    /// Where operators look, if not there.
    pub admin: Option<SocketAddr>,
    /// How long it took to get here.
    pub took: Duration,
}

impl fmt::Display for Banner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { servers, config, base, admin, took } = self;
        let (version, path) = (env!("CARGO_PKG_VERSION"), config.path.display());
        writeln!(f, "\n  gateway {version}   ready in {} ms   {path}\n", took.as_millis())?;
        self.servers(f)?;
        let operators = admin.map_or_else(|| (*base).to_owned(), |address| format!("http://{address}"));
        writeln!(f, "\n  Status    {operators}/")?;
        writeln!(f, "  API docs  {base}/docs   {base}/redoc   {base}/openapi.json")?;
        writeln!(f, "  State     {base}/servers   {operators}/readyz   {operators}/healthz")?;
        writeln!(f, "  Callers   {}", self.callers())?;
        let first = servers.iter().find_map(|mounted| match mounted {
            Mounted::Serving(mount) => mount.tools.first().map(|tool| (mount, tool)),
            _ => None,
        });
        if let Some((mount, tool)) = first {
            let (name, prefix) = (&mount.instance.entry().name, &mount.instance.entry().prefix);
            let guard = config.guards.get(name).cloned().unwrap_or_default();
            let shows = Shows::of(&config.auth, &guard);
            writeln!(f, "\n  Try   {}", curl_line(base, prefix.as_str(), &tool.spec, shows))?;
            writeln!(f, "  Add   {}", add_line(name.as_str(), &format!("{base}{prefix}"), shows))?;
        }
        writeln!(f, "  Stop  Ctrl-C (waits up to {:?} for calls under way)\n", config.shutdown.drain)
    }
}

impl Banner<'_> {
    /// Who may call, in a few words.
    fn callers(&self) -> String {
        let Config { auth, listen, .. } = self.config;
        let count = |number: usize, thing: &str| match number {
            0 => None,
            1 => Some(format!("1 {thing}")),
            _ => Some(format!("{number} {thing}s")),
        };
        let known = [
            count(auth.keys.len(), "key"),
            count(auth.certificates.len(), "certificate"),
            count(auth.issuers.len(), "issuer"),
        ];
        match known.into_iter().flatten().collect::<Vec<_>>() {
            known if !known.is_empty() => format!("who is known by {}", known.join(", ")),
            _ if listen.ip().is_loopback() => "everybody on this machine".to_owned(),
            _ => "everybody who reaches this machine".to_owned(),
        }
    }

    fn servers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { servers, base, .. } = self;
        if servers.is_empty() {
            return writeln!(f, "  no servers: add a [[server]] table to {}", self.config.path.display());
        }
        let rows: Vec<[String; 4]> = servers.iter().map(|mounted| row(mounted, base)).collect();
        let head = ["Server", "MCP", "REST", "Tools"].map(str::to_owned);
        let rows: Vec<&[String; 4]> = std::iter::once(&head).chain(&rows).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        // A failed server's reason is long, and the last thing in its row.
        let widths = [
            width(0),
            width(1),
            rows.iter().filter(|r| !r[3].is_empty()).map(|r| r[2].len()).max().unwrap_or(0),
        ];
        for [name, mcp, rest, tools] in rows {
            let line = format!("  {name:0$}  {mcp:1$}  {rest:2$}  {tools}", widths[0], widths[1], widths[2]);
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

fn row(mounted: &Mounted, base: &str) -> [String; 4] {
    let entry = mounted.entry();
    let (name, prefix) = (entry.name.to_string(), &entry.prefix);
    match (mounted, mounted.failure()) {
        (Mounted::Serving(mount), _) => [
            name,
            format!("{base}{prefix}/mcp"),
            format!("POST {base}{prefix}/tools/{{tool}}"),
            mount.tools.len().to_string(),
        ],
        (_, failure) => {
            let reason = failure.map(|failure| failure.reason).unwrap_or_default();
            [name, format!("{base}{prefix}"), format!("failed: {reason}"), String::new()]
        }
    }
}
