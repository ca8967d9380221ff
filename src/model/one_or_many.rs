//! Reads a value, or a list of such values.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{
    Deserialize, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};

/// Reads a value, or a list. An error is that of the value itself: an enum without tags would say
/// only that nothing matches.
pub(crate) fn one_or_many<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    from.deserialize_any(ReadOneOrMany(PhantomData))
}

struct ReadOneOrMany<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> ReadOneOrMany<T> {
    fn one<E: Error>(value: impl IntoDeserializer<'de, E>) -> Result<Vec<T>, E> {
        Ok(vec![T::deserialize(value.into_deserializer())?])
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for ReadOneOrMany<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, or a list of values")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
        Self::one(text.to_owned())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Vec<T>, E> {
        Self::one(number)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Vec<T>, E> {
        Self::one(number)
    }

    fn visit_i128<E: Error>(self, number: i128) -> Result<Vec<T>, E> {
        Self::one(number)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Vec<T>, E> {
        Self::one(number)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Vec<T>, E> {
        Self::one(value)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
        Ok(vec![T::deserialize(MapAccessDeserializer::new(map))?])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, values: A) -> Result<Vec<T>, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(values))
    }
}
