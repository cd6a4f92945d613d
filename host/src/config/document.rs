//! gateway.toml as a JSON value in which everything still knows its place in the text.
//!
//! In:   the file's text, the environment's variables.
//! Out:  [`Document`], its variables replaced, and what went wrong so far.
//! Fails: if the text is not TOML; then nothing else is checked, because what a broken line was meant to say is a guess.

use std::{
    collections::{BTreeMap, HashSet},
    ops::Range,
};

use serde_json::{Map, Number, Value};
use toml::{
    Spanned,
    de::{DeInteger, DeTable, DeValue},
};

use super::{
    excerpt::{Lines, quoted},
    problem::Problem,
    syntax,
    variable::replace_variables,
};

/// A parsed text, and what is wrong with it.
pub(super) struct Document<'a> {
    text: &'a str,
    lines: Lines,
    /// The whole file.
    pub(super) value: Value,
    /// By JSON pointer.
    places: BTreeMap<String, Place>,
    /// Pointers about which the operator has been told: one mistake is one problem.
    reported: HashSet<String>,
    /// In the order found.
    pub(super) problems: Vec<Problem>,
}

/// Where a value and its key stand in the text; an array's entry is its own key.
struct Place {
    key: Range<usize>,
    value: Range<usize>,
}

/// Which part of an entry a problem is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum At {
    /// Its key: it should not be there.
    Key,
    /// Its value. Of a table, its header.
    Value,
}

impl<'a> Document<'a> {
    /// Fails with every mistake in the syntax.
    pub(super) fn parse(text: &'a str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Vec<Problem>> {
        let (tree, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            return Err(syntax::problems(text));
        }
        let mut document = Self {
            text,
            lines: Lines::of(text),
            value: Value::Null,
            places: BTreeMap::from([(String::new(), Place { key: 0..0, value: 0..0 })]),
            reported: HashSet::new(),
            problems: Vec::new(),
        };
        document.value = document.table("", tree.get_ref(), env);
        Ok(document)
    }

    /// Notes a problem with the value at `pointer`, unless there already is one.
    pub(super) fn report(
        &mut self,
        pointer: &str,
        at: At,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        if self.reported.insert(pointer.to_owned()) {
            let span = self.span(pointer, at);
            self.problems.push(Problem { span, message: message.into(), remedy: remedy.into() });
        }
    }

    /// Makes sure that nothing more is said about `pointer`: a problem elsewhere covers it.
    pub(super) fn settle(&mut self, pointer: &str) {
        self.reported.insert(pointer.to_owned());
    }

    /// Whether the value at `pointer` has a problem, so that it is not what the operator meant.
    pub(super) fn is_reported(&self, pointer: &str) -> bool {
        self.reported.contains(pointer)
    }

    /// The line of `pointer`'s key, or of what holds it, counted from 1.
    pub(super) fn line(&self, pointer: &str) -> usize {
        self.lines.line_of(self.span(pointer, At::Key).start)
    }

    /// `pointer`, if it is there, and everything below it, with their lines.
    pub(super) fn lines_within(&self, pointer: &str) -> impl Iterator<Item = (&str, usize)> {
        let inside = move |place: &&String| {
            place.strip_prefix(pointer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let places = self.places.range(pointer.to_owned()..).map(|(place, _)| place);
        let places = places.take_while(move |place| place.starts_with(pointer)).filter(inside);
        places.map(|place| (place.as_str(), self.line(place)))
    }

    fn span(&self, pointer: &str, at: At) -> Range<usize> {
        let mut pointer = pointer;
        loop {
            match (self.places.get(pointer), at) {
                (Some(place), At::Key) => return place.key.clone(),
                (Some(place), At::Value) => return place.value.clone(),
                (None, _) => pointer = pointer.rsplit_once('/').map_or("", |(parent, _)| parent),
            }
        }
    }

    fn table(&mut self, pointer: &str, table: &DeTable, env: &dyn Fn(&str) -> Option<String>) -> Value {
        let mut map = Map::new();
        for (key, value) in table {
            let below = join(pointer, key.get_ref());
            self.places.insert(below.clone(), Place { key: key.span(), value: value.span() });
            map.insert(key.get_ref().to_string(), self.value(&below, value, env));
        }
        Value::Object(map)
    }

    fn value(
        &mut self,
        pointer: &str,
        value: &Spanned<DeValue>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Value {
        match value.get_ref() {
            DeValue::String(string) => Value::String(self.string(pointer, string, value.span(), env)),
            DeValue::Integer(integer) => self.integer(pointer, integer),
            DeValue::Float(float) => {
                // A plain `parse` turns an exponent that is too large into infinity, which JSON cannot hold either.
                let number = float.as_str().parse().ok().and_then(Number::from_f64);
                number.map(Value::Number).unwrap_or_else(|| {
                    let message = format!("`{}` is not a finite number", float.as_str());
                    self.report(pointer, At::Value, message, "write a finite one");
                    Value::from(0.0)
                })
            }
            DeValue::Boolean(boolean) => Value::Bool(*boolean),
            DeValue::Datetime(datetime) => Value::String(datetime.to_string()),
            DeValue::Array(array) => {
                let entries = array.iter().enumerate().map(|(index, entry)| {
                    let below = join(pointer, &index.to_string());
                    self.places.insert(below.clone(), Place { key: entry.span(), value: entry.span() });
                    self.value(&below, entry, env)
                });
                Value::Array(entries.collect())
            }
            DeValue::Table(table) => self.table(pointer, table, env),
        }
    }

    fn integer(&mut self, pointer: &str, integer: &DeInteger) -> Value {
        let (digits, radix) = (integer.as_str(), integer.radix());
        let signed = i64::from_str_radix(digits, radix).map(Value::from);
        signed.or_else(|_| u64::from_str_radix(digits, radix).map(Value::from)).unwrap_or_else(|_| {
            let message = format!("{} does not fit into 64 bits", quoted(digits));
            self.report(pointer, At::Value, message, "write a smaller number, or a string");
            Value::from(0)
        })
    }

    fn string(
        &mut self,
        pointer: &str,
        string: &str,
        span: Range<usize>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> String {
        let bad = match replace_variables(string, env) {
            Ok(replaced) => return replaced,
            Err(bad) => bad,
        };
        let mut from = span.start;
        for bad in bad {
            // A reference is found as written unless part of it is an escape such as `\u0024`.
            let found = self.text[from..span.end].find(&bad.reference);
            let place = found.map_or(span.clone(), |at| from + at..from + at + bad.reference.len());
            if found.is_some() {
                from = place.end;
            }
            self.problems.push(Problem { span: place, message: bad.message, remedy: bad.remedy });
        }
        self.settle(pointer);
        string.to_owned()
    }
}

/// The JSON pointer of `key` in what `pointer` points to.
pub(super) fn join(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}
