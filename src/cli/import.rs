//! `relay import`: takes events in that `relay export` wrote.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::cli::operate::explained;
use crate::config::Config;
use crate::store::{EXPORT_VERSION, ExportHeader, ImportTally, ImportedEvent, Operator};

/// The longest line: a body of 64 MiB in base64, with its histories.
const MAX_LINE: u64 = 128 << 20;
/// Bytes of lines that are written together, and events.
const BATCH_BYTES: usize = 8 << 20;
const BATCH: usize = 500;
/// Batches between two checkpoints if no server makes them: some 100 MB of WAL.
const CHECKPOINT_EVERY: usize = 10;

#[derive(Args)]
pub(super) struct Import {
    #[command(flatten)]
    file: ConfigFile,
    /// The file that relay export wrote; - for standard input
    #[arg(value_name = "FILE")]
    from: PathBuf,
    #[arg(
        long,
        help = "Keep waiting deliveries waiting: each is sent once it is due",
        long_help = "Keep waiting deliveries waiting: each is sent once it is due\n\n\
                     Without this option they come in as dead letters, so that nothing is sent\n\
                     twice by two relays."
    )]
    pending: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Import {
    pub fn run(&self) -> Result<(), CommandError> {
        let config = Config::load_for_commands(self.file.path())?.resolve();
        let name = self.from.display().to_string();
        let mut lines = Lines {
            name: &name,
            from: open(&self.from)?,
            number: 0,
        };
        lines.header()?;
        let mut operator = Operator::importing(&config.database)?;
        let mut tally = ImportTally::default();
        for batch in 1.. {
            let events = lines.batch(&operator)?;
            if events.is_empty() {
                break;
            }
            tally += operator.import(events, self.pending).map_err(|error| {
                let done = tally.imported + tally.skipped;
                format!(
                    "{name}: {}; the first {done} events are imported, and importing the file \
                     again skips them",
                    explained(error)
                )
            })?;
            if batch % CHECKPOINT_EVERY == 0 && !operator.has_server() {
                operator.checkpoint().map_err(explained)?;
            }
        }
        self.report(&tally)?;
        if let Some(first) = &tally.first_taken {
            return Err(format!(
                "{name}: {} events are not imported, since other events have their places here, \
                 accepted in the same milliseconds; the first is {first}",
                tally.taken
            )
            .into());
        }
        Ok(())
    }

    fn report(&self, tally: &ImportTally) -> Result<(), CommandError> {
        if self.json {
            say!(
                "{}",
                json!({
                    "imported": tally.imported,
                    "skipped": tally.skipped,
                    "taken": tally.taken,
                    "given_up": tally.given_up,
                })
            );
            return Ok(());
        }
        say!(
            "imported {}, skipped {} that are there",
            tally.imported,
            tally.skipped
        );
        if tally.given_up > 0 {
            say!(
                "{} deliveries that waited are dead letters: relay replay --dead --reason imported \
                 sends them",
                tally.given_up
            );
        }
        Ok(())
    }
}

fn open(path: &Path) -> Result<Box<dyn BufRead>, CommandError> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(std::io::stdin())));
    }
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Box::new(BufReader::new(file)))
}

/// The lines of an export.
struct Lines<'a> {
    name: &'a str,
    from: Box<dyn BufRead>,
    /// The line that was read last, from 1.
    number: usize,
}

impl Lines<'_> {
    /// The next line; none at the end.
    fn next(&mut self) -> Result<Option<Vec<u8>>, CommandError> {
        let mut line = Vec::new();
        let read = (&mut self.from)
            .take(MAX_LINE + 1)
            .read_until(b'\n', &mut line);
        self.number += 1;
        if read.map_err(|error| self.wrong(&error.to_string()))? == 0 {
            return Ok(None);
        }
        if line.len() as u64 > MAX_LINE {
            return Err(self.wrong(&format!("expected at most {} MiB", MAX_LINE >> 20)));
        }
        Ok(Some(line))
    }

    /// Checks the first line.
    fn header(&mut self) -> Result<(), CommandError> {
        let line = self.next()?.unwrap_or_default();
        let expected = "expected the first line of an export, such as {\"relay_export\":1,…}";
        let header: ExportHeader = serde_json::from_slice(&line)
            .map_err(|error| self.wrong(&format!("{error}: {expected}")))?;
        if header.relay_export != EXPORT_VERSION {
            return Err(self.wrong(&format!(
                "relay_export: {}: expected {EXPORT_VERSION}; use the newer binary",
                header.relay_export
            )));
        }
        Ok(())
    }

    /// The next few events, checked; none at the end.
    fn batch(&mut self, operator: &Operator) -> Result<Vec<ImportedEvent>, CommandError> {
        let now = operator.now();
        let (mut events, mut bytes) = (Vec::new(), 0);
        while events.len() < BATCH && bytes < BATCH_BYTES {
            let Some(line) = self.next()? else { break };
            if line.trim_ascii().is_empty() {
                continue;
            }
            bytes += line.len();
            let record = serde_json::from_slice(&line);
            let record = record.map_err(|error| self.wrong(&error.to_string()))?;
            events.push(ImportedEvent::check(record, now).map_err(|why| self.wrong(&why))?);
        }
        Ok(events)
    }

    fn wrong(&self, why: &str) -> CommandError {
        format!("{}: line {}: {why}", self.name, self.number).into()
    }
}
