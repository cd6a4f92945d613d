//! The JSON schema of gateway.toml: editors get it, and `check` holds a document against it.
//!
//! In:   a [`Document`].
//! Out:  the document with its problems reported and its wrong values replaced by harmless ones, so that
//!       `validate` can look at all the others in the same pass.

use std::sync::LazyLock;

use jsonschema::{Validator, error::ValidationErrorKind};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::{
    document::{At, Document, join},
    excerpt::quoted,
    file::GatewayFile,
};

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    // Draft 7 is what editors' TOML plugins promise to understand. Inlined, a value's schema is found by its pointer.
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<GatewayFile>();
    schema.insert("title".into(), "gateway.toml".into());
    schema.to_value()
});

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
    let options = jsonschema::draft7::options().with_pattern_options(jsonschema::PatternOptions::regex());
    options.build(&SCHEMA).expect("the schema derived from `GatewayFile` is valid; a test builds it")
});

/// The JSON schema of gateway.toml, draft 7, for editors.
pub fn schema() -> &'static Value {
    &SCHEMA
}

/// Keys that there were once, and what took their place.
const REPLACED: [(&str, &str); 1] =
    [("/admin/token", "give an `[[auth.key]]` the scope \"admin\"; `gateway key new` makes one")];

enum Fault {
    Unknown(String),
    Missing(String),
    /// Reported last, if at all: `validate` says better what is wrong with a string.
    Pattern,
    Wrong,
}

/// What is left to say after `validate`: pointers to strings that the schema refuses.
pub(super) struct Refused(Vec<String>);

/// Reports and replaces everything that the schema refuses, apart from the content of strings.
pub(super) fn check(document: &mut Document) -> Refused {
    let mut faults = Vec::new();
    for error in VALIDATOR.iter_errors(&document.value) {
        let pointer = error.instance_path().as_str().to_owned();
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                faults.extend(unexpected.iter().map(|key| (pointer.clone(), Fault::Unknown(key.clone()))));
            }
            ValidationErrorKind::Required { property } => {
                let key = property.as_str().unwrap_or_default().to_owned();
                faults.push((pointer, Fault::Missing(key)));
            }
            ValidationErrorKind::Pattern { .. } => faults.push((pointer, Fault::Pattern)),
            _ => faults.push((pointer, Fault::Wrong)),
        }
    }

    let mut misspelt = Vec::new();
    for (table, fault) in &faults {
        if let Fault::Unknown(key) = fault {
            misspelt.extend(unknown_key(document, table, key));
        }
    }
    let mut refused = Refused(Vec::new());
    for (pointer, fault) in &faults {
        match fault {
            Fault::Unknown(_) => {}
            Fault::Missing(key) => missing_key(document, pointer, key, &misspelt, &faults),
            Fault::Pattern => refused.0.push(pointer.clone()),
            Fault::Wrong => wrong_value(document, pointer),
        }
    }
    refused
}

impl Refused {
    /// Reports what `validate` let through although an editor would mark it.
    pub(super) fn report(self, document: &mut Document) {
        for pointer in self.0 {
            let value = document.value.pointer(&pointer).and_then(Value::as_str).unwrap_or_default();
            let message = format!("{} cannot stand here", quoted(value));
            document.report(&pointer, At::Value, message, example(&pointer));
        }
    }
}

/// Returns the pointer of the key that was meant, if that is clear.
fn unknown_key(document: &mut Document, table: &str, key: &str) -> Option<String> {
    let pointer = join(table, key);
    let known: Vec<&str> = node(table).into_iter().flat_map(properties).map(|(key, _)| key).collect();
    let removed = match document.value.pointer_mut(table) {
        Some(Value::Object(map)) => map.shift_remove(key).unwrap_or_default(),
        _ => Value::Null,
    };
    let nearest = known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(&key.to_lowercase(), candidate), *candidate))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.8);
    let replaced = REPLACED.iter().find(|(old, _)| *old == pointer).map(|(_, remedy)| (*remedy).to_owned());
    let remedy = match (replaced.or_else(|| home_of(key, &removed)), nearest) {
        (Some(home), _) => home,
        (None, Some((_, near))) => format!("did you mean `{near}`?"),
        (None, None) => format!("known here: `{}`", known.join("`, `")),
    };
    let meant = nearest.map(|(_, near)| join(table, near));
    document.report(&pointer, At::Key, format!("unknown key {}", quoted(key)), remedy);
    meant
}

/// Where else `key` would be right: in TOML a key easily lands in the table above it.
fn home_of(key: &str, value: &Value) -> Option<String> {
    let fits = |node: &Value| (node["type"] == "object") == value.is_object();
    let has = |table: &Value| properties(table).any(|(inner, node)| inner == key && fits(node));
    for (name, child) in properties(&SCHEMA) {
        if name == key && fits(child) && node_kind(child) != "array" {
            return Some("move it to the top of the file, above the first table".into());
        }
        if let Some((header, _)) = tables(name, child).into_iter().find(|(_, table)| has(table)) {
            return Some(format!("it belongs in `{header}`"));
        }
    }
    None
}

/// The table `name` and those in it, each with its header.
fn tables<'a>(name: &str, node: &'a Value) -> Vec<(String, &'a Value)> {
    let (table, header) = match node_kind(node) {
        "array" => (&node["items"], format!("[[{name}]]")),
        _ => (node, format!("[{name}]")),
    };
    let inner = properties(table).flat_map(|(key, node)| tables(&format!("{name}.{key}"), node));
    std::iter::once((header, table)).chain(inner.collect::<Vec<_>>()).collect()
}

/// What a table's header says of the one at `pointer`: the keys on the way to it.
fn dotted(pointer: &str) -> String {
    let is_key = |token: &&str| !token.bytes().all(|byte| byte.is_ascii_digit());
    pointer.split('/').skip(1).filter(is_key).collect::<Vec<_>>().join(".")
}

fn missing_key(
    document: &mut Document,
    table: &str,
    key: &str,
    misspelt: &[String],
    faults: &[(String, Fault)],
) {
    let pointer = join(table, key);
    let is_misspelt = |key: &str| misspelt.contains(&join(table, key));
    if !is_misspelt(key) {
        // All keys that a table lacks are one problem, at the header.
        let lacks: Vec<&str> = faults
            .iter()
            .filter_map(|(place, fault)| match fault {
                Fault::Missing(key) if place == table && !is_misspelt(key) => Some(key.as_str()),
                _ => None,
            })
            .collect();
        let examples: Vec<String> = lacks
            .iter()
            .map(|key| format!("`{key} = {}`", node(&join(table, key)).map(sample).unwrap_or_default()))
            .collect();
        let message = format!("{} has no `{}`", label(document, table), lacks.join("`, no `"));
        document.report(table, At::Value, message, format!("add e.g. {}", examples.join(", ")));
    }
    if let Some(Value::Object(map)) = document.value.pointer_mut(table) {
        map.insert(key.to_owned(), node(&pointer).map(harmless).unwrap_or_default());
    }
    document.settle(&pointer);
}

fn wrong_value(document: &mut Document, pointer: &str) {
    let Some(node) = node(pointer) else { return };
    let value = document.value.pointer(pointer).cloned().unwrap_or_default();
    let message = match (&value, choices(node)) {
        (Value::String(text), Some(_)) => {
            format!("{} is not a choice for {}", quoted(text), label(document, pointer))
        }
        (Value::Number(number), _)
            if ["integer", "number"].contains(&node_kind(node)) && fits_kind(node, &value) =>
        {
            format!("{} cannot be {number}", label(document, pointer))
        }
        _ => format!(
            "{} must be {}, not {}",
            label(document, pointer),
            kind_in_words(node),
            value_in_words(&value)
        ),
    };
    document.report(pointer, At::Value, message, example(pointer));

    // What lay inside cannot be judged any more; what takes its place must not be.
    let replacement = harmless(node);
    for key in replacement.as_object().into_iter().flat_map(Map::keys) {
        document.settle(&join(pointer, key));
    }
    if let Some(place) = document.value.pointer_mut(pointer) {
        *place = replacement;
    }
}

/// The schema of what `pointer` points to.
fn node(pointer: &str) -> Option<&'static Value> {
    pointer.split('/').skip(1).try_fold(&*SCHEMA, |node, token| {
        let key = token.replace("~1", "/").replace("~0", "~");
        node["properties"].get(&key).or_else(|| node.get("items"))
    })
}

fn properties(node: &Value) -> impl Iterator<Item = (&str, &Value)> {
    node["properties"].as_object().into_iter().flatten().map(|(key, node)| (key.as_str(), node))
}

fn node_kind(node: &Value) -> &str {
    node["type"].as_str().unwrap_or("string")
}

fn fits_kind(node: &Value, value: &Value) -> bool {
    node_kind(node) == "number" || !value.is_f64()
}

fn choices(node: &Value) -> Option<Vec<String>> {
    let variants = node["oneOf"].as_array()?;
    Some(variants.iter().map(|variant| variant["const"].to_string()).collect())
}

/// What the operator calls the value at `pointer`.
fn label(document: &Document, pointer: &str) -> String {
    let mut tokens = pointer.rsplit('/');
    let (last, parent) = (tokens.next().unwrap_or_default(), tokens.next().unwrap_or_default());
    let is_entry = last.bytes().all(|byte| byte.is_ascii_digit());
    match document.value.pointer(pointer) {
        Some(Value::Object(table)) if is_entry => match table.get("name").and_then(Value::as_str) {
            Some(name) if !name.is_empty() => format!("{parent} {}", quoted(name)),
            _ => format!("this `[[{}]]`", dotted(pointer)),
        },
        _ if is_entry => format!("an entry of `{parent}`"),
        _ => format!("`{last}`"),
    }
}

fn kind_in_words(node: &Value) -> &'static str {
    match node_kind(node) {
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "an array",
        "object" => "a table",
        _ => "a string",
    }
}

fn value_in_words(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "a table",
    }
}

/// How to write a value of this kind.
fn example(pointer: &str) -> String {
    let Some(node) = node(pointer) else { return String::new() };
    let key = pointer.rsplit('/').find(|token| !token.bytes().all(|byte| byte.is_ascii_digit()));
    let key = key.unwrap_or_default();
    if let Some(choices) = choices(node) {
        return format!("write one of {}", choices.join(", "));
    }
    match node_kind(node) {
        "integer" | "number" => match (&node["minimum"], &node["maximum"]) {
            (Value::Null, _) | (_, Value::Null) => "write a number, without quotation marks".into(),
            (least, most) => format!("write a number from {least} to {most}, without quotation marks"),
        },
        "boolean" => "write `true` or `false`, without quotation marks".into(),
        "array" if node_kind(&node["items"]) == "object" => {
            format!("write its header with two brackets, `[[{}]]`", dotted(pointer))
        }
        "object" if pointer.ends_with(key) => format!("write it as a table, `[{}]`", dotted(pointer)),
        "object" => format!("write each as a table, `[[{}]]`", dotted(pointer)),
        _ if sample(node) == "null" => "write a string, in quotation marks".into(),
        _ => format!("write e.g. `{}`", sample(node)),
    }
}

/// A value as it would stand in the file.
fn sample(node: &Value) -> String {
    node["examples"].get(0).unwrap_or(&node["default"]).to_string()
}

/// A value that the schema accepts and that means nothing.
fn harmless(node: &Value) -> Value {
    if let Some(default) = node.get("default") {
        return default.clone();
    }
    match node_kind(node) {
        "object" => {
            let required = node["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            required.map(|key| (key.to_owned(), harmless(&node["properties"][key]))).collect()
        }
        _ => Value::String(String::new()),
    }
}
