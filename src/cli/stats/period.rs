//! `relay stats --since`: what was accepted and delivered in a time.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::error::CommandError;
use crate::cli::operate::explained;
use crate::cli::table::{self, Column};
use crate::clock::Timestamp;
use crate::ops::views::{QUANTILES, destination_counts, source_counts};
use crate::store::{Operator, RollupQuery, Rollups};

/// The counts of a time.
pub(super) struct Period {
    from: Timestamp,
    to: Timestamp,
    rollups: Rollups,
}

impl Period {
    /// The counts from a time on, up to now.
    pub fn read(operator: &Operator, since: Timestamp) -> Result<Self, CommandError> {
        let now = operator.now();
        if since >= now {
            return Err("--since: expected a time in the past".into());
        }
        // The minute under way has begun before now.
        let query = RollupQuery::total(since, now, now);
        let rollups = operator.rollups(&query).map_err(explained)?;
        Ok(Self {
            from: query.from(),
            to: now,
            rollups,
        })
    }

    pub fn as_json(&self) -> Value {
        let rollups = &self.rollups;
        json!({
            "from": self.from,
            "to": self.to,
            "sources": rollups.sources.iter().map(source_counts).collect::<Vec<_>>(),
            "destinations": rollups.destinations.iter().map(destination_counts).collect::<Vec<_>>(),
        })
    }

    pub fn print(&self) -> Result<(), CommandError> {
        say!("\nfrom {} to {}", self.from, self.to);
        let sources = self.rollups.sources.iter().map(|row| {
            let counts = &row.counts;
            [
                counts.accepted.to_string(),
                counts.duplicates.to_string(),
                counts.refused.to_string(),
                row.name.clone(),
            ]
        });
        table::print(
            &[
                Column::Right("ACCEPTED"),
                Column::Right("DUPLICATES"),
                Column::Right("REFUSED"),
                Column::Left("SOURCE"),
            ],
            &sources.collect::<Vec<_>>(),
        )?;
        let destinations = self.rollups.destinations.iter().map(|row| {
            let counts = &row.counts;
            let [p50, p90, p99] = QUANTILES.map(|(_, share)| {
                let latency = counts.latency.quantile(share);
                latency.map_or_else(|| "-".to_owned(), shown)
            });
            [
                counts.delivered.to_string(),
                counts.failed.to_string(),
                counts.dead.to_string(),
                p50,
                p90,
                p99,
                row.name.clone(),
            ]
        });
        table::print(
            &[
                Column::Right("DELIVERED"),
                Column::Right("FAILED"),
                Column::Right("DEAD"),
                Column::Right("P50"),
                Column::Right("P90"),
                Column::Right("P99"),
                Column::Left("DESTINATION"),
            ],
            &destinations.collect::<Vec<_>>(),
        )
    }
}

/// A latency in two digits or a little more: it is an estimate.
fn shown(latency: Duration) -> String {
    let millis = latency.as_secs_f64() * 1000.0;
    match millis {
        ..10.0 => format!("{millis:.1}ms"),
        ..1_000.0 => format!("{millis:.0}ms"),
        ..60_000.0 => format!("{:.1}s", millis / 1_000.0),
        _ => format!("{:.0}m", millis / 60_000.0),
    }
}
