//! Makes a typed value of named texts: MCP gives the arguments of prompts and the variables of resource templates
//! as strings, authors want numbers and enums.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeOwned, IntoDeserializer, Visitor, value::MapDeserializer},
    forward_to_deserialize_any,
};

use crate::{Error, Result};

/// Reads a struct whose fields are texts, or can be read from text.
///
/// # Errors
/// -32602 if a field is missing or cannot be read.
pub(crate) fn read<T: DeserializeOwned>(texts: impl IntoIterator<Item = (String, String)>) -> Result<T> {
    let fields = texts.into_iter().map(|(name, text)| (name, Text(text)));
    T::deserialize(MapDeserializer::new(fields)).map_err(|error: Unfit| Error::invalid_params(error.0))
}

/// One text, read as whatever its field wants.
struct Text(String);

#[derive(Debug)]
struct Unfit(String);

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unfit {}

impl serde::de::Error for Unfit {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self(text.to_string())
    }
}

impl IntoDeserializer<'_, Unfit> for Text {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident $type:ty),* $(,)?) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
            match self.0.parse::<$type>() {
                Ok(value) => visitor.$visit(value),
                Err(_) => Err(Unfit(format!("`{}` is not a {}", self.0, stringify!($type)))),
            }
        }
    )* };
}

impl<'de> Deserializer<'de> for Text {
    type Error = Unfit;

    parsed! {
        deserialize_bool visit_bool bool,
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_i128 visit_i128 i128,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_u128 visit_u128 u128,
        deserialize_f32 visit_f32 f32,
        deserialize_f64 visit_f64 f64,
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_string(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        IntoDeserializer::<Unfit>::into_deserializer(self.0).deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Colour {
        Red,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Mixed {
        name: String,
        count: u8,
        colour: Option<Colour>,
        sure: Option<bool>,
    }

    fn texts(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect()
    }

    #[test]
    fn texts_become_what_their_fields_want() {
        let read: Mixed = read(texts(&[("name", "7"), ("count", "7"), ("colour", "red")])).expect("they fit");
        assert_eq!(read, Mixed { name: "7".into(), count: 7, colour: Some(Colour::Red), sure: None });
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let check = |pairs: &[(&str, &str)], says: &str| {
            let error = read::<Mixed>(texts(pairs)).expect_err("does not fit");
            assert_eq!((error.to_string().as_str(), error.code()), (says, Some(-32602)));
        };
        check(&[("name", "x"), ("count", "300")], "`300` is not a u8");
        check(&[("name", "x")], "missing field `count`");
        check(&[("name", "x"), ("count", "1"), ("colour", "blue")], "unknown variant `blue`, expected `red`");
    }
}
