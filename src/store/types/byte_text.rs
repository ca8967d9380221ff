//! Bytes in a JSON document.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// Bytes, written as a text if they are one, otherwise as `{"base64": …}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ByteText(pub Vec<u8>);

/// Texts that are written as such. A longer one, or one with control characters, could grow sixfold
/// by escapes.
const MAX_TEXT: usize = 1 << 20;

impl Serialize for ByteText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_plain = |byte: &u8| *byte >= 0x20 || matches!(byte, b'\n' | b'\r' | b'\t');
        let text = std::str::from_utf8(&self.0).ok();
        match text.filter(|_| self.0.len() <= MAX_TEXT && self.0.iter().all(is_plain)) {
            Some(text) => serializer.serialize_str(text),
            None => Encoded {
                base64: STANDARD.encode(&self.0),
            }
            .serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ByteText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Text(String),
            Encoded(Encoded),
        }
        let written = Written::deserialize(deserializer)
            .map_err(|_| serde::de::Error::custom("expected a text or {\"base64\": …}"))?;
        match written {
            Written::Text(text) => Ok(Self(text.into_bytes())),
            Written::Encoded(Encoded { base64 }) => STANDARD
                .decode(base64)
                .map(Self)
                .map_err(|_| serde::de::Error::custom("expected base64 with padding")),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Encoded {
    base64: String,
}

#[cfg(test)]
mod tests;
