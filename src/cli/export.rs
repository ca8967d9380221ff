//! `relay export`: writes events with their deliveries and histories as JSON lines.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::bulk::{self, Context};
use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::cli::operate::{Moment, explained, moment, reading, state};
use crate::model::{DeliveryState, IntentId};
use crate::ops::operations::{OperationKind, OperationRequest, Spelling};
use crate::store::{EXPORT_VERSION, ExportHeader, NewBulk, Operator};

/// Payloads and answers are for the owner alone.
const MODE: u32 = 0o600;

#[derive(Args)]
pub(super) struct Export {
    #[command(flatten)]
    file: ConfigFile,
    /// Ids of relays or events; without any, all that match the filters
    #[arg(value_name = "ID")]
    ids: Vec<IntentId>,
    /// Filter: state of a delivery
    #[arg(long, value_name = "STATE", value_parser = state)]
    status: Option<DeliveryState>,
    /// Filter: destination, or an ad hoc origin
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Filter: source of the events
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Filter: type of the events; invoice.* stands for all that begin so
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Filter: text that the last error contains
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Filter: accepted since a time (RFC 3339), or an age (2h, 7d)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Moment>,
    /// Filter: until a time, or an age
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Moment>,
    /// A new file, which only its owner may read; - or nothing: standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Export {
    pub fn run(&self) -> Result<(), CommandError> {
        let request = self.request();
        bulk::check(&request)?;
        let (operator, config) = reading(self.file.path())?;
        let context = Context { operator, config };
        let new = NewBulk::export(bulk::build(&context, &request)?.filter);
        let operator = &context.operator;
        let count = match &self.output {
            Some(path) if path != Path::new("-") => self.write_file(operator, &new, path)?,
            _ => self.write(operator, &new, &mut BufWriter::new(std::io::stdout()))?,
        };
        hint!("exported {count}");
        Ok(())
    }

    /// Writes a new file, and removes it unless all is in it: nobody takes a part for the whole.
    fn write_file(
        &self,
        operator: &Operator,
        new: &NewBulk,
        path: &Path,
    ) -> Result<usize, CommandError> {
        let written = self.write_into(operator, new, create(path)?);
        if written.is_err()
            && let Err(error) = std::fs::remove_file(path)
        {
            hint!(
                "{}: isn't whole, and can't be removed: {error}",
                path.display()
            );
        }
        written
    }

    fn write_into(
        &self,
        operator: &Operator,
        new: &NewBulk,
        file: File,
    ) -> Result<usize, CommandError> {
        let mut out = BufWriter::new(file);
        let count = self.write(operator, new, &mut out)?;
        let file = out.into_inner().map_err(|error| error.to_string())?;
        file.sync_all()?;
        Ok(count)
    }

    /// Selects as an operation on events does.
    fn request(&self) -> OperationRequest {
        let request = OperationRequest {
            kind: Some(OperationKind::Erase),
            ids: self.ids.clone(),
            status: self.status,
            destination: self.destination.clone(),
            source: self.source.clone(),
            event_type: self.event_type.clone(),
            reason: self.reason.clone(),
            since: self.since,
            until: self.until,
            ..OperationRequest::default()
        };
        let is_of_all = request.check(Spelling::Flags).is_err() && self.ids.is_empty();
        OperationRequest {
            all: is_of_all,
            ..request
        }
    }

    fn write(
        &self,
        operator: &Operator,
        new: &NewBulk,
        out: &mut impl Write,
    ) -> Result<usize, CommandError> {
        // A server may accept events faster than they are written: without a bound there is no end.
        let begun = operator.now();
        let header = ExportHeader {
            relay_export: EXPORT_VERSION,
            exported_at: begun,
        };
        write_line(out, &header)?;
        let mut count = 0;
        if !self.ids.is_empty() {
            let mut seen = HashSet::new();
            // An id that is given twice is one event.
            for id in self.ids.iter().filter(|id| seen.insert(**id)) {
                let row = operator.row_of(*id).map_err(explained)?;
                let row = row.ok_or_else(|| format!("there is no relay or event {id}"))?;
                let Some(event) = operator.export(row).map_err(explained)? else {
                    continue;
                };
                if event.is_selected(&new.filter) {
                    write_line(out, &event)?;
                    count += 1;
                } else {
                    hint!("{id}: has no such delivery");
                }
            }
            out.flush()?;
            return Ok(count);
        }
        let mut after = None;
        loop {
            let (found, next) = operator
                .find_to_export(new, after, begun)
                .map_err(explained)?;
            for row in found {
                // Retention may have deleted it.
                if let Some(event) = operator.export(row).map_err(explained)? {
                    write_line(out, &event)?;
                    count += 1;
                }
            }
            after = next;
            if after.is_none() {
                out.flush()?;
                return Ok(count);
            }
        }
    }
}

fn write_line(out: &mut impl Write, document: &impl serde::Serialize) -> Result<(), CommandError> {
    serde_json::to_writer(&mut *out, document).map_err(std::io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}

/// Creates the file, and overwrites none.
fn create(path: &Path) -> Result<File, CommandError> {
    let created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(path);
    created.map_err(|error| {
        format!(
            "{}: can't be created ({error}): expected the name of a new file",
            path.display()
        )
        .into()
    })
}
