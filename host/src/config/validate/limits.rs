//! How much callers may take, how connections are encrypted, and what is recorded.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use super::{Checker, access::check_caller_name, check_folder, check_secret, join};
use crate::config::{
    Audit, ClientCertificates, Limits, RateLimit, Refusal, Secret, ServerName, Tls,
    document::At,
    file::{AuditTable, LimitsTable, RateTable, TlsTable, WrittenClientCertificates},
};

impl Checker<'_, '_> {
    /// After the servers. `are_all_known`: whether there are no others than those that have tables.
    pub(super) fn limits(&mut self, table: LimitsTable, are_all_known: bool) -> Limits {
        if are_all_known {
            for (at, rate) in table.rate.iter().enumerate() {
                self.check_named(&format!("/limits/rate/{at}/servers"), &rate.servers);
            }
        }
        let mut names = Vec::new();
        let rates = table.rate.into_iter().enumerate();
        Limits {
            calls_max: table.calls_max,
            connections_max: table.connections_max,
            sessions_max: table.sessions_max,
            head_timeout: self.duration("/limits/head_timeout", &table.head_timeout),
            body_timeout: self.duration("/limits/body_timeout", &table.body_timeout),
            rates: rates.filter_map(|(at, table)| self.rate(at, table, &mut names)).collect(),
        }
    }

    /// Of a misspelt server nothing would be limited.
    fn check_named(&mut self, pointer: &str, servers: &[String]) {
        let known: Option<Vec<ServerName>> = self.taken.iter().map(|taken| taken.name.clone()).collect();
        // A table without a good name may be of the server that is meant.
        let Some(known) = known else { return };
        let is_unknown = |text: &str| !known.iter().any(|name| name.as_str() == text);
        for (at, text) in servers.iter().enumerate().filter(|(_, text)| is_unknown(text)) {
            let likeness = |name: &ServerName| strsim::jaro_winkler(text, name.as_str());
            let nearest = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
            let remedy = match nearest.filter(|name| likeness(name) > 0.8) {
                Some(name) => format!("did you mean `{name}`?"),
                None => "name one of the `[[server]]` tables".to_owned(),
            };
            let unknown = ServerName::parse(text).and_then(|name| {
                Err::<(), _>(Refusal::of(name.as_str(), "is not the name of a server", remedy))
            });
            self.value(&format!("{pointer}/{at}"), unknown);
        }
    }

    fn rate(&mut self, at: usize, table: RateTable, names: &mut Vec<String>) -> Option<RateLimit> {
        let pointer = format!("/limits/rate/{at}");
        let name_at = join(&pointer, "name");
        let name = self.value(&name_at, check_caller_name(&table.name));
        if let Some(name) = &name {
            if names.contains(name) {
                self.document.report(&name_at, At::Value, "another limit has that name", "choose another");
            }
            names.push(name.clone());
        }
        let rate = self.value(&join(&pointer, "rate"), parse_rate(&table.rate));
        let servers = self.entries(&join(&pointer, "servers"), &table.servers, ServerName::parse);
        let (calls, window) = rate?;
        let burst = NonZeroU32::new(table.burst).unwrap_or(calls);
        if window.as_secs() * u64::from(burst.get()) / u64::from(calls.get()) > BURST_LONGEST {
            let remedy = "write a smaller number";
            let message = "it would take longer than a year until so many calls are let through again";
            self.document.report(&join(&pointer, "burst"), At::Value, message, remedy);
        }
        Some(RateLimit {
            name: name?,
            key: table.key.into(),
            calls,
            window,
            burst,
            servers,
            tools: table.tools,
        })
    }

    pub(super) fn tls(&mut self, table: TlsTable) -> Option<Tls> {
        let TlsTable { cert, key, client_ca, client_certificates } = table;
        if cert.is_empty() && key.is_empty() {
            if !client_ca.is_empty() {
                let remedy = "name the gateway's own in `cert` and `key`";
                self.document.report(
                    "/tls/client_ca",
                    At::Value,
                    "there is no TLS without a certificate",
                    remedy,
                );
            }
            return None;
        }
        for (at, path, other) in [("/tls/cert", &cert, "key"), ("/tls/key", &key, "cert")] {
            if path.is_empty() {
                let message = format!("there is a `{other}`, but nothing that goes with it here");
                self.document.report(at, At::Value, message, "name its file");
            }
        }
        if cert.is_empty() || key.is_empty() {
            return None;
        }
        let (cert, key) = (self.file("/tls/cert", cert), self.file("/tls/key", key));
        let authorities = match client_ca.as_str() {
            "" => None,
            _ => Some(self.file("/tls/client_ca", client_ca)?),
        };
        let wanted = match client_certificates {
            WrittenClientCertificates::Required => ClientCertificates::Required,
            WrittenClientCertificates::Optional => ClientCertificates::Optional,
        };
        let clients = authorities.as_deref().map(|authorities| (authorities, wanted));
        let tls = Tls::of_pem(&cert?, &key?, clients);
        tls.map_err(|error| {
            let cause = std::error::Error::source(&error).map(|source| format!(" ({source})"));
            let message = format!("{error}{}", cause.unwrap_or_default());
            self.document.report(&format!("/tls/{}", error.file().key()), At::Value, message, "");
        })
        .ok()
    }

    pub(super) fn audit(&mut self, AuditTable { path, required }: AuditTable) -> Audit {
        self.value("/audit/path", check_folder(&path));
        if required && path.is_empty() {
            let remedy = "name a file in `path`";
            self.document.report("/audit/required", At::Value, "there is no file to record in", remedy);
        }
        Audit { path: (!path.is_empty()).then(|| self.beside(path)), required }
    }

    /// A secret that stands in the file, or in a file of its own.
    pub(super) fn secret(&mut self, pointer: &str, text: String, file: String) -> Option<Secret> {
        let file_at = format!("{pointer}_file");
        if file.is_empty() {
            return self.value(pointer, check_secret(text)).flatten();
        }
        if !text.is_empty() {
            self.document.report(
                &file_at,
                At::Key,
                "the secret is given twice",
                "delete one of the two keys",
            );
            return None;
        }
        let bytes = self.file(&file_at, file)?;
        // Editors and `echo` end a file with a line break, which nobody means.
        let secret = match std::str::from_utf8(&bytes).map(|text| text.trim_end_matches(['\r', '\n'])) {
            // With a sign in place of each wrong byte, a few random bytes would look like many, and be none.
            Err(_) => Err(Refusal {
                message: "the file is not UTF-8 text".into(),
                remedy: "write the secret as text, e.g. what `openssl rand -base64 32` prints".into(),
            }),
            Ok("") => Err(Refusal {
                message: "the file is empty".into(),
                remedy: "write the secret into it".into(),
            }),
            Ok(text) => check_secret(text.to_owned()),
        };
        self.value(&file_at, secret).flatten()
    }

    /// What is in a file that the value at `pointer` names.
    pub(super) fn file(&mut self, pointer: &str, path: String) -> Option<Vec<u8>> {
        self.value(pointer, check_folder(&path))?;
        let path: PathBuf = self.beside(path);
        let read = (self.outside.file)(&path).map_err(|error| Refusal {
            message: format!("cannot read `{}`: {error}", path.display()),
            remedy: "name a file that the gateway's user may read".into(),
        });
        self.files.push(path);
        self.value(pointer, read)
    }
}

/// Longest time in which a burst is given back, in seconds.
const BURST_LONGEST: u64 = 365 * 24 * 3600;

/// `60/min` and the like.
fn parse_rate(text: &str) -> Result<(NonZeroU32, Duration), Refusal> {
    const WINDOWS: [(&str, u64); 3] = [("s", 1), ("min", 60), ("h", 3600)];
    let parsed = text.split_once('/').and_then(|(calls, window)| {
        let (_, seconds) = WINDOWS.iter().find(|(name, _)| *name == window.trim())?;
        Some((calls.trim().parse().ok()?, Duration::from_secs(*seconds)))
    });
    let remedy = "write a number, a slash, and `s`, `min` or `h`: \"60/min\"";
    parsed.ok_or_else(|| Refusal::of(text, "is not a rate", remedy))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Outside, parse};

    /// What is wrong with a gateway.toml, beside a file that holds `bytes`: the first line of each problem, and its remedy.
    fn told(text: &str, bytes: &[u8]) -> Vec<String> {
        let outside = Outside { file: &|_| Ok(bytes.to_vec()), ..Outside::NOTHING };
        let Err(problems) = parse(text, Path::new("gateway.toml"), outside) else { return Vec::new() };
        problems.iter().map(|problem| format!("{}; {}", problem.message, problem.remedy)).collect()
    }

    #[test]
    fn a_secret_in_a_file_is_text() {
        let check = |bytes: &[u8], expected: &[&str]| {
            assert_eq!(told("[http]\nstate_secret_file = \"secret\"\n", bytes), expected, "{bytes:?}");
        };
        check(b"0123456789abcdef0123456789abcdef\r\n", &[]);
        check(b"\n", &["the file is empty; write the secret into it"]);
        let no_text = "the file is not UTF-8 text; write the secret as text, e.g. what `openssl rand -base64 32` prints";
        check(&[0xff; 11], &[no_text]);
        check(&[0x80; 64], &[no_text]);
    }

    #[test]
    fn a_rate_names_servers_that_there_are() {
        let check = |text: &str, expected: &[&str]| {
            let rate = "[[limits.rate]]\nname = \"slow\"\nkey = \"server\"\nrate = \"1/s\"";
            let server = "[[server]]\nname = \"greet\"\nplugin = \"greet.so\"\nprefix = \"/greet\"";
            assert_eq!(told(&format!("{rate}\n{text}\n{server}\n"), b""), expected, "{text}");
        };
        check("", &[]);
        check("servers = [\"greet\"]", &[]);
        check(
            "servers = [\"greet\", \"gret\"]",
            &["`gret` is not the name of a server; did you mean `greet`?"],
        );
        let other = "`calc` is not the name of a server; name one of the `[[server]]` tables";
        check("servers = [\"calc\"]", &[other]);
        let no_name = "`a b` is not a name for a server; use 1 to 64 letters, digits, `_` or `-`, and start with a letter \
                       or digit";
        check("servers = [\"a b\"]", &[no_name]);
        // It may be found in the folder of plugins.
        check("servers = [\"gret\"]\n[plugins]\nautoload = true", &[]);
        // Or be the server whose name has a problem of its own.
        let own = "[[server]]\nname = \"admin\"\nplugin = \"calc.so\"\nprefix = \"/calc\"";
        let named = format!("servers = [\"calc\"]\n{own}");
        check(&named, &["`admin` belongs to the gateway itself; choose another name"]);
    }

    #[test]
    fn a_rate_is_a_number_of_calls_in_a_time() {
        let check = |text, expected: Result<(u32, u64), &str>| {
            let found = parse_rate(text).map(|(calls, window)| (calls.get(), window.as_secs()));
            assert_eq!(found.map_err(|refusal| refusal.message), expected.map_err(str::to_owned), "{text}");
        };
        check("60/min", Ok((60, 60)));
        check("5 / s", Ok((5, 1)));
        check("1000/h", Ok((1000, 3600)));
        check("0/min", Err("`0/min` is not a rate"));
        check("60", Err("`60` is not a rate"));
        check("60/day", Err("`60/day` is not a rate"));
        check("-1/s", Err("`-1/s` is not a rate"));
    }
}
