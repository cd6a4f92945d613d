//! Resources: what a client may read, by URI.

use std::{future::Future, pin::Pin, sync::Arc};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{Annotations, Ctx, Error, Icon, Result, content};

/// Something a client may read.
///
/// ```
/// # use plugin_api::prelude::*;
/// async fn motd(_: Ctx) -> Result<String> {
///     Ok(std::fs::read_to_string("/etc/motd")?)
/// }
/// let resource = Resource::new("file:///etc/motd", "motd", motd).description("The message of the day.");
/// ```
#[derive(Clone)]
pub struct Resource {
    pub(crate) uri: String,
    declaration: Map<String, Value>,
    reader: Reader,
}

/// Reads a resource: its contents, which need not say their URI.
pub(crate) type Reader = Arc<dyn Fn(Ctx) -> Pin<Box<dyn Future<Output = Read> + Send>> + Send + Sync>;
/// What reading comes to.
pub(crate) type Read = Result<Vec<Contents>>;

/// The contents of a resource, or a part of them: text or bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Contents(Map<String, Value>);

/// What reading a resource may return: text, bytes, [`Contents`], or several of those.
pub trait IntoContents {
    /// The contents.
    #[doc(hidden)]
    fn into_contents(self) -> Vec<Contents>;
}

impl Resource {
    /// A resource that `function` reads. `name`: short, for programs and people.
    pub fn new<R, E, F, Fut>(uri: &str, name: &str, function: F) -> Self
    where
        R: IntoContents,
        E: Into<Error>,
        F: Fn(Ctx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
    {
        let reader: Reader = Arc::new(move |ctx| {
            let read = function(ctx);
            Box::pin(async move { read.await.map(R::into_contents).map_err(Into::into) })
        });
        let declaration = Map::from_iter([("uri".into(), uri.into()), ("name".into(), name.into())]);
        Self { uri: uri.into(), declaration, reader }
    }

    /// A resource that is always the same. Its type and size are those of `contents`.
    pub fn fixed(uri: &str, name: &str, contents: Contents) -> Self {
        let mime_type = contents.said_type();
        let resource = Self::new(uri, name, move |_| {
            let contents = contents.clone();
            async move { Ok::<_, Error>(contents) }
        });
        match mime_type {
            Some(mime_type) => resource.declare("mimeType", mime_type),
            None => resource,
        }
    }

    /// A resource of somewhere else, to link to: [`Content::link`](crate::Content::link). This plugin cannot read it.
    pub fn elsewhere(uri: &str, name: &str) -> Self {
        let missing = uri.to_owned();
        Self::new(uri, name, move |_| {
            let error = Error::resource_not_found(&missing);
            async { Err::<Contents, _>(error) }
        })
    }

    /// A name for people.
    pub fn title(self, title: &str) -> Self {
        self.declare("title", title.into())
    }

    /// What it is, for models and people.
    pub fn description(self, description: &str) -> Self {
        self.declare("description", description.into())
    }

    /// What its contents are, e.g. `text/markdown`; they may say otherwise.
    pub fn mime_type(self, mime_type: &str) -> Self {
        self.declare("mimeType", mime_type.into())
    }

    /// How many bytes it has, if that is known beforehand.
    pub fn size(self, bytes: u64) -> Self {
        self.declare("size", bytes.into())
    }

    /// Hints for the client.
    pub fn annotations(self, annotations: Annotations) -> Self {
        self.declare("annotations", json!(annotations))
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

    /// The declaration, as MCP has it.
    pub(crate) fn declaration(&self) -> &Map<String, Value> {
        &self.declaration
    }

    /// Reads it: a `ReadResourceResult`.
    pub(crate) async fn read(&self, ctx: Ctx) -> Result<Value> {
        Ok(result((self.reader)(ctx).await?, &self.uri, &self.declaration))
    }

    fn declare(mut self, member: &str, value: Value) -> Self {
        self.declaration.insert(member.into(), value);
        self
    }
}

/// A `ReadResourceResult`: contents that do not say what they are are what was asked for.
pub(crate) fn result(contents: Vec<Contents>, uri: &str, declaration: &Map<String, Value>) -> Value {
    let declared = declaration.get("mimeType");
    let complete = |contents: Contents| contents.complete(uri, declared);
    json!({ "contents": contents.into_iter().map(complete).collect::<Vec<_>>() })
}

impl Contents {
    /// Text; `text/plain` unless it or its resource says otherwise.
    pub fn text(text: impl Into<String>) -> Self {
        Self(Map::from_iter([("text".into(), text.into().into())]))
    }

    /// A value as JSON text.
    ///
    /// # Errors
    /// If it cannot be serialised.
    pub fn json(value: &impl Serialize) -> Result<Self> {
        Ok(Self::text(serde_json::to_string(value)?).mime_type("application/json"))
    }

    /// Bytes.
    pub fn blob(bytes: impl AsRef<[u8]>) -> Self {
        Self(Map::from_iter([("blob".into(), content::base64(bytes.as_ref()).into())]))
    }

    /// The URI of this part; if it does not say, that of the resource.
    pub fn uri(self, uri: &str) -> Self {
        self.with("uri", uri.into())
    }

    /// What it is, e.g. `text/markdown`.
    pub fn mime_type(self, mime_type: &str) -> Self {
        self.with("mimeType", mime_type.into())
    }

    /// Adds a member to its `_meta`; `key` is best prefixed with a domain of the author's.
    pub fn meta(mut self, key: &str, value: impl Into<Value>) -> Self {
        content::add_meta(&mut self.0, key, value.into());
        self
    }

    /// As MCP has it; `uri` and `declared`, the type of the resource, are for what it does not say itself.
    pub(crate) fn complete(self, uri: &str, declared: Option<&Value>) -> Map<String, Value> {
        let mime_type = self.0.get("mimeType").or(declared).cloned().or_else(|| self.said_type());
        let Self(mut said) = self;
        let mut whole = Map::from_iter([("uri".into(), said.remove("uri").unwrap_or_else(|| uri.into()))]);
        whole.extend(mime_type.map(|mime_type| ("mimeType".into(), mime_type)));
        said.remove("mimeType");
        whole.extend(said);
        whole
    }

    /// Its type as far as it is known without its resource.
    fn said_type(&self) -> Option<Value> {
        let plain = || self.0.contains_key("text").then(|| "text/plain".into());
        self.0.get("mimeType").cloned().or_else(plain)
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.0.insert(name.into(), value);
        self
    }
}

impl IntoContents for Contents {
    fn into_contents(self) -> Vec<Contents> {
        vec![self]
    }
}

impl IntoContents for Vec<Contents> {
    fn into_contents(self) -> Vec<Contents> {
        self
    }
}

impl IntoContents for String {
    fn into_contents(self) -> Vec<Contents> {
        vec![Contents::text(self)]
    }
}

impl IntoContents for &str {
    fn into_contents(self) -> Vec<Contents> {
        vec![Contents::text(self)]
    }
}

impl IntoContents for Vec<u8> {
    fn into_contents(self) -> Vec<Contents> {
        vec![Contents::blob(self)]
    }
}
