//! What a call leaves with its client between two rounds, so that any replica can go on with it.
//!
//! In:   the answers so far, the plugin's state, and what they belong to.
//! Out:  an opaque text that only this gateway, or one with the same secret, takes back: unchanged, for the same
//!       server, principal, method and parameters, and for ten minutes.
//!       A secret that has been replaced is good for as long again.
//! Never: hides anything: what is sealed is signed, not encrypted. It came from that client or is meant for it.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use rmcp::{
    ErrorData,
    model::{RequestStateCodec, RequestStateError, SealOptions},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{config::Secret, load::ClientAnswer};

/// How long a client may take for one round.
const LIFETIME: Duration = Duration::from_secs(10 * 60);

/// Signs what clients carry. One for each gateway.
#[derive(Debug)]
pub struct Sealer(ArcSwap<Codecs>);

#[derive(Debug)]
struct Codecs {
    current: Arc<RequestStateCodec>,
    /// Of before the last change of the secret, and when that was.
    previous: Option<(Arc<RequestStateCodec>, Instant)>,
}

/// What sealed text belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Binding<'a> {
    pub(super) server: &'a str,
    pub(super) principal: &'a str,
    pub(super) method: &'a str,
    /// Without `_meta`, `inputResponses` and `requestState`.
    pub(super) params: &'a Value,
}

/// What travels.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Carried {
    /// By key of the question.
    pub(super) answers: BTreeMap<String, ClientAnswer>,
    /// What the plugin kept.
    pub(super) state: Option<Value>,
}

impl Carried {
    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty() && self.state.is_none()
    }
}

impl Sealer {
    /// Signs with `secret`, which replicas share, or with a random one that no other process knows.
    pub fn new(secret: Option<&Secret>) -> Self {
        Self(ArcSwap::from_pointee(Codecs { current: codec(secret), previous: None }))
    }

    /// Signs with another secret from now on.
    pub fn change(&self, secret: Option<&Secret>) {
        let previous = Some((self.0.load().current.clone(), Instant::now()));
        self.0.store(Arc::new(Codecs { current: codec(secret), previous }));
    }

    pub(super) fn seal(&self, binding: Binding<'_>, carried: &Carried) -> String {
        let payload = serde_json::to_vec(carried).expect("answers and state are JSON");
        let binding = binding.text();
        let options = SealOptions::new().associated_data(binding.as_bytes()).ttl(LIFETIME);
        self.0.load().current.seal_with(&payload, &options)
    }

    pub(super) fn open(&self, binding: Binding<'_>, sealed: &str) -> Result<Carried, ErrorData> {
        let (codecs, binding) = (self.0.load(), binding.text());
        let open = |codec: &RequestStateCodec| codec.open_with(sealed, binding.as_bytes());
        // For as long as what was sealed with it may live: it may have been changed because somebody else knows it.
        let previous = codecs.previous.as_ref().filter(|(_, since)| since.elapsed() < LIFETIME);
        let opened = match (open(&codecs.current), previous) {
            (Err(error), Some((previous, _))) => open(previous).map_err(|_| error),
            (opened, _) => opened,
        };
        let opened = opened.map_err(|error| match error {
            RequestStateError::Expired => refused("`requestState` has expired; start the call again"),
            _ => refused(
                "`requestState` is not one of this server's for this request; send it back unchanged, with the \
                 same parameters",
            ),
        })?;
        serde_json::from_slice(&opened).map_err(|_| refused("`requestState` is of another gateway version"))
    }
}

fn codec(secret: Option<&Secret>) -> Arc<RequestStateCodec> {
    let key = match secret {
        Some(secret) => secret.reveal().as_bytes().to_vec(),
        // 366 random bits, from the system.
        None => (0..3).flat_map(|_| Uuid::new_v4().into_bytes()).collect(),
    };
    Arc::new(RequestStateCodec::try_new(key).expect("`Secret::LEAST` and 48 bytes are enough for it"))
}

fn refused(text: &'static str) -> ErrorData {
    ErrorData::invalid_params(text, None)
}

impl Binding<'_> {
    /// The same for the same request, however the client writes its JSON.
    fn text(&self) -> String {
        let mut text = String::new();
        for part in [self.server, self.principal, self.method] {
            // Quoted, so that no part can pass for two. Writing into a string cannot fail.
            let _ = write!(text, "{},", Value::from(part));
        }
        write_sorted(self.params, &mut text);
        text
    }
}

/// `value` as JSON with the members of its objects in order.
fn write_sorted(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<_, _> = members.iter().collect();
            out.push('{');
            for (name, value) in sorted {
                let _ = write!(out, "{}:", Value::from(name.as_str()));
                write_sorted(value, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                write_sorted(item, out);
                out.push(',');
            }
            out.push(']');
        }
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::load::AnswerStatus;

    fn carried() -> Carried {
        let answer = ClientAnswer { status: AnswerStatus::Accepted, value: json!({ "action": "accept" }) };
        Carried { answers: BTreeMap::from([("name".into(), answer)]), state: Some(json!({ "step": 2 })) }
    }

    fn binding<'a>(principal: &'a str, method: &'a str, params: &'a Value) -> Binding<'a> {
        Binding { server: "s", principal, method, params }
    }

    #[test]
    fn what_was_sealed_is_taken_back_for_the_same_request_only() {
        let sealer = Sealer::new(None);
        let params = json!({ "name": "t", "arguments": { "a": [1, { "x": 1, "y": 2 }], "b": 2 } });
        let same = json!({ "arguments": { "b": 2, "a": [1, { "y": 2, "x": 1 }] }, "name": "t" });
        let sealed = sealer.seal(binding("p", "tools/call", &params), &carried());
        let opened = sealer.open(binding("p", "tools/call", &same), &sealed);
        assert_eq!(opened.expect("it is the same request"), carried());

        let other = json!({ "name": "t", "arguments": { "a": [1, { "x": 1, "y": 2 }], "b": 3 } });
        let (first, rest) = sealed.split_at(20);
        let tampered = format!("{first}{}{}", if rest.starts_with('A') { "B" } else { "A" }, &rest[1..]);
        for (binding, sealed) in [
            (binding("p", "tools/call", &other), &sealed),
            (binding("q", "tools/call", &params), &sealed),
            (binding("p", "prompts/get", &params), &sealed),
            (Binding { server: "t", ..binding("p", "tools/call", &params) }, &sealed),
            (binding("p", "tools/call", &params), &tampered),
            (binding("p", "tools/call", &params), &String::from("nonsense")),
        ] {
            let error = sealer.open(binding, sealed).expect_err("it is another");
            assert_eq!(error.code.0, -32602);
        }
        let another = Sealer::new(None);
        assert!(another.open(binding("p", "tools/call", &params), &sealed).is_err());
        sealer.change(None);
        assert!(sealer.open(binding("p", "tools/call", &params), &sealed).is_ok(), "rounds under way go on");
        sealer.change(None);
        assert!(sealer.open(binding("p", "tools/call", &params), &sealed).is_err());
    }

    #[test]
    fn what_has_expired_is_refused_as_such() {
        let sealer = Sealer::new(None);
        let params = json!({});
        let binding = binding("", "m", &params);
        let (text, payload) = (binding.text(), serde_json::to_vec(&carried()).expect("JSON"));
        let options = SealOptions::new().associated_data(text.as_bytes()).ttl(Duration::ZERO);
        let sealed = sealer.0.load().current.seal_with(&payload, &options);
        std::thread::sleep(Duration::from_millis(2));
        let error = sealer.open(binding, &sealed).expect_err("it has expired");
        assert_eq!(
            (error.code.0, &*error.message),
            (-32602, "`requestState` has expired; start the call again")
        );
    }
}
