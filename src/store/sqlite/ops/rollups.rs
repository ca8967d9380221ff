//! Adds counts to the rollups, and deletes those past their time.

use std::ops::Range;
use std::sync::Arc;

use rusqlite::params;

use crate::clock::Timestamp;
use crate::model::{DestinationCounts, LatencyHistogram, SourceCounts};
use crate::store::error::StoreError;
use crate::store::limits::STEP_ROWS;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::{LongWrite, WriteOp};
use crate::store::types::{ROWS_OF_A_NAME, RecordRollups, RollupGrain};

impl LongWrite for RecordRollups {
    type Step = RecordRollupsStep;

    fn next_step(&mut self, rows: usize) -> Option<RecordRollupsStep> {
        let names = self.next_names(rows)?;
        Some(RecordRollupsStep {
            at: self.at,
            sources: Arc::clone(&self.sources),
            destinations: Arc::clone(&self.destinations),
            names,
        })
    }

    fn committed(&mut self, (): ()) {
        Self::committed(self);
    }
}

/// One transaction's share of a [`RecordRollups`].
pub struct RecordRollupsStep {
    at: Timestamp,
    sources: Arc<Vec<(String, SourceCounts)>>,
    destinations: Arc<Vec<(String, DestinationCounts)>>,
    /// Of sources first, then of destinations.
    names: Range<usize>,
}

impl WriteOp for RecordRollupsStep {
    type Out = ();

    fn apply(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        for at in self.names.clone() {
            for grain in RollupGrain::ALL {
                let begin = grain.begin(self.at);
                if let Some((name, counts)) = self.sources.get(at) {
                    add_to_source(grain, begin, name, counts, tx)?;
                } else {
                    let (name, counts) = &self.destinations[at - self.sources.len()];
                    add_to_destination(grain, begin, name, counts, tx)?;
                }
            }
        }
        Ok(())
    }

    fn rows(&self) -> usize {
        self.names.len() * ROWS_OF_A_NAME
    }
}

fn add_to_source(
    grain: RollupGrain,
    begin: Timestamp,
    name: &str,
    counts: &SourceCounts,
    tx: &Tx<'_>,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO source_rollups (grain, at, source, accepted, duplicates, refused)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO UPDATE SET accepted = accepted + excluded.accepted,
                                   duplicates = duplicates + excluded.duplicates,
                                   refused = refused + excluded.refused",
        params![
            grain.seconds(),
            begin,
            name,
            number(counts.accepted),
            number(counts.duplicates),
            number(counts.refused),
        ],
    )?;
    Ok(())
}

fn add_to_destination(
    grain: RollupGrain,
    begin: Timestamp,
    name: &str,
    counts: &DestinationCounts,
    tx: &Tx<'_>,
) -> Result<(), StoreError> {
    let before: Option<Option<Vec<u8>>> = tx.first(
        "SELECT latency FROM destination_rollups
         WHERE grain = ?1 AND at = ?2 AND destination = ?3",
        params![grain.seconds(), begin, name],
        |row| row.get(0),
    )?;
    let mut latency = counts.latency;
    latency.add(&histogram(before.flatten().as_deref()));
    let latency = (latency.count() > 0).then(|| latency.to_bytes());
    tx.execute(
        "INSERT INTO destination_rollups (grain, at, destination, delivered, failed, dead, latency)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT DO UPDATE SET delivered = delivered + excluded.delivered,
                                   failed = failed + excluded.failed,
                                   dead = dead + excluded.dead,
                                   latency = excluded.latency",
        params![
            grain.seconds(),
            begin,
            name,
            number(counts.delivered),
            number(counts.failed),
            number(counts.dead),
            latency,
        ],
    )?;
    Ok(())
}

/// A stored histogram. One that can't be read counts as empty: a chart is not worth an error.
pub fn histogram(stored: Option<&[u8]>) -> LatencyHistogram {
    stored
        .and_then(LatencyHistogram::from_bytes)
        .unwrap_or_default()
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Deletes rollups past their time, at most [`STEP_ROWS`] of each table and grain. Returns how many
/// were deleted.
pub struct PruneRollups;

impl WriteOp for PruneRollups {
    type Out = usize;

    fn apply(&self, tx: &Tx<'_>) -> Result<usize, StoreError> {
        let each = i64::try_from(self.rows() / PRUNE.len() / ROWS_OF_A_NAME).unwrap_or(1);
        let mut deleted = 0;
        for grain in RollupGrain::ALL {
            let before = tx.now.minus(grain.kept());
            for delete in PRUNE {
                deleted += tx.execute(delete, params![grain.seconds(), before, each])?;
            }
        }
        Ok(deleted)
    }

    fn rows(&self) -> usize {
        STEP_ROWS
    }
}

const PRUNE: [&str; 2] = [
    "DELETE FROM source_rollups WHERE (grain, at, source) IN
         (SELECT grain, at, source FROM source_rollups
          WHERE grain = ?1 AND at < ?2 ORDER BY at LIMIT ?3)",
    "DELETE FROM destination_rollups WHERE (grain, at, destination) IN
         (SELECT grain, at, destination FROM destination_rollups
          WHERE grain = ?1 AND at < ?2 ORDER BY at LIMIT ?3)",
];

impl Sqlite {
    /// Makes the next step of adding counts to the rollups; whether there was one. Blocks.
    pub fn record_rollups(&self, counts: &mut RecordRollups) -> Result<bool, StoreError> {
        self.write_step(counts)
    }

    /// Deletes some of the rollups past their time; how many. Blocks.
    pub fn prune_rollups(&self) -> Result<usize, StoreError> {
        self.write_blocking(PruneRollups)
    }
}
