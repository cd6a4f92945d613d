//! What a plugin says inside a call: the beginning or the end of a span, or an event.
//!
//! In:   one record of the plugin's `tracing`, borrowed.
//! Out:  its fields as attributes, copied and bounded.

use opentelemetry::{KeyValue, Value};
use serde_json::{Map, Value as Json};

/// The least severe level that traces take: 3 is `INFO`.
pub(super) const LEVEL_MAX: u32 = 3;
/// Longest text of an attribute, or of a name, in bytes.
const TEXT_MAX: usize = 1024;
/// Most fields of one record.
const FIELDS_MAX: usize = 32;

/// One record of a plugin's `tracing`.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// What it is about.
    pub kind: Kind,
    /// 1 error … 5 trace.
    pub level: u32,
    /// The span that begins or ends, or the one that the event lies in; 0: none.
    pub span: u64,
    /// The parent of a span that begins; 0: none.
    pub parent: u64,
    /// Usually a module path.
    pub target: &'a str,
    /// The name of a span, the message of an event.
    pub text: &'a str,
    /// A JSON object.
    pub fields: &'a [u8],
}

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A span began.
    Began,
    /// Something happened.
    Event,
    /// A span ended; its fields are all that it ever had.
    Ended,
}

/// Fields of a span or an event.
pub(super) type Fields = Map<String, Json>;

impl Said<'_> {
    /// How much of a call's budget it takes.
    pub(super) fn size(&self) -> usize {
        self.fields.len() + self.text.len() + self.target.len()
    }

    pub(super) fn fields(&self) -> Fields {
        let fields: Fields = serde_json::from_slice(self.fields).unwrap_or_default();
        fields.into_iter().take(FIELDS_MAX).collect()
    }

    /// What is known beside the fields. A field of the same name gives way.
    pub(super) fn origin(&self) -> [KeyValue; 2] {
        let level = match self.level {
            1 => "ERROR",
            2 => "WARN",
            3 => "INFO",
            4 => "DEBUG",
            _ => "TRACE",
        };
        [KeyValue::new("level", level), KeyValue::new("target", cut(self.target))]
    }

    pub(super) fn name(&self) -> String {
        if self.text.is_empty() { "event".to_owned() } else { cut(self.text) }
    }
}

pub(super) fn attributes(fields: Fields) -> impl Iterator<Item = KeyValue> {
    let fields = fields.into_iter().filter(|(name, _)| !["level", "target"].contains(&name.as_str()));
    fields.map(|(name, value)| KeyValue::new(cut(&name), value_of(value)))
}

fn value_of(value: Json) -> Value {
    match value {
        Json::Bool(value) => Value::Bool(value),
        Json::String(text) => Value::String(cut(&text).into()),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::I64(number),
            None if number.is_f64() => number.as_f64().map_or_else(|| Value::String("".into()), Value::F64),
            // Beyond what the protocol's numbers can say.
            None => Value::String(number.to_string().into()),
        },
        other => Value::String(cut(&other.to_string()).into()),
    }
}

/// A text of a plugin's, or a client's, that is not longer than it may be.
pub(super) fn cut(text: &str) -> String {
    if text.len() <= TEXT_MAX {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(TEXT_MAX);
    format!("{}…", &text[..end])
}
