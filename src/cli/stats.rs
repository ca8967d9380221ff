//! `relay stats`: shows the backlog of each destination, and the counts of a time.
//!
//! `period`: the counts of a time. `space`: the space on the disk.

mod period;
mod space;
#[cfg(test)]
mod tests;

use clap::Args;
use serde_json::json;

use self::period::Period;
use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::cli::job::progress_text;
use crate::cli::operate::{Moment, explained, moment, plain, reading};
use crate::cli::table::{self, Column};
use crate::clock::Timestamp;
use crate::config::Resolved;
use crate::model::Level;
use crate::ops::operations::job;
use crate::ops::status_text::not_configured;
use crate::store::{BulkOperation, DestinationStats, Hold, KeepReason, SpaceUse};

#[derive(Args)]
pub(super) struct Stats {
    #[command(flatten)]
    file: ConfigFile,
    /// Also count events and deliveries since a time (RFC 3339), or an age (2h, 7d)
    ///
    /// Counts are kept by minute for 48 hours and by hour for 90 days; those of the last ten
    /// seconds may be missing.
    #[arg(long, value_name = "TIME", value_parser = moment, verbatim_doc_comment)]
    since: Option<Moment>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// The figures that the command shows.
struct Figures {
    /// Why nothing is sent.
    hold: Option<Hold>,
    has_server: bool,
    database_bytes: u64,
    space: SpaceUse,
    /// Events without a checksum, from before version 6 of the schema.
    unchecked: i64,
    destinations: Vec<DestinationStats>,
    /// Events that no route wanted.
    unrouted: i64,
    jobs: Vec<BulkOperation>,
    /// With `--since`.
    period: Option<Period>,
    now: Timestamp,
}

impl Stats {
    pub fn run(&self) -> Result<(), CommandError> {
        let (operator, config) = reading(self.file.path())?;
        let destinations = operator.stats().map_err(explained)?;
        let jobs = operator.bulk_under_way().map_err(explained)?;
        let unrouted = operator.count_unrouted().map_err(explained)?;
        let since = self.since.map(|since| since.when(operator.now()));
        let period = since.map(|since| Period::read(&operator, since));
        let space = space::read(&operator, &config)?;
        let figures = Figures {
            hold: operator.hold().map_err(explained)?,
            has_server: operator.has_server(),
            database_bytes: space::database_bytes(&config.database, &space),
            space,
            unchecked: operator.count_unchecked().map_err(explained)?,
            destinations,
            unrouted,
            jobs,
            period: period.transpose()?,
            now: operator.now(),
        };
        if self.json {
            say!("{}", figures.as_json(&config));
            return Ok(());
        }
        figures.print_text(&config)
    }
}

impl Figures {
    fn as_json(&self, config: &Resolved) -> serde_json::Value {
        json!({
            "held": self.hold.is_some(),
            "held_since": self.hold.as_ref().map(Hold::since),
            "server": self.has_server,
            "database_bytes": self.database_bytes,
            "database_used_bytes": self.space.used,
            "database_max_bytes": self.space.max,
            "full_in_seconds": self.space.full_in.map(|left| left.as_secs()),
            "unchecked_events": self.unchecked,
            "destinations": self.destinations.iter().map(|row| json!({
                "destination": row.destination,
                "waiting": row.waiting,
                "processing": row.processing,
                "dead_lettered": row.dead_lettered,
                "discarded": row.discarded,
                "oldest_due": row.oldest_due,
                "state": state_text(row, config, self.now),
            })).collect::<Vec<_>>(),
            "unrouted": self.unrouted,
            "jobs": self.jobs.iter().map(job).collect::<Vec<_>>(),
            "period": self.period.as_ref().map(Period::as_json),
        })
    }

    fn print_text(&self, config: &Resolved) -> Result<(), CommandError> {
        if let Some(hold) = &self.hold {
            say!("{}", hold.describe());
        }
        let server = if self.has_server {
            "a server has it open"
        } else {
            "no server has it open"
        };
        say!(
            "{}: {} bytes, {server}",
            config.database.shown(),
            self.database_bytes
        );
        space::print(self.space)?;
        let destinations = self.destinations.iter();
        let rows: Vec<_> = destinations
            .map(|row| {
                [
                    row.waiting.to_string(),
                    row.processing.to_string(),
                    row.dead_lettered.to_string(),
                    row.destination.clone(),
                    state_text(row, config, self.now),
                ]
            })
            .collect();
        table::print(
            &[
                Column::Right("WAITING"),
                Column::Right("UNDER WAY"),
                Column::Right("DEAD"),
                Column::Left("DESTINATION"),
                Column::Left("STATE"),
            ],
            &rows,
        )?;
        if self.unrouted > 0 {
            say!(
                "{} events that no route wanted (relay list --unrouted)",
                self.unrouted
            );
        }
        if self.unchecked > 0 {
            say!(
                "{} events from before payloads had checksums",
                counted(self.unchecked)
            );
        }
        self.print_jobs()?;
        if let Some(period) = &self.period {
            period.print()?;
        }
        Ok(())
    }

    fn print_jobs(&self) -> Result<(), CommandError> {
        for job in &self.jobs {
            say!(
                "{} (relay cancel {} ends it)",
                plain(&progress_text(job)),
                job.id
            );
        }
        Ok(())
    }
}

/// A number that is not counted beyond 10 000.
fn counted(number: i64) -> String {
    let more = if number >= 10_000 { "+" } else { "" };
    format!("{number}{more}")
}

/// The state of a destination, and the reason why its deliveries wait.
fn state_text(row: &DestinationStats, config: &Resolved, now: Timestamp) -> String {
    let is_deliverable = config.is_deliverable(&row.destination);
    match row.keep_reason(is_deliverable, now) {
        Some(KeepReason::UnknownDestination) => {
            match (row.waiting + row.processing, row.dead_lettered) {
                (0, 0) => "no longer configured".to_owned(),
                (0, _) => {
                    "no longer configured: add it again before a replay, or discard its dead letters"
                        .to_owned()
                }
                _ => format!(
                    "nothing is sent: {}; or move the waiting deliveries with relay reroute, or \
                     give them up with relay discard --pending",
                    not_configured(&row.destination)
                ),
            }
        }
        Some(KeepReason::Paused) => {
            format!("paused: {}", row.paused.as_deref().unwrap_or_default())
        }
        Some(KeepReason::Held(until)) => format!("held until {until}: Retry-After"),
        Some(KeepReason::BreakerOpen(at)) if at > now => {
            format!("circuit breaker open, next probe at {at}")
        }
        Some(KeepReason::BreakerOpen(_)) => {
            "circuit breaker open: the next delivery is a probe".to_owned()
        }
        None if row.waiting > 0 && config.level() == Level::Off => {
            "nothing is sent: delivery.level is off, or not compiled in".to_owned()
        }
        None => match row.oldest_due {
            None if row.waiting > 0 => {
                "all that waits is behind another in its order: relay list --status blocked"
                    .to_owned()
            }
            Some(due) if due < now => format!("oldest due since {due}"),
            Some(due) => format!("next due at {due}"),
            None => "nothing waits".to_owned(),
        },
    }
}
