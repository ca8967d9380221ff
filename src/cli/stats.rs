use std::path::Path;

use serde_json::json;

use super::error::CommandError;
use super::operate::{explained, plain, reading};
use super::table::{self, Column};
use crate::clock::Timestamp;
use crate::config::Resolved;
use crate::ops::status_text::not_configured;
use crate::store::{DestinationStats, KeepReason};

pub(super) fn run(file: Option<&Path>, is_json: bool) -> Result<(), CommandError> {
    let (operator, config) = reading(file)?;
    let destinations = operator.stats().map_err(explained)?;
    let jobs = operator.bulk_under_way().map_err(explained)?;
    let has_server = operator.has_server();
    let bytes = config
        .database
        .path
        .metadata()
        .map_or(0, |metadata| metadata.len());
    let now = operator.now();
    if is_json {
        let shown = json!({
            "server": has_server,
            "database_bytes": bytes,
            "destinations": destinations.iter().map(|row| json!({
                "destination": row.destination,
                "waiting": row.waiting,
                "processing": row.processing,
                "dead_lettered": row.dead_lettered,
                "oldest_due": row.oldest_due,
                "state": standing(row, &config, now),
            })).collect::<Vec<_>>(),
            "jobs": jobs.iter().map(|job| json!({
                "job": job.id,
                "kind": job.action.name(),
                "destination": job.destination,
                "done": job.done,
                "total": job.total,
                "created_at": job.created_at,
            })).collect::<Vec<_>>(),
        });
        say!("{shown}");
        return Ok(());
    }
    say!(
        "{}: {bytes} bytes, {}",
        config.database.path.display(),
        if has_server {
            "a server has it open"
        } else {
            "no server has it open"
        }
    );
    let rows: Vec<_> = destinations
        .iter()
        .map(|row| {
            [
                row.waiting.to_string(),
                row.processing.to_string(),
                row.dead_lettered.to_string(),
                row.destination.clone(),
                standing(row, &config, now),
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
    for job in &jobs {
        say!(
            "job {}: {} to {}, {} of {} done (relay cancel {} ends it)",
            job.id,
            job.action.name(),
            plain(&job.destination),
            job.done,
            job.total,
            job.id
        );
    }
    Ok(())
}

fn standing(row: &DestinationStats, config: &Resolved, now: Timestamp) -> String {
    let is_deliverable = config.is_deliverable(&row.destination);
    match row.keep_reason(is_deliverable, now) {
        Some(KeepReason::UnknownDestination) => {
            match (row.waiting + row.processing, row.dead_lettered) {
                (0, 0) => "no longer configured".to_owned(),
                (0, _) => {
                    "no longer configured: add it again before a replay, or discard its dead letters"
                        .to_owned()
                }
                _ => format!("nothing is sent: {}", not_configured(&row.destination)),
            }
        }
        Some(KeepReason::Paused) => {
            format!("paused: {}", row.paused.as_deref().unwrap_or_default())
        }
        Some(KeepReason::Held(until)) => format!("held until {until}: Retry-After"),
        Some(KeepReason::BreakerOpen(at)) => format!("circuit breaker open, next probe at {at}"),
        None => match row.oldest_due {
            Some(due) if due < now => format!("oldest due since {due}"),
            Some(due) => format!("next due at {due}"),
            None => "nothing waits".to_owned(),
        },
    }
}
