use std::collections::BTreeSet;
use std::path::Path;

use clap::Args;
use serde_json::json;

use super::error::CommandError;
use super::operate::{Moment, explained, known_destination, moment, plain, public_id, reading};
use super::table::{self, Column};
use crate::model::DeliveryState;
use crate::ops::status_text::not_configured;
use crate::store::ListQuery;

#[derive(Args)]
pub(super) struct ListArgs {
    #[arg(
        long,
        value_name = "STATE",
        value_parser = state,
        help = "Only those in this state: queued, processing, retrying, delivered, dead_lettered",
        long_help = "Only those in this state: queued, processing, retrying, delivered, \
                     dead_lettered\n\nAll but delivered ones are found by an index, however many \
                     deliveries are stored."
    )]
    status: Option<DeliveryState>,
    #[arg(
        long,
        value_name = "NAME",
        help = "Only those to this name, or ad hoc origin such as https://example.com",
        long_help = "Only those to this name, or ad hoc origin such as https://example.com\n\n\
                     Found by an index together with --status, unless that is delivered. \
                     Otherwise deliveries are read from the newest on until enough are found, \
                     which takes a second for some millions."
    )]
    destination: Option<String>,
    /// Only events of this source
    ///
    /// Sources have no index: deliveries that the other filters leave are read until enough are
    /// found.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only what was accepted since: a time (RFC 3339), or how long ago (2h, 7d)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Moment>,
    /// At most so many, the latest ones
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Print JSON lines: one object for each delivery
    #[arg(long)]
    json: bool,
}

fn state(text: &str) -> Result<DeliveryState, String> {
    let names = DeliveryState::ALL.map(DeliveryState::name).join(", ");
    DeliveryState::ALL
        .into_iter()
        .find(|state| state.name() == text)
        .ok_or_else(|| format!("expected one of {names}"))
}

pub(super) fn run(file: Option<&Path>, args: &ListArgs) -> Result<(), CommandError> {
    let (operator, config) = reading(file)?;
    let destination = args
        .destination
        .as_deref()
        .map(|text| known_destination(&operator, &config, text))
        .transpose()?;
    let query = ListQuery {
        state: args.status,
        destination,
        source: args.source.clone(),
        since: args.since.map(|since| since.when(&operator)),
        limit: args.limit,
    };
    let found = operator.list(&query).map_err(explained)?;
    if args.json {
        for row in &found {
            let line = json!({
                "id": public_id(row.id, row.surface),
                "surface": row.surface.name(),
                "label": row.label,
                "destination": row.destination,
                "status": row.state.name(),
                "attempts": row.attempts,
                "created_at": row.created_at,
                "updated_at": row.updated_at,
                "next_attempt_at": row.next_attempt_at,
                "last_error": row.last_error,
                "is_configured": config.is_deliverable(&row.destination),
            });
            say!("{line}");
        }
        return Ok(());
    }
    if found.is_empty() {
        eprintln!("nothing found");
        return Ok(());
    }
    let mut stranded = BTreeSet::new();
    let rows: Vec<_> = found
        .iter()
        .map(|row| {
            let mut destination = row.destination.clone();
            if row.state != DeliveryState::Delivered && !config.is_deliverable(&row.destination) {
                stranded.insert(row.destination.as_str());
                destination += " (no longer configured)";
            }
            [
                public_id(row.id, row.surface),
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
    for destination in stranded {
        eprintln!("{}", plain(&not_configured(destination)));
    }
    if found.len() == args.limit as usize {
        eprintln!("the latest {}; --limit shows more", args.limit);
    }
    Ok(())
}
