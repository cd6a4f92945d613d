//! What a schema cannot say: turns the written form into the checked one.
//!
//! In:   a [`GatewayFile`] and the [`Document`] it was read from.
//! Out:  [`Config`]; worth something only if the document has no problem.
//! Never: touches a disk or a network.

mod access;
mod limits;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use tracing_subscriber::EnvFilter;

use super::{
    Admin, Config, Digest, Guard, Guards, Http, Log, Metrics, Outside, Plugins, Prefix, Refusal, Secret,
    ServerEntry, ServerName, SettingsLines, Shutdown,
    document::{At, Document, join},
    duration::WrittenDuration,
    file::{AdminTable, GatewayFile, HttpTable, LogTable, PluginsTable, ServerTable},
    web::{parse_host, parse_network, parse_origin},
};

/// Reports every problem to `document`; what has one is replaced by a default or left out. Also says which files it has read.
pub(super) fn validate(
    file: GatewayFile,
    path: &Path,
    outside: Outside<'_>,
    document: &mut Document,
) -> (Option<Config>, Vec<PathBuf>) {
    let mut checker = Checker { document, path, outside, taken: Vec::new(), files: Vec::new() };
    let listen = checker.value("/listen", parse_listen(&file.listen)).unwrap_or(Config::LISTEN);
    let http = checker.http(file.http);
    let notice = checker.value("/shutdown/notice", file.shutdown.notice.parse_or_zero()).unwrap_or_default();
    let drain = checker.duration("/shutdown/drain", &file.shutdown.drain);
    let log = checker.log(file.log);
    let admin = checker.admin(file.admin, listen);
    let metrics = Metrics { calls: file.metrics.calls };
    let plugins = checker.plugins(file.plugins);
    let audit = checker.audit(file.audit);
    let asks_for_certificates = !file.tls.client_ca.is_empty();
    let tls = checker.tls(file.tls);
    let auth = checker.auth(file.auth, &http, asks_for_certificates);
    let mut guards = Guards::new();
    let mut servers = Vec::new();
    for (index, table) in file.server.into_iter().enumerate() {
        let pointer = format!("/server/{index}");
        let guard = checker.guard(&pointer, &table);
        checker.check_guard(&pointer, &guard, &auth);
        let Some(entry) = checker.server(index, table) else { continue };
        if guard != Guard::default() {
            guards.insert(entry.name.clone(), guard);
        }
        servers.push(entry);
    }
    // Rates name servers.
    let limits = checker.limits(file.limits, plugins.autoload_from.is_none());
    match outside.listen {
        None => checker.check_reach("/listen", listen, &auth),
        Some(listen) => checker.check_reach("", listen, &auth),
    }
    if let Some(listen) = admin.listen {
        checker.check_reach("/admin/listen", listen, &auth);
    }
    let (path, shutdown, files) = (path.to_owned(), Shutdown { notice, drain }, checker.files);
    let listen = outside.listen.unwrap_or(listen);
    let config = Config {
        path,
        listen,
        http,
        shutdown,
        log,
        admin,
        metrics,
        plugins,
        tls,
        auth,
        limits,
        audit,
        guards,
        files: files.clone(),
        servers,
    };
    (Some(config), files)
}

/// A length of time, as `[shutdown] drain` and `--timeout` take it.
pub fn parse_duration(text: &str) -> Result<Duration, Refusal> {
    WrittenDuration(text.to_owned()).parse()
}

/// An address with a port, as `listen` and `--listen` take it.
pub fn parse_listen(text: &str) -> Result<SocketAddr, Refusal> {
    text.parse().map_err(|_| {
        let port = text.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()).unwrap_or(8000);
        let remedy = match text.rsplit_once(':') {
            Some(("localhost", _)) => format!("write \"127.0.0.1:{port}\""),
            Some(("" | "*", _)) => {
                format!(
                    "write \"127.0.0.1:{port}\" for this machine only, \"0.0.0.0:{port}\" for every network"
                )
            }
            _ => "write an IP address and a port, e.g. \"127.0.0.1:8000\"".to_owned(),
        };
        Refusal::of(text, "is not an address to listen on", remedy)
    })
}

struct Checker<'d, 't> {
    document: &'d mut Document<'t>,
    path: &'d Path,
    outside: Outside<'d>,
    /// What earlier servers took.
    taken: Vec<Taken>,
    /// Files that were read.
    files: Vec<PathBuf>,
}

/// What a table of a server says, as far as it is good.
struct Taken {
    table: String,
    name: Option<ServerName>,
    prefix: Option<Prefix>,
}

impl Checker<'_, '_> {
    /// A value that already has a problem is not looked at again.
    fn value<T>(&mut self, pointer: &str, result: Result<T, Refusal>) -> Option<T> {
        if self.document.is_reported(pointer) {
            return None;
        }
        result
            .map_err(|Refusal { message, remedy }| self.document.report(pointer, At::Value, message, remedy))
            .ok()
    }

    fn duration(&mut self, pointer: &str, written: &WrittenDuration) -> Duration {
        self.value(pointer, written.parse()).unwrap_or_default()
    }

    fn http(&mut self, table: HttpTable) -> Http {
        let public_url = match table.public_url.as_str() {
            "" => None,
            text => self.value("/http/public_url", parse_origin(text)),
        };
        Http {
            public_url,
            state_secret: self.secret("/http/state_secret", table.state_secret, table.state_secret_file),
            allowed_hosts: self.entries("/http/allowed_hosts", &table.allowed_hosts, parse_host),
            allowed_origins: self.entries("/http/allowed_origins", &table.allowed_origins, parse_origin),
            trusted_proxies: self.entries("/http/trusted_proxies", &table.trusted_proxies, parse_network),
            body_max_bytes: table.body_max_bytes as usize,
        }
    }

    /// The good entries of the list at `pointer`.
    fn entries<T>(
        &mut self,
        pointer: &str,
        list: &[String],
        parse: impl Fn(&str) -> Result<T, Refusal>,
    ) -> Vec<T> {
        let entries = list.iter().enumerate();
        entries.filter_map(|(at, text)| self.value(&format!("{pointer}/{at}"), parse(text))).collect()
    }

    fn log(&mut self, LogTable { filter, format }: LogTable) -> Log {
        self.value("/log/filter", check_filter(&filter));
        Log { filter, format: format.into() }
    }

    fn admin(&mut self, AdminTable { listen }: AdminTable, main: SocketAddr) -> Admin {
        let address = match listen.as_str() {
            "" => None,
            text => self.value("/admin/listen", parse_listen(text)),
        };
        if address.is_some_and(|address| address == main && address.port() != 0) {
            let remedy = "choose another port, or leave it out to have /admin on the main listener";
            self.document.report("/admin/listen", At::Value, "the main listener has that address", remedy);
        }
        Admin { listen: address }
    }

    fn plugins(&mut self, PluginsTable { cache_dir, dir, autoload }: PluginsTable) -> Plugins {
        self.value("/plugins/cache_dir", check_folder(&cache_dir));
        let cache_dir = (!cache_dir.is_empty()).then(|| self.beside(cache_dir));
        let named = check_folder(&dir).and_then(|()| match dir.is_empty() {
            true => Err(Refusal::of("", "is not a path", "name a folder, e.g. \"plugins\"")),
            false => Ok(()),
        });
        self.value("/plugins/dir", named);
        Plugins { cache_dir, autoload_from: autoload.then(|| self.beside(dir)) }
    }

    /// A path as the operator means it: relative to gateway.toml.
    fn beside(&self, path: String) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    fn server(&mut self, index: usize, table: ServerTable) -> Option<ServerEntry> {
        let pointer = format!("/server/{index}");
        let [name_at, plugin_at, prefix_at] = ["name", "plugin", "prefix"].map(|key| join(&pointer, key));
        let name = self.value(&name_at, ServerName::parse(&table.name));
        let name = name.and_then(|name| self.value(&name_at, self.unused_name(name)));
        let prefix = self.value(&prefix_at, Prefix::parse(&table.prefix));
        let prefix = prefix.and_then(|prefix| self.value(&prefix_at, self.unused_prefix(prefix)));
        let plugin = self.value(&plugin_at, check_plugin(&table.plugin));
        let sha256 = self.value(&join(&pointer, "sha256"), check_digest(&table.sha256)).flatten();
        for (at, library) in table.needs.iter().enumerate() {
            self.value(&format!("{pointer}/needs/{at}"), check_library(library));
        }
        let start_timeout = self.duration(&join(&pointer, "start_timeout"), &table.start_timeout);
        let call_timeout = self.duration(&join(&pointer, "call_timeout"), &table.call_timeout);
        let quarantine = self.duration(&join(&pointer, "quarantine"), &table.quarantine);

        self.taken.push(Taken { table: pointer.clone(), name: name.clone(), prefix: prefix.clone() });
        plugin?;
        Some(ServerEntry {
            name: name?,
            plugin: self.beside(table.plugin),
            prefix: prefix?,
            sha256,
            needs: table.needs,
            required: table.required,
            threads: table.threads,
            start_timeout,
            call_timeout,
            heap_warn_bytes: table.heap_warn_bytes,
            log_max_per_second: table.log_max_per_second,
            quarantine_after: table.quarantine_after,
            quarantine,
            settings: table.settings,
            discovered: false,
            line: self.document.line(&pointer),
            settings_lines: self.settings_lines(&join(&pointer, "settings")),
        })
    }

    fn unused_name(&self, name: ServerName) -> Result<ServerName, Refusal> {
        let Some(other) = self.taken.iter().find(|taken| taken.name.as_ref() == Some(&name)) else {
            return Ok(name);
        };
        let line = self.document.line(&join(&other.table, "name"));
        Err(Refusal {
            message: format!("the name `{name}` is already used by another server (line {line})"),
            remedy: "choose another name or delete one of the two tables".into(),
        })
    }

    fn unused_prefix(&self, prefix: Prefix) -> Result<Prefix, Refusal> {
        let overlap = |taken: &&Taken| taken.prefix.as_ref().is_some_and(|other| other.overlaps(&prefix));
        let Some(Taken { table, name, prefix: Some(other) }) = self.taken.iter().find(overlap) else {
            return Ok(prefix);
        };
        let line = self.document.line(&join(table, "prefix"));
        let server = match name {
            Some(name) => format!("server `{name}` (line {line})"),
            None => format!("the server on line {line}"),
        };
        if prefix == *other {
            return Err(Refusal {
                message: format!("prefix `{prefix}` is already used by {server}"),
                remedy: "choose another prefix or delete one of the two tables".into(),
            });
        }
        let how = if prefix.as_str().len() > other.as_str().len() { "lies below" } else { "contains" };
        Err(Refusal {
            message: format!("prefix `{prefix}` {how} prefix `{other}` of {server}"),
            remedy: "choose prefixes of which none begins with the segments of another".into(),
        })
    }

    fn settings_lines(&self, settings: &str) -> SettingsLines {
        let lines = self.document.lines_within(settings);
        SettingsLines(lines.map(|(pointer, line)| (pointer[settings.len()..].to_owned(), line)).collect())
    }
}

/// Never quotes what it refuses.
fn check_secret(text: String) -> Result<Option<Secret>, Refusal> {
    match text.len() {
        0 => Ok(None),
        Secret::LEAST.. => Ok(Some(Secret(text))),
        bytes => Err(Refusal {
            message: format!("a secret of {bytes} bytes is too short: it could be guessed"),
            remedy: "use at least 32 random bytes, e.g. what `openssl rand -base64 32` prints".into(),
        }),
    }
}

fn check_plugin(text: &str) -> Result<(), Refusal> {
    if text.trim().is_empty() || text.contains('\0') {
        return Err(Refusal::of(text, "is not a path", "name the library, e.g. \"plugins/greet.so\""));
    }
    Ok(())
}

fn check_digest(text: &str) -> Result<Option<Digest>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    let remedy = "write the 64 hexadecimal digits that `sha256sum` prints";
    Digest::parse(text).map(Some).ok_or_else(|| Refusal::of(text, "is not a SHA-256", remedy))
}

/// What the dynamic linker looks up by name: a path would bring in something else than the name says.
fn check_library(text: &str) -> Result<(), Refusal> {
    if text.is_empty() || text.contains(['/', '\0']) {
        let remedy = "write it as `gateway inspect` shows it under `needs`, e.g. \"libz.so.1\"";
        return Err(Refusal::of(text, "is not the name of a shared library", remedy));
    }
    Ok(())
}

fn check_folder(text: &str) -> Result<(), Refusal> {
    if text.contains('\0') || (!text.is_empty() && text.trim().is_empty()) {
        return Err(Refusal::of(text, "is not a path", "name a folder, e.g. \"/var/cache/gateway\""));
    }
    Ok(())
}

/// A filter that `tracing` takes, and that says what it seems to say: `tracing` reads an unknown level as a target.
fn check_filter(text: &str) -> Result<(), Refusal> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let example = "write a level, then exceptions, e.g. \"info,rmcp=debug\"";
    if text.trim().is_empty() {
        return Err(Refusal::of(text, "is not a log filter", example));
    }
    let is_plain = |part: &&str| !part.contains(['=', '[', ']', '{', '}', ':', '"']);
    for part in text.split(',').map(str::trim).filter(is_plain) {
        if !LEVELS.contains(&part.to_ascii_lowercase().as_str()) && part.parse::<u8>().is_err() {
            let nearest = LEVELS.iter().find(|level| strsim::damerau_levenshtein(level, part) <= 2);
            let remedy = match nearest {
                Some(level) => format!("did you mean \"{level}\"?"),
                None => format!("write \"{part}=trace\" if it is a target; levels are {}", LEVELS.join(", ")),
            };
            return Err(Refusal::of(part, "is not a log level", remedy));
        }
    }
    match EnvFilter::builder().with_regex(false).parse(text) {
        Ok(_) => Ok(()),
        Err(_) => Err(Refusal::of(text, "is not a log filter", example)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(result: Result<impl Sized, Refusal>, expected: Result<(), &str>) {
        assert_eq!(result.map(drop).map_err(|refusal| refusal.to_string()), expected.map_err(str::to_owned));
    }

    #[test]
    fn a_secret_is_long_enough_or_left_out_and_never_shown() {
        check(check_secret(String::new()).map(|secret| assert!(secret.is_none())), Ok(()));
        let good = check_secret("0123456789abcdef0123456789abcdef".into());
        assert_eq!(format!("{good:?}"), "Ok(Some(Secret))");
        check(
            check_secret("hunter2".into()),
            Err(
                "a secret of 7 bytes is too short: it could be guessed; use at least 32 random bytes, e.g. what `openssl \
                 rand -base64 32` prints",
            ),
        );
    }

    #[test]
    fn an_address_to_listen_on_is_an_ip_and_a_port() {
        check(parse_listen("127.0.0.1:0"), Ok(()));
        check(parse_listen("[::1]:8000"), Ok(()));
        check(
            parse_listen("localhost:80"),
            Err("`localhost:80` is not an address to listen on; write \"127.0.0.1:80\""),
        );
        check(
            parse_listen(":9000"),
            Err("`:9000` is not an address to listen on; write \"127.0.0.1:9000\" for this machine only, \
                 \"0.0.0.0:9000\" for every network"),
        );
        check(
            parse_listen("8000"),
            Err(
                "`8000` is not an address to listen on; write an IP address and a port, e.g. \"127.0.0.1:8000\"",
            ),
        );
    }

    #[test]
    fn a_log_filter_says_what_it_seems_to_say() {
        for good in
            ["info", "off", "INFO", "info,rmcp=debug", "gateway::plugin=trace", "warn,[call]=debug", "3"]
        {
            check(check_filter(good), Ok(()));
        }
        check(
            check_filter(""),
            Err("`` is not a log filter; write a level, then exceptions, e.g. \"info,rmcp=debug\""),
        );
        check(check_filter("inof"), Err("`inof` is not a log level; did you mean \"info\"?"));
        check(
            check_filter("info,greet"),
            Err(
                "`greet` is not a log level; write \"greet=trace\" if it is a target; levels are off, error, warn, \
                 info, debug, trace",
            ),
        );
        check(
            check_filter("rmcp=loud"),
            Err("`rmcp=loud` is not a log filter; write a level, then exceptions, e.g. \"info,rmcp=debug\""),
        );
    }
}
