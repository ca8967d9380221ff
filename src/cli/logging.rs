//! The log on standard error: text for people, JSON lines for machines.

use std::io::{IsTerminal as _, Write};

use env_logger::fmt::Formatter;
use log::Record;
use log::kv::{Error, Key, Value, VisitSource};
use serde::Serializer as _;
use serde::ser::SerializeMap;

use super::Failure;
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Log, LogFormat};

pub(super) fn start(settings: &Log) -> Result<(), Failure> {
    let is_json = match settings.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let mut builder = env_logger::Builder::new();
    builder.parse_filters(&settings.level);
    if is_json {
        builder.format(json);
    } else {
        builder.format(text);
    }
    builder.try_init()?;
    Ok(())
}

fn text(out: &mut Formatter, record: &Record<'_>) -> std::io::Result<()> {
    let now = SystemClock::new().now();
    let style = out.default_level_style(record.level());
    write!(
        out,
        "{now} {style}{:5}{style:#} {}",
        record.level(),
        record.args()
    )?;
    record
        .key_values()
        .visit(&mut Text(out))
        .map_err(std::io::Error::other)?;
    writeln!(out)
}

struct Text<'a>(&'a mut Formatter);

impl<'kvs> VisitSource<'kvs> for Text<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let value = value.to_string();
        // What could be read as another field is quoted.
        if value.is_empty() || value.contains([' ', '"', '=', '\n']) {
            write!(self.0, " {key}={value:?}")?;
        } else {
            write!(self.0, " {key}={value}")?;
        }
        Ok(())
    }
}

fn json(out: &mut Formatter, record: &Record<'_>) -> std::io::Result<()> {
    let mut serializer = serde_json::Serializer::new(&mut *out);
    let mut line = serializer.serialize_map(None)?;
    let level = record.level().as_str().to_ascii_lowercase();
    line.serialize_entry("time", &SystemClock::new().now())?;
    line.serialize_entry("level", &level)?;
    line.serialize_entry("target", record.target())?;
    line.serialize_entry("message", record.args())?;
    record
        .key_values()
        .visit(&mut Json(&mut line))
        .map_err(std::io::Error::other)?;
    line.end()?;
    writeln!(out)
}

struct Json<'a, M>(&'a mut M);

impl<'kvs, M: SerializeMap> VisitSource<'kvs> for Json<'_, M> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        // A field must not pass for what every line has.
        let key = match key.as_str() {
            "time" | "level" | "target" | "message" => &format!("{key}_"),
            other => other,
        };
        let written = if let Some(flag) = value.to_bool() {
            self.0.serialize_entry(key, &flag)
        } else if let Some(number) = value.to_i64() {
            self.0.serialize_entry(key, &number)
        } else if let Some(number) = value.to_u64() {
            self.0.serialize_entry(key, &number)
        } else if let Some(number) = value.to_f64() {
            self.0.serialize_entry(key, &number)
        } else {
            self.0.serialize_entry(key, &value.to_string())
        };
        written.map_err(|error| Error::boxed(error.to_string()))
    }
}
