//! Makes a tool's JSON Schema fit into an OpenAPI document. There, `#/$defs/X` would point at the root of the document
//! and ReDoc stops at it, so every definition moves to `#/components/schemas/` and every reference follows.
//! Fails: [`NotPortable`], if a schema says something that has no place in a shared document.

use std::collections::HashSet;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value};

/// What a schema became.
#[derive(Debug)]
pub(super) struct Hoisted {
    /// What stands where the schema is used.
    pub(super) root: Value,
    /// What `#/components/schemas` gains, in the schema's order.
    pub(super) components: Vec<(String, Value)>,
}

/// The feature that keeps a schema out of the OpenAPI document.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotPortable(pub(super) String);

/// The names under `#/components/schemas` that are taken.
#[derive(Debug, Default)]
pub(super) struct Names(HashSet<String>);

impl Names {
    /// `wanted`, in the letters that OpenAPI allows, with a number after it if another has the name.
    pub(super) fn take(&mut self, wanted: &str) -> String {
        let good = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
        let wanted: String = wanted.chars().map(good).collect();
        let numbered = (2..).map(|n| format!("{wanted}_{n}"));
        let free = std::iter::once(wanted.clone()).chain(numbered).find(|name| !self.0.contains(name));
        let name = free.expect("the numbers do not end");
        self.0.insert(name.clone());
        name
    }
}

/// Hoists `schema`; its definitions are called `<scope>.<name>`, itself (if it refers to itself) `<scope>.<own_name>`.
pub(super) fn hoist(
    schema: &Map<String, Value>,
    scope: &str,
    own_name: &str,
    names: &mut Names,
) -> Result<Hoisted, NotPortable> {
    let whole = Value::Object(schema.clone());
    let mut survey = Survey::default();
    check_dialect(schema)?;
    survey.schema(schema, &mut Vec::new())?;
    let places = Places {
        own_id: schema.get("$id").and_then(Value::as_str).unwrap_or_default(),
        definitions: survey
            .definitions
            .into_iter()
            .map(|place| {
                let last = place.last().map(String::as_str).unwrap_or_default();
                let name = names.take(&format!("{scope}.{last}"));
                (place, name)
            })
            .collect(),
        anchors: survey.anchors,
        root: names.take(&format!("{scope}.{own_name}")),
        whole: &whole,
    };
    let mut moved = Moved::default();
    let root = moved.schema(schema, &mut Vec::new(), &places)?;
    let mut components = moved.components;
    let root = if moved.root_is_referenced {
        components.push((places.root.clone(), root));
        reference(&places.root, &[])
    } else {
        root
    };
    Ok(Hoisted { root, components })
}

fn check_dialect(schema: &Map<String, Value>) -> Result<(), NotPortable> {
    let Some(dialect) = schema.get("$schema").and_then(Value::as_str) else { return Ok(()) };
    let known = ["/2020-12/", "/2019-09/", "/draft-07/", "/draft-06/"];
    if known.iter().any(|part| dialect.contains(part)) {
        Ok(())
    } else {
        Err(NotPortable(format!("the dialect `{dialect}`")))
    }
}

/// Where in a schema something is: the unescaped segments of its JSON pointer.
type Place = Vec<String>;

/// How a schema lies in the one around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    InPlace,
    Definition,
}

/// The schemas directly inside of `schema`, with their places in it. What is not named here (`const`, `default`,
/// `examples`, `x-...`) is the author's data, and a `$ref` in there is none.
fn inside(schema: &Map<String, Value>) -> Vec<(Place, &Value, Role)> {
    let mut found = Vec::new();
    for (keyword, value) in schema {
        let below = |name: &str| vec![keyword.clone(), name.to_owned()];
        match (keyword.as_str(), value) {
            ("$defs" | "definitions", Value::Object(many)) => {
                found.extend(many.iter().map(|(name, one)| (below(name), one, Role::Definition)));
            }
            (
                "properties" | "patternProperties" | "dependentSchemas" | "dependencies",
                Value::Object(many),
            ) => found.extend(many.iter().map(|(name, one)| (below(name), one, Role::InPlace))),
            ("allOf" | "anyOf" | "oneOf" | "prefixItems" | "items", Value::Array(many)) => {
                let numbered = many.iter().enumerate();
                found.extend(numbered.map(|(index, one)| (below(&index.to_string()), one, Role::InPlace)));
            }
            (
                "items"
                | "additionalItems"
                | "contains"
                | "additionalProperties"
                | "unevaluatedItems"
                | "unevaluatedProperties"
                | "propertyNames"
                | "not"
                | "if"
                | "then"
                | "else"
                | "contentSchema",
                one,
            ) => found.push((vec![keyword.clone()], one, Role::InPlace)),
            _ => {}
        }
    }
    found
}

/// First pass: where the definitions and anchors are.
#[derive(Default)]
struct Survey {
    definitions: Vec<Place>,
    anchors: Vec<(String, Place)>,
}

impl Survey {
    fn schema(&mut self, schema: &Map<String, Value>, at: &mut Place) -> Result<(), NotPortable> {
        // Both need the scopes of dynamic evaluation, which a document with other schemas in it does not keep.
        for keyword in ["$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor"] {
            if schema.contains_key(keyword) {
                return Err(NotPortable(format!("`{keyword}`")));
            }
        }
        // It changes what `#` means below it.
        if !at.is_empty() && schema.contains_key("$id") {
            return Err(NotPortable("an embedded `$id`".into()));
        }
        if let Some(anchor) = schema.get("$anchor").and_then(Value::as_str) {
            self.anchors.push((anchor.to_owned(), at.clone()));
        }
        for (below, child, role) in inside(schema) {
            let depth = at.len();
            at.extend(below);
            if role == Role::Definition {
                self.definitions.push(at.clone());
            }
            if let Value::Object(child) = child {
                self.schema(child, at)?;
            }
            at.truncate(depth);
        }
        Ok(())
    }
}

/// Where everything goes.
struct Places<'a> {
    whole: &'a Value,
    own_id: &'a str,
    definitions: Vec<(Place, String)>,
    anchors: Vec<(String, Place)>,
    root: String,
}

impl Places<'_> {
    /// Where the reference `target` leads: a component, and what is still to be walked from there.
    fn resolve(&self, target: &str) -> Result<(&str, Place), NotPortable> {
        let outside = || NotPortable(format!("the reference `{target}`"));
        let own = target.strip_prefix(self.own_id.trim_end_matches('#')).filter(|_| !self.own_id.is_empty());
        let fragment = match (own.unwrap_or(target), own) {
            ("", Some(_)) => "",
            (text, _) => text.strip_prefix('#').ok_or_else(outside)?,
        };
        let fragment = percent_decode_str(fragment).decode_utf8().map_err(|_| outside())?;
        let place = if fragment.is_empty() || fragment.starts_with('/') {
            self.whole.pointer(&fragment).ok_or_else(outside)?;
            let unescape = |segment: &str| segment.replace("~1", "/").replace("~0", "~");
            fragment.split('/').skip(1).map(unescape).collect()
        } else {
            let anchor = self.anchors.iter().find(|(name, _)| *name == *fragment);
            anchor.map(|(_, place)| place.clone()).ok_or_else(outside)?
        };
        // A definition inside of a definition moves too, so the longest place wins.
        let moved = self.definitions.iter().filter(|(moved, _)| place.starts_with(moved));
        Ok(match moved.max_by_key(|(moved, _)| moved.len()) {
            Some((moved, name)) => (name, place[moved.len()..].to_vec()),
            None => (&self.root, place),
        })
    }
}

/// Second pass: the schema as it stands in the document.
#[derive(Default)]
struct Moved {
    components: Vec<(String, Value)>,
    root_is_referenced: bool,
}

impl Moved {
    fn schema(
        &mut self,
        schema: &Map<String, Value>,
        at: &mut Place,
        places: &Places<'_>,
    ) -> Result<Value, NotPortable> {
        let mut out = schema.clone();
        for keyword in ["$schema", "$id", "$anchor", "$vocabulary", "$defs", "definitions"] {
            out.shift_remove(keyword);
        }
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            let (component, rest) = places.resolve(target)?;
            self.root_is_referenced |= component == places.root;
            out.insert("$ref".into(), pointer_to(component, &rest).into());
        }
        for (below, child, role) in inside(schema) {
            let depth = at.len();
            at.extend(below.clone());
            let child = match child {
                Value::Object(child) => self.schema(child, at, places)?,
                other => other.clone(),
            };
            match role {
                Role::InPlace => put(&mut out, &below, child),
                Role::Definition => {
                    let name = places.definitions.iter().find(|(place, _)| place == at);
                    let (_, name) = name.expect("the first pass saw the same definitions");
                    self.components.push((name.clone(), child));
                }
            }
            at.truncate(depth);
        }
        modernise_items(&mut out);
        Ok(Value::Object(out))
    }
}

fn put(schema: &mut Map<String, Value>, below: &[String], child: Value) {
    let slot = match below {
        [keyword] => schema.get_mut(keyword),
        [keyword, name] => schema.get_mut(keyword).and_then(|many| match many {
            Value::Object(many) => many.get_mut(name),
            Value::Array(many) => name.parse().ok().and_then(|index: usize| many.get_mut(index)),
            _ => None,
        }),
        _ => None,
    };
    *slot.expect("`inside` found a schema there") = child;
}

/// What 2020-12, the dialect of OpenAPI 3.1, calls `prefixItems` and `items`, drafts before it call `items` and
/// `additionalItems`.
fn modernise_items(schema: &mut Map<String, Value>) {
    if !schema.get("items").is_some_and(Value::is_array) {
        return;
    }
    let rest = schema.shift_remove("additionalItems");
    if let Some(items) = schema.shift_remove("items") {
        schema.insert("prefixItems".into(), items);
    }
    if let Some(rest) = rest {
        schema.insert("items".into(), rest);
    }
}

/// A reference to a component of the document.
pub(super) fn reference(component: &str, rest: &[String]) -> Value {
    serde_json::json!({"$ref": pointer_to(component, rest)})
}

fn pointer_to(component: &str, rest: &[String]) -> String {
    /// What a URI fragment may not hold as it is.
    const NOT_IN_FRAGMENTS: &AsciiSet =
        &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'[').add(b']').add(b'\\');
    const NOT_IN_FRAGMENTS_EITHER: &AsciiSet =
        &NOT_IN_FRAGMENTS.add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');
    let mut pointer = format!("#/components/schemas/{component}");
    for segment in rest {
        let escaped = segment.replace('~', "~0").replace('/', "~1");
        pointer.push('/');
        pointer.extend(utf8_percent_encode(&escaped, NOT_IN_FRAGMENTS_EITHER));
    }
    pointer
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(schema: Value, expected: Value) {
        let Value::Object(schema) = schema else { panic!("the test's own schema is an object") };
        let mut names = Names::default();
        let found = match hoist(&schema, "greet.echo", "arguments", &mut names) {
            Ok(hoisted) => {
                json!({"root": hoisted.root, "components": Map::from_iter(hoisted.components)})
            }
            Err(NotPortable(feature)) => json!({"not_portable": feature}),
        };
        assert_eq!(found, expected, "{found:#}");
    }

    #[test]
    fn definitions_move_and_references_follow() {
        check(
            json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
                "properties": {"a": {"$ref": "#/$defs/A"}, "b": {"items": {"$ref": "#/definitions/B"}}},
                "$defs": {"A": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/A"}]}},
                "definitions": {"B": {"type": "string"}}}),
            json!({"root": {"type": "object", "properties": {
                    "a": {"$ref": "#/components/schemas/greet.echo.A"},
                    "b": {"items": {"$ref": "#/components/schemas/greet.echo.B"}}}},
                "components": {
                    "greet.echo.A": {"anyOf": [{"type": "null"}, {"$ref": "#/components/schemas/greet.echo.A"}]},
                    "greet.echo.B": {"type": "string"}}}),
        );
    }

    #[test]
    fn nested_definitions_and_escaped_pointers_are_found() {
        check(
            json!({"properties": {"a": {"$ref": "#/$defs/A/$defs/In~1ner%20x/properties/p~0q r"}},
                "$defs": {"A": {"$defs": {"In/ner x": {"properties": {"p~q r": true}}}}}}),
            json!({"root": {"properties": {
                    "a": {"$ref": "#/components/schemas/greet.echo.In_ner_x/properties/p~0q%20r"}}},
                "components": {"greet.echo.In_ner_x": {"properties": {"p~q r": true}}, "greet.echo.A": {}}}),
        );
    }

    #[test]
    fn a_schema_that_refers_to_itself_becomes_a_component() {
        check(
            json!({"$id": "https://example.com/tree", "properties": {
                "next": {"$ref": "#"}, "id": {"$ref": "https://example.com/tree#/properties/next"}}}),
            json!({"root": {"$ref": "#/components/schemas/greet.echo.arguments"},
                "components": {"greet.echo.arguments": {"properties": {
                    "next": {"$ref": "#/components/schemas/greet.echo.arguments"},
                    "id": {"$ref": "#/components/schemas/greet.echo.arguments/properties/next"}}}}}),
        );
    }

    #[test]
    fn anchors_become_pointers() {
        check(
            json!({"not": {"$ref": "#here"}, "$defs": {"A": {"items": {"$anchor": "here", "const": 1}}}}),
            json!({"root": {"not": {"$ref": "#/components/schemas/greet.echo.A/items"}},
                "components": {"greet.echo.A": {"items": {"const": 1}}}}),
        );
    }

    #[test]
    fn data_and_property_names_are_left_alone() {
        let schema = json!({"properties": {"$ref": {"default": {"$ref": "#/$defs/X"}}, "$id": {"const": 1},
            "$defs": {"enum": [{"$ref": "#"}]}}});
        check(schema.clone(), json!({"root": schema, "components": {}}));
    }

    #[test]
    fn item_lists_of_older_drafts_are_renamed() {
        check(
            json!({"$schema": "http://json-schema.org/draft-07/schema#",
                "items": [{"type": "string"}, {"$ref": "#/definitions/B"}], "additionalItems": false,
                "definitions": {"B": true}}),
            json!({"root": {"prefixItems": [{"type": "string"}, {"$ref": "#/components/schemas/greet.echo.B"}],
                "items": false}, "components": {"greet.echo.B": true}}),
        );
    }

    #[test]
    fn what_has_no_place_in_a_shared_document_is_named() {
        check(json!({"$dynamicRef": "#x"}), json!({"not_portable": "`$dynamicRef`"}));
        check(json!({"not": {"$id": "x"}}), json!({"not_portable": "an embedded `$id`"}));
        check(json!({"$ref": "#/$defs/A"}), json!({"not_portable": "the reference `#/$defs/A`"}));
        check(json!({"$ref": "other.json#/x"}), json!({"not_portable": "the reference `other.json#/x`"}));
        check(
            json!({"$schema": "http://json-schema.org/draft-04/schema#"}),
            json!({"not_portable": "the dialect `http://json-schema.org/draft-04/schema#`"}),
        );
    }

    #[test]
    fn a_name_is_given_once() {
        let mut names = Names::default();
        let taken: Vec<_> = ["a.b", "a.b", "a<b>", "a.b"].iter().map(|name| names.take(name)).collect();
        assert_eq!(taken, ["a.b", "a.b_2", "a_b_", "a.b_3"]);
    }
}
