//! What a line of the audit log says. Its members and their order are for programs to rely on.

use std::{
    borrow::Cow,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use serde::Serialize;

use crate::{config::Digest, observe::rfc_3339_millis, trace::TraceId};

/// Most lines are shorter, in bytes.
const USUAL_LENGTH: usize = 512;

/// Longest text of a member. Names that clients send may be as long as a body.
const TEXT_MAX_CHARS: usize = 256;

/// One call, or one refusal. What is not known is left out.
#[derive(Debug, Clone, Copy)]
pub(in crate::serve) struct Line<'a> {
    /// When it ended.
    pub(in crate::serve) time: SystemTime,
    /// As in the log and in the answer.
    pub(in crate::serve) request_id: &'a str,
    /// The trace it belongs to, as in the log.
    pub(in crate::serve) trace_id: Option<TraceId>,
    /// What happened.
    pub(in crate::serve) event: Event,
    /// Who called, e.g. `key:ci`, `anonymous`.
    pub(in crate::serve) principal: &'a str,
    /// Where from.
    pub(in crate::serve) address: Option<IpAddr>,
    /// By which door: `mcp`, `rest` or `http`.
    pub(in crate::serve) door: &'static str,
    /// Which server.
    pub(in crate::serve) server: Option<&'a str>,
    /// Which method of MCP.
    pub(in crate::serve) method: Option<&'a str>,
    /// Which tool.
    pub(in crate::serve) tool: Option<&'a str>,
    /// What another method was about: a prompt's name, a resource's URI.
    pub(in crate::serve) subject: Option<&'a str>,
    /// Of the arguments as they were sent; of `{}` if there were none, or if they were not read because there is no such tool.
    /// Says whether two calls were the same, and not what they were.
    pub(in crate::serve) arguments_sha256: Option<Digest>,
    /// `ok`, `tool_error`, `cancelled`, or the code of a problem.
    pub(in crate::serve) outcome: &'a str,
    /// How long it took.
    pub(in crate::serve) elapsed: Duration,
}

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::serve) enum Event {
    /// A call was made.
    Call,
    /// A request was refused before it was a call.
    Refused,
    /// `lines` lines before this one are missing.
    Lost,
}

/// Lines that are missing.
pub(super) struct Lost {
    pub(super) time: SystemTime,
    lines: u64,
}

impl Line<'_> {
    pub(super) fn to_json(self) -> Vec<u8> {
        let mut members = Members::new();
        members.plain("time", &rfc_3339_millis(self.time));
        members.text("request_id", self.request_id);
        if let Some(trace_id) = self.trace_id {
            members.plain("trace_id", trace_id.to_string().as_bytes());
        }
        members.plain("event", self.event.name());
        members.text("principal", self.principal);
        if let Some(address) = self.address {
            members.value("address", &address);
        }
        members.text("door", self.door);
        let named = [
            ("server", self.server),
            ("method", self.method),
            ("tool", self.tool),
            ("subject", self.subject),
        ];
        for (name, text) in named {
            if let Some(text) = text {
                members.text(name, text);
            }
        }
        if let Some(digest) = self.arguments_sha256 {
            members.plain("arguments_sha256", &digest.digits());
        }
        members.text("outcome", self.outcome);
        members.value("elapsed_ms", &(self.elapsed.as_micros() as f64 / 1000.0));
        members.end()
    }
}

impl Lost {
    pub(super) fn new(time: SystemTime, lines: u64) -> Self {
        Self { time, lines }
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        let mut members = Members::new();
        members.plain("time", &rfc_3339_millis(self.time));
        members.plain("event", Event::Lost.name());
        members.value("lines", &self.lines);
        members.end()
    }
}

impl Event {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Call => b"call",
            Self::Refused => b"refused",
            Self::Lost => b"lost",
        }
    }
}

/// A JSON object as it is written. There is one for every call, and a derived `Serialize` takes three times as long: it looks
/// for something to escape in names and digits, too.
struct Members(Vec<u8>);

impl Members {
    fn new() -> Self {
        Self(Vec::with_capacity(USUAL_LENGTH))
    }

    fn name(&mut self, name: &str) {
        self.0.extend_from_slice(if self.0.is_empty() { b"{\"" } else { b",\"" });
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    /// Of the gateway's own letters and digits, none of which JSON escapes.
    fn plain(&mut self, name: &str, text: &[u8]) {
        self.name(name);
        self.0.push(b'"');
        self.0.extend_from_slice(text);
        self.0.push(b'"');
    }

    /// Of anybody's making.
    fn text(&mut self, name: &str, text: &str) {
        self.value(name, &cut(text));
    }

    fn value(&mut self, name: &str, value: &impl Serialize) {
        self.name(name);
        serde_json::to_writer(&mut self.0, value).expect("texts and numbers are JSON, and memory takes them");
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }
}

fn cut(text: &str) -> Cow<'_, str> {
    // The number of bytes decides almost always, at once.
    if text.len() <= TEXT_MAX_CHARS || text.chars().count() <= TEXT_MAX_CHARS {
        return text.into();
    }
    let end = text.char_indices().nth(TEXT_MAX_CHARS - 1).map_or(text.len(), |(at, _)| at);
    format!("{}…", &text[..end]).into()
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::UNIX_EPOCH;

    use insta::assert_snapshot;

    use super::*;

    pub(in crate::serve::audit) fn line(request_id: &str) -> Line<'_> {
        Line {
            time: UNIX_EPOCH + Duration::from_millis(1_795_896_000_123),
            request_id,
            trace_id: None,
            event: Event::Call,
            principal: "key:ci",
            address: None,
            door: "mcp",
            server: None,
            method: None,
            tool: None,
            subject: None,
            arguments_sha256: None,
            outcome: "ok",
            elapsed: Duration::from_micros(1_500),
        }
    }

    fn json(line: Line<'_>) -> String {
        String::from_utf8(line.to_json()).expect("JSON is text")
    }

    #[test]
    fn members_come_in_their_order_and_what_is_not_known_is_left_out() {
        let full = Line {
            trace_id: TraceId::from_hex("4bf92f3577b34da6a3ce929d0e0e4736").ok(),
            address: Some([192, 0, 2, 1].into()),
            server: Some("greet"),
            method: Some("tools/call"),
            tool: Some("echoHai"),
            subject: Some("file:///a"),
            arguments_sha256: Some(Digest::of(b"{}")),
            ..line("r1")
        };
        assert_snapshot!(json(full), @r#"{"time":"2026-11-28T20:00:00.123Z","request_id":"r1","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","event":"call","principal":"key:ci","address":"192.0.2.1","door":"mcp","server":"greet","method":"tools/call","tool":"echoHai","subject":"file:///a","arguments_sha256":"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","outcome":"ok","elapsed_ms":1.5}"#);
        let refused = Line { event: Event::Refused, outcome: "unauthorized", door: "http", ..line("r2") };
        assert_snapshot!(json(refused), @r#"{"time":"2026-11-28T20:00:00.123Z","request_id":"r2","event":"refused","principal":"key:ci","door":"http","outcome":"unauthorized","elapsed_ms":1.5}"#);
        let lost = Lost::new(line("").time, 3).to_json();
        assert_snapshot!(String::from_utf8(lost).expect("JSON is text"), @r#"{"time":"2026-11-28T20:00:00.123Z","event":"lost","lines":3}"#);
    }

    #[test]
    fn texts_are_cut_and_stay_on_their_line() {
        let whole = "é".repeat(256);
        assert!(json(Line { tool: Some(&whole), ..line("r") }).contains(&format!("\"{whole}\"")));
        let long = "é".repeat(257);
        let cut = format!("\"{}…\"", "é".repeat(255));
        let every = Line {
            principal: &long,
            server: Some(&long),
            method: Some(&long),
            tool: Some(&long),
            subject: Some(&long),
            outcome: &long,
            ..line(&long)
        };
        assert_eq!(json(every).matches(&cut).count(), 7);
        assert!(!json(every).contains(&long));
        let forged = json(Line { tool: Some("a\"}\n{\"event\":\"call\"\r\u{0}"), ..line("r") });
        assert!(forged.contains(r#""tool":"a\"}\n{\"event\":\"call\"\r\u0000""#) && !forged.contains('\n'));
    }
}
