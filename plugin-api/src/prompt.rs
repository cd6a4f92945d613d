//! Prompts: messages to a model that a user picks by name.

use std::{collections::HashMap, future::Future, pin::Pin, sync::Arc};

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::{
    Completing, Completion, Content, Ctx, Error, Icon, Result, Role, complete::Completers, content, schema,
    texts,
};

/// A prompt: a function from arguments to messages.
///
/// ```
/// # use plugin_api::prelude::*;
/// #[derive(Deserialize, JsonSchema)]
/// struct Review {
///     /// The code to look at.
///     code: String,
///     /// How strict to be.
///     strictness: Option<u8>,
/// }
///
/// async fn review(_: Ctx, args: Review) -> Result<String> {
///     Ok(format!("Review this code, strictness {}:\n{}", args.strictness.unwrap_or(3), args.code))
/// }
/// let prompt = Prompt::new("review", "Reviews code.", review);
/// ```
///
/// MCP gives arguments as text: fields are strings, or what can be read from one (numbers, bools, enums without
/// data, and options of these). Their names, doc lines and whether they are required are what clients show.
#[derive(Clone)]
pub struct Prompt {
    pub(crate) name: String,
    declaration: Map<String, Value>,
    pub(crate) completers: Completers,
    handler: Handler,
}

type Handler = Arc<
    dyn Fn(Ctx, HashMap<String, String>) -> Pin<Box<dyn Future<Output = Result<Messages>> + Send>>
        + Send
        + Sync,
>;

/// One message of a prompt.
#[derive(Debug, Clone, Serialize)]
pub struct Message {
    role: Role,
    content: Content,
}

/// What a prompt comes to. Made by `From` from text, which is one message by the user, or from messages.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Messages {
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    messages: Vec<Message>,
}

impl Prompt {
    /// A prompt that `function` writes. `description` is what a user reads when choosing one.
    pub fn new<A, M, E, F, Fut>(name: &str, description: &str, function: F) -> Self
    where
        A: DeserializeOwned + JsonSchema + Send + 'static,
        M: Into<Messages>,
        E: Into<Error>,
        F: Fn(Ctx, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<M, E>> + Send + 'static,
    {
        let function = Arc::new(function);
        let handler: Handler = Arc::new(move |ctx, arguments| {
            let function = function.clone();
            Box::pin(async move {
                let arguments = texts::read(arguments)?;
                function(ctx, arguments).await.map(Into::into).map_err(Into::into)
            })
        });
        let declaration = Map::from_iter([
            ("name".into(), name.into()),
            ("description".into(), description.into()),
            ("arguments".into(), arguments(&schema::of_input::<A>())),
        ]);
        Self { name: name.into(), declaration, completers: Completers::default(), handler }
    }

    /// A name for people.
    pub fn title(mut self, title: &str) -> Self {
        self.declaration.insert("title".into(), title.into());
        self
    }

    /// Adds an icon.
    pub fn icon(mut self, icon: Icon) -> Self {
        content::add_icon(&mut self.declaration, &icon);
        self
    }

    /// Adds a member to its `_meta`; `key` is best prefixed with a domain of the author's.
    pub fn meta(mut self, key: &str, value: impl Into<Value>) -> Self {
        content::add_meta(&mut self.declaration, key, value.into());
        self
    }

    /// Suggests values for an argument while it is typed: `function` answers with a list, best first.
    pub fn complete<C, E, F, Fut>(mut self, argument: &str, function: F) -> Self
    where
        C: Into<Completion>,
        E: Into<Error>,
        F: Fn(Ctx, Completing) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<C, E>> + Send + 'static,
    {
        self.completers.add(argument, function);
        self
    }

    /// The declaration, as MCP has it.
    pub(crate) fn declaration(&self) -> &Map<String, Value> {
        &self.declaration
    }

    /// Writes it: a `GetPromptResult`.
    pub(crate) async fn get(&self, ctx: Ctx, arguments: HashMap<String, String>) -> Result<Value> {
        Ok(json!((self.handler)(ctx, arguments).await?))
    }
}

/// The arguments list of a prompt whose arguments have this schema.
fn arguments(schema: &Map<String, Value>) -> Value {
    let required = schema.get("required").and_then(Value::as_array);
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return json!([]) };
    let argument = |(name, property): (&String, &Value)| {
        let needed = required.is_some_and(|required| required.iter().any(|one| one == name));
        let mut argument = json!({ "name": name });
        for member in ["title", "description"] {
            if let Some(text) = property.get(member) {
                argument[member] = text.clone();
            }
        }
        argument["required"] = needed.into();
        argument
    };
    properties.iter().map(argument).collect()
}

impl Message {
    /// A message by the user.
    pub fn user(content: impl Into<Content>) -> Self {
        Self { role: Role::User, content: content.into() }
    }

    /// A message by the model.
    pub fn assistant(content: impl Into<Content>) -> Self {
        Self { role: Role::Assistant, content: content.into() }
    }
}

impl Messages {
    /// No messages.
    pub fn new() -> Self {
        Self::default()
    }

    /// What they are for, in view of the arguments.
    pub fn description(mut self, description: &str) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Adds a message by the user.
    pub fn user(self, content: impl Into<Content>) -> Self {
        self.with(Message::user(content))
    }

    /// Adds a message by the model.
    pub fn assistant(self, content: impl Into<Content>) -> Self {
        self.with(Message::assistant(content))
    }

    fn with(mut self, message: Message) -> Self {
        self.messages.push(message);
        self
    }
}

impl From<&str> for Messages {
    fn from(text: &str) -> Self {
        Self::new().user(text)
    }
}

impl From<String> for Messages {
    fn from(text: String) -> Self {
        Self::new().user(text)
    }
}

impl From<Vec<Message>> for Messages {
    fn from(messages: Vec<Message>) -> Self {
        Self { description: None, messages }
    }
}
