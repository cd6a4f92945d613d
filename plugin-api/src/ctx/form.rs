//! The schema of a form that a client can show: MCP's flat subset of JSON Schema, from a type.
//!
//! An object whose members are text, numbers, yes or no, one of several values, or some of several values. What
//! a type says beyond that (integer formats, patterns) checks its answer when it is read, and is left out here.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{Error, Result, error, schema};

/// Members of a text, number or yes-or-no question that MCP knows.
const PLAIN: [&str; 11] = [
    "type",
    "title",
    "description",
    "default",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "format",
    "enum",
    "enumNames",
];
/// Members of a question with several answers, beside its `items`.
const SEVERAL: [&str; 6] = ["type", "title", "description", "default", "minItems", "maxItems"];
/// Formats of text that MCP knows.
const FORMATS: [&str; 4] = ["email", "uri", "date", "date-time"];

/// The form that is filled in to make a `T`.
///
/// # Errors
/// If a member of `T` is more than a form can ask.
pub(super) fn of<T: JsonSchema>() -> Result<Value> {
    let mut settings = SchemaSettings::draft2020_12().for_deserialize();
    settings.inline_subschemas = true;
    let mut schema = schema::generate::<T>(settings);
    if !schema::is_object(&schema) {
        return Err(impossible("its type is not a struct with named fields"));
    }
    let Some(Value::Object(properties)) = schema.remove("properties") else {
        return Ok(json!({ "type": "object", "properties": {} }));
    };
    let mut fields = Map::new();
    for (name, property) in properties {
        let Some(field) = field(property) else {
            return Err(impossible(&format!("`{name}` is not text, a number, a bool, or a choice of those")));
        };
        fields.insert(name, field.into());
    }
    let mut form = json!({ "type": "object", "properties": fields });
    if let Some(required) = schema.remove("required") {
        form["required"] = required;
    }
    Ok(form)
}

fn impossible(why: &str) -> Error {
    Error::protocol(error::INTERNAL_ERROR, format!("a client cannot be asked for this: {why}"))
}

fn field(schema: Value) -> Option<Map<String, Value>> {
    let mut schema = without_null(schema)?;
    if schema.get("type").and_then(Value::as_str) == Some("array") {
        let items = without_null(schema.remove("items")?)?;
        let items = match titled(&items) {
            Some(values) => json!({ "anyOf": values }),
            None if items.contains_key("enum") => json!({ "type": "string", "enum": items.get("enum")? }),
            None => return None,
        };
        schema.retain(|member, _| SEVERAL.contains(&member.as_str()));
        schema.insert("items".into(), items);
        return Some(schema);
    }
    let values = titled(&schema);
    if values.is_some() {
        schema.insert("type".into(), "string".into());
    }
    let format = schema.get("format").and_then(Value::as_str);
    let known = format.is_some_and(|format| FORMATS.contains(&format));
    schema.retain(|member, _| PLAIN.contains(&member.as_str()) && (known || member != "format"));
    if let Some(values) = values {
        schema.insert("oneOf".into(), values.into());
    }
    let simple = matches!(schema.get("type")?.as_str()?, "string" | "number" | "integer" | "boolean");
    simple.then_some(schema)
}

/// `Option<T>` is `T` here: that it may be missing is said by `required`.
fn without_null(schema: Value) -> Option<Map<String, Value>> {
    let Value::Object(mut schema) = schema else { return None };
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|of| of != "null");
        let [only] = types.as_mut_slice() else { return None };
        let only = only.take();
        schema.insert("type".into(), only);
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    if let Some(Value::Array(either)) = schema.remove("anyOf") {
        let mut either = either.into_iter().filter(|one| one["type"] != "null");
        let Some(Value::Object(one)) = either.next() else { return None };
        // The outer members, such as the field's own description, say more than the type's.
        let outer = std::mem::replace(&mut schema, one);
        schema.extend(outer);
        return either.next().is_none().then_some(schema);
    }
    Some(schema)
}

/// The values of an enum whose variants have titles or doc lines.
fn titled(schema: &Map<String, Value>) -> Option<Vec<Value>> {
    let one = |value: &Value| -> Option<Vec<Value>> {
        let title = value.get("title").or(value.get("description"));
        let titled = |name: &Value| json!({ "const": name, "title": title.unwrap_or(name) });
        match (value.get("const"), value.get("enum")) {
            (Some(name @ Value::String(_)), _) => Some(vec![titled(name)]),
            // Variants without doc lines share one entry.
            (None, Some(Value::Array(names))) => Some(names.iter().map(titled).collect()),
            _ => None,
        }
    };
    let values = schema.get("oneOf")?.as_array()?.iter().map(one).collect::<Option<Vec<_>>>()?;
    Some(values.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    enum Plain {
        One,
        Two,
    }

    /// A colour.
    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    enum Told {
        /// Like grass.
        Green,
        #[schemars(title = "The sky's")]
        Blue,
        Red,
    }

    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "only its schema matters")]
    struct Everything {
        /// Your name.
        name: String,
        #[serde(default = "thirty")]
        age: u8,
        height: Option<f64>,
        sure: bool,
        plain: Plain,
        told: Option<Told>,
        some: Vec<Plain>,
        #[schemars(length(min = 1))]
        colours: Vec<Told>,
        #[schemars(email)]
        mail: Option<String>,
    }

    fn thirty() -> u8 {
        30
    }

    #[test]
    fn a_form_is_flat_and_says_all_that_mcp_knows() {
        let colours = json!([
            { "const": "green", "title": "Like grass." },
            { "const": "blue", "title": "The sky's" },
            { "const": "red", "title": "red" },
        ]);
        let form = of::<Everything>().expect("a form");
        assert_eq!(form["required"], json!(["name", "sure", "plain", "some", "colours"]));
        let check = |name: &str, expected: Value| assert_eq!(form["properties"][name], expected, "{name}");
        check("name", json!({ "description": "Your name.", "type": "string" }));
        check("age", json!({ "type": "integer", "minimum": 0, "maximum": 255, "default": 30 }));
        check("height", json!({ "type": "number" }));
        check("sure", json!({ "type": "boolean" }));
        check("plain", json!({ "type": "string", "enum": ["one", "two"] }));
        let sorted = |mut values: Vec<Value>| {
            values.sort_by_key(|value| value["const"].as_str().map(ToOwned::to_owned));
            values
        };
        let told = form["properties"]["told"].clone();
        let expected = sorted(colours.as_array().expect("a list").clone());
        assert_eq!(sorted(told["oneOf"].as_array().expect("choices").clone()), expected);
        assert_eq!((&told["type"], &told["description"]), (&json!("string"), &json!("A colour.")));
        check("some", json!({ "type": "array", "items": { "type": "string", "enum": ["one", "two"] } }));
        let several = form["properties"]["colours"].clone();
        assert_eq!(sorted(several["items"]["anyOf"].as_array().expect("choices").clone()), expected);
        assert_eq!((&several["type"], &several["minItems"]), (&json!("array"), &json!(1)));
        check("mail", json!({ "type": "string", "format": "email" }));
        assert!(!form.to_string().contains('$'), "no references: {form}");
    }

    #[test]
    fn what_no_form_can_ask_is_refused_by_name() {
        #[derive(Deserialize, JsonSchema)]
        #[expect(dead_code, reason = "only its schema matters")]
        struct Nested {
            inner: Vec<Vec<String>>,
        }
        let error = of::<Nested>().expect_err("not flat").to_string();
        assert_eq!(
            error,
            "a client cannot be asked for this: `inner` is not text, a number, a bool, or a choice of those"
        );
        assert!(of::<String>().is_err());
    }
}
