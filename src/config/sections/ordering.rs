//! `[destinations.NAME] ordering`: deliveries that are made one after the other.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use crate::config::rules::{Checked, bad, is_header_name, quoted};
use crate::model::request::JsonPointer;
use crate::model::{DeliveryOrder, OnDead, OrderBy};

/// The order of a destination's deliveries, as it is written: a table, or `"source"` or `"all"` for
/// the table with that `by` alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ordering {
    /// A JSON pointer into the body, `"source"` or `"all"`.
    pub by: Option<String>,
    /// The name of a header.
    pub header: Option<String>,
    /// The fate of a key's later deliveries once one is dead-lettered. Default: skip.
    pub on_dead: OnDead,
}

const BY_SOURCE: &str = "source";
const BY_ALL: &str = "all";

impl Ordering {
    /// The order by this: a JSON pointer, `"source"` or `"all"`.
    pub fn by(by: &str) -> Self {
        Self {
            by: Some(by.to_owned()),
            ..Self::default()
        }
    }

    pub(in crate::config) fn check(&self, key: &str) -> Checked {
        match (&self.by, &self.header) {
            (None, None) => Err((
                key.to_owned(),
                "has neither by nor header: expected one of them".to_owned(),
            )),
            (Some(_), Some(_)) => Err((
                key.to_owned(),
                "by contradicts header: expected one of them".to_owned(),
            )),
            (Some(by), None) if by_value(by).is_none() => bad(
                &format!("{key}.by"),
                quoted(by),
                "a JSON pointer such as \"/customer/id\", \"source\" or \"all\"",
            ),
            (None, Some(header)) if !is_header_name(header) => bad(
                &format!("{key}.header"),
                quoted(header),
                "the name of an HTTP header",
            ),
            _ => Ok(()),
        }
    }

    /// The order; none if [`Self::check`] would refuse it.
    pub(in crate::config) fn resolve(&self) -> Option<DeliveryOrder> {
        let by = match (&self.by, &self.header) {
            (Some(by), None) => by_value(by)?,
            (None, Some(header)) => OrderBy::Header(header.to_ascii_lowercase()),
            _ => return None,
        };
        Some(DeliveryOrder {
            by,
            on_dead: self.on_dead,
        })
    }
}

fn by_value(by: &str) -> Option<OrderBy> {
    match by {
        BY_SOURCE => Some(OrderBy::Source),
        BY_ALL => Some(OrderBy::All),
        pointer => JsonPointer::parse(pointer).map(OrderBy::Pointer),
    }
}

impl<'de> Deserialize<'de> for Ordering {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(OrderingVisitor)
    }
}

struct OrderingVisitor;

impl<'de> Visitor<'de> for OrderingVisitor {
    type Value = Ordering;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "\"source\", \"all\", or a table such as { by = \"/customer/id\", on_dead = \"block\" }",
        )
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Ordering, E> {
        match text {
            BY_SOURCE | BY_ALL => Ok(Ordering::by(text)),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Ordering, A::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            by: Option<String>,
            header: Option<String>,
            on_dead: Option<OnDeadName>,
        }
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum OnDeadName {
            Block,
            Skip,
        }
        let table = Table::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(Ordering {
            by: table.by,
            header: table.header,
            on_dead: match table.on_dead {
                Some(OnDeadName::Block) => OnDead::Block,
                Some(OnDeadName::Skip) | None => OnDead::Skip,
            },
        })
    }
}
