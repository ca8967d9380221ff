//! `relay list`: lists deliveries.

use std::collections::BTreeSet;

use clap::Args;

use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::cli::operate::{Moment, explained, known_destination, moment, period, plain, reading};
use crate::cli::table::{self, Column};
use crate::cli::unrouted;
use crate::config::Resolved;
use crate::model::DeliveryState;
use crate::ops::status_text::not_configured;
use crate::ops::views::listed_delivery;
use crate::store::{ListQuery, ListedDelivery, Operator, UnroutedQuery};

/// Deliveries that are listed at most: they are in memory until they are printed.
const MAX_LIMIT: u32 = 100_000;

#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    file: ConfigFile,
    #[arg(
        long,
        value_name = "STATE",
        value_parser = status,
        help = "queued, blocked, processing, retrying, delivered or dead_lettered",
        long_help = "queued, blocked, processing, retrying, delivered or dead_lettered\n\n\
                     Blocked ones are queued, and behind another in the order of their destination.\n\
                     Every state but delivered has an index: its deliveries are found at once,\n\
                     however many are stored."
    )]
    status: Option<Status>,
    #[arg(
        long,
        value_name = "NAME",
        help = "Destination, or ad hoc origin such as https://example.com",
        long_help = "Destination, or ad hoc origin such as https://example.com\n\n\
                     With a --status other than delivered they are found by an index. Otherwise\n\
                     deliveries are read from the newest on until enough are found: a second for\n\
                     some millions."
    )]
    destination: Option<String>,
    /// Source of the events
    ///
    /// Sources have no index: deliveries that match the other filters are read until enough
    /// are found.
    #[arg(long, value_name = "NAME", verbatim_doc_comment)]
    source: Option<String>,
    /// Accepted since a time (RFC 3339), or an age (2h, 7d)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Moment>,
    /// Accepted until a time, or an age
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Moment>,
    /// Type of the events, or of relays; invoice.* stands for all that begin so
    ///
    /// Types have no index either.
    #[arg(long = "type", value_name = "TYPE", verbatim_doc_comment)]
    event_type: Option<String>,
    /// Events that no route of their source wanted, instead of deliveries
    #[arg(long, conflicts_with_all = ["status", "destination"])]
    unrouted: bool,
    /// Deliveries to list, at most
    #[arg(
        long,
        value_name = "N",
        default_value_t = 50,
        value_parser = limit
    )]
    limit: u32,
    /// Print JSON lines: one object for each delivery
    #[arg(long)]
    json: bool,
}

/// The deliveries that `--status` selects.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    State(DeliveryState),
    /// Queued, and behind another in the order of its destination.
    Blocked,
}

const BLOCKED: &str = "blocked";

fn limit(text: &str) -> Result<u32, String> {
    let number = text
        .parse()
        .ok()
        .filter(|number| (1..=MAX_LIMIT).contains(number));
    number.ok_or_else(|| format!("expected a whole number from 1 to {MAX_LIMIT}"))
}

fn status(text: &str) -> Result<Status, String> {
    if text == BLOCKED {
        return Ok(Status::Blocked);
    }
    DeliveryState::parse(text, &[BLOCKED]).map(Status::State)
}

impl List {
    pub fn run(&self) -> Result<(), CommandError> {
        let (operator, config) = reading(self.file.path())?;
        if self.unrouted {
            return self.list_unrouted(&operator);
        }
        let destination = self
            .destination
            .as_deref()
            .map(|text| known_destination(&operator, &config, text))
            .transpose()?;
        let (since, until) = period(self.since, self.until, operator.now())?;
        let query = ListQuery {
            state: match self.status {
                Some(Status::State(state)) => Some(state),
                Some(Status::Blocked) | None => None,
            },
            is_blocked: self.status == Some(Status::Blocked),
            destination,
            source: self.source.clone(),
            event_type: self.event_type.clone(),
            since,
            until,
            limit: self.limit,
            ..ListQuery::default()
        };
        let found = operator.list(&query).map_err(explained)?;
        if self.json {
            return print_json(&found, &config);
        }
        if found.is_empty() {
            hint!("nothing found");
            return Ok(());
        }
        print_table(&found, &config)?;
        self.print_limit(found.len());
        Ok(())
    }

    fn list_unrouted(&self, operator: &Operator) -> Result<(), CommandError> {
        let (since, until) = period(self.since, self.until, operator.now())?;
        let query = UnroutedQuery {
            source: self.source.clone(),
            event_type: self.event_type.clone(),
            since,
            until,
            limit: self.limit,
            ..UnroutedQuery::default()
        };
        let found = operator.unrouted(&query).map_err(explained)?;
        unrouted::print(&found, self.json)?;
        if !self.json {
            self.print_limit(found.len());
        }
        Ok(())
    }

    fn print_limit(&self, found: usize) {
        if found == self.limit as usize {
            hint!("the latest {}; --limit shows more", self.limit);
        }
    }
}

fn print_json(found: &[ListedDelivery], config: &Resolved) -> Result<(), CommandError> {
    for row in found {
        say!("{}", listed_delivery(row, config));
    }
    Ok(())
}

fn print_table(found: &[ListedDelivery], config: &Resolved) -> Result<(), CommandError> {
    // Destinations that are no longer configured while deliveries wait for them.
    let mut unknown = BTreeSet::new();
    let rows: Vec<_> = found
        .iter()
        .map(|row| {
            let mut destination = row.destination.clone();
            if row.state != DeliveryState::Delivered && !config.is_deliverable(&row.destination) {
                unknown.insert(row.destination.as_str());
                destination += " (no longer configured)";
            }
            [
                row.surface.public_id(row.id),
                row.state.name().to_owned(),
                row.attempts.to_string(),
                row.created_at.to_string(),
                row.label.clone(),
                destination,
                row.last_error.clone().unwrap_or_default(),
            ]
        })
        .collect();
    table::print(
        &[
            Column::Left("ID"),
            Column::Left("STATUS"),
            Column::Right("ATTEMPTS"),
            Column::Left("ACCEPTED AT"),
            Column::Left("SOURCE OR TYPE"),
            Column::Left("DESTINATION"),
            Column::Left("LAST ERROR"),
        ],
        &rows,
    )?;
    for destination in unknown {
        hint!("{}", plain(&not_configured(destination)));
    }
    Ok(())
}
