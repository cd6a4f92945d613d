//! The YAML at the head of a `SKILL.md`, as far as skills use it: scalars, and lists and maps of scalars.
//!
//! A YAML parser is a large thing to link into every plugin. What is beyond this subset is refused when the
//! plugin is put together, not misread.

use serde_json::{Map, Value};

/// What the frontmatter says.
///
/// # Errors
/// Why it cannot be read, with the line.
pub(super) fn parse(text: &str) -> Result<Map<String, Value>, String> {
    let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim_end()));
    if lines.next().is_none_or(|(_, line)| line != "---") {
        return Err("it does not begin with frontmatter".into());
    }
    let mut said = Map::new();
    let mut last = String::new();
    for (number, line) in lines {
        let wrong = |why: &str| format!("line {number} of its frontmatter {why}: `{line}`");
        let inner = line.trim_start();
        if line == "---" {
            return Ok(said);
        }
        if inner.is_empty() || inner.starts_with('#') {
            continue;
        }
        if inner.len() == line.len() && !inner.starts_with("- ") {
            let (key, value) = member(inner).ok_or_else(|| wrong("is not `key: value`"))?;
            last = key.to_owned();
            let value = scalar(value).ok_or_else(|| wrong("has a value that cannot be read here"))?;
            if said.insert(last.clone(), value).is_some() {
                return Err(wrong("repeats a key"));
            }
            continue;
        }
        // Inside the last key, which has to have been left open.
        let open = said.get_mut(&last).ok_or_else(|| wrong("belongs to no key"))?;
        let added = match inner.strip_prefix("- ") {
            Some(item) => scalar(item).and_then(|item| push(open, item)),
            None => member(inner).and_then(|(key, value)| insert(open, key, scalar(value)?)),
        };
        added.ok_or_else(|| wrong("cannot be read here"))?;
    }
    Err("its frontmatter does not end".into())
}

fn member(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(':')?;
    let separate = value.is_empty() || value.starts_with(' ');
    (separate && !key.is_empty() && !key.contains([' ', '"', '\''])).then_some((key, value.trim()))
}

fn push(open: &mut Value, item: Value) -> Option<()> {
    if open.is_null() {
        *open = Value::Array(Vec::new());
    }
    open.as_array_mut().map(|list| list.push(item))
}

fn insert(open: &mut Value, key: &str, value: Value) -> Option<()> {
    if open.is_null() {
        *open = Value::Object(Map::new());
    }
    open.as_object_mut()?.insert(key.into(), value).is_none().then_some(())
}

/// A plain or quoted scalar, or a flow list of them.
fn scalar(text: &str) -> Option<Value> {
    match text.as_bytes().first() {
        None => Some(Value::Null),
        Some(b'"') => serde_json::from_str::<String>(text).ok().map(Value::String),
        Some(b'\'') => {
            let inner = text.strip_prefix('\'')?.strip_suffix('\'')?;
            Some(inner.replace("''", "'").into())
        }
        Some(b'[') => {
            let inner = text.strip_prefix('[')?.strip_suffix(']')?.trim();
            let items = inner.split(',').filter(|_| !inner.is_empty());
            items.map(|item| scalar(item.trim())).collect::<Option<Vec<_>>>().map(Value::Array)
        }
        // Block scalars, maps, anchors, tags, aliases, reserved.
        Some(b'|' | b'>' | b'{' | b'&' | b'!' | b'*' | b'@' | b'`' | b'%') => None,
        Some(_) if text.contains(": ") || text.contains(" #") => None,
        Some(_) if text == "~" => Some(Value::Null),
        Some(_) => {
            let plain = serde_json::from_str::<Value>(text).ok();
            Some(plain.filter(|value| !value.is_string()).unwrap_or_else(|| text.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_skills_use_is_read() {
        let text = "---\nname: greet\n# a comment\ndescription: 'It''s how: to'\nversion: 1.5\nfree: true\n\
                    allowed-tools: [Read, \"Write\"]\nmetadata:\n  author: me\n  year: 2026\ntags:\n- a\n- b\n---\nbody";
        assert_eq!(
            Value::Object(parse(text).expect("readable")),
            json!({
                "name": "greet", "description": "It's how: to", "version": 1.5, "free": true,
                "allowed-tools": ["Read", "Write"],
                "metadata": { "author": "me", "year": 2026 }, "tags": ["a", "b"],
            })
        );
    }

    #[test]
    fn what_is_beyond_that_is_refused_with_its_line() {
        let check = |inner: &str, says: &str| {
            assert_eq!(parse(&format!("---\n{inner}\n---\n")).expect_err("refused"), says);
        };
        check("a: |", "line 2 of its frontmatter has a value that cannot be read here: `a: |`");
        check("a: 1\na: 2", "line 3 of its frontmatter repeats a key: `a: 2`");
        check("just text", "line 2 of its frontmatter is not `key: value`: `just text`");
        check("a: 1\n  b: 2", "line 3 of its frontmatter cannot be read here: `  b: 2`");
        assert_eq!(parse("---\na: 1").expect_err("refused"), "its frontmatter does not end");
    }
}
