//! JSON schemas (2020-12) from types, in the form in which MCP carries them.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value};

/// The schema of what a type is deserialised from.
pub(crate) fn of_input<T: JsonSchema>() -> Map<String, Value> {
    generate::<T>(SchemaSettings::draft2020_12().for_deserialize())
}

/// The schema of what a type is serialised to.
pub(crate) fn of_output<T: JsonSchema>() -> Map<String, Value> {
    generate::<T>(SchemaSettings::draft2020_12().for_serialize())
}

pub(crate) fn generate<T: JsonSchema>(settings: SchemaSettings) -> Map<String, Value> {
    let schema = settings.into_generator().into_root_schema_for::<T>();
    let Value::Object(mut schema) = schema.to_value() else { return Map::new() };
    // 2020-12 is what MCP assumes, and the name of a Rust type is nothing to a client.
    schema.remove("$schema");
    schema.remove("title");
    schema
}

/// Redirects what refers to the whole schema, as recursive types do, to the place `to` that it is moved to.
pub(crate) fn move_root(schema: &mut Map<String, Value>, to: &str) {
    for (key, value) in schema.iter_mut() {
        match value {
            Value::String(at) if key == "$ref" && at == "#" => *at = to.to_owned(),
            Value::Object(inner) => move_root(inner, to),
            Value::Array(list) => {
                list.iter_mut().filter_map(Value::as_object_mut).for_each(|inner| move_root(inner, to));
            }
            _ => {}
        }
    }
}

/// Whether values of this schema are JSON objects.
pub(crate) fn is_object(schema: &Map<String, Value>) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("object")
}
