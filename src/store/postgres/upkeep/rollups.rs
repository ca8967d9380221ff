//! Adds to the counts by minute and hour, and deletes those past their time.
//!
//! An addition carries a token that its own statement stores, so that one whose answer was lost is
//! made once. Several nodes add to the same row: the server adds, bucket by bucket.

use std::ops::Range;

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::model::LATENCY_BUCKETS;
use crate::store::error::StoreError;
use crate::store::limits::{MAX_ROWS, STEP_ROWS};
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::handle::Postgres;
use crate::store::types::{ROWS_OF_A_NAME, RecordRollups, RollupGrain};

const ADD_TO_SOURCES: &str = "
    WITH token AS MATERIALIZED (
        INSERT INTO relay.made (token, at) VALUES ($1, $2)
        ON CONFLICT DO NOTHING RETURNING token
    )
    INSERT INTO relay.source_rollups AS r (grain, at, source, accepted, duplicates, refused)
    SELECT t.* FROM unnest($3::int4[], $4::int8[], $5::text[], $6::int8[], $7::int8[], $8::int8[])
        AS t(grain, at, name, accepted, duplicates, refused), token
    ORDER BY t.grain, t.at, t.name
    ON CONFLICT (grain, at, source) DO UPDATE
    SET accepted = r.accepted + excluded.accepted,
        duplicates = r.duplicates + excluded.duplicates,
        refused = r.refused + excluded.refused";

/// Each row's histogram is a slice of $9, of $10 buckets.
const ADD_TO_DESTINATIONS: &str = "
    WITH token AS MATERIALIZED (
        INSERT INTO relay.made (token, at) VALUES ($1, $2)
        ON CONFLICT DO NOTHING RETURNING token
    )
    INSERT INTO relay.destination_rollups AS r
        (grain, at, destination, delivered, failed, dead, latency)
    SELECT t.grain, t.at, t.name, t.delivered, t.failed, t.dead,
        CASE WHEN t.used > 0 THEN ($9::int8[])[(t.nth - 1) * $11::int8 + 1
                                               : (t.nth - 1) * $11::int8 + t.used] END
    FROM unnest($3::int4[], $4::int8[], $5::text[], $6::int8[], $7::int8[], $8::int8[],
                $10::int8[])
        WITH ORDINALITY AS t(grain, at, name, delivered, failed, dead, used, nth), token
    ORDER BY t.grain, t.at, t.name
    ON CONFLICT (grain, at, destination) DO UPDATE
    SET delivered = r.delivered + excluded.delivered,
        failed = r.failed + excluded.failed,
        dead = r.dead + excluded.dead,
        latency = CASE
            WHEN excluded.latency IS NULL THEN r.latency
            WHEN r.latency IS NULL THEN excluded.latency
            ELSE (SELECT array_agg(coalesce(x.a, 0) + coalesce(x.b, 0) ORDER BY x.nth)
                  FROM unnest(r.latency, excluded.latency) WITH ORDINALITY AS x(a, b, nth))
        END";

const PRUNE: [&str; 2] = [
    "DELETE FROM relay.source_rollups r USING
         (SELECT grain, at, source FROM relay.source_rollups
          WHERE grain = $1 AND at < $2 ORDER BY at LIMIT $3) old
     WHERE r.grain = old.grain AND r.at = old.at AND r.source = old.source",
    "DELETE FROM relay.destination_rollups r USING
         (SELECT grain, at, destination FROM relay.destination_rollups
          WHERE grain = $1 AND at < $2 ORDER BY at LIMIT $3) old
     WHERE r.grain = old.grain AND r.at = old.at AND r.destination = old.destination",
];

/// The rows of some names, a column each: every name in its minute and in its hour.
#[derive(Default)]
struct Columns {
    grains: Vec<i32>,
    at: Vec<Timestamp>,
    names: Vec<String>,
    /// Of sources or of destinations.
    counts: [Vec<i64>; 3],
    /// Of destinations: [`LATENCY_BUCKETS`] of each row, and how many of them a row uses.
    buckets: Vec<i64>,
    used: Vec<i64>,
}

impl Columns {
    fn add(&mut self, at: Timestamp, name: &str, counts: [u64; 3]) {
        for grain in RollupGrain::ALL {
            self.grains.push(number_of(grain));
            self.at.push(grain.begin(at));
            self.names.push(name.to_owned());
            for (column, count) in self.counts.iter_mut().zip(counts) {
                column.push(number(count));
            }
        }
    }

    fn add_latency(&mut self, buckets: [u64; LATENCY_BUCKETS]) {
        let used = buckets.iter().rposition(|&count| count > 0);
        let used = used.map_or(0, |last| i64::try_from(last + 1).unwrap_or(0));
        for _ in RollupGrain::ALL {
            self.buckets.extend(buckets.map(number));
            self.used.push(used);
        }
    }
}

fn number_of(grain: RollupGrain) -> i32 {
    i32::try_from(grain.seconds()).unwrap_or(i32::MAX)
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A step of an addition: names of sources, and names of destinations.
struct Addition {
    token: Uuid,
    now: Timestamp,
    sources: Columns,
    destinations: Columns,
}

impl Addition {
    fn of(counts: &RecordRollups, names: Range<usize>, now: Timestamp) -> Self {
        let (mut sources, mut destinations) = (Columns::default(), Columns::default());
        for at in names {
            if let Some((name, counted)) = counts.sources.get(at) {
                let numbers = [counted.accepted, counted.duplicates, counted.refused];
                sources.add(counts.at, name, numbers);
            } else {
                let (name, counted) = &counts.destinations[at - counts.sources.len()];
                let numbers = [counted.delivered, counted.failed, counted.dead];
                destinations.add(counts.at, name, numbers);
                destinations.add_latency(counted.latency.buckets());
            }
        }
        Self {
            token: Uuid::from_u128(counts.token),
            now,
            sources,
            destinations,
        }
    }

    fn apply(&self, connection: &mut Connection) -> Result<(), Failure> {
        let [accepted, duplicates, refused] = &self.sources.counts;
        let [delivered, failed, dead] = &self.destinations.counts;
        let width = i64::try_from(LATENCY_BUCKETS).unwrap_or(i64::MAX);
        // A token each, since both statements store theirs.
        let (of_sources, of_destinations) = (self.token, derived(self.token));
        let (sources, destinations) = (&self.sources, &self.destinations);
        connection.transaction(&[
            (
                ADD_TO_SOURCES,
                &[
                    &of_sources,
                    &self.now,
                    &sources.grains,
                    &sources.at,
                    &sources.names,
                    accepted,
                    duplicates,
                    refused,
                ],
            ),
            (
                ADD_TO_DESTINATIONS,
                &[
                    &of_destinations,
                    &self.now,
                    &destinations.grains,
                    &destinations.at,
                    &destinations.names,
                    delivered,
                    failed,
                    dead,
                    &destinations.buckets,
                    &destinations.used,
                    &width,
                ],
            ),
        ])?;
        Ok(())
    }
}

/// A second token of the same addition.
fn derived(token: Uuid) -> Uuid {
    Uuid::from_u128(token.as_u128() ^ 1)
}

impl Postgres {
    /// Makes the next step of adding counts to the rollups; whether there was one. Blocks.
    pub fn record_rollups(&self, counts: &mut RecordRollups) -> Result<bool, StoreError> {
        let Some(names) = counts.next_names(MAX_ROWS) else {
            return Ok(false);
        };
        let addition = Addition::of(counts, names, self.shared().clock.now());
        self.change(|connection| addition.apply(connection))?;
        counts.committed();
        Ok(true)
    }

    /// Deletes some of the rollups past their time; how many. Blocks.
    pub fn prune_rollups(&self) -> Result<usize, StoreError> {
        let now = self.shared().clock.now();
        let each = i64::try_from(STEP_ROWS / PRUNE.len() / ROWS_OF_A_NAME).unwrap_or(1);
        let mut deleted = 0;
        for grain in RollupGrain::ALL {
            let (number, before) = (number_of(grain), now.minus(grain.kept()));
            for sql in PRUNE {
                deleted +=
                    self.change(|connection| connection.execute(sql, &[&number, &before, &each]))?;
            }
        }
        Ok(usize::try_from(deleted).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
mod tests;
