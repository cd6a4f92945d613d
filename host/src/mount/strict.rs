//! JSON that means the same to everybody who reads it: no object names a member twice.
//!
//! In:   bytes.
//! Out:  a [`Value`], with the numbers and the limit of depth that serde_json has by itself.
//! Fails: also if a member occurs twice in one object.
//! Never: hands on a value of which a plugin, which reads the same bytes with another parser, may see another one.
//!
//! RFC 8259 section 4 leaves open which of two members of one name counts. If the gateway checked the last and the plugin
//! read the first, the check would be worth nothing; RFC 7493 section 2.3 (I-JSON) forbids such objects.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value, map::Entry};

/// Names are quoted up to here: one may be as long as the body.
const NAME_MAX_CHARS: usize = 64;

/// Why bytes are not JSON, or not such that all read the same from them; says at which line and column.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StrictError(serde_json::Error);

/// Reads one JSON value and nothing after it.
pub fn parse(bytes: &[u8]) -> Result<Value, StrictError> {
    let mut text = serde_json::Deserializer::from_slice(bytes);
    let value = Strict.deserialize(&mut text).map_err(StrictError)?;
    text.end().map_err(StrictError)?;
    Ok(value)
}

/// As serde_json makes a [`Value`], but for objects: the member that its feature `raw_value` reserves, whose text it would
/// read as JSON, is a member like any other here, as it is to the check of a schema and to most plugins.
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element_seed(Strict)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = from.next_key::<String>()? {
            match members.entry(name) {
                // Before its value is read, so that the error is where the name is.
                Entry::Occupied(first) => return Err(twice(first.key())),
                Entry::Vacant(place) => drop(place.insert(from.next_value_seed(Strict)?)),
            }
        }
        Ok(Value::Object(members))
    }
}

fn twice<E: de::Error>(name: &str) -> E {
    let cut = name.char_indices().nth(NAME_MAX_CHARS).map(|(at, _)| at);
    let (shown, more) = (&name[..cut.unwrap_or(name.len())], if cut.is_some() { "…" } else { "" });
    E::custom(format_args!("the member `{}{more}` occurs twice in one object", shown.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(), &str>) {
        let parsed = parse(text.as_bytes());
        match (&parsed, expected) {
            (Ok(value), Ok(())) => {
                let usual: Value = serde_json::from_str(text).expect("serde_json takes what we take");
                // As text, too: the order of members, `-0.0` and `1.0` are not to change.
                assert_eq!((value, value.to_string()), (&usual, usual.to_string()), "{text}");
            }
            (Err(error), Err(words)) => assert_eq!(error.to_string(), words, "{text}"),
            _ => panic!("{text}: {parsed:?}"),
        }
    }

    #[test]
    fn whatever_names_no_member_twice_is_read_as_serde_json_reads_it() {
        for text in [
            "null",
            " [true, false, \"\\u00e9\\ud83d\\ude00\", \"plain\"] ",
            "{}",
            r#"{"b": {"a": 1, "b": 2}, "a": [{"a": 1}, {"a": 2}], "": ""}"#,
            "[0, -0, -0.0, 1.0, 1e3, 0.1, -9223372036854775808, 18446744073709551615, 18446744073709551616]",
            "[123456789012345678901234567890.5, 5e-324, 1.7976931348623157e308]",
        ] {
            check(text, Ok(()));
        }
    }

    #[test]
    fn a_member_that_occurs_twice_is_named_with_its_place() {
        check(r#"{"a": 1, "a": 1}"#, Err("the member `a` occurs twice in one object at line 1 column 12"));
        check(
            "{\"to\": [\n  {\"name\": \"Ada\", \"age\": 5, \"name\": \"Bob\"}]}",
            Err("the member `name` occurs twice in one object at line 2 column 34"),
        );
        // The same name in other letters.
        check(
            r#"{"a": 1, "\u0061": 2}"#,
            Err("the member `a` occurs twice in one object at line 1 column 17"),
        );
        check(r#"{"": 1, "": 2}"#, Err("the member `` occurs twice in one object at line 1 column 10"));
    }

    #[test]
    fn long_and_odd_names_are_shown_short_and_harmless() {
        let long = "é".repeat(5000);
        let error = parse(format!("{{\"{long}\":1,\"{long}\":2}}").as_bytes()).expect_err("it occurs twice");
        let shown = format!("the member `{}…` occurs twice in one object at line 1 column ", "é".repeat(64));
        assert!(error.to_string().starts_with(&shown), "{error}");
        let odd = r#"{"a\n at line 7 column 7": 1, "a\n at line 7 column 7": 1}"#;
        let words = r"the member `a\n at line 7 column 7` occurs twice in one object at line 1 column 54";
        check(odd, Err(words));
    }

    #[test]
    fn a_member_that_serde_json_keeps_for_itself_is_one_like_any_other() {
        let text = r#"{"$serde_json::private::RawValue": "{\"name\": 5}"}"#;
        let value = parse(text.as_bytes()).expect("an object with one member");
        assert_eq!(value["$serde_json::private::RawValue"], "{\"name\": 5}");
    }

    #[test]
    fn what_is_no_json_is_refused_in_serde_jsons_words() {
        check("", Err("EOF while parsing a value at line 1 column 0"));
        check("{\"a\": 1} x", Err("trailing characters at line 1 column 10"));
        check("{\"a\": 1e999}", Err("number out of range at line 1 column 11"));
        check("[\"\\ud800\"]", Err("unexpected end of hex escape at line 1 column 9"));
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        check(&deep(127), Ok(()));
        check(&deep(128), Err("recursion limit exceeded at line 1 column 128"));
    }
}
