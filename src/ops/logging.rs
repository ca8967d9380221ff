//! The log on standard error.
//!
//! A record is formatted by the thread that logs it, and written by a thread of its own: a pipe
//! that is not read, a slow journal or a stopped terminal delays no other thread.
//!
//! - `format`: text for people, JSON lines for machines. `queue`: the bounded queue of the writer.
//! - `panics`: bounds the panics that are logged.

mod format;
mod panics;
mod queue;
#[cfg(test)]
mod tests;

use std::io::{IsTerminal as _, Write as _};
use std::panic::PanicHookInfo;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use log::kv::ToValue as _;
use log::{Level, Metadata, Record, SetLoggerError};
use thiserror::Error;

use self::format::Format;
use self::panics::PanicLimiter;
use self::queue::{Queue, Stderr};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Log, LogFormat};

/// How long the end of the process waits for its last lines to be written. A decision: a journal
/// under load takes them within milliseconds, and after a second it is not reading.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);
/// The initial buffer of a line, in bytes: most lines fit.
const USUAL_LINE: usize = 256;

/// The queue before standard error. Process-wide, as standard error is.
static QUEUE: OnceLock<Arc<Queue>> = OnceLock::new();
static LOGGER: OnceLock<Logger> = OnceLock::new();

/// The reason why the log can't be started.
#[derive(Debug, Error)]
pub(crate) enum StartLogError {
    /// The system refuses the thread that writes.
    #[error(transparent)]
    Thread(#[from] std::io::Error),
    /// The filter is wrong.
    #[error("log.level: {0}")]
    Filter(env_filter::ParseError),
    /// The process has a logger already.
    #[error(transparent)]
    Taken(#[from] SetLoggerError),
}

struct Logger {
    /// Replaced by a reload.
    filter: ArcSwap<env_filter::Filter>,
    format: Format,
    clock: SystemClock,
    panics: Mutex<PanicLimiter>,
}

/// Starts the log of this process. Panics are logged, too, from then on.
pub(crate) fn start(settings: &Log) -> Result<(), StartLogError> {
    let is_terminal = std::io::stderr().is_terminal();
    let format = match settings.format {
        LogFormat::Auto if !is_terminal => Format::Json,
        LogFormat::Json => Format::Json,
        LogFormat::Auto | LogFormat::Text => Format::Text {
            is_coloured: is_terminal && wants_colour(),
        },
    };
    queue()?;
    let filter = filter(&settings.level).map_err(StartLogError::Filter)?;
    log::set_max_level(filter.filter());
    let logger = LOGGER.get_or_init(|| Logger {
        filter: ArcSwap::from_pointee(filter),
        format,
        clock: SystemClock::new(),
        panics: Mutex::default(),
    });
    log::set_logger(logger)?;
    std::panic::set_hook(Box::new(|panic| logger.write_panic(panic)));
    Ok(())
}

/// Logs by another level or filter from now on. Does nothing if the filter is wrong, or if the log
/// isn't this program's own.
pub(crate) fn set_level(level: &str) {
    if let (Some(logger), Ok(filter)) = (LOGGER.get(), filter(level)) {
        log::set_max_level(filter.filter());
        logger.filter.store(Arc::new(filter));
    }
}

fn filter(level: &str) -> Result<env_filter::Filter, env_filter::ParseError> {
    Ok(env_filter::Builder::new().try_parse(level)?.build())
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

/// Writes a command's last line as it is, after the lines that were logged, and waits for at most
/// [`FLUSH_WITHIN`]: a full pipe that is not read must not keep a process that failed.
pub(crate) fn print_last(line: &str) {
    match queue() {
        Ok(queue) => {
            queue.push(format!("{line}\n").into_bytes(), true);
            queue.flush(FLUSH_WITHIN);
        }
        // Without a thread there is no other way.
        Err(_) => {
            // If it can't be written, the exit code is left.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }
}

/// Waits for the log to be written when it is dropped: at the end of the process, also by a panic.
pub(crate) struct FlushAtEnd;

impl Drop for FlushAtEnd {
    fn drop(&mut self) {
        if let Some(queue) = QUEUE.get() {
            queue.flush(FLUSH_WITHIN);
        }
    }
}

/// Whether the terminal has colours (`TERM`) and its user wants them (`NO_COLOR`,
/// <https://no-color.org>).
fn wants_colour() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    is_set("TERM")
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
        && !is_set("NO_COLOR")
}

/// Whether a record may be logged, whatever the filter. At level `trace` the libraries of the HTTP
/// client print the bytes of requests and answers: payloads, keys, secrets and queries.
fn is_harmless(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    metadata.level() <= Level::Debug || target == "relay" || target.starts_with("relay::")
}

impl log::Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_harmless(metadata) && self.filter.load().enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if is_harmless(record.metadata()) && self.filter.load().matches(record) {
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

    /// The line that reports the number of dropped lines.
    fn report_of(&self, dropped: u64) -> Vec<u8> {
        let mut line = Vec::with_capacity(USUAL_LINE);
        let fields = [("lines", dropped)];
        let record = Record::builder()
            .level(Level::Warn)
            .target(module_path!())
            .args(format_args!("log lines dropped"))
            .key_values(&fields)
            .build();
        // No filter: the line is about the log itself. A write to a Vec can't fail.
        let _ = self.format.write(&mut line, &record, self.clock.wall());
        line
    }

    /// Logs a panic whatever the filter: it is a bug.
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
