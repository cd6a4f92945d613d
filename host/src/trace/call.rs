//! The span of a call or of a request, and the duration that is measured with it.
//!
//! In:   where it belongs, what it is about, and how it ended.
//! Out:  one SERVER span and one measurement, with the names of the MCP conventions:
//!       <https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/mcp.md>
//! Never: a name, or a label of the metric, that a client could make up.

use std::{net::IpAddr, sync::Arc, time::Instant};

use opentelemetry::{
    Context, KeyValue, TraceId,
    trace::{Link, Span as _, SpanKind, Status, TraceContextExt, Tracer as _},
};
use opentelemetry_sdk::trace::Span;

use super::{Incoming, Inside, export::Export, said::cut};

/// The methods of MCP that a client may ask a server for, or tell it.
pub const METHODS: [&str; 27] = [
    "completion/complete",
    "initialize",
    "logging/setLevel",
    "notifications/cancelled",
    "notifications/initialized",
    "notifications/progress",
    "notifications/roots/list_changed",
    "ping",
    "prompts/get",
    "prompts/list",
    "resources/directory/read",
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "resources/templates/list",
    "resources/unsubscribe",
    "server/discover",
    "skills/get",
    "skills/list",
    "subscriptions/listen",
    "tasks/cancel",
    "tasks/get",
    "tasks/list",
    "tasks/result",
    "tasks/update",
    "tools/call",
    "tools/list",
];

/// As what a method that is none of these is told.
const OTHER: &str = "_OTHER";

/// A method as spans and metrics may be named for it.
pub fn known_method(method: &str) -> &'static str {
    METHODS.into_iter().find(|known| *known == method).unwrap_or(OTHER)
}

/// A call, or a request that is answered without one, as far as traces and metrics have to do with it.
#[derive(Debug, Default)]
pub struct CallTrace(Option<Box<Begun>>);

#[derive(Debug)]
struct Begun {
    began: Instant,
    /// `None`: it belongs to no trace, but is measured.
    inside: Option<Arc<Inside>>,
    about: About,
    /// Where it is sent in the end. `None`: nowhere.
    export: Option<&'static Export>,
}

/// What a call is about.
#[derive(Debug, Default)]
pub struct About {
    /// Its method.
    pub method: &'static str,
    /// Which server.
    pub server: String,
    /// Which loading of it.
    pub generation: Option<u64>,
    /// Which door.
    pub door: &'static str,
    /// The id under which the log speaks of the request.
    pub request_id: String,
    /// A tool, a prompt, a URI: what the method is about.
    pub subject: String,
    /// Whether the server offers that by name: only then spans and metrics may be named for it.
    pub is_offered: bool,
    /// The revision of MCP.
    pub protocol_version: Option<String>,
    /// What stands for the 2025 session; not its id, which may be all that it takes to use it.
    pub session: Option<String>,
    /// The `id` of the JSON-RPC request.
    pub message_id: Option<String>,
    /// Where the client is.
    pub address: Option<IpAddr>,
}

impl CallTrace {
    /// Begins the span of a call of `method`.
    pub fn begin(incoming: &Incoming, method: &'static str) -> Self {
        Self::begin_in(super::export(), incoming, method)
    }

    pub(super) fn begin_in(
        export: Option<&'static Export>,
        incoming: &Incoming,
        method: &'static str,
    ) -> Self {
        let inside = match export.and_then(Export::tracer) {
            Some(tracer) => {
                let mut builder = tracer.span_builder(method).with_kind(SpanKind::Server);
                if let Some(link) = incoming.link() {
                    builder = builder.with_links(vec![Link::new(link.clone(), Vec::new(), 0)]);
                }
                let parent = match incoming.parent() {
                    Some(parent) => Context::new().with_remote_span_context(parent.clone()),
                    None => Context::new(),
                };
                let span = tracer.build_with_context(builder, &parent);
                // Once traces are no longer taken, spans have no place.
                span.span_context().is_valid().then(|| Inside::below(span, tracer))
            }
            None => incoming.parent().map(|parent| Inside::of(parent.clone())),
        };
        let is_measured = export.is_some_and(Export::measures);
        if inside.is_none() && !is_measured {
            return Self(None);
        }
        let (inside, about) = (inside.map(Arc::new), About { method, ..About::default() });
        Self(Some(Box::new(Begun { began: Instant::now(), inside, about, export })))
    }

    /// The trace it belongs to.
    pub fn id(&self) -> Option<TraceId> {
        let inside = self.0.as_ref()?.inside.as_ref()?;
        Some(inside.context().trace_id())
    }

    /// Its inside, for its plugin.
    pub fn inside(&self) -> Option<Arc<Inside>> {
        self.0.as_ref()?.inside.clone()
    }

    /// Whether it goes on, and somebody is going to hear of it.
    pub fn is_heard(&self) -> bool {
        self.0.as_ref().is_some_and(|begun| begun.is_heard())
    }

    /// Says what it is about, if anybody is going to hear of it; what was said before can be added to.
    pub fn about(&mut self, say: impl FnOnce(&mut About)) {
        if let Some(begun) = &mut self.0
            && begun.is_heard()
        {
            say(&mut begun.about);
        }
    }

    /// Ends it, once. `outcome` is the word of the call's log line, or the status of an answer.
    pub fn end(&mut self, outcome: &str) {
        if let Some(begun) = self.0.take() {
            begun.end(outcome);
        }
    }
}

/// Nobody waited for the end.
impl Drop for CallTrace {
    fn drop(&mut self) {
        self.end("cancelled");
    }
}

impl Begun {
    fn is_heard(&self) -> bool {
        let is_recorded = self.inside.as_ref().is_some_and(|inside| inside.is_recorded());
        is_recorded || self.export.is_some_and(Export::measures)
    }

    fn end(self, outcome: &str) {
        let error = (!["ok", "input_required"].contains(&outcome)).then(|| outcome.to_owned());
        if let Some(export) = self.export.filter(|export| export.measures()) {
            export.measure(self.began.elapsed(), &self.labels(error.as_deref()));
        }
        let Some(inside) = &self.inside else { return };
        inside.end(|span| self.describe(span, error));
    }

    /// What the metric is told by.
    fn labels(&self, error: Option<&str>) -> Vec<KeyValue> {
        let about = &self.about;
        let mut labels =
            vec![KeyValue::new("mcp.method.name", about.method), KeyValue::new("network.transport", "tcp")];
        if about.method == "tools/call" {
            labels.push(KeyValue::new("gen_ai.operation.name", "execute_tool"));
        }
        let target = match about.method {
            "tools/call" => Some("gen_ai.tool.name"),
            "prompts/get" => Some("gen_ai.prompt.name"),
            _ => None,
        };
        if let Some(target) = target.filter(|_| about.is_offered) {
            labels.push(KeyValue::new(target, about.subject.clone()));
        }
        if let Some(version) = &about.protocol_version {
            labels.push(KeyValue::new("mcp.protocol.version", version.clone()));
        }
        if let Some(error) = error {
            labels.push(KeyValue::new("error.type", error.to_owned()));
        }
        labels
    }

    fn describe(&self, span: &mut Span, error: Option<String>) {
        let About { method, server, generation, door, request_id, subject, .. } = &self.about;
        if self.about.is_offered {
            span.update_name(format!("{method} {subject}"));
        }
        let mut set = |name: &'static str, value: String| {
            if !value.is_empty() {
                span.set_attribute(KeyValue::new(name, value));
            }
        };
        set("mcp.method.name", (*method).to_owned());
        match *method {
            "tools/call" => {
                set("gen_ai.operation.name", "execute_tool".to_owned());
                set("gen_ai.tool.name", cut(subject));
            }
            "prompts/get" => set("gen_ai.prompt.name", cut(subject)),
            method if method.starts_with("resources/") => set("mcp.resource.uri", cut(&bare(subject))),
            _ => {}
        }
        let told = [
            ("mcp.protocol.version", &self.about.protocol_version),
            ("mcp.session.id", &self.about.session),
            ("jsonrpc.request.id", &self.about.message_id),
        ];
        for (name, value) in told {
            set(name, value.as_deref().map(cut).unwrap_or_default());
        }
        set("network.transport", "tcp".to_owned());
        set("client.address", self.about.address.map(|address| address.to_string()).unwrap_or_default());
        set("gateway.server", server.clone());
        set("gateway.door", (*door).to_owned());
        set("gateway.request_id", request_id.clone());
        if let Some(generation) = generation {
            span.set_attribute(KeyValue::new(
                "gateway.generation",
                i64::try_from(*generation).unwrap_or(i64::MAX),
            ));
        }
        if let Some(error) = error {
            span.set_attribute(KeyValue::new("error.type", error));
            span.set_status(Status::error(""));
        }
    }
}

/// A URI without what may be secret in it: user and password, query and fragment.
fn bare(uri: &str) -> String {
    let uri = uri.find(['?', '#']).map_or(uri, |end| &uri[..end]);
    let Some((scheme, rest)) = uri.split_once("://") else { return uri.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_told_without_what_may_be_secret_in_it() {
        let check = |uri: &str, expected: &str| assert_eq!(bare(uri), expected);
        check("file:///a/b", "file:///a/b");
        check("note:a@b", "note:a@b");
        check("https://ada:s3cret@host:1/a@b?key=s3cret#s3cret", "https://host:1/a@b");
        check("db://host#s3cret?", "db://host");
        check("", "");
    }
}
