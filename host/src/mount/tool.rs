//! One tool, ready to be called: its declaration, and the compiled check of its arguments.

use std::fmt::{self, Write};

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use super::{MountError, header};
use crate::{config::ServerName, load::ToolSpec};

/// Compiling costs time and memory with the square of some keywords, so a schema has a limit.
const SCHEMA_MAX_BYTES: usize = 64 * 1024;
/// A client that made more mistakes than this is not helped by reading all of them.
const ERRORS_MAX: usize = 20;
/// The validator collects every error before it yields the first: a value with more parts than this (a megabyte
/// of wrong array items, say) is told its first error only.
const PARTS_MAX: usize = 10_000;
/// Error texts quote the value that is wrong, which may be the whole body.
const DETAIL_MAX_BYTES: usize = 300;
/// What `fancy_regex` may try for one pattern that needs look-around; the default is a million.
const BACKTRACK_MAX: usize = 10_000;

/// One tool, ready to be called.
#[derive(Debug)]
pub struct Tool {
    /// As the plugin declared it.
    pub spec: ToolSpec,
    arguments: Validator,
    quoting: Quoting,
}

/// Whether error texts may quote what the client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quoting {
    Values,
    /// The schema marks something as secret (`writeOnly`, `format: password`).
    Nothing,
}

/// One reason why arguments do not fit a tool's schema.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ArgumentError {
    /// JSON pointer (RFC 6901) into the arguments; empty for the whole.
    pub pointer: String,
    /// The schema keyword that refused, e.g. `required`.
    pub keyword: String,
    /// For people.
    pub detail: String,
}

impl Tool {
    /// Compiles the check of the arguments of one tool of `server`.
    pub(super) fn compile(server: &ServerName, spec: &ToolSpec) -> Result<Self, MountError> {
        let schema = Value::Object(spec.input_schema.clone());
        let bytes = schema.to_string().len();
        if bytes > SCHEMA_MAX_BYTES {
            let (server, tool) = (server.clone(), spec.name.clone());
            return Err(MountError::SchemaTooLarge { server, tool, bytes, max: SCHEMA_MAX_BYTES });
        }
        header::validate(&spec.input_schema).map_err(|(property, reason)| MountError::BadHeader {
            server: server.clone(),
            tool: spec.name.clone(),
            property,
            reason,
        })?;
        let arguments = compile(&schema).map_err(|source| MountError::BadSchema {
            server: server.clone(),
            tool: spec.name.clone(),
            pointer: source.instance_path().as_str().to_owned(),
            source: Box::new(source),
        })?;
        let quoting = if marks_secrets(&schema) { Quoting::Nothing } else { Quoting::Values };
        Ok(Self { spec: spec.clone(), arguments, quoting })
    }

    /// Checks parsed arguments; at most 20 errors are reported.
    pub fn check_arguments(&self, arguments: &Value) -> Result<(), Vec<ArgumentError>> {
        if self.arguments.is_valid(arguments) {
            return Ok(());
        }
        let errors: Vec<_> = if has_more_parts_than(PARTS_MAX, arguments) {
            self.arguments.validate(arguments).err().iter().map(|error| self.explain(error)).collect()
        } else {
            self.arguments.iter_errors(arguments).take(ERRORS_MAX).map(|error| self.explain(&error)).collect()
        };
        Err(errors)
    }

    fn explain(&self, error: &ValidationError<'_>) -> ArgumentError {
        let mut detail = Shortened(String::new());
        // `Shortened` refuses what is too long, and with that ends the formatting early.
        let _ = match self.quoting {
            Quoting::Values => write!(detail, "{error}"),
            Quoting::Nothing => write!(detail, "{}", error.masked()),
        };
        ArgumentError {
            pointer: error.instance_path().as_str().to_owned(),
            keyword: error.kind().keyword().to_owned(),
            detail: detail.0,
        }
    }
}

fn compile(schema: &Value) -> Result<Validator, ValidationError<'static>> {
    // `regex` runs in linear time but knows no look-around; only schemas that need it get the engine that backtracks.
    let linear = jsonschema::options().offline().with_pattern_options(PatternOptions::regex());
    linear.build(schema).or_else(|_| {
        let backtracking = PatternOptions::fancy_regex().backtrack_limit(BACKTRACK_MAX);
        jsonschema::options().offline().with_pattern_options(backtracking).build(schema)
    })
}

fn marks_secrets(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => {
            members.get("writeOnly") == Some(&Value::Bool(true))
                || members.get("format").and_then(Value::as_str) == Some("password")
                || members.values().any(marks_secrets)
        }
        Value::Array(items) => items.iter().any(marks_secrets),
        _ => false,
    }
}

fn has_more_parts_than(max: usize, value: &Value) -> bool {
    fn count(value: &Value, left: &mut usize) -> bool {
        *left = left.saturating_sub(1);
        *left > 0
            && match value {
                Value::Object(members) => members.values().all(|part| count(part, left)),
                Value::Array(items) => items.iter().all(|part| count(part, left)),
                _ => true,
            }
    }
    !count(value, &mut (max + 1))
}

/// Text that stops growing at [`DETAIL_MAX_BYTES`].
struct Shortened(String);

impl fmt::Write for Shortened {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = DETAIL_MAX_BYTES.saturating_sub(self.0.len());
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        self.0.push('…');
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compile_tool(schema: Value) -> Result<Tool, MountError> {
        let Value::Object(input_schema) = schema else { panic!("the test's own schema is an object") };
        let spec = ToolSpec {
            name: "echoHai".into(),
            title: None,
            description: None,
            input_schema,
            output_schema: None,
            annotations: None,
            wire: serde_json::Map::new(),
        };
        Tool::compile(&ServerName::parse("greet").expect("the test's own name"), &spec)
    }

    fn tool(schema: Value) -> Tool {
        compile_tool(schema).expect("the test's own schema is good")
    }

    fn errors(schema: Value, arguments: Value) -> Vec<String> {
        let errors = tool(schema).check_arguments(&arguments).err().unwrap_or_default();
        errors.iter().map(|e| format!("{} {}: {}", e.pointer, e.keyword, e.detail)).collect()
    }

    #[test]
    fn every_mistake_is_named_with_pointer_and_keyword() {
        let schema = json!({"type": "object", "required": ["name"], "properties": {
            "times": {"minimum": 1}, "tags": {"items": {"type": "string"}}}});
        assert_eq!(
            errors(schema.clone(), json!({"times": 0, "tags": ["a", 5]})),
            [
                " required: \"name\" is a required property",
                "/times minimum: 0 is less than the minimum of 1",
                "/tags/1 type: 5 is not of type \"string\"",
            ]
        );
        assert_eq!(errors(schema, json!({"name": "Ada"})), [""; 0]);
    }

    #[test]
    fn long_lists_of_mistakes_and_long_texts_are_cut() {
        let strings = json!({"type": "object", "properties": {"a": {"items": {"type": "string"}}}});
        assert_eq!(errors(strings.clone(), json!({"a": vec![0; 100]})).len(), 20);
        assert_eq!(errors(strings, json!({"a": vec![0; 20_000]})).len(), 1);
        let long = errors(json!({"type": "object", "maxProperties": 0}), json!({"a": "é".repeat(9000)}));
        assert!(long[0].len() < 400 && long[0].ends_with('…'), "{long:?}");
    }

    #[test]
    fn secret_values_are_not_quoted() {
        let schema = json!({"type": "object", "properties": {"pin": {"format": "password", "maxLength": 2}}});
        assert_eq!(
            errors(schema, json!({"pin": "12345"})),
            ["/pin maxLength: value is longer than 2 characters"]
        );
    }

    #[test]
    fn look_around_is_tried_with_a_small_limit_only() {
        let schema = json!({"type": "object", "properties": {"a": {"pattern": "^(?!x)(a+)+$"}}});
        assert_eq!(errors(schema.clone(), json!({"a": "aaa"})), [""; 0]);
        assert_eq!(errors(schema, json!({"a": format!("{}b", "a".repeat(60))})).len(), 1);
    }

    #[test]
    fn a_schema_that_only_refers_to_itself_ends() {
        let circular = json!({"type": "object", "allOf": [{"$ref": "#"}]});
        assert_eq!(errors(circular, json!({"a": 1})), [""; 0]);
        let pair = json!({"type": "object", "$ref": "#/$defs/a", "$defs": {
            "a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}});
        assert_eq!(errors(pair, json!({"a": 1})), [""; 0]);
    }

    #[test]
    fn schemas_that_cannot_be_used_name_server_and_tool() {
        let refused = |schema| {
            let error = compile_tool(schema).expect_err("it is refused");
            format!("{}: {error}", error.code())
        };
        assert_eq!(
            refused(json!({"type": "object", "properties": {"a": {"type": "strang"}}})),
            "bad_schema: server `greet`: the input schema of tool `echoHai` cannot be used; correct it at \
             `/properties/a/type` (references to other documents are not followed)"
        );
        assert!(
            refused(json!({"type": "object", "properties": {"a": {"$ref": "https://example.com/s"}}}))
                .starts_with("bad_schema: server `greet`: the input schema of tool `echoHai`")
        );
        assert_eq!(
            refused(json!({"type": "object", "description": "x".repeat(70_000)})),
            "schema_too_large: server `greet`: the input schema of tool `echoHai` has 70034 bytes; at most 65536 \
             are accepted"
        );
    }
}
