//! Asking the client's model, and for the client's folders.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Choice, Ctx};
use crate::{Content, Error, Result, Role};

/// How long an answer may be if the author does not say.
const MAX_TOKENS: u32 = 1000;

/// What the client's model is to answer.
///
/// ```
/// # use plugin_api::prelude::*;
/// let request = SampleRequest::new("What is the capital of France?").system("Answer in one word.").max_tokens(10);
/// ```
#[derive(Debug, Clone)]
pub struct SampleRequest {
    messages: Vec<Value>,
    options: Map<String, Value>,
}

impl SampleRequest {
    /// A request with one message by the user, usually text.
    pub fn new(prompt: impl Into<Content>) -> Self {
        let options = Map::from_iter([("maxTokens".into(), MAX_TOKENS.into())]);
        Self { messages: Vec::new(), options }.message(Role::User, prompt)
    }

    /// Adds a message.
    pub fn message(mut self, role: Role, content: impl Into<Content>) -> Self {
        self.messages.push(json!({ "role": role, "content": content.into() }));
        self
    }

    /// What the model is told beforehand. A client may ignore it.
    pub fn system(self, prompt: &str) -> Self {
        self.option("systemPrompt", prompt.into())
    }

    /// The most tokens the answer may have; 1000 if not said.
    pub fn max_tokens(self, tokens: u32) -> Self {
        self.option("maxTokens", tokens.into())
    }

    /// How freely the model answers.
    pub fn temperature(self, temperature: f64) -> Self {
        self.option("temperature", temperature.into())
    }

    /// Text at which the model stops.
    pub fn stop_at(self, sequences: &[&str]) -> Self {
        self.option("stopSequences", json!(sequences))
    }

    /// A model, or family of models, that suits; the first hint counts most.
    pub fn hint(mut self, model: &str) -> Self {
        let preferences = self.options.entry("modelPreferences").or_insert_with(|| json!({ "hints": [] }));
        if let Some(hints) = preferences["hints"].as_array_mut() {
            hints.push(json!({ "name": model }));
        }
        self
    }

    fn option(mut self, name: &str, value: Value) -> Self {
        self.options.insert(name.into(), value);
        self
    }
}

/// What the client's model answered.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sampled {
    /// Which model it was.
    #[serde(default)]
    pub model: String,
    /// Why it stopped, e.g. `endTurn` or `maxTokens`.
    pub stop_reason: Option<String>,
    /// Its content, as MCP has it: a block or a list of blocks.
    pub content: Value,
}

impl Sampled {
    /// The text of the answer.
    pub fn text(&self) -> String {
        let blocks = self.content.as_array().map_or(std::slice::from_ref(&self.content), Vec::as_slice);
        blocks.iter().filter_map(|block| block["text"].as_str()).collect()
    }
}

/// A folder or file the client works on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Root {
    /// Where it is: a `file://` URI.
    pub uri: String,
    /// Its name, for people.
    pub name: Option<String>,
}

impl Ctx {
    /// Asks the client to run its model.
    ///
    /// Code before it may run again, see [asking, and running again](Self#asking-and-running-again).
    ///
    /// # Errors
    /// If the client has no model to offer or took too long: protocol errors that end the call if passed on. If
    /// its user refused: an ordinary one.
    pub async fn sample(&self, key: &str, request: SampleRequest) -> Result<Sampled> {
        let SampleRequest { messages, options: mut params } = request;
        params.insert("messages".into(), messages.into());
        self.answered(key, "sampling/createMessage", params.into()).await
    }

    /// Asks the client for the folders it works on.
    ///
    /// Code before it may run again, see [asking, and running again](Self#asking-and-running-again).
    ///
    /// # Errors
    /// As for [`sample`](Self::sample).
    pub async fn roots(&self, key: &str) -> Result<Vec<Root>> {
        #[derive(Deserialize)]
        struct Roots {
            roots: Vec<Root>,
        }
        Ok(self.answered::<Roots>(key, "roots/list", json!({})).await?.roots)
    }

    async fn answered<T: serde::de::DeserializeOwned>(
        &self,
        key: &str,
        method: &str,
        params: Value,
    ) -> Result<T> {
        match self.request(key, method, params).await? {
            Choice::Accepted(answer) => serde_json::from_value(answer)
                .map_err(|error| Error::new(format!("cannot read the answer to `{method}`: {error}"))),
            Choice::Declined | Choice::Cancelled => Err(Error::new(format!("the client refused `{method}`"))),
        }
    }
}
