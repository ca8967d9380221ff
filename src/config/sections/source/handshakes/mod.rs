//! `[sources.NAME] handshakes`: the questions that a provider asks before it sends events.
//!
//! - `known`: the handshakes that have a name. `table`: those that are described. `reply`: their
//!   answers.

mod known;
mod reply;
mod table;

use std::fmt;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{self, Deserializer, MapAccess, Visitor};

pub use known::HandshakeName;
pub use reply::{ReplyJson, ReplyPart, ReplyText};
pub use table::{HandshakeMethod, HandshakeTable};

/// A handshake: a request that is answered and is no event.
#[derive(Clone, Debug, PartialEq)]
pub enum Handshake {
    /// One that relay knows by its name.
    Named(HandshakeName),
    /// One that the configuration describes.
    Described(Box<HandshakeTable>),
}

impl fmt::Display for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => write!(f, "{:?}", name.as_str()),
            Self::Described(_) => f.write_str("a table"),
        }
    }
}

impl<'de> Deserialize<'de> for Handshake {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Handshake;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a handshake, or a table such as { method = \"GET\", … }")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Handshake, E> {
                HandshakeName::deserialize(StrDeserializer::new(name)).map(Handshake::Named)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Handshake, A::Error> {
                let table = HandshakeTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Handshake::Described(Box::new(table)))
            }
        }

        from.deserialize_any(Read)
    }
}
