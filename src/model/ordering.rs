//! Ordering keys: deliveries to one destination with the same key are made one after the other.

use std::borrow::Cow;

use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::request::{JsonPointer, last_value_at, scalar_text};

/// The order of a destination's deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryOrder {
    /// Where the key of an event is found.
    pub by: OrderBy,
    /// The fate of the later deliveries once one is dead-lettered.
    pub on_dead: OnDead,
}

/// Where the ordering key of an event is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderBy {
    /// The string, number or boolean at a JSON pointer into the body.
    Pointer(JsonPointer),
    /// A header of this name, which is there once.
    Header(String),
    /// The event's source.
    Source,
    /// All events have the same key.
    All,
}

/// The fate of a key's later deliveries once one is dead-lettered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDead {
    /// The next one goes.
    #[default]
    Skip,
    /// They wait until the dead letter is replayed or discarded.
    Block,
}

/// The values of an event that its ordering key may come from.
pub struct KeySource<'a> {
    /// None of a relay, which has no source.
    pub source: Option<&'a str>,
    /// The JSON document in the body; none if the body is something else.
    pub document: Option<&'a RawValue>,
    /// The value of a header that is there once.
    pub header: &'a dyn Fn(&str) -> Option<Cow<'a, [u8]>>,
}

/// An ordering key: 64 bits of SHA-256 over the value's type and the value. Two keys that collide
/// are made one after the other, which is slower and not wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OrderKey(i64);

impl OrderBy {
    /// The key of an event; none if it has no value there, or one that is no key: such an event is
    /// unordered.
    pub fn key(&self, event: &KeySource<'_>) -> Option<OrderKey> {
        match self {
            Self::Pointer(pointer) => OrderKey::of_json(last_value_at(event.document?, pointer)?),
            Self::Header(name) => {
                let value = (event.header)(name)?;
                Some(OrderKey::digest("header", &value))
            }
            Self::Source => Some(OrderKey::digest("source", event.source?.as_bytes())),
            Self::All => Some(OrderKey::digest("all", b"")),
        }
    }
}

impl OrderKey {
    /// The key with this number.
    pub const fn from_number(number: i64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn number(self) -> i64 {
        self.0
    }

    /// The key of a string, a number or a boolean. Values of different types are different keys.
    fn of_json(value: &RawValue) -> Option<Self> {
        let kind = match value.get().as_bytes().first()? {
            b'"' => "string",
            b't' | b'f' => "boolean",
            b'-' | b'0'..=b'9' => "number",
            _ => return None,
        };
        let text = scalar_text(value).ok().flatten()?;
        Some(if kind == "number" {
            Self::digest(kind, decimal(&text).as_bytes())
        } else {
            Self::digest(kind, text.as_bytes())
        })
    }

    fn digest(kind: &str, value: &[u8]) -> Self {
        let mut hash = Sha256::new();
        for part in [kind.as_bytes(), value] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let whole = <[u8; 32]>::from(hash.finalize());
        Self(i64::from_be_bytes(
            *whole.first_chunk().expect("32 bytes hold 8"),
        ))
    }
}

/// A JSON number in the one form of its value: `1e3`, `1000` and `1000.0` are the same, and no
/// digit is rounded. An exponent beyond 64 bits counts as the greatest one.
fn decimal(number: &str) -> String {
    let (sign, digits) = match number.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", number),
    };
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)),
        None => (digits, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return "0".to_owned();
    }
    let zeros = digits.len() - digits.trim_end_matches('0').len();
    let width = |length: usize| i128::try_from(length).expect("a length fits");
    let exponent = i128::from(exponent) + width(zeros) - width(fraction.len());
    format!("{sign}{significant}e{exponent}")
}

fn parse_exponent(text: &str) -> i64 {
    let bound = if text.starts_with('-') {
        i64::MIN
    } else {
        i64::MAX
    };
    text.parse().unwrap_or(bound)
}

#[cfg(test)]
mod tests;
