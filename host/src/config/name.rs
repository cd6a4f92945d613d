//! The two names an operator gives a server, in checked form.

use std::{fmt, sync::Arc};

use super::{access::Scope, excerpt::quoted};

/// Why a text is not what it should be: what is wrong, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {remedy}")]
pub struct Refusal {
    /// What is wrong, naming the text.
    pub message: String,
    /// What to do next.
    pub remedy: String,
}

impl Refusal {
    /// `text` in backticks and `what` make the message.
    pub(super) fn of(text: &str, what: &str, remedy: impl Into<String>) -> Self {
        Self { message: format!("{} {what}", quoted(text)), remedy: remedy.into() }
    }
}

/// A server's name: 1 to 64 of `a-z A-Z 0-9 _ -`, starting with a letter or digit; none of the gateway's own scopes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerName(Arc<str>);

impl ServerName {
    /// Checks `text`; the error says what is wrong and what would be right.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if text.is_empty() || text.len() > 64 || !text.chars().all(good) || text.starts_with(['_', '-']) {
            let remedy = "use 1 to 64 letters, digits, `_` or `-`, and start with a letter or digit";
            return Err(Refusal::of(text, "is not a name for a server", remedy));
        }
        if [Scope::ADMIN, Scope::METRICS].contains(&text) {
            // A server asks its callers for its name, and whoever has that would look after the gateway.
            return Err(Refusal::of(text, "belongs to the gateway itself", "choose another name"));
        }
        Ok(Self(text.into()))
    }

    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a server is mounted: `/` and one or more segments, without a slash at the end, e.g. `/greet`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Prefix(Arc<str>);

impl Prefix {
    /// First segments that belong to the gateway itself.
    pub const RESERVED: &[&str] = &[
        "mcp",
        "admin",
        "tools",
        "docs",
        "redoc",
        "openapi.json",
        "metrics",
        "healthz",
        "livez",
        "readyz",
        "servers",
        "ui",
        "problems",
        ".well-known",
    ];

    /// Checks `text`; the error says what is wrong and what would be right.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let Some(rest) = text.strip_prefix('/') else {
            let remedy = "start it with a slash, e.g. \"/greet\"";
            return Err(Refusal::of(text, "is not a prefix", remedy));
        };
        if rest.trim_matches('/').is_empty() {
            return Err(Refusal::of(
                text,
                "belongs to the gateway itself",
                "choose a prefix such as \"/greet\"",
            ));
        }
        let good = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
        for segment in rest.split('/') {
            if segment.is_empty() {
                let remedy = "write one slash before each segment and none at the end";
                return Err(Refusal::of(text, "has an empty segment", remedy));
            }
            if segment == "." || segment == ".." || !segment.chars().all(good) {
                let what = format!("is not a prefix: the segment {} cannot stand in a path", quoted(segment));
                return Err(Refusal::of(text, &what, "use only letters, digits, `-`, `.`, `_` and `~`"));
            }
        }
        let first = rest.split('/').next().unwrap_or_default();
        if Self::RESERVED.contains(&first) {
            let what = match text.len() - first.len() {
                1 => "belongs to the gateway itself".to_owned(),
                _ => format!("begins with `/{first}`, which belongs to the gateway itself"),
            };
            return Err(Refusal::of(text, &what, "choose another first segment"));
        }
        Ok(Self(text.into()))
    }

    /// The prefix as written, with its leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether one of the two is, or lies below, the other, segment by segment.
    pub fn overlaps(&self, other: &Prefix) -> bool {
        let below =
            |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        below(&self.0, &other.0) || below(&other.0, &self.0)
    }

    /// What of `path` lies below this prefix: `""`, or text that starts with `/`. `None`: `path` is elsewhere.
    pub fn strip<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(&*self.0).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_prefix(text: &str, expected: Result<(), &str>) {
        let found = Prefix::parse(text).map(|prefix| assert_eq!(prefix.as_str(), text));
        assert_eq!(found.map_err(|refusal| refusal.message), expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn a_prefix_is_a_path_of_plain_segments_outside_the_gateways_own() {
        check_prefix("/greet", Ok(()));
        check_prefix("/team/greet-v1.2_x~", Ok(()));
        check_prefix("/greet/mcp", Ok(()));
        check_prefix("/doc", Ok(()));
        check_prefix("", Err("`` is not a prefix"));
        check_prefix("greet", Err("`greet` is not a prefix"));
        check_prefix("/", Err("`/` belongs to the gateway itself"));
        check_prefix("//", Err("`//` belongs to the gateway itself"));
        check_prefix("/greet/", Err("`/greet/` has an empty segment"));
        check_prefix("/a//b", Err("`/a//b` has an empty segment"));
        check_prefix("/a/../b", Err("`/a/../b` is not a prefix: the segment `..` cannot stand in a path"));
        check_prefix("/a b", Err("`/a b` is not a prefix: the segment `a b` cannot stand in a path"));
        check_prefix("/{id}", Err("`/{id}` is not a prefix: the segment `{id}` cannot stand in a path"));
        for first in Prefix::RESERVED {
            check_prefix(&format!("/{first}"), Err(&format!("`/{first}` belongs to the gateway itself")));
            let message = format!("`/{first}/x` begins with `/{first}`, which belongs to the gateway itself");
            check_prefix(&format!("/{first}/x"), Err(&message));
        }
    }

    #[test]
    fn prefixes_overlap_segment_by_segment() {
        let overlap = |a: &str, b: &str| {
            let [a, b] = [a, b].map(|text| Prefix::parse(text).expect("the test names good prefixes"));
            assert_eq!(a.overlaps(&b), b.overlaps(&a));
            a.overlaps(&b)
        };
        assert!(overlap("/a", "/a"));
        assert!(overlap("/a", "/a/b"));
        assert!(!overlap("/a", "/ab"));
        assert!(!overlap("/a/b", "/a/c"));
    }

    #[test]
    fn a_server_name_is_short_and_plain() {
        let good = |text: &str| ServerName::parse(text).is_ok();
        assert!(good("greet") && good("3-d_x") && good(&"x".repeat(64)));
        assert!(
            !good("") && !good("-x") && !good("_x") && !good("a b") && !good("é") && !good(&"x".repeat(65))
        );
    }

    #[test]
    fn a_server_is_not_named_like_a_scope_of_the_gateway() {
        let check = |text: &str, expected: Result<(), &str>| {
            let found = ServerName::parse(text).map(drop).map_err(|refusal| refusal.to_string());
            assert_eq!(found, expected.map_err(str::to_owned));
        };
        check("admin", Err("`admin` belongs to the gateway itself; choose another name"));
        check("metrics", Err("`metrics` belongs to the gateway itself; choose another name"));
        check("Admin", Ok(()));
        check("admin-tools", Ok(()));
    }
}
