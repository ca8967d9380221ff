//! Reads patterns: a text, a number or a truth value stands for itself, a table for operators.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::{OneOrMany, Operators, Pattern};
use crate::model::number::{Number, finite};
use crate::model::one_or_many::one_or_many;
use crate::model::request::template::Template;

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Pattern;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number, true, false, or a table such as { prefix = \"a\" }")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Pattern, E> {
                Template::parse(text).map(Pattern::Text).map_err(E::custom)
            }

            fn visit_i64<E>(self, number: i64) -> Result<Pattern, E> {
                Ok(Pattern::Number(Number::from(i128::from(number))))
            }

            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Pattern, E> {
                Ok(Pattern::Number(finite(number)?))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Pattern, E> {
                Ok(Pattern::Bool(value))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Pattern, A::Error> {
                let operators = Operators::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Pattern::Operators(Box::new(operators)))
            }
        }

        from.deserialize_any(Read)
    }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        one_or_many(from).map(Self)
    }
}
