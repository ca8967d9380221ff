use rusqlite::params;

use crate::store::error::StoreError;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::ops::end_hold::end_hold;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::WriteOp;
use crate::store::types::{ConfigAttempt, DestinationId, ReplacedDestinations};

/// Records an attempt to take a configuration over, for `relay reload`.
struct RecordConfig(ConfigAttempt);

impl WriteOp for RecordConfig {
    type Out = ();

    fn apply(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        let attempt = &self.0;
        tx.execute(
            "UPDATE config_state
             SET attempts = attempts + 1, began_at = ?1, is_dry_run = ?2, generation = ?3,
                 fingerprint = ?4, report = ?5, error = ?6, process = ?7, on_hangup = ?8",
            params![
                attempt.began_at,
                attempt.is_dry_run,
                i64::try_from(attempt.generation).unwrap_or(i64::MAX),
                attempt.fingerprint,
                attempt.report.as_ref().ok(),
                attempt.report.as_ref().err(),
                attempt.process,
                attempt.on_hangup,
            ],
        )?;
        Ok(())
    }
}

/// Forgets what the database remembers of destinations that a reload has replaced. Returns whether
/// that is all: if not, it takes another transaction.
impl WriteOp for ReplacedDestinations {
    type Out = bool;

    fn apply(&self, tx: &Tx<'_>) -> Result<bool, StoreError> {
        for name in &self.moved {
            if !end_hold(tx, name)? {
                return Ok(false);
            }
            let destination: Option<DestinationId> = tx.first(
                "UPDATE destinations
                 SET held_until = NULL, probe_wait = NULL, probe_at = NULL, proven_at = NULL
                 WHERE name = ?1 RETURNING id",
                [name],
                |row| row.get(0),
            )?;
            if let Some(id) = destination {
                tx.notify_dispatcher(id);
            }
        }
        for name in &self.changed {
            let destination: Option<DestinationId> = tx.first(
                "UPDATE destinations SET probe_at = min(probe_at, ?2) WHERE name = ?1 RETURNING id",
                params![name, tx.now],
                |row| row.get(0),
            )?;
            if let Some(id) = destination {
                tx.notify_dispatcher(id);
            }
        }
        Ok(true)
    }

    fn rows(&self) -> usize {
        self.moved.len() + self.changed.len()
    }
}

impl Sqlite {
    /// Records an attempt to take a configuration over. Blocks.
    pub fn record_config(&self, attempt: ConfigAttempt) -> Result<(), StoreError> {
        self.write_blocking(RecordConfig(attempt))
    }

    /// Makes a step of forgetting destinations that a reload has replaced; whether it was the last.
    /// Blocks.
    pub fn replace_destinations(
        &self,
        replaced: &ReplacedDestinations,
    ) -> Result<bool, StoreError> {
        self.write_blocking(replaced.clone())
    }
}
