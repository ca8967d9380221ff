//! Records the configuration that runs, and what a reload replaces.

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::postgres::acts::end_hold::{END_HOLD, LOCK_HELD, bring_some_forward};
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::text::Text;
use crate::store::types::{ConfigAttempt, DestinationId, ReplacedDestinations};

/// Each node has a row, under its name.
const RECORD: &str = "
    INSERT INTO relay.config_state AS c
        (node, attempts, began_at, is_dry_run, generation, fingerprint, report, error, process,
         on_hangup, answers)
    VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
    ON CONFLICT (node) DO UPDATE
    SET attempts = c.attempts + 1, began_at = excluded.began_at,
        is_dry_run = excluded.is_dry_run, generation = excluded.generation,
        fingerprint = excluded.fingerprint, report = excluded.report, error = excluded.error,
        process = excluded.process, on_hangup = excluded.on_hangup, answers = excluded.answers";

/// Forgets hold, breaker and proof of these destinations.
const FORGET: &str = "
    UPDATE relay.destinations
    SET held_until = NULL, probe_wait = NULL, probe_at = NULL, proven_at = NULL
    WHERE id IN (SELECT id FROM relay.destinations WHERE name = ANY($1) ORDER BY id FOR UPDATE)
    RETURNING id, bucket";

/// Lets an open breaker of these destinations probe now. One that is closed has no time of a probe:
/// `least` passes over NULL.
const PROBE: &str = "
    UPDATE relay.destinations
    SET probe_at = CASE WHEN probe_at IS NOT NULL THEN least(probe_at, $2::int8) END
    WHERE id IN (SELECT id FROM relay.destinations WHERE name = ANY($1) ORDER BY id FOR UPDATE)
    RETURNING id, bucket";

/// The owner of a destination looks at all of its bucket's destinations soon.
const POKE: &str = "
    UPDATE relay.buckets SET poked = poked + 1
    WHERE bucket IN (SELECT d.bucket FROM relay.destinations d WHERE d.name = ANY($1))";

/// None if deliveries are left that have to come forward before.
fn replace(
    connection: &mut Connection,
    replaced: &ReplacedDestinations,
    now: Timestamp,
) -> Result<Option<Vec<DestinationId>>, Failure> {
    let (moved, changed) = (&replaced.moved, &replaced.changed);
    if !bring_some_forward(connection, moved, (now, None))? {
        return Ok(None);
    }
    let all = [moved.as_slice(), changed.as_slice()].concat();
    let made = connection.transaction(&[
        (LOCK_HELD, &[moved]),
        (END_HOLD, &[moved, &now, &None::<Timestamp>]),
        (FORGET, &[moved]),
        (PROBE, &[changed, &now]),
        (POKE, &[&all]),
    ])?;
    let rows = made[2..4].iter().flatten();
    rows.map(|row| Ok(row.try_get(0)?))
        .collect::<Result<_, _>>()
        .map(Some)
}

impl Postgres {
    /// Records an attempt to take a configuration over. Blocks.
    pub fn record_config(&self, attempt: ConfigAttempt) -> Result<(), StoreError> {
        let node = self.shared().node_name();
        let report = attempt.report.as_ref().ok().map(Text::from);
        let error = attempt.report.as_ref().err().map(Text::from);
        let generation = i64::try_from(attempt.generation).unwrap_or(i64::MAX);
        let process = i64::from(attempt.process);
        let answers = self.shared().reloads.begun(attempt.is_dry_run);
        self.change(|connection| {
            connection.execute(
                RECORD,
                &[
                    &node,
                    &attempt.began_at,
                    &attempt.is_dry_run,
                    &generation,
                    &attempt.fingerprint,
                    &report,
                    &error,
                    &process,
                    &attempt.on_hangup,
                    &answers,
                ],
            )
        })?;
        Ok(())
    }

    /// The next reload that a command has asked for; whether it is a dry run.
    pub fn take_reload(&self) -> Option<bool> {
        self.shared().reloads.take()
    }

    /// Makes a step of forgetting destinations that a reload has replaced; whether it was the last.
    /// Blocks.
    pub fn replace_destinations(
        &self,
        replaced: &ReplacedDestinations,
    ) -> Result<bool, StoreError> {
        let now = self.shared().clock.now();
        let found = self.change(|connection| replace(connection, replaced, now))?;
        if let Some(found) = &found {
            (self.shared().on_work)(found);
        }
        Ok(found.is_some())
    }
}
