use std::collections::BTreeSet;
use std::path::Path;

use clap::Args;
use serde_json::json;

use super::Failure;
use super::operate::{Moment, explained, known_destination, moment, plain, public_id, reading};
use crate::model::DeliveryState;
use crate::store::{Listed, Query};
use crate::wording::not_configured;

#[derive(Args)]
pub(super) struct ListArgs {
    /// Only deliveries in this state: queued, processing, retrying, delivered, `dead_lettered`
    ///
    /// All but delivered ones are found by an index, however many deliveries are stored.
    #[arg(long, value_name = "STATE", value_parser = state)]
    status: Option<DeliveryState>,
    /// Only those to this destination: its name, or an ad hoc origin such as <https://example.com>
    ///
    /// Found by an index together with --status, unless that is delivered. Otherwise deliveries are
    /// read from the newest on until enough are found, which takes a second for some millions.
    #[arg(long, value_name = "NAME")]
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
    /// Print JSON, one object a line
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

pub(super) fn run(file: Option<&Path>, args: &ListArgs) -> Result<(), Failure> {
    let (operator, config) = reading(file)?;
    let destination = args
        .destination
        .as_deref()
        .map(|text| known_destination(&operator, &config, text))
        .transpose()?;
    let query = Query {
        state: args.status,
        destination,
        source: args.source.clone(),
        since: args.since.map(|since| since.when(&operator)),
        limit: args.limit,
    };
    let found = operator
        .read(|sql| Listed::read(sql, &query, operator.now()))
        .map_err(explained)?;
    let mut stranded = BTreeSet::new();
    for row in &found {
        let id = public_id(row.id, row.surface);
        if args.json {
            let line = json!({
                "id": id,
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
        } else {
            let is_stranded =
                row.state != DeliveryState::Delivered && !config.is_deliverable(&row.destination);
            if is_stranded {
                stranded.insert(row.destination.as_str());
            }
            say!(
                "{id:<40}  {:<13}  {:>3}  {}  {} -> {}{}{}",
                row.state.name(),
                row.attempts,
                row.created_at,
                plain(&row.label),
                plain(&row.destination),
                if is_stranded {
                    " (no longer configured)"
                } else {
                    ""
                },
                row.last_error
                    .as_deref()
                    .map_or_else(String::new, |error| format!("  ({})", plain(error))),
            );
        }
    }
    for destination in stranded {
        eprintln!("{}", plain(&not_configured(destination)));
    }
    if found.is_empty() && !args.json {
        eprintln!("nothing found");
    } else if found.len() == args.limit as usize && !args.json {
        eprintln!("the latest {}; --limit shows more", args.limit);
    }
    Ok(())
}
