//! What the TOML parser says, in an operator's words.
//!
//! In:   a text that is not TOML.
//! Out:  one problem for each mistake. The parser goes on after one and then reports its consequences too, so each
//!       line gets its first only, and nothing is said about what an unclosed array swallowed.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    excerpt::{Lines, quoted},
    problem::Problem,
};

const FATAL: [&str; 4] =
    ["key with no value", "unclosed table", "unclosed array table", "invalid key-value pair"];
/// Each round costs a pass over the text.
const MOST_ROUNDS: usize = 20;

/// Empty if `text` is TOML.
pub(super) fn problems(text: &str) -> Vec<Problem> {
    let mut errors = errors_of(text);
    errors.sort_by_key(|(span, _)| (span.start, span.end));
    let lines = Lines::of(text);
    errors.dedup_by_key(|(span, _)| lines.line_of(span.start));
    errors.into_iter().map(|(span, message)| problem(text, span, &message)).collect()
}

/// After a broken header or a key without `=` the parser gives up; such lines are blanked until it reads to the end.
fn errors_of(text: &str) -> Vec<(Range<usize>, String)> {
    let mut errors = Vec::new();
    let mut rest = text.to_owned();
    let mut header_blanked = false;
    for _ in 0..MOST_ROUNDS {
        let (tree, found) = DeTable::parse_recoverable(&rest);
        let found = found.iter().map(|error| (error.span().unwrap_or_default(), error.message().to_owned()));
        let found = without_swallowed(&rest, tree.get_ref(), found.collect());
        let fatal = |message: &str| FATAL.iter().any(|start| message.starts_with(start));
        let Some((span, message)) = found.iter().find(|(_, message)| fatal(message)).cloned() else {
            // Under a blanked header stand keys of a table that now looks like another one.
            let is_known = |message: &str| !(header_blanked && message == "duplicate key");
            errors.extend(found.into_iter().filter(|(_, message)| is_known(message)));
            return errors;
        };
        header_blanked |= message.starts_with("unclosed");
        let from = rest[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
        let to = rest[from..].find('\n').map_or(rest.len(), |length| from + length);
        rest.replace_range(from..to, &" ".repeat(to - from));
        errors.push((span, message));
    }
    errors
}

/// Instead of what follows an array or inline table that is never closed: where it was opened.
fn without_swallowed(
    text: &str,
    tree: &DeTable,
    mut errors: Vec<(Range<usize>, String)>,
) -> Vec<(Range<usize>, String)> {
    let unclosed = |message: &str| {
        message.starts_with("unclosed array, ") || message.starts_with("unclosed inline table, ")
    };
    let end = errors.iter().find(|(_, message)| unclosed(message)).map(|(span, _)| span.start);
    if let Some(opened) = end.and_then(|end| outermost_until(tree, end)) {
        errors.retain(|(span, _)| span.start < opened);
        let what = if text[opened..].starts_with('[') { "array" } else { "inline table" };
        errors.push((opened..opened + 1, format!("unclosed {what}")));
    }
    errors
}

fn outermost_until(table: &DeTable, end: usize) -> Option<usize> {
    table
        .values()
        .filter_map(|value: &Spanned<DeValue>| match value.get_ref() {
            DeValue::Array(_) | DeValue::Table(_) if value.span().end == end => Some(value.span().start),
            DeValue::Array(array) => {
                array.iter().find_map(|entry| outermost_until(entry.get_ref().as_table()?, end))
            }
            DeValue::Table(table) => outermost_until(table, end),
            _ => None,
        })
        .min()
}

fn problem(text: &str, span: Range<usize>, message: &str) -> Problem {
    let (what, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    // What is missing at the end of the text is missing after its last line, not on an empty one.
    let mut span = if text.trim_end().len() < span.start { text.trim_end().len()..span.start } else { span };
    let (message, remedy) = match what {
        "string values must be quoted" if span.is_empty() => {
            ("the key has no value".to_owned(), "write one: a \"string\", a number, true or false")
        }
        "string values must be quoted"
        | "invalid float"
        | "invalid integer"
        | "invalid boolean"
        | "invalid datetime" => {
            span = word_around(text, span);
            (format!("{} is not a value", quoted(&text[span.clone()])), "put text in double quotes")
        }
        "duplicate key" => {
            let key = quoted(text.get(span.clone()).unwrap_or_default());
            let is_header = text.get(..span.start).is_some_and(|before| before.ends_with('['));
            let remedy = if is_header { "join the two tables" } else { "delete one of the two" };
            (format!("{key} is already there"), remedy)
        }
        "key with no value" => ("the key has no value".to_owned(), "write `key = value`"),
        "unclosed table" => ("the table's header is not closed".to_owned(), "add `]`"),
        "unclosed array table" => ("the table's header is not closed".to_owned(), "add `]]`"),
        "unclosed array" => ("the array is never closed".to_owned(), "close it with `]`"),
        "unclosed inline table" => ("the inline table is never closed".to_owned(), "close it with `}`"),
        "missing escaped value" => (
            "no escape begins with this backslash".to_owned(),
            "write `\\\\` for a backslash, or use 'single quotes'",
        ),
        _ if what.starts_with("extra comma") => (what.to_owned(), "delete it"),
        _ if what.starts_with("invalid ") && what.ends_with(" string") => match expected.chars().next() {
            Some('`') => ("the string is not closed".to_owned(), "add the closing quotation mark"),
            _ => {
                ("a character that a string cannot hold".to_owned(), "write it as an escape, e.g. `\\u001B`")
            }
        },
        _ => (what.to_owned(), ""),
    };
    Problem { span, message: format!("not valid TOML: {message}"), remedy: remedy.to_owned() }
}

/// The parser marks only the part it stumbled over, e.g. `.0.1:8000` of `127.0.0.1:8000`.
fn word_around(text: &str, span: Range<usize>) -> Range<usize> {
    let outside = |c: char| c.is_whitespace() || "=,[]{}#\"'".contains(c);
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let from = text[..start].char_indices().rev().find(|(_, c)| outside(*c));
    let to = text[start..].find(outside).map_or(text.len(), |length| start + length);
    from.map_or(0, |(at, c)| at + c.len_utf8())..to
}
