//! The values that patterns are matched with: of a header, or of a JSON document.

use std::borrow::Cow;
use std::fmt;

/// Characters of a value that are shown.
const SHOWN: usize = 80;

/// A value that is there.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// A text, decoded.
    Text(Cow<'a, str>),
    /// A number of a document, as it is written.
    Number(&'a str),
    /// A truth value of a document.
    Bool(bool),
    /// Any other value: `null`, an object, an array, or a text that can't be decoded. No pattern
    /// but `exists` and `not` matches it.
    Other(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The value of a header.
    pub fn of_header(bytes: &'a [u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(Cow::Borrowed(text)),
            Err(_) => Self::Other(bytes),
        }
    }

    /// The value that begins a part of a JSON document, which is valid.
    pub fn of_json(json: &'a str) -> Self {
        match json.as_bytes().first() {
            Some(b'"') => match serde_json::from_str::<Text<'_>>(json) {
                Ok(text) => Self::Text(text.0),
                // An escape that stands for no character, such as half of a pair of surrogates.
                Err(_) => Self::Other(json.as_bytes()),
            },
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'-' | b'0'..=b'9') => Self::Number(json),
            _ => Self::Other(json.as_bytes()),
        }
    }
}

/// serde copies into a `Cow` unless it is told to borrow.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Bool(value) => return value.fmt(f),
            Self::Text(text) => Cow::Borrowed(&**text),
            Self::Number(text) => Cow::Borrowed(*text),
            Self::Other(bytes) => {
                // Only the part that is shown is copied; the cut may be within a character.
                let shown = &bytes[..bytes.len().min(4 * SHOWN)];
                let text = String::from_utf8_lossy(shown).into_owned();
                let is_cut = shown.len() < bytes.len();
                Cow::Owned(if is_cut { text + "…" } else { text })
            }
        };
        let cut: String = text.chars().take(SHOWN).collect();
        let more = if cut.len() < text.len() { "…" } else { "" };
        match self {
            Self::Text(_) => write!(f, "{cut:?}{more}"),
            _ => write!(f, "{cut}{more}"),
        }
    }
}
