//! `[server.settings]` against the schema the plugin declares. Pure: reads JSON.

use jsonschema::ValidationError;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::LoadError;
use crate::config::ServerEntry;

/// How many problems are told at once.
const PROBLEMS_MAX: usize = 20;

/// Checks the settings of `entry` against what its plugin says of itself.
pub(super) fn check(entry: &ServerEntry, described: &[u8]) -> Result<(), LoadError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Described {
        settings_schema: Option<Value>,
    }
    let unusable = |reason: String| LoadError::Describe { server: entry.name.clone(), reason };
    let described: Described = serde_json::from_slice(described)
        .map_err(|e| unusable(format!("it is not of the expected form: {e}")))?;
    let Some(schema) = described.settings_schema else { return Ok(()) };
    let validator = jsonschema::validator_for(&schema)
        .map_err(|e| unusable(format!("its settings schema cannot be used: {e}")))?;
    let settings = Value::Object(entry.settings.clone());
    let place = |pointer: &str| match entry.discovered {
        // It has no table.
        true => String::new(),
        false => format!("line {}: ", entry.settings_line(pointer)),
    };
    let problems: Vec<String> = unknown_keys(&entry.settings, &schema)
        .map(|(pointer, problem)| format!("{}{problem}", place(&pointer)))
        .chain(validator.iter_errors(&settings).filter(|error| !is_about_unknown_keys(error)).map(|error| {
            let pointer = error.instance_path().as_str();
            let at = pointer.trim_start_matches('/').replace('/', ".");
            let at = if at.is_empty() { String::new() } else { format!("`{at}`: ") };
            // Settings may hold secrets: their values are not repeated.
            format!("{}{at}{}", place(pointer), error.masked())
        }))
        .take(PROBLEMS_MAX)
        .collect();
    let remedy = entry.discovered.then(|| "give it a `[[server]]` table with settings".to_owned());
    let problems: Vec<String> =
        if problems.is_empty() { problems } else { problems.into_iter().chain(remedy).collect() };
    if problems.is_empty() {
        return Ok(());
    }
    Err(LoadError::Settings { server: entry.name.clone(), problems })
}

/// The keys at the top that a schema with `additionalProperties: false` does not name, in words of our own: the
/// validator's speak of schemas, and an operator did not write one.
fn unknown_keys(
    settings: &Map<String, Value>,
    schema: &Value,
) -> impl Iterator<Item = (String, String)> + use<> {
    let properties = schema["properties"].as_object().cloned().unwrap_or_default();
    let known: Vec<String> = properties.keys().map(|key| format!("`{key}`")).collect();
    let known = if known.is_empty() { "none".into() } else { known.join(", ") };
    let closed = schema["additionalProperties"] == false && schema["patternProperties"].is_null();
    let unknown: Vec<String> =
        settings.keys().filter(|key| closed && !properties.contains_key(*key)).cloned().collect();
    unknown.into_iter().map(move |key| {
        let problem = format!("the plugin has no setting `{key}`; it has {known}");
        (format!("/{}", key.replace('~', "~0").replace('/', "~1")), problem)
    })
}

fn is_about_unknown_keys(error: &ValidationError<'_>) -> bool {
    error.schema_path().as_str().starts_with("/additionalProperties")
}
