//! The log on standard error: text for people, JSON lines for machines.

use std::io::{IsTerminal as _, Write};

use env_logger::fmt::Formatter;
use log::Record;
use log::kv::{Error, Key, Value, VisitSource};
use serde_json::Map;

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
    let mut line = Map::new();
    line.insert("time".into(), SystemClock::new().now().to_string().into());
    line.insert(
        "level".into(),
        record.level().as_str().to_lowercase().into(),
    );
    line.insert("target".into(), record.target().into());
    line.insert("message".into(), record.args().to_string().into());
    record
        .key_values()
        .visit(&mut Json(&mut line))
        .map_err(std::io::Error::other)?;
    serde_json::to_writer(&mut *out, &line)?;
    writeln!(out)
}

struct Json<'a>(&'a mut Map<String, serde_json::Value>);

impl<'kvs> VisitSource<'kvs> for Json<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let json = if let Some(flag) = value.to_bool() {
            flag.into()
        } else if let Some(number) = value.to_i64() {
            number.into()
        } else if let Some(number) = value.to_u64() {
            number.into()
        } else if let Some(number) = value.to_f64() {
            number.into()
        } else {
            value.to_string().into()
        };
        self.0.insert(key.as_str().to_owned(), json);
        Ok(())
    }
}
