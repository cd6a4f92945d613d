//! What results, messages and requests are made of: text, images, audio, resources, links.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{Contents, Resource};

/// One block of content. Made from text by `From`, or by one of its constructors.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Content(Map<String, Value>);

/// Who says something, or whom something is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The person, or what speaks for them.
    User,
    /// The model.
    Assistant,
}

/// Hints on how a client should use a block of content or a resource.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Annotations {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    audience: Vec<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_modified: Option<String>,
}

/// A picture that stands for a server, tool, prompt or resource.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Icon {
    src: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sizes: Vec<String>,
}

impl Content {
    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::of("text", [("text", text.into().into())])
    }

    /// An image, e.g. `image/png`.
    pub fn image(bytes: impl AsRef<[u8]>, mime_type: &str) -> Self {
        Self::of("image", [("data", base64(bytes.as_ref()).into()), ("mimeType", mime_type.into())])
    }

    /// A sound, e.g. `audio/wav`.
    pub fn audio(bytes: impl AsRef<[u8]>, mime_type: &str) -> Self {
        Self::of("audio", [("data", base64(bytes.as_ref()).into()), ("mimeType", mime_type.into())])
    }

    /// The contents of a resource. Give them a URI: [`Contents::uri`].
    pub fn resource(contents: Contents) -> Self {
        Self::of("resource", [("resource", contents.complete("", None).into())])
    }

    /// Points to a resource, with everything it says about itself. It need not be one of this plugin.
    pub fn link(resource: &Resource) -> Self {
        let mut content = Self::of("resource_link", []);
        content.0.extend(resource.declaration().clone());
        content
    }

    /// Hints for the client.
    pub fn annotations(self, annotations: Annotations) -> Self {
        self.with("annotations", json!(annotations))
    }

    /// Adds a member to its `_meta`; `key` is best prefixed with a domain of the author's.
    pub fn meta(mut self, key: &str, value: impl Into<Value>) -> Self {
        add_meta(&mut self.0, key, value.into());
        self
    }

    fn of<const N: usize>(kind: &str, members: [(&str, Value); N]) -> Self {
        let mut content = Self(Map::from_iter([("type".into(), kind.into())]));
        content.0.extend(members.map(|(name, value)| (name.into(), value)));
        content
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.0.insert(name.into(), value);
        self
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl Annotations {
    /// No hints.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whom it is for; may be said for both.
    pub fn audience(mut self, role: Role) -> Self {
        self.audience.push(role);
        self
    }

    /// How much it matters: 0 hardly, 1 most.
    pub fn priority(mut self, priority: f64) -> Self {
        self.priority = Some(priority.clamp(0.0, 1.0));
        self
    }

    /// When it last changed, as RFC 3339 writes it: `2026-07-28T12:00:00Z`.
    pub fn last_modified(mut self, when: &str) -> Self {
        self.last_modified = Some(when.into());
        self
    }
}

impl Icon {
    /// An icon at an address: `https:`, or `data:` to bring it along.
    pub fn new(src: &str) -> Self {
        Self { src: src.into(), mime_type: None, sizes: Vec::new() }
    }

    /// What it is, e.g. `image/svg+xml`.
    pub fn mime_type(mut self, mime_type: &str) -> Self {
        self.mime_type = Some(mime_type.into());
        self
    }

    /// A size it suits, e.g. `48x48` or `any`; may be said for several.
    pub fn size(mut self, size: &str) -> Self {
        self.sizes.push(size.into());
        self
    }
}

/// Appends to a declaration's icons.
pub(crate) fn add_icon(declaration: &mut Map<String, Value>, icon: &Icon) {
    if let Value::Array(icons) = declaration.entry("icons").or_insert_with(|| json!([])) {
        icons.push(json!(icon));
    }
}

/// Adds a member to an object's `_meta`.
pub(crate) fn add_meta(object: &mut Map<String, Value>, key: &str, value: Value) {
    object.entry("_meta").or_insert_with(|| json!({}))[key] = value;
}

/// As MCP carries bytes.
pub(crate) fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content: Content, expected: Value) {
        assert_eq!(json!(content), expected);
    }

    #[test]
    fn every_kind_of_content_is_in_mcps_form() {
        check("hi".into(), json!({ "type": "text", "text": "hi" }));
        check(
            Content::image([1, 2, 255], "image/png"),
            json!({ "type": "image", "data": "AQL/", "mimeType": "image/png" }),
        );
        check(
            Content::audio([0], "audio/wav"),
            json!({ "type": "audio", "data": "AA==", "mimeType": "audio/wav" }),
        );
        check(
            Content::resource(Contents::text("x").uri("test://x")),
            json!({ "type": "resource", "resource": { "uri": "test://x", "mimeType": "text/plain", "text": "x" } }),
        );
        let link = Resource::fixed("test://x", "x", Contents::text("x")).title("X");
        check(
            Content::link(&link),
            json!({ "type": "resource_link", "uri": "test://x", "name": "x", "mimeType": "text/plain", "title": "X" }),
        );
    }

    #[test]
    fn a_block_carries_hints_and_meta() {
        let hints =
            Annotations::new().audience(Role::User).priority(7.0).last_modified("2026-01-01T00:00:00Z");
        check(
            Content::text("x").annotations(hints).meta("example.com/a", 1),
            json!({
                "type": "text", "text": "x",
                "annotations": { "audience": ["user"], "priority": 1.0, "lastModified": "2026-01-01T00:00:00Z" },
                "_meta": { "example.com/a": 1 },
            }),
        );
    }
}
