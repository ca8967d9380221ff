//! The log on standard error: text for people, JSON lines for machines.
//!
//! A record is formatted by the thread that logs it, and written by a thread of its own (`queue`):
//! a pipe that nobody reads, a slow journal or a stopped terminal keeps nobody else waiting.

mod queue;
#[cfg(test)]
mod tests;

use std::fmt::{self, Write as _};
use std::io::{IsTerminal as _, Write as _};
use std::panic::PanicHookInfo;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use log::kv::{Error, Key, ToValue as _, Value, VisitSource, VisitValue};
use log::{Level, Metadata, Record};
use serde::Serializer as _;
use serde::ser::SerializeMap;

use self::queue::{Queue, Stderr};
use crate::cli::Failure;
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::config::{Log, LogFormat};

/// How long the end of the process waits for its last lines to be written. A decision: a journal
/// under load takes them within milliseconds, and after a second nobody reads.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);
/// The buffer that a line is formatted into at first, in bytes: most lines fit.
const USUAL_LINE: usize = 256;

/// The queue before standard error. Process-wide, as standard error is.
static QUEUE: OnceLock<Arc<Queue>> = OnceLock::new();
static LOGGER: OnceLock<Logger> = OnceLock::new();

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Text { is_coloured: bool },
}

/// Panics that are logged in a window, at most: one that each attempt meets must not fill the disk.
const PANICS: u64 = 10;
/// That window.
const PANIC_WINDOW: Duration = Duration::from_secs(60);

struct Logger {
    filter: env_filter::Filter,
    format: Format,
    clock: SystemClock,
    panics: Mutex<Panics>,
}

/// Counts panics in windows that begin with one each.
#[derive(Debug, Default)]
struct Panics {
    began_at: Duration,
    count: u64,
    /// Those of earlier windows that were not logged.
    withheld: u64,
}

impl Panics {
    /// Whether to log one, and how many were not logged before it.
    fn admit(&mut self, now: Duration) -> Option<u64> {
        if self.count == 0 || now.saturating_sub(self.began_at) >= PANIC_WINDOW {
            self.withheld += self.count.saturating_sub(PANICS);
            (self.began_at, self.count) = (now, 0);
        }
        self.count += 1;
        (self.count <= PANICS).then(|| std::mem::take(&mut self.withheld))
    }
}

/// Makes the log of this process. From now on panics are written there, too.
pub(crate) fn start(settings: &Log) -> Result<(), Failure> {
    let is_terminal = std::io::stderr().is_terminal();
    let format = match settings.format {
        LogFormat::Auto if !is_terminal => Format::Json,
        LogFormat::Json => Format::Json,
        LogFormat::Auto | LogFormat::Text => Format::Text {
            is_coloured: is_terminal && wants_colour(),
        },
    };
    queue()?;
    let filter = env_filter::Builder::new()
        .try_parse(&settings.level)
        .map_err(|error| format!("log.level: {error}"))?
        .build();
    log::set_max_level(filter.filter());
    let logger = LOGGER.get_or_init(|| Logger {
        filter,
        format,
        clock: SystemClock::new(),
        panics: Mutex::default(),
    });
    log::set_logger(logger)?;
    std::panic::set_hook(Box::new(|panic| logger.write_panic(panic)));
    Ok(())
}

/// The queue; the first call starts its thread.
fn queue() -> std::io::Result<&'static Queue> {
    if let Some(queue) = QUEUE.get() {
        return Ok(queue);
    }
    let queue = Arc::new(Queue::new(|dropped| match LOGGER.get() {
        Some(logger) => logger.report_of(dropped),
        None => format!("relay: {dropped} log lines dropped\n").into_bytes(),
    }));
    let writer = Arc::clone(&queue);
    std::thread::Builder::new()
        .name("relay-log".to_owned())
        .spawn(move || writer.write_to(&mut Stderr))?;
    Ok(QUEUE.get_or_init(|| queue))
}

/// Writes a command's last line as it is, after what was logged, and waits for at most
/// [`FLUSH_WITHIN`]: a full pipe that nobody reads must not keep a process that failed.
pub(crate) fn print_last(line: &str) {
    match queue() {
        Ok(queue) => {
            queue.push(format!("{line}\n").into_bytes(), true);
            queue.flush(FLUSH_WITHIN);
        }
        // Without a thread there is no other way.
        Err(_) => eprintln!("{line}"),
    }
}

/// Waits for the log to be written when it is dropped: at the end of the process, be it a panic.
pub(crate) struct FlushAtEnd;

impl Drop for FlushAtEnd {
    fn drop(&mut self) {
        if let Some(queue) = QUEUE.get() {
            queue.flush(FLUSH_WITHIN);
        }
    }
}

/// The conventions of terminals that have no colours (`TERM`) and of people who want none
/// (`NO_COLOR`, <https://no-color.org>).
fn wants_colour() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    is_set("TERM")
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
        && !is_set("NO_COLOR")
}

impl log::Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.filter.matches(record) {
            self.write(record);
        }
    }

    fn flush(&self) {
        if let Some(queue) = QUEUE.get() {
            queue.flush(FLUSH_WITHIN);
        }
    }
}

impl Logger {
    fn write(&self, record: &Record<'_>) {
        let mut line = Vec::with_capacity(USUAL_LINE);
        if self
            .format
            .write(&mut line, record, self.clock.wall())
            .is_ok()
            && let Some(queue) = QUEUE.get()
        {
            queue.push(line, record.level() <= Level::Warn);
        }
    }

    /// The line that says how many were dropped.
    fn report_of(&self, dropped: u64) -> Vec<u8> {
        let mut line = Vec::with_capacity(USUAL_LINE);
        let fields = [("lines", dropped)];
        let record = Record::builder()
            .level(Level::Warn)
            .target(module_path!())
            .args(format_args!("log lines dropped"))
            .key_values(&fields)
            .build();
        // It is about the log itself, and is said whatever the filter. A Vec takes all.
        let _ = self.format.write(&mut line, &record, self.clock.wall());
        line
    }

    /// A panic is a bug, and is said whatever the filter.
    fn write_panic(&self, panic: &PanicHookInfo<'_>) {
        let now = self.clock.monotonic();
        let mut panics = self.panics.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(withheld) = panics.admit(now) else {
            return;
        };
        drop(panics);
        let payload = panic.payload();
        let reason = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let at = panic.location().map(ToString::to_string);
        let thread = std::thread::current();
        // Captured only if RUST_BACKTRACE asks for it.
        let backtrace = std::backtrace::Backtrace::capture();
        let backtrace = (backtrace.status() == std::backtrace::BacktraceStatus::Captured)
            .then(|| backtrace.to_string());
        let name = thread.name();
        let withheld = (withheld > 0).then_some(withheld);
        let fields = [
            ("thread", name.to_value()),
            ("at", at.to_value()),
            ("reason", reason.to_value()),
            ("panics_not_logged", withheld.to_value()),
            ("backtrace", backtrace.to_value()),
        ];
        self.write(
            &Record::builder()
                .level(Level::Error)
                .target(module_path!())
                .args(format_args!("panicked"))
                .key_values(&fields)
                .build(),
        );
    }
}

impl Format {
    /// Appends the record as one line.
    fn write(self, line: &mut Vec<u8>, record: &Record<'_>, at: Timestamp) -> std::io::Result<()> {
        match self {
            Self::Json => json(line, record, at)?,
            Self::Text { is_coloured } => text(line, record, at, is_coloured)?,
        }
        line.push(b'\n');
        Ok(())
    }
}

/// The escape sequences before and after a level's name.
const fn colour(level: Level) -> &'static str {
    match level {
        Level::Error => "\x1b[1;31m",
        Level::Warn => "\x1b[33m",
        Level::Info => "\x1b[32m",
        Level::Debug => "\x1b[34m",
        Level::Trace => "\x1b[36m",
    }
}
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

/// Escapes control characters: a record is one line, and no text from outside steers a terminal.
struct OneLine<'a>(&'a mut Vec<u8>);

impl fmt::Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(char::is_control) {
            let plain = part.trim_end_matches(char::is_control);
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
        // A value that could be read as another field is quoted.
        if value.is_empty() || value.contains(|c: char| c.is_control() || " \"=".contains(c)) {
            write!(self.0, " {key}={value:?}")?;
        } else {
            write!(self.0, " {key}={value}")?;
        }
        Ok(())
    }
}

/// Whether a field has no value, as an `Option` that is `None`: it is left out.
fn is_null(value: &Value<'_>) -> bool {
    struct Seen(bool);
    impl VisitValue<'_> for Seen {
        fn visit_any(&mut self, _: Value<'_>) -> Result<(), Error> {
            Ok(())
        }

        fn visit_null(&mut self) -> Result<(), Error> {
            self.0 = true;
            Ok(())
        }
    }
    let mut seen = Seen(false);
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
        // A field must not pass for what every line has.
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
        // JSON has no other numbers.
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
