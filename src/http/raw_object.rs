//! A JSON object as it was sent: its members in order, repeated ones included, which a map would
//! hide, and its values byte for byte.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

pub(super) struct RawObject<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for RawObject<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = RawObject<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawObject<'de>, A::Error> {
                // serde copies into a `Cow` unless it is told to borrow.
                #[derive(serde::Deserialize)]
                struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<Name<'de>, _>()? {
                    members.push((name.0, value));
                }
                Ok(RawObject(members))
            }
        }

        from.deserialize_map(Collect)
    }
}
