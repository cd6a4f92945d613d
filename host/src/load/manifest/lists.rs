//! What the lists of a manifest have to keep to.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::ManifestError;

/// The lists that a plugin may make call by call.
pub(super) const DYNAMIC: [&str; 4] =
    ["tools/list", "prompts/list", "resources/list", "resources/templates/list"];

/// Most entries of one list.
const ENTRIES_MAX: usize = 10_000;
/// Longest name, in bytes.
const NAME_MAX: usize = 256;
/// Longest URI or URI template, in bytes.
const URI_MAX: usize = 2048;

/// One kind of list.
pub(super) struct Kind {
    what: &'static str,
    /// The member that is unique in the list.
    key: &'static str,
    check: fn(&str) -> Result<(), &'static str>,
}

pub(super) const TOOLS: Kind = Kind { what: "tool", key: "name", check: name };
pub(super) const PROMPTS: Kind = Kind { what: "prompt", key: "name", check: name };
pub(super) const RESOURCES: Kind = Kind { what: "resource", key: "uri", check: uri };
pub(super) const TEMPLATES: Kind = Kind { what: "resource template", key: "uriTemplate", check: template };

/// Checks what all lists have in common.
pub(super) fn check<'a>(
    kind: &Kind,
    list: impl IntoIterator<Item = &'a Map<String, Value>>,
) -> Result<(), ManifestError> {
    let what = kind.what;
    let list: Vec<_> = list.into_iter().collect();
    if list.len() > ENTRIES_MAX {
        return Err(ManifestError::TooMany { what, count: list.len(), most: ENTRIES_MAX });
    }
    let mut seen = HashSet::new();
    for (at, wire) in list.into_iter().enumerate() {
        let text = |member: &'static str| match wire.get(member) {
            None => Err(<serde_json::Error as serde::de::Error>::missing_field(member)),
            Some(value) => <&str>::deserialize(value),
        };
        let malformed = |source| ManifestError::Entry { what, number: at + 1, source };
        let key = text(kind.key).map_err(malformed)?;
        text("name").map_err(malformed)?;
        (kind.check)(key).map_err(|reason| ManifestError::Key {
            what,
            member: kind.key,
            key: key.chars().take(NAME_MAX).collect(),
            reason,
        })?;
        if !seen.insert(key) {
            return Err(ManifestError::Twice { what, key: key.to_owned() });
        }
    }
    Ok(())
}

fn name(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("it is empty"),
        name if name.len() > NAME_MAX => Err("it is longer than 256 bytes"),
        name if name.chars().any(char::is_control) => Err("it has control characters"),
        _ => Ok(()),
    }
}

/// RFC 3986 as far as it matters here: a scheme, and nothing that could not travel in a header or a log.
fn uri(uri: &str) -> Result<(), &'static str> {
    let scheme = uri.split_once(':').map(|(scheme, _)| scheme).unwrap_or_default();
    let good = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(good) {
        return Err("it has no scheme");
    }
    if uri.len() > URI_MAX {
        return Err("it is longer than 2048 bytes");
    }
    if uri.chars().any(|c| c.is_control() || c == ' ') {
        return Err("it has spaces or control characters");
    }
    Ok(())
}

/// RFC 6570: every `{` has its `}`, and between them are an operator and names.
fn template(template: &str) -> Result<(), &'static str> {
    if template.len() > URI_MAX {
        return Err("it is longer than 2048 bytes");
    }
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        let Some(inside) = rest[at..].strip_prefix('{') else { return Err("it has a `}` without its `{`") };
        let Some(end) = inside.find('}') else { return Err("it has a `{` without its `}`") };
        let names = inside[..end].trim_start_matches(['+', '#', '.', '/', ';', '?', '&']);
        let good = |c: char| c.is_alphanumeric() || "_.%*:".contains(c);
        if names.split(',').any(|name| name.is_empty() || !name.chars().all(good)) {
            return Err("what stands between `{` and `}` is not a list of names");
        }
        rest = &inside[end + 1..];
    }
    if template.is_empty() { Err("it is empty") } else { Ok(()) }
}
