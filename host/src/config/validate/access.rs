//! Who may do what: keys, certificates, issuers, and the scopes that servers ask for.

use std::{collections::BTreeMap, net::SocketAddr};

use super::{Checker, check_digest, join};
use crate::config::{
    ApiKey, AsksFor, Auth, ClientCertificate, Digest, Guard, Http, Issuer, Refusal, Scope, SigningAlgorithm,
    document::At,
    file::{AuthTable, CertificateTable, IssuerTable, KeyTable, ServerTable},
    web::parse_issuer_url,
};

/// How a person's or a program's name may look.
pub(super) fn check_caller_name(text: &str) -> Result<String, Refusal> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if (1..=64).contains(&text.len()) && text.bytes().all(good) {
        return Ok(text.to_owned());
    }
    Err(Refusal::of(text, "is not a name", "use 1 to 64 letters, digits, `_`, `-` or `.`"))
}

fn check_scope(text: &str) -> Result<Scope, Refusal> {
    let remedy = "write one word for each, of letters, digits and signs, e.g. [\"greet\", \"calc:add\"]";
    Scope::parse(text).ok_or_else(|| Refusal::of(text, "is not a scope", remedy))
}

impl Checker<'_, '_> {
    pub(super) fn auth(&mut self, table: AuthTable, http: &Http, asks_for_certificates: bool) -> Auth {
        let mut names = Vec::new();
        let keys = table.key.into_iter().enumerate();
        let mut ids = Vec::new();
        let keys: Vec<ApiKey> =
            keys.filter_map(|(at, key)| self.key(at, key, &mut names, &mut ids)).collect();
        names.clear();
        let certificates = table.certificate.into_iter().enumerate();
        let mut digests = Vec::new();
        let certificates: Vec<ClientCertificate> = certificates
            .filter_map(|(at, table)| self.certificate(at, table, &mut names, &mut digests))
            .collect();
        if !certificates.is_empty() && !asks_for_certificates {
            let remedy = "say in `[tls] client_ca` who issues them";
            self.document.report(
                "/auth/certificate/0",
                At::Value,
                "clients are not asked for certificates",
                remedy,
            );
        }
        let issuers = table.issuer.into_iter().enumerate();
        let issuers: Vec<Issuer> =
            issuers.filter_map(|(at, table)| self.issuer(at, table, &mut names)).collect();
        if !issuers.is_empty() && http.public_url.is_none() && !self.document.is_reported("/http/public_url")
        {
            let message = "tokens are for a URL, and this gateway does not know its own";
            let remedy = "write in `[http]` e.g. `public_url = \"https://tools.example.com\"`";
            self.document.report("/auth/issuer/0", At::Value, message, remedy);
        }
        Auth { keys, certificates, issuers, allow_unauthenticated: table.allow_unauthenticated }
    }

    /// Reports that `found` is in `known` already, or puts it there.
    fn unique<T: PartialEq + Clone>(
        &mut self,
        pointer: &str,
        found: Option<&T>,
        known: &mut Vec<T>,
        message: &str,
        remedy: &str,
    ) {
        let Some(found) = found else { return };
        if known.contains(found) {
            self.document.report(pointer, At::Value, message, remedy);
        }
        known.push(found.clone());
    }

    fn key(
        &mut self,
        at: usize,
        table: KeyTable,
        names: &mut Vec<String>,
        ids: &mut Vec<String>,
    ) -> Option<ApiKey> {
        let pointer = format!("/auth/key/{at}");
        let name = self.caller_name(&pointer, &table.name, names);
        let is_id = table.id.len() == 8 && table.id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let id = if is_id {
            Ok(table.id)
        } else {
            Err(Refusal::of(
                &table.id,
                "is not the id of a key",
                "write the 8 letters and digits after `mgw_`",
            ))
        };
        let id_at = join(&pointer, "id");
        let id = self.value(&id_at, id);
        self.unique(&id_at, id.as_ref(), ids, "another key has that id", "make another key");
        let sha256 = self.value(&join(&pointer, "sha256"), check_digest(&table.sha256)).flatten();
        let scopes = self.scopes(&join(&pointer, "scopes"), &table.scopes);
        Some(ApiKey { name: name?, id: id?, sha256: sha256?, scopes })
    }

    fn certificate(
        &mut self,
        at: usize,
        table: CertificateTable,
        names: &mut Vec<String>,
        digests: &mut Vec<Digest>,
    ) -> Option<ClientCertificate> {
        let pointer = format!("/auth/certificate/{at}");
        let name = self.caller_name(&pointer, &table.name, names);
        let digest = check_digest(&table.sha256.replace(':', ""));
        let digest_at = join(&pointer, "sha256");
        let sha256 = self.value(&digest_at, digest).flatten();
        // Of the two, only the first would ever count.
        let remedy = "delete one of the two tables";
        self.unique(&digest_at, sha256.as_ref(), digests, "that certificate is there twice", remedy);
        let scopes = self.scopes(&join(&pointer, "scopes"), &table.scopes);
        Some(ClientCertificate { name: name?, sha256: sha256?, scopes })
    }

    fn caller_name(&mut self, pointer: &str, text: &str, names: &mut Vec<String>) -> Option<String> {
        let pointer = join(pointer, "name");
        let name = self.value(&pointer, check_caller_name(text))?;
        if names.contains(&name) {
            self.document.report(
                &pointer,
                At::Value,
                format!("the name `{name}` is used twice"),
                "choose another",
            );
        }
        names.push(name.clone());
        Some(name)
    }

    fn issuer(&mut self, at: usize, table: IssuerTable, urls: &mut Vec<String>) -> Option<Issuer> {
        let pointer = format!("/auth/issuer/{at}");
        let url_at = join(&pointer, "url");
        let url = self.value(&url_at, parse_issuer_url(&table.url));
        if let Some(url) = &url {
            if urls.contains(url) {
                self.document.report(
                    &url_at,
                    At::Value,
                    "that issuer is named twice",
                    "delete one of the tables",
                );
            }
            urls.push(url.clone());
        }
        let jwks_url = match table.jwks_url.as_str() {
            "" => None,
            text => self.value(&join(&pointer, "jwks_url"), parse_issuer_url(text)),
        };
        if table.algorithms.is_empty() {
            let remedy = "leave it out, or write e.g. [\"ES256\"]";
            let at = join(&pointer, "algorithms");
            self.document.report(&at, At::Value, "no token could be signed by any algorithm", remedy);
        }
        let algorithms = table.algorithms.into_iter().map(SigningAlgorithm::from).collect();
        Some(Issuer { url: url?, jwks_url, algorithms })
    }

    fn scopes(&mut self, pointer: &str, list: &[String]) -> Vec<Scope> {
        self.entries(pointer, list, check_scope)
    }

    /// What the table of one server says of its callers.
    pub(super) fn guard(&mut self, pointer: &str, table: &ServerTable) -> Guard {
        let mut tools = BTreeMap::new();
        for (at, tool) in table.tool.iter().enumerate() {
            let pointer = format!("{pointer}/tool/{at}");
            let scopes = self.scopes(&join(&pointer, "scopes"), &tool.scopes);
            if tools.insert(tool.name.clone(), scopes).is_some() {
                let message = format!("the tool `{}` has two tables", tool.name);
                self.document.report(&join(&pointer, "name"), At::Value, message, "write one for each tool");
            }
        }
        Guard {
            asks_for: table.auth.into(),
            scopes: self.scopes(&join(pointer, "scopes"), &table.scopes),
            tools,
            audience: Some(table.audience.clone()).filter(|audience| !audience.is_empty()),
            calls_max: table.calls_max,
        }
    }

    /// What a server asks of its callers has to be something that one of them could have.
    pub(super) fn check_guard(&mut self, pointer: &str, guard: &Guard, auth: &Auth) {
        let has_keys = !(auth.keys.is_empty() && auth.certificates.is_empty());
        let (message, remedy) = match guard.asks_for {
            AsksFor::Keys if !has_keys => {
                ("nobody could call it: there is no `[[auth.key]]`", "`gateway key new` makes one")
            }
            AsksFor::Tokens if auth.issuers.is_empty() => {
                ("nobody could call it: there is no `[[auth.issuer]]`", "write one, or leave `auth` out")
            }
            _ => ("", ""),
        };
        if !message.is_empty() {
            self.document.report(&join(pointer, "auth"), At::Value, message, remedy);
        }
        let is_asked = auth.is_on() && guard.asks_for != AsksFor::Nothing;
        let at = match guard.tools.is_empty() {
            _ if !guard.scopes.is_empty() => join(pointer, "scopes"),
            false => format!("{pointer}/tool/0"),
            true => return,
        };
        if !is_asked {
            let message = "nobody is asked who they are, so nobody could have these scopes";
            let remedy =
                "add an `[[auth.key]]` (`gateway key new`) or an `[[auth.issuer]]`, or leave them out";
            self.document.report(&at, At::Value, message, remedy);
        }
    }

    /// A gateway that others can reach asks them who they are, or its operator has said that it need not.
    pub(super) fn check_reach(&mut self, pointer: &str, listen: SocketAddr, auth: &Auth) {
        if auth.allows(listen) {
            return;
        }
        let message = format!("others can reach `{listen}`, and nobody is asked who they are");
        let remedy = "add an `[[auth.key]]` (`gateway key new`) or an `[[auth.issuer]]`, listen on 127.0.0.1, or write \
                      `allow_unauthenticated = true` in `[auth]`";
        self.document.report(pointer, At::Value, message, remedy);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Outside, parse};

    fn check(text: &str, expected: &[&str]) {
        let problems =
            parse(text, Path::new("gateway.toml"), Outside::NOTHING).expect_err("there are problems");
        let told = |problem: &crate::config::Problem| {
            let line = text[..=problem.span.start].lines().count();
            format!("{line}: {}; {}", problem.message, problem.remedy)
        };
        assert_eq!(problems.iter().map(told).collect::<Vec<_>>(), expected, "{text}");
    }

    #[test]
    fn a_credential_belongs_to_one_caller() {
        let sha256 = |digit: &str| digit.repeat(64);
        let certificate = |name: &str, sha256: &str| {
            format!("[[auth.certificate]]\nname = \"{name}\"\nsha256 = \"{sha256}\"\n")
        };
        let key = |name: &str, id: &str| {
            format!("[[auth.key]]\nname = \"{name}\"\nid = \"{id}\"\nsha256 = \"{}\"\n", sha256("a"))
        };
        let colons = vec!["AA"; 32].join(":");
        check(
            &[
                certificate("one", &sha256("a")),
                certificate("other", &sha256("b")),
                certificate("two", &colons),
            ]
            .concat(),
            &[
                "1: clients are not asked for certificates; say in `[tls] client_ca` who issues them",
                "9: that certificate is there twice; delete one of the two tables",
            ],
        );
        // A table before them that has a problem of its own does not move what is said of them.
        check(
            &[key("bad", "-"), key("one", "k3J9x2Qa"), key("two", "k3J9x2Qa")].concat(),
            &[
                "3: `-` is not the id of a key; write the 8 letters and digits after `mgw_`",
                "11: another key has that id; make another key",
            ],
        );
    }
}
