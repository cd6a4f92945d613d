//! The log as people at a terminal read it.
//!
//! A call is one short line, `20:00:00Z INFO  greet/echoHai ok 1.2 ms  rest  key:ci  req 0198…`; anything else is its message, and
//! then what is known as `key=value`. Times are UTC, as everywhere else, and say so.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    time::SystemTime,
};

use tracing::{
    Level, Metadata,
    field::{Field, Visit},
};

use super::{
    lines::{self, Escape, Escaped, PLUGIN, PLUGIN_FIELDS},
    time::rfc_3339_micros,
};

/// What the gateway says of itself has targets that begin so.
const OWN: [&str; 2] = ["host", "gateway"];

/// An event, taken apart.
#[derive(Default)]
pub(super) struct Text {
    message: String,
    /// In the event's order, less what a line has in a place of its own.
    fields: Vec<(Cow<'static, str>, String)>,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }
}

/// Writes into a line.
struct Line<'a> {
    line: &'a mut Vec<u8>,
    is_coloured: bool,
}

/// Terminals' numbers of the looks that a line uses.
#[derive(Debug, Clone, Copy)]
enum Look {
    Plain = 0,
    Bold = 1,
    Dim = 2,
    Red = 31,
    Green = 32,
    Yellow = 33,
    Blue = 34,
}

impl Line<'_> {
    /// Appends `text`, which may be anybody's.
    fn put(&mut self, look: Look, text: impl fmt::Display) {
        let is_coloured = self.is_coloured && !matches!(look, Look::Plain);
        // Memory takes all of it; a value that cannot be formatted ends where it cannot.
        if is_coloured {
            self.line.extend_from_slice(format!("\x1b[{}m", look as u8).as_bytes());
        }
        let _ = write!(Escaped { line: self.line, escape: Escape::Controls }, "{text}");
        if is_coloured {
            self.line.extend_from_slice(b"\x1b[0m");
        }
    }

    fn space(&mut self) {
        self.line.extend_from_slice(b"  ");
    }
}

impl Text {
    fn put(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            _ => self.fields.push((lines::name(field).into(), value)),
        }
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.fields.iter().position(|(field, _)| field == name)?;
        Some(self.fields.remove(at).1)
    }

    /// Appends the line.
    pub(super) fn write(
        mut self,
        metadata: &Metadata<'_>,
        time: SystemTime,
        is_coloured: bool,
        line: &mut Vec<u8>,
    ) {
        let mut line = Line { line, is_coloured };
        let time = rfc_3339_micros(time);
        line.put(Look::Dim, format_args!("{}Z", String::from_utf8_lossy(&time[11..19])));
        let look = match *metadata.level() {
            Level::ERROR => Look::Red,
            Level::WARN => Look::Yellow,
            Level::INFO => Look::Green,
            _ => Look::Blue,
        };
        line.put(Look::Plain, " ");
        line.put(look, format_args!("{:5}", lines::level(*metadata.level())));
        line.put(Look::Plain, " ");
        if matches!(&*self.message, "call finished" | "call refused")
            && self.fields.iter().any(|(name, _)| name == "outcome")
        {
            self.call(&mut line);
        } else if metadata.target() == PLUGIN {
            self.plugin(&mut line);
        } else {
            let krate = metadata.target().split("::").next().unwrap_or_default();
            if !OWN.contains(&krate) {
                line.put(Look::Dim, format_args!("{}: ", metadata.target()));
            }
            line.put(Look::Plain, &self.message);
        }
        self.rest(&mut line);
    }

    /// What was called, how it ended, how long it took, and who called.
    fn call(&mut self, line: &mut Line<'_>) {
        line.put(Look::Bold, self.subject());
        let outcome = self.take("outcome").unwrap_or_default();
        let look = match &*outcome {
            "ok" => Look::Green,
            "cancelled" | "input_required" => Look::Yellow,
            _ => Look::Red,
        };
        line.put(Look::Plain, " ");
        line.put(look, outcome);
        if let Some(ms) = self.take("elapsed_ms").and_then(|ms| ms.parse::<f64>().ok()) {
            match ms {
                ..10_000.0 => line.put(Look::Plain, format_args!(" {ms:.1} ms")),
                ms => line.put(Look::Plain, format_args!(" {:.1} s", ms / 1000.0)),
            }
        }
        for name in ["door", "principal"] {
            if let Some(value) = self.take(name) {
                line.space();
                line.put(Look::Plain, value);
            }
        }
    }

    /// Whose words these are, and during which call.
    fn plugin(&mut self, line: &mut Line<'_>) {
        line.put(Look::Bold, self.subject());
        if let Some(from) = self.take("from").filter(|from| !from.is_empty()) {
            line.put(Look::Dim, format_args!(" {from}"));
        }
        line.put(Look::Plain, ": ");
        line.put(Look::Plain, &self.message);
        for (name, value) in
            self.take(PLUGIN_FIELDS).and_then(|text| lines::plugin_fields(&text)).into_iter().flatten()
        {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            pair(line, &name, &value);
        }
    }

    /// `greet/echoHai` for a tool, `greet prompts/get hello` for another method, else the server's name.
    fn subject(&mut self) -> String {
        let server = self.take("server").unwrap_or_default();
        if let Some(tool) = self.take("tool") {
            return format!("{server}/{tool}");
        }
        let named = [Some(server), self.take("method"), self.take("subject")];
        named.into_iter().flatten().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(" ")
    }

    /// What has no place of its own, and at last the request.
    fn rest(mut self, line: &mut Line<'_>) {
        let request = self.take("request_id");
        self.fields.iter().for_each(|(name, value)| pair(line, name, value));
        if let Some(id) = request {
            line.space();
            line.put(Look::Dim, format_args!("req {id}"));
        }
    }
}

fn pair(line: &mut Line<'_>, name: &str, value: &str) {
    line.space();
    line.put(Look::Dim, format_args!("{name}="));
    let is_word = |text: &str| !text.is_empty() && !text.contains([' ', '"', '=']);
    match value {
        word if is_word(word) => line.put(Look::Plain, word),
        // In quotes, so that nothing in it looks like another pair.
        text => lines::quoted(line.line, text),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use crate::observe::lines::{Form, tests::lines};

    fn text(logs: impl FnOnce()) -> String {
        let line = lines(Form::Text { is_coloured: false }, logs);
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        line.trim_end().to_owned()
    }

    #[test]
    fn a_call_is_one_short_line() {
        let (server, request_id, none) = ("greet", "0198", None::<bool>);
        let tool = |outcome, elapsed_ms: f64, taken: Option<bool>| {
            text(|| {
                tracing::info!(
                    server,
                    tool = "echoHai",
                    door = "rest",
                    outcome,
                    principal = "key:ci",
                    taken,
                    elapsed_ms,
                    request_id,
                    "call finished"
                );
            })
        };
        assert_snapshot!(tool("ok", 1.234, none), @"20:00:00Z INFO  greet/echoHai ok 1.2 ms  rest  key:ci  req 0198");
        assert_snapshot!(tool("tool_timeout", 30_012.0, Some(false)), @"20:00:00Z INFO  greet/echoHai tool_timeout 30.0 s  rest  key:ci  taken=false  req 0198");
        let prompt = text(|| {
            tracing::info!(
                server,
                method = "prompts/get",
                subject = "hello",
                door = "mcp",
                outcome = "ok",
                elapsed_ms = 0.5,
                request_id,
                "call finished"
            );
        });
        assert_snapshot!(prompt, @"20:00:00Z INFO  greet prompts/get hello ok 0.5 ms  mcp  req 0198");
    }

    #[test]
    fn anything_else_is_its_message_and_what_is_known() {
        let loaded = text(|| tracing::info!(server = "greet", tools = 1, path = "a b", "server loaded"));
        assert_snapshot!(loaded, @r#"20:00:00Z INFO  server loaded  server=greet  tools=1  path="a b""#);
        let foreign = text(|| tracing::warn!(target: "rmcp::service", "odd"));
        assert_snapshot!(foreign, @"20:00:00Z WARN  rmcp::service: odd");
        let plugin = text(|| {
            let fields = r#"{"user":"Ada","n":[1]}"#;
            tracing::debug!(target: "gateway::plugin", server = "greet", tool = "echoHai", from = "greet::hai", fields, request_id = "0198", "hi");
        });
        assert_snapshot!(plugin, @"20:00:00Z DEBUG greet/echoHai greet::hai: hi  user=Ada  n=[1]  req 0198");
    }

    #[test]
    fn nothing_in_a_line_ends_it_or_speaks_to_a_terminal() {
        let forged = text(|| tracing::info!(tool = "a\n\u{9b}31m", "b\n20:00:00Z ERROR \u{1b}[2J\"c\\"));
        assert_snapshot!(forged, @r#"20:00:00Z INFO  b\n20:00:00Z ERROR \u001b[2J"c\  tool=a\n\u009b31m"#);
        let coloured = lines(Form::Text { is_coloured: true }, || tracing::error!(a = "\u{1b}[0m", "m"));
        assert_eq!(
            coloured,
            "\u{1b}[2m20:00:00Z\u{1b}[0m \u{1b}[31mERROR\u{1b}[0m m  \u{1b}[2ma=\u{1b}[0m\\u001b[0m\n"
        );
    }
}
