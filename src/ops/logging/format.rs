//! The format of a record: text for people, JSON lines for machines.

use std::fmt::{self, Write as _};
use std::io::Write as _;

use log::kv::{Error, Key, Value, VisitSource, VisitValue};
use log::{Level, Record};
use serde::Serializer as _;
use serde::ser::SerializeMap;

use crate::clock::Timestamp;
use crate::ops::visible::{is_hidden, plain, plain_json};

/// The format of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Text { is_coloured: bool },
}

impl Format {
    /// Appends the record as one line.
    pub fn write(
        self,
        line: &mut Vec<u8>,
        record: &Record<'_>,
        at: Timestamp,
    ) -> std::io::Result<()> {
        match self {
            Self::Json => {
                let start = line.len();
                json(line, record, at)?;
                // A terminal obeys some characters that JSON takes as they are.
                let text = std::str::from_utf8(&line[start..]).map_err(std::io::Error::other)?;
                if text.contains(is_hidden) {
                    let plain = plain_json(text);
                    line.truncate(start);
                    line.extend_from_slice(plain.as_bytes());
                }
            }
            Self::Text { is_coloured } => text(line, record, at, is_coloured)?,
        }
        line.push(b'\n');
        Ok(())
    }
}

/// The escape sequence before a level's name.
const fn colour(level: Level) -> &'static str {
    match level {
        Level::Error => "\x1b[1;31m",
        Level::Warn => "\x1b[33m",
        Level::Info => "\x1b[32m",
        Level::Debug => "\x1b[34m",
        Level::Trace => "\x1b[36m",
    }
}
/// The escape sequence after a level's name.
const NO_COLOUR: &str = "\x1b[0m";

fn text(
    line: &mut Vec<u8>,
    record: &Record<'_>,
    at: Timestamp,
    is_coloured: bool,
) -> std::io::Result<()> {
    let level = record.level();
    let (on, off) = if is_coloured {
        (colour(level), NO_COLOUR)
    } else {
        ("", "")
    };
    write!(line, "{at} {on}{level:5}{off} ")?;
    write!(OneLine(line), "{}", record.args()).map_err(std::io::Error::other)?;
    record
        .key_values()
        .visit(&mut TextFields(line))
        .map_err(std::io::Error::other)
}

/// Escapes control characters, and those that are invisible or reorder others: a record is one
/// line, and a text from outside can't control a terminal or hide from its reader.
struct OneLine<'a>(&'a mut Vec<u8>);

impl fmt::Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(is_hidden) {
            let plain = part.trim_end_matches(is_hidden);
            self.0.extend_from_slice(plain.as_bytes());
            for escaped in part[plain.len()..].chars().flat_map(char::escape_default) {
                self.0
                    .extend_from_slice(escaped.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        Ok(())
    }
}

struct TextFields<'a>(&'a mut Vec<u8>);

impl<'kvs> VisitSource<'kvs> for TextFields<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        if is_null(&value) {
            return Ok(());
        }
        let value = value.to_string();
        // A value that could be taken for another field is quoted.
        if value.is_empty() || value.contains(|c: char| is_hidden(c) || " \"=".contains(c)) {
            // Debug leaves some letters that are blank.
            write!(self.0, " {key}={}", plain(&format!("{value:?}")))?;
        } else {
            write!(self.0, " {key}={value}")?;
        }
        Ok(())
    }
}

/// Whether a field has no value, such as an `Option` that is `None`: it is left out.
fn is_null(value: &Value<'_>) -> bool {
    struct NullSeen(bool);
    impl VisitValue<'_> for NullSeen {
        fn visit_any(&mut self, _: Value<'_>) -> Result<(), Error> {
            Ok(())
        }

        fn visit_null(&mut self) -> Result<(), Error> {
            self.0 = true;
            Ok(())
        }
    }
    let mut seen = NullSeen(false);
    value.visit(&mut seen).is_ok() && seen.0
}

fn json(line: &mut Vec<u8>, record: &Record<'_>, at: Timestamp) -> std::io::Result<()> {
    let mut serializer = serde_json::Serializer::new(line);
    let mut object = serializer.serialize_map(None)?;
    let level = record.level().as_str().to_ascii_lowercase();
    object.serialize_entry("time", &at)?;
    object.serialize_entry("level", &level)?;
    object.serialize_entry("target", record.target())?;
    object.serialize_entry("message", record.args())?;
    record
        .key_values()
        .visit(&mut JsonFields(&mut object))
        .map_err(std::io::Error::other)?;
    object.end()?;
    Ok(())
}

struct JsonFields<'a, M>(&'a mut M);

impl<'kvs, M: SerializeMap> VisitSource<'kvs> for JsonFields<'_, M> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        // A field must not be taken for one that every line has.
        let key = match key.as_str() {
            "time" | "level" | "target" | "message" => &format!("{key}_"),
            other => other,
        };
        value.visit(&mut JsonField {
            object: &mut *self.0,
            key,
        })
    }
}

struct JsonField<'a, M> {
    object: &'a mut M,
    key: &'a str,
}

impl<M: SerializeMap> JsonField<'_, M> {
    fn entry(&mut self, value: &(impl serde::Serialize + ?Sized)) -> Result<(), Error> {
        self.object
            .serialize_entry(self.key, value)
            .map_err(|error| Error::boxed(error.to_string()))
    }
}

impl<M: SerializeMap> VisitValue<'_> for JsonField<'_, M> {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), Error> {
        self.entry(&value.to_string())
    }

    /// A field without a value is left out.
    fn visit_null(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), Error> {
        self.entry(&value)
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), Error> {
        self.entry(&value)
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), Error> {
        self.entry(&value)
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), Error> {
        // JSON has no infinity and no NaN.
        if value.is_finite() {
            self.entry(&value)
        } else {
            Ok(())
        }
    }

    fn visit_str(&mut self, value: &str) -> Result<(), Error> {
        self.entry(value)
    }
}
