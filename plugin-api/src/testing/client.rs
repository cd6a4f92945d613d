//! The client of a test: what it can do, and what it answers.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::abi;

/// The client of a test: what it answers, by the key of the question. What it was not told to answer, it cannot be
/// asked.
///
/// ```
/// # use plugin_api::{prelude::*, serde_json::json, testing::{Client, TestServer}};
/// # #[derive(Deserialize, JsonSchema)] struct Name { name: String }
/// async fn greet(ctx: Ctx, _: NoArgs) -> Result<String> {
///     let Name { name } = ctx.elicit("name", "Who are you?").await?.accepted()?;
///     Ok(format!("Hello, {name}!"))
/// }
/// let mut server = TestServer::start(Plugin::new().tool("greet", "Greets.", greet));
/// // Both kinds of client: one that answers while the call waits, and one for which it runs again.
/// for client in [Client::new(), Client::new().replays()] {
///     server.set_client(client.accepts("name", json!({ "name": "Ada" })));
///     assert_eq!(server.call("greet", json!({})).value(), json!("Hello, Ada!"));
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    pub(super) answers: HashMap<String, (u32, Value)>,
    pub(super) capabilities: Value,
    pub(super) manner: Manner,
}

/// How a client is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// It answers while the call waits.
    Live,
    /// The call ends with its questions and runs again.
    Replay,
    /// It does not answer, and the call goes on waiting.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the SDK's own tests"))]
    Hold,
}

impl Default for Client {
    fn default() -> Self {
        Self { answers: HashMap::new(), capabilities: json!({}), manner: Manner::Live }
    }
}

impl Client {
    /// A client that can be asked nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Its user fills in the form, or agrees to open the page, of the question with this key.
    pub fn accepts(self, key: &str, content: Value) -> Self {
        self.elicits(key, abi::ACCEPTED, json!({ "action": "accept", "content": content }))
    }

    /// Its user says no to this question.
    pub fn declines(self, key: &str) -> Self {
        self.elicits(key, abi::DECLINED, json!({ "action": "decline" }))
    }

    /// Its user makes no choice.
    pub fn cancels(self, key: &str) -> Self {
        self.elicits(key, abi::CANCELLED, json!({ "action": "cancel" }))
    }

    /// It takes too long to answer this question.
    pub fn never_answers(self, key: &str) -> Self {
        self.with(key, abi::TIMED_OUT, Value::Null)
    }

    /// It cannot be asked this question; so it is with every question it was not told to answer.
    pub fn cannot(self, key: &str) -> Self {
        self.with(key, abi::UNSUPPORTED, Value::Null)
    }

    /// Its model answers this text.
    pub fn samples(self, key: &str, text: &str) -> Self {
        let content = json!({ "type": "text", "text": text });
        let answer =
            json!({ "role": "assistant", "model": "test", "stopReason": "endTurn", "content": content });
        self.can("sampling", json!({})).with(key, abi::ACCEPTED, answer)
    }

    /// These are the folders it works on.
    pub fn roots(self, key: &str, uris: &[&str]) -> Self {
        let roots: Vec<_> = uris.iter().map(|uri| json!({ "uri": uri })).collect();
        self.can("roots", json!({})).with(key, abi::ACCEPTED, json!({ "roots": roots }))
    }

    /// It answers this question so, in MCP's own words.
    pub fn answers(self, key: &str, answer: Value) -> Self {
        self.with(key, abi::ACCEPTED, answer)
    }

    /// It knows tasks. Once a call is a task it is asked while the call waits, also if it otherwise
    /// [`replays`](Self::replays).
    pub fn tasks(self) -> Self {
        self.can("extensions", json!({ "io.modelcontextprotocol/tasks": {} }))
    }

    /// It is asked by ending the call with its questions; when it has answered, the call runs again.
    pub fn replays(mut self) -> Self {
        self.manner = Manner::Replay;
        self
    }

    #[cfg(test)]
    pub(crate) fn holds() -> Self {
        Self { manner: Manner::Hold, ..Self::default() }
    }

    fn elicits(self, key: &str, status: u32, answer: Value) -> Self {
        self.can("elicitation", json!({ "form": {}, "url": {} })).with(key, status, answer)
    }

    fn can(mut self, what: &str, how: Value) -> Self {
        self.capabilities[what] = how;
        self
    }

    fn with(mut self, key: &str, status: u32, answer: Value) -> Self {
        self.answers.insert(key.into(), (status, answer));
        self
    }
}
