//! From what a tool's function returns to an MCP `CallToolResult`, as JSON text.

mod rich;

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

pub use self::rich::Reply;
use crate::schema;

/// What a tool's function may return: any value that can be serialised and has a schema, or a [`Reply`].
///
/// A type whose schema says `"type": "object"` becomes the result's `structuredContent` as it is; a value of any
/// other type, also of one that is an object only sometimes (an enum, an `Option`), becomes `{"result": value}`,
/// because MCP wants an object there. Both also become text content for models: a string as it is, anything
/// else as JSON.
pub trait IntoReply: Sized {
    /// The schema of the `structuredContent`, if it is known from the type, and how a value comes to fit it.
    #[doc(hidden)]
    fn output_schema() -> (Option<Map<String, Value>>, Shape);
    /// Writes the `CallToolResult`.
    #[doc(hidden)]
    fn write(self, shape: Shape, out: &mut dyn Write) -> io::Result<()>;
}

/// How a value becomes `structuredContent`. Belongs to the type: were it decided value by value, some results
/// would not fit the schema that clients were shown.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// As it is.
    Bare,
    /// As the member `result`.
    Wrapped,
}

impl<T: Serialize + JsonSchema> IntoReply for T {
    fn output_schema() -> (Option<Map<String, Value>>, Shape) {
        let mut schema = schema::of_output::<T>();
        if schema::is_object(&schema) {
            return (Some(schema), Shape::Bare);
        }
        schema::move_root(&mut schema, "#/properties/result");
        // References inside point at the root's definitions, so those stay at the root.
        let definitions = schema.remove("$defs");
        let mut wrapped = Map::new();
        wrapped.insert("type".into(), "object".into());
        wrapped.insert("properties".into(), json!({ "result": schema }));
        wrapped.insert("required".into(), json!(["result"]));
        wrapped.extend(definitions.map(|d| ("$defs".into(), d)));
        (Some(wrapped), Shape::Wrapped)
    }

    fn write(self, shape: Shape, out: &mut dyn Write) -> io::Result<()> {
        let value = serde_json::to_string(&self)?;
        if shape == Shape::Bare && !value.starts_with('{') {
            return Err(io::Error::other("its type's schema promises an object, which it is not"));
        }
        out.write_all(br#"{"content":[{"type":"text","text":"#)?;
        if value.starts_with('"') {
            out.write_all(value.as_bytes())?;
        } else {
            serde_json::to_writer(&mut *out, &value)?;
        }
        out.write_all(br#"}],"structuredContent":"#)?;
        match shape {
            Shape::Bare => out.write_all(value.as_bytes())?,
            Shape::Wrapped => write!(out, r#"{{"result":{value}}}"#)?,
        }
        out.write_all(br#","isError":false}"#)
    }
}

/// Writes a `CallToolResult` that says what went wrong.
pub(crate) fn write_error(text: &str, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(br#"{"content":[{"type":"text","text":"#)?;
    serde_json::to_writer(&mut *out, text)?;
    out.write_all(br#"}],"isError":true}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, JsonSchema)]
    struct Point {
        x: i32,
    }

    fn written<T: IntoReply>(value: T) -> String {
        let mut out = Vec::new();
        value.write(T::output_schema().1, &mut out).expect("memory");
        String::from_utf8(out).expect("JSON")
    }

    #[test]
    fn a_string_is_its_own_text() {
        assert_eq!(
            written("a \"b\"".to_string()),
            r#"{"content":[{"type":"text","text":"a \"b\""}],"structuredContent":{"result":"a \"b\""},"isError":false}"#
        );
    }

    #[test]
    fn an_object_is_the_structured_content() {
        assert_eq!(
            written(Point { x: 1 }),
            r#"{"content":[{"type":"text","text":"{\"x\":1}"}],"structuredContent":{"x":1},"isError":false}"#
        );
    }

    #[test]
    fn a_list_is_wrapped_and_its_schema_keeps_its_definitions_at_the_root() {
        let schema =
            Value::Object(<Vec<Point> as IntoReply>::output_schema().0.expect("a value's type has one"));
        assert_eq!(schema["properties"]["result"]["items"]["$ref"], "#/$defs/Point");
        assert_eq!(schema["$defs"]["Point"]["properties"]["x"]["type"], "integer");
        assert_eq!(schema["required"], json!(["result"]));
    }

    #[test]
    fn what_is_an_object_only_sometimes_is_always_wrapped() {
        #[derive(Serialize, JsonSchema)]
        enum Found {
            At(Point),
            Nowhere,
        }
        fn check<T: IntoReply>(value: T, structured: &str) {
            let schema = Value::Object(T::output_schema().0.expect("a value's type has one"));
            assert_eq!(schema["required"], json!(["result"]));
            let reply: Value = serde_json::from_str(&written(value)).expect("JSON");
            assert_eq!(reply["structuredContent"].to_string(), structured);
        }
        check(Some(Point { x: 1 }), r#"{"result":{"x":1}}"#);
        check(None::<Point>, r#"{"result":null}"#);
        check(Found::At(Point { x: 1 }), r#"{"result":{"At":{"x":1}}}"#);
        check(Found::Nowhere, r#"{"result":"Nowhere"}"#);
        check(json!({ "a": 1 }), r#"{"result":{"a":1}}"#);
        check((), r#"{"result":null}"#);
    }

    #[test]
    fn a_wrapped_recursive_type_refers_to_itself_and_not_to_its_wrapper() {
        #[derive(Serialize, JsonSchema)]
        #[serde(untagged)]
        #[expect(dead_code, reason = "only its schema is looked at")]
        enum Tree {
            Leaf(u32),
            Branch(Vec<Tree>),
        }
        let (schema, shape) = Tree::output_schema();
        assert_eq!(shape, Shape::Wrapped);
        let schema = Value::Object(schema.expect("a value's type has one")).to_string();
        assert!(schema.contains(r##""$ref":"#/properties/result""##), "{schema}");
        assert!(!schema.contains(r##""$ref":"#""##), "{schema}");
    }

    #[test]
    fn a_value_that_is_not_what_its_schema_promises_is_an_error() {
        let error = 1.write(Shape::Bare, &mut Vec::new()).expect_err("no object");
        assert_eq!(error.to_string(), "its type's schema promises an object, which it is not");
    }
}
