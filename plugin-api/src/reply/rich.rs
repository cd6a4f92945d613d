//! A tool's answer in all that MCP can say.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{IntoReply, Shape};
use crate::{Content, Contents, Resource, content};

/// A tool's answer, block by block. For a plain value no `Reply` is needed: return the value.
///
/// ```
/// # use plugin_api::prelude::*;
/// # fn draw() -> Vec<u8> { vec![] }
/// async fn chart(_: Ctx, _: NoArgs) -> Result<Reply> {
///     Ok(Reply::new().text("The chart:").image(draw(), "image/png"))
/// }
/// ```
///
/// A tool that returns it has no output schema, unless it is given one by
/// [`Tool::output_schema`](crate::Tool::output_schema).
#[derive(Debug, Default)]
pub struct Reply {
    content: Vec<Content>,
    structured: Option<serde_json::Result<Value>>,
    failed: bool,
    rest: Map<String, Value>,
}

impl Reply {
    /// An empty answer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds text.
    pub fn text(self, text: impl Into<String>) -> Self {
        self.content(Content::text(text))
    }

    /// Adds an image.
    pub fn image(self, bytes: impl AsRef<[u8]>, mime_type: &str) -> Self {
        self.content(Content::image(bytes, mime_type))
    }

    /// Adds a sound.
    pub fn audio(self, bytes: impl AsRef<[u8]>, mime_type: &str) -> Self {
        self.content(Content::audio(bytes, mime_type))
    }

    /// Adds the contents of a resource.
    pub fn resource(self, contents: Contents) -> Self {
        self.content(Content::resource(contents))
    }

    /// Adds a link to a resource.
    pub fn link(self, resource: &Resource) -> Self {
        self.content(Content::link(resource))
    }

    /// Adds a block of content.
    pub fn content(mut self, content: impl Into<Content>) -> Self {
        self.content.push(content.into());
        self
    }

    /// Says the answer in a form for programs: what the tool's output schema describes. Without any content it
    /// is also given as text, for models.
    pub fn structured(mut self, value: &impl Serialize) -> Self {
        self.structured = Some(serde_json::to_value(value));
        self
    }

    /// Marks it as a failure of the tool, which its content explains. A plain [`Error`](crate::Error) does the
    /// same with its text.
    pub fn is_error(mut self) -> Self {
        self.failed = true;
        self
    }

    /// Adds a member to its `_meta`; `key` is best prefixed with a domain of the author's.
    pub fn meta(mut self, key: &str, value: impl Into<Value>) -> Self {
        content::add_meta(&mut self.rest, key, value.into());
        self
    }
}

impl IntoReply for Reply {
    fn output_schema() -> (Option<Map<String, Value>>, Shape) {
        (None, Shape::Bare)
    }

    fn write(self, _: Shape, out: &mut dyn Write) -> io::Result<()> {
        let Self { mut content, structured, failed, mut rest } = self;
        if let Some(structured) = structured.transpose()? {
            if content.is_empty() {
                content.push(Content::text(structured.to_string()));
            }
            rest.insert("structuredContent".into(), structured);
        }
        let mut result = Map::from_iter([("content".into(), json!(content))]);
        result.extend(rest);
        result.insert("isError".into(), failed.into());
        Ok(serde_json::to_writer(out, &result)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reply: Reply) -> Value {
        let mut out = Vec::new();
        reply.write(Shape::Bare, &mut out).expect("memory");
        serde_json::from_slice(&out).expect("JSON")
    }

    #[test]
    fn blocks_keep_their_order_and_the_rest_goes_beside_them() {
        let reply = Reply::new().text("a").image([0], "image/png").is_error().meta("example.com/a", true);
        assert_eq!(
            written(reply),
            json!({
                "content": [
                    { "type": "text", "text": "a" },
                    { "type": "image", "data": "AA==", "mimeType": "image/png" },
                ],
                "_meta": { "example.com/a": true },
                "isError": true,
            })
        );
    }

    #[test]
    fn a_structured_answer_is_also_text_unless_there_is_other_content() {
        let alone = written(Reply::new().structured(&json!({ "a": 1 })));
        assert_eq!(alone["content"][0]["text"], "{\"a\":1}");
        assert_eq!(alone["structuredContent"], json!({ "a": 1 }));
        let told = written(Reply::new().text("one").structured(&json!({ "a": 1 })));
        assert_eq!(told["content"], json!([{ "type": "text", "text": "one" }]));
    }

    #[test]
    fn what_cannot_be_serialised_is_an_error_not_half_an_answer() {
        let unordered = std::collections::HashMap::from([((1, 2), 3)]);
        assert!(Reply::new().structured(&unordered).write(Shape::Bare, &mut Vec::new()).is_err());
    }
}
