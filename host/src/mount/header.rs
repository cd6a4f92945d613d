//! `x-mcp-header`: arguments that 2026-07-28 clients repeat in headers, for proxies to see.
//!
//! In:   a tool's input schema.
//! Out:  whether clients accept its annotations; if not, they drop the tool without a word.

use std::collections::HashSet;

use serde_json::{Map, Value};

const KEY: &str = "x-mcp-header";

/// Where an annotation is wrong, and why.
pub(super) type Fault = (String, &'static str);

/// Checks every annotation in `schema`.
pub(super) fn validate(schema: &Map<String, Value>) -> Result<(), Fault> {
    if schema.contains_key(KEY) {
        return Err(("the whole schema".into(), "it can only stand at a property"));
    }
    if is_astray(schema, Place::Property) {
        let reason = "every step from the root to it must be a property";
        return Err(("something that is not a property".into(), reason));
    }
    check_properties(schema, "", &mut HashSet::new())
}

fn check_properties(
    schema: &Map<String, Value>,
    path: &str,
    seen: &mut HashSet<String>,
) -> Result<(), Fault> {
    let Some(Value::Object(properties)) = schema.get("properties") else { return Ok(()) };
    for (name, property) in properties {
        let Value::Object(property) = property else { continue };
        let path = format!("{path}/{name}");
        if let Some(header) = property.get(KEY) {
            let fault = |reason| Err((format!("`{path}`"), reason));
            let Value::String(header) = header else { return fault("it must be a string") };
            if header.is_empty() || !header.bytes().all(is_token) {
                return fault("it must be a header name: letters, digits and `-`");
            }
            if !seen.insert(header.to_ascii_lowercase()) {
                return fault("another property has the same");
            }
            if !matches!(property.get("type").and_then(Value::as_str), Some("string" | "integer" | "boolean"))
            {
                return fault("the property must be a string, an integer or a boolean");
            }
        }
        check_properties(property, &path, seen)?;
    }
    Ok(())
}

/// RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether every step so far was a property.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Property,
    Elsewhere,
}

/// Whether `schema` has an annotation anywhere but at a property of properties.
fn is_astray(schema: &Map<String, Value>, place: Place) -> bool {
    schema.iter().any(|(key, value)| match key.as_str() {
        KEY => place == Place::Elsewhere,
        "properties" => inside(value).any(|schema| is_in(schema, place)),
        "$defs" | "definitions" | "dependentSchemas" | "patternProperties" => {
            inside(value).any(|schema| is_in(schema, Place::Elsewhere))
        }
        // Values, not schemas.
        "default" | "const" | "enum" | "examples" => false,
        _ => is_in(value, Place::Elsewhere),
    })
}

fn inside(map: &Value) -> impl Iterator<Item = &Value> {
    map.as_object().into_iter().flat_map(Map::values)
}

fn is_in(value: &Value, place: Place) -> bool {
    match value {
        Value::Object(schema) => is_astray(schema, place),
        Value::Array(items) => items.iter().any(|item| is_in(item, Place::Elsewhere)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(schema: Value, expected: Result<(), (&str, &str)>) {
        let Value::Object(schema) = schema else { panic!("the test's own schema is an object") };
        let found = validate(&schema);
        assert_eq!(found, expected.map_err(|(place, reason)| (place.to_owned(), reason)));
    }

    #[test]
    fn annotations_that_make_clients_drop_a_tool_are_found() {
        let one = |property: Value| json!({ "type": "object", "properties": { "a": property } });
        check(one(json!({ "type": "string", KEY: "Region" })), Ok(()));
        check(one(json!({ "properties": { "b": { "type": "boolean", KEY: "B" } } })), Ok(()));
        check(one(json!({ "const": { KEY: 1 } })), Ok(()));
        check(one(json!({ "type": "string", KEY: 5 })), Err(("`/a`", "it must be a string")));
        let not_a_name = "it must be a header name: letters, digits and `-`";
        check(one(json!({ "type": "string", KEY: "a:b" })), Err(("`/a`", not_a_name)));
        check(one(json!({ "type": "string", KEY: "" })), Err(("`/a`", not_a_name)));
        let primitive = "the property must be a string, an integer or a boolean";
        check(one(json!({ "type": "number", KEY: "N" })), Err(("`/a`", primitive)));
        let twice = json!({ "properties": {
            "a": { "type": "string", KEY: "X" }, "b": { "type": "string", KEY: "x" } } });
        check(twice, Err(("`/b`", "another property has the same")));
        check(json!({ KEY: "R" }), Err(("the whole schema", "it can only stand at a property")));
        let astray =
            ("something that is not a property", "every step from the root to it must be a property");
        check(one(json!({ "items": { "type": "string", KEY: "I" } })), Err(astray));
        check(json!({ "oneOf": [{ "properties": { "a": { "type": "string", KEY: "I" } } }] }), Err(astray));
    }
}
