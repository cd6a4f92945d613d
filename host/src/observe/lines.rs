//! Writes each event of the log as one line on stderr.
//!
//! In:   the events that the filter lets through, those of plugins among them.
//! Out:  one `write` for each, of one line: whoever made the event, nothing in it ends the line or speaks to a terminal.
//! Never: panics because stderr is gone. It may be called from a destructor of a plugin's thread, where that ends the
//! process, and where this thread's own buffer may be gone, too.

use std::{
    cell::Cell,
    fmt::{self, Write as _},
    io::{self, Write as _},
    time::SystemTime,
};

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

use super::{text::Text, time::rfc_3339_micros};

/// The target of what plugins log, whose field [`PLUGIN_FIELDS`] is JSON.
pub(crate) const PLUGIN: &str = "gateway::plugin";
/// What a plugin gave with its message: a JSON object, as text.
pub(super) const PLUGIN_FIELDS: &str = "fields";

/// A buffer that has grown beyond this is not kept for the next line.
const KEPT_MAX: usize = 64 << 10;

thread_local! {
    static LINE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A JSON object, for programs.
    Json,
    /// For people.
    Text {
        /// Whether colours are understood.
        is_coloured: bool,
    },
}

/// The layer that writes.
#[derive(Debug)]
pub(super) struct Lines(pub(super) Form);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // Taken out: an event that a value's formatting causes finds another, empty one.
        let mut line = LINE.try_with(Cell::take).unwrap_or_default();
        self.0.write(event, SystemTime::now(), &mut line);
        // Who reads it may be gone, and nobody else can be told.
        let _ = io::stderr().write_all(&line);
        line.clear();
        if line.capacity() <= KEPT_MAX {
            let _ = LINE.try_with(|kept| kept.set(line));
        }
    }
}

impl Form {
    /// Appends the line of `event`, with its end.
    fn write(self, event: &Event<'_>, time: SystemTime, line: &mut Vec<u8>) {
        match self {
            Self::Json => json(event, time, line),
            Self::Text { is_coloured } => {
                let mut text = Text::default();
                event.record(&mut text);
                text.write(event.metadata(), time, is_coloured, line);
            }
        }
        line.push(b'\n');
    }
}

/// Members in this order: `timestamp`, `level`, `message`, the event's fields, `target`.
fn json(event: &Event<'_>, time: SystemTime, line: &mut Vec<u8>) {
    let metadata = event.metadata();
    line.extend_from_slice(b"{\"timestamp\":\"");
    line.extend_from_slice(&rfc_3339_micros(time));
    line.extend_from_slice(b"\",\"level\":\"");
    line.extend_from_slice(level(*metadata.level()).as_bytes());
    line.push(b'"');
    // The macros of `tracing` put the message first.
    event.record(&mut Members { line, is_plugins: metadata.target() == PLUGIN });
    line.extend_from_slice(b",\"target\":");
    quoted(line, metadata.target());
    line.push(b'}');
}

pub(super) fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARN",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "TRACE",
    }
}

/// The fields of an event, as members of its object.
struct Members<'a> {
    line: &'a mut Vec<u8>,
    is_plugins: bool,
}

impl Members<'_> {
    fn name(&mut self, field: &Field) {
        self.line.extend_from_slice(b",\"");
        // Two members of one name are read as either, so that one of them could hide what the log says itself.
        if matches!(field.name(), "timestamp" | "level" | "target") {
            self.line.extend_from_slice(b"field_");
        }
        escape(self.line, Escape::Json, name(field));
        self.line.extend_from_slice(b"\":");
    }

    fn value(&mut self, field: &Field, value: impl Serialize) {
        self.name(field);
        // Numbers and truth values are JSON, and memory takes them.
        let _ = serde_json::to_writer(&mut *self.line, &value);
    }
}

impl Visit for Members<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if self.is_plugins && field.name() == PLUGIN_FIELDS {
            if let Some(fields) = plugin_fields(value) {
                self.name(field);
                tree(self.line, &Value::Object(fields));
            }
            return;
        }
        self.name(field);
        quoted(self.line, value);
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.name(field);
        self.line.push(b'"');
        // Memory takes it; a value that cannot be formatted ends where it cannot.
        let _ = write!(Escaped { line: self.line, escape: Escape::Json }, "{value:?}");
        self.line.push(b'"');
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.value(field, value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.value(field, value);
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.value(field, value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.value(field, value);
    }
}

/// A field's name as it was meant: `r#type` is how Rust has to write `type`.
pub(super) fn name(field: &Field) -> &'static str {
    field.name().strip_prefix("r#").unwrap_or(field.name())
}

/// What a plugin gave with its message. `None`: nothing, or nothing that it should have.
pub(super) fn plugin_fields(text: &str) -> Option<Map<String, Value>> {
    // Most give nothing, and then there is no need to parse.
    let has_some = !matches!(text, "" | "{}");
    let fields: Option<Map<String, Value>> = has_some.then(|| serde_json::from_str(text).ok()).flatten();
    fields.filter(|fields| !fields.is_empty())
}

/// JSON of a plugin's own making, written anew so that it is on one line and says nothing to a terminal.
pub(super) fn tree(line: &mut Vec<u8>, value: &Value) {
    match value {
        Value::String(text) => quoted(line, text),
        Value::Array(items) => {
            line.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    line.push(b',');
                }
                tree(line, item);
            }
            line.push(b']');
        }
        Value::Object(members) => {
            line.push(b'{');
            for (at, (name, value)) in members.iter().enumerate() {
                if at > 0 {
                    line.push(b',');
                }
                quoted(line, name);
                line.push(b':');
                tree(line, value);
            }
            line.push(b'}');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            // Memory takes it.
            let _ = write!(line, "{value}");
        }
    }
}

/// Appends `text` as a JSON string.
pub(super) fn quoted(line: &mut Vec<u8>, text: &str) {
    line.push(b'"');
    escape(line, Escape::Json, text);
    line.push(b'"');
}

/// What is escaped, beside control characters: those would end the line, or speak to a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escape {
    /// Quotes and backslashes.
    Json,
    /// Nothing else.
    Controls,
}

/// Escapes what is formatted into it.
pub(super) struct Escaped<'a> {
    pub(super) line: &'a mut Vec<u8>,
    pub(super) escape: Escape,
}

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(self.line, self.escape, text);
        Ok(())
    }
}

/// Which bytes may have to be escaped: a look at a table for each of them is the whole cost of a text that has none.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        special[byte] = true;
        byte += 1;
    }
    special[b'"' as usize] = true;
    special[b'\\' as usize] = true;
    special[0x7f] = true;
    // UTF-8 begins U+0080 to U+00BF with it, the first half of which are controls.
    special[0xc2] = true;
    special
};

/// Appends `text` without control characters, be they of ASCII or of those beyond it that terminals obey too.
pub(super) fn escape(line: &mut Vec<u8>, escape: Escape, text: &str) {
    // `from..` is to be appended, and `at..` not yet looked at.
    let (bytes, mut from, mut at) = (text.as_bytes(), 0, 0);
    while let Some(next) = bytes[at..].iter().position(|byte| SPECIAL[usize::from(*byte)]) {
        let found = at + next;
        at = found + 1;
        let code = match bytes[found] {
            0xc2 => match bytes.get(at) {
                Some(second @ 0x80..=0x9f) => *second,
                _ => continue,
            },
            b'"' | b'\\' if escape == Escape::Controls => continue,
            byte => byte,
        };
        line.extend_from_slice(&bytes[from..found]);
        at += usize::from(code >= 0x80);
        from = at;
        match code {
            b'"' | b'\\' => line.extend_from_slice(&[b'\\', code]),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            b'\t' => line.extend_from_slice(b"\\t"),
            // Memory takes it.
            _ => drop(write!(line, "\\u{code:04x}")),
        }
    }
    line.extend_from_slice(&bytes[from..]);
}

#[cfg(test)]
pub(super) mod tests {
    use std::{
        sync::{Arc, Mutex},
        time::{Duration, UNIX_EPOCH},
    };

    use insta::assert_snapshot;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// A layer that keeps the lines.
    struct Kept(Form, Arc<Mutex<Vec<u8>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let time = UNIX_EPOCH + Duration::from_micros(1_795_896_000_123_456);
            self.0.write(event, time, &mut self.1.lock().expect("nobody panics"));
        }
    }

    /// The lines of what `logs` logs.
    pub(in crate::observe) fn lines(form: Form, logs: impl FnOnce()) -> String {
        let kept = Arc::default();
        let subscriber = tracing_subscriber::registry().with(Kept(form, Arc::clone(&kept)));
        tracing::subscriber::with_default(subscriber, logs);
        let lines = std::mem::take(&mut *kept.lock().expect("nobody panics"));
        String::from_utf8(lines).expect("text")
    }

    fn json(logs: impl FnOnce()) -> String {
        let line = lines(Form::Json, logs);
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        serde_json::from_str::<Value>(&line).expect("JSON");
        line.trim_end().to_owned()
    }

    #[test]
    fn a_line_is_an_object_whose_members_are_in_their_order() {
        let (server, none) = ("greet", None::<&str>);
        let error = io::Error::other("no \"room\"");
        let line = json(
            || tracing::info!(server, tools = 2, none, %error, is = true, ms = 1.5, after = ?Duration::ZERO, "loaded {}", 1),
        );
        assert_snapshot!(line, @r#"{"timestamp":"2026-11-28T20:00:00.123456Z","level":"INFO","message":"loaded 1","server":"greet","tools":2,"error":"no \"room\"","is":true,"ms":1.5,"after":"0ns","target":"host::observe::lines::tests"}"#);
    }

    #[test]
    fn no_field_takes_the_place_of_what_the_log_says_itself() {
        let line =
            json(|| tracing::warn!(level = "INFO", timestamp = 1, target = "else", r#type = f64::NAN, "m"));
        assert_snapshot!(line, @r#"{"timestamp":"2026-11-28T20:00:00.123456Z","level":"WARN","message":"m","field_level":"INFO","field_timestamp":1,"field_target":"else","type":null,"target":"host::observe::lines::tests"}"#);
    }

    #[test]
    fn what_a_plugin_gives_with_its_message_is_an_object_in_its_place() {
        let check = |fields: &str, expected: &str| {
            let line = json(|| tracing::info!(target: "gateway::plugin", fields, "m"));
            let told = line.split_once("\"m\"").map(|(_, told)| told);
            assert_eq!(told, Some(&*format!("{expected},\"target\":\"gateway::plugin\"}}")), "{fields}");
        };
        check("{}", "");
        check("", "");
        check("[1]", "");
        check("{\"a\": [1, null,\n \"\u{9b}\\u001b\"]}", r#","fields":{"a":[1,null,"\u009b\u001b"]}"#);
        check("{\"level\": \"ERROR\"} {", "");
    }

    #[test]
    fn nothing_in_a_line_ends_it_or_speaks_to_a_terminal() {
        let check = |text: &str, expected: &str| {
            let line = json(|| tracing::info!(text, debug = %text, "{text}"));
            assert_eq!(line.matches(expected).count(), 3, "{line}");
            let back: Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!((&back["text"], &back["debug"]), (&text.into(), &text.into()));
            assert_eq!(back["message"], text);
        };
        check("a\"}\n{\"level\":\"ERROR\"\r\\", r#""a\"}\n{\"level\":\"ERROR\"\r\\""#);
        check("\u{1b}[31m \u{7f}\u{0}\t", r#""\u001b[31m \u007f\u0000\t""#);
        check("\u{85}\u{9b}31m \u{a0}é\u{c2}", "\"\\u0085\\u009b31m \u{a0}é\u{c2}\"");
    }
}
