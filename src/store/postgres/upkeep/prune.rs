//! Deletes expired intents and keys, and tidies up.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::limits::{ENDED_DELETED_A_STEP, OPERATIONS_KEPT};
use crate::store::postgres::connection::{Call, Connection};
use crate::store::postgres::failure::Failure;
use crate::store::postgres::handle::Postgres;
use crate::store::types::{DestinationId, IntentRow, Prune, PrunePart};

/// Locks intents against all who add a delivery to one: they lock it FOR KEY SHARE. A statement of
/// its own, so that the deletion's snapshot is younger than all that it waited for.
pub const LOCK_INTENTS: &str =
    "SELECT 1 FROM relay.intents WHERE id = ANY($1) ORDER BY id FOR UPDATE";

/// Locks ended deliveries against replays, which delete their rows.
pub const LOCK_ENDED: &str = "
    SELECT 1 FROM relay.ended WHERE intent_id = ANY($1)
    ORDER BY intent_id, destination_id FOR UPDATE";

/// Deletes intents with all that belongs to them, unless a delivery waits, ended later than it was
/// found, or blocks its line: a dead letter that blocks stays until somebody replays or discards
/// it. With $3 a dead letter keeps its intent as well.
pub const DELETE_INTENTS: &str = "
    WITH input AS MATERIALIZED (
        SELECT * FROM unnest($1::int8[], $2::int8[]) AS t(intent_id, ended)
    ), gone AS MATERIALIZED (
        DELETE FROM relay.intents i USING input t WHERE i.id = t.intent_id
            AND NOT EXISTS (SELECT 1 FROM relay.waiting w WHERE w.intent_id = ANY(ARRAY[i.id]))
            AND NOT EXISTS (SELECT 1 FROM relay.ended e WHERE e.intent_id = i.id
                AND (e.updated_at > t.ended OR e.place IS NOT NULL
                     OR ($3 AND e.state = 4 AND e.discarded_at IS NULL)))
        RETURNING i.id
    ), e AS (DELETE FROM relay.ended e USING gone WHERE e.intent_id = gone.id
    ), a AS (DELETE FROM relay.attempts a USING gone WHERE a.intent_id = gone.id
    ), k AS (DELETE FROM relay.idempotency k USING gone WHERE k.intent_id = gone.id)
    SELECT count(*) FROM gone";

const DELETE_HISTORIES: &str = "
    DELETE FROM relay.attempts a
    USING unnest($1::int8[], $2::int8[], $3::int4[]) AS t(intent_id, ended, destination_id)
    WHERE a.intent_id = t.intent_id AND a.destination_id = t.destination_id
        AND NOT EXISTS (SELECT 1 FROM relay.waiting w WHERE w.intent_id = ANY(ARRAY[t.intent_id]))
        AND NOT EXISTS (SELECT 1 FROM relay.ended e WHERE e.intent_id = t.intent_id
            AND (e.updated_at > t.ended OR e.place IS NOT NULL))";

/// A key that was taken over names another intent by now.
const DELETE_KEYS: &str = "DELETE FROM relay.idempotency WHERE intent_id = ANY($1)";

const DELETE_OPERATIONS: &str = "
    DELETE FROM relay.jobs WHERE id IN
        (SELECT id FROM relay.jobs WHERE ended_at < $1 ORDER BY ended_at LIMIT $2)";

const DELETE_TOKENS: &str = "
    DELETE FROM relay.made WHERE token IN
        (SELECT token FROM relay.made WHERE at < $1 ORDER BY at LIMIT $2)";

/// How long tokens of additions are kept: far longer than anybody goes on to try the same one.
const TOKENS_KEPT: Duration = Duration::from_secs(3600);

/// Tokens deleted in one step.
const TOKENS_A_STEP: i64 = 1000;

/// The parts of one step by kind.
#[derive(Default)]
struct PruneStep {
    histories: (Vec<IntentRow>, Vec<Timestamp>, Vec<DestinationId>),
    intents: (Vec<IntentRow>, Vec<Timestamp>),
    keys: Vec<IntentRow>,
}

impl PruneStep {
    fn of(parts: Vec<PrunePart>) -> Self {
        let mut step = Self::default();
        for part in parts {
            match part {
                PrunePart::History {
                    intent,
                    ended,
                    destination,
                    ..
                } => {
                    step.histories.0.push(intent);
                    step.histories.1.push(ended);
                    step.histories.2.push(destination);
                }
                PrunePart::Intent { intent, ended, .. } => {
                    step.intents.0.push(intent);
                    step.intents.1.push(ended);
                }
                PrunePart::Key(key) => step.keys.push(key.intent),
            }
        }
        step
    }

    /// Deletes the parts; how many of them were intents.
    fn apply(&self, connection: &mut Connection) -> Result<usize, Failure> {
        let (intents, ended) = &self.intents;
        let (of_histories, ended_of_histories, destinations) = &self.histories;
        let mut locked = [intents.as_slice(), of_histories.as_slice()].concat();
        locked.sort_unstable();
        locked.dedup();
        let made = connection.transaction(&[
            (LOCK_INTENTS, &[&locked]),
            (LOCK_ENDED, &[&locked]),
            (
                DELETE_HISTORIES,
                &[of_histories, ended_of_histories, destinations],
            ),
            (DELETE_INTENTS, &[intents, ended, &false]),
            (DELETE_KEYS, &[&self.keys]),
        ])?;
        deleted(&made[3])
    }
}

/// The number that a statement ends with.
pub fn deleted(rows: &[tokio_postgres::Row]) -> Result<usize, Failure> {
    let row = rows.first();
    let count: i64 = row.map_or(Ok(0), |row| row.try_get(0))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

impl Postgres {
    /// Deletes the next part of the expired intents and keys; false if there is none left. Blocks.
    pub fn prune(&self, prune: &mut Prune) -> Result<bool, StoreError> {
        let Some(parts) = prune.next_parts() else {
            return Ok(false);
        };
        let step = PruneStep::of(parts);
        let deleted = self.change(|connection| step.apply(connection))?;
        prune.committed(deleted);
        Ok(true)
    }

    /// Deletes bulk operations that ended long ago and tokens of old additions, one step; whether
    /// steps are left. The server gives space back by itself. Blocks.
    pub fn tidy_up(&self) -> Result<bool, StoreError> {
        let now = self.shared().clock.now();
        let (ended_before, made_before) = (now.minus(OPERATIONS_KEPT), now.minus(TOKENS_KEPT));
        let calls: [Call<'_>; 2] = [
            (DELETE_OPERATIONS, &[&ended_before, &ENDED_DELETED_A_STEP]),
            (DELETE_TOKENS, &[&made_before, &TOKENS_A_STEP]),
        ];
        let mut is_left = false;
        for (sql, params) in calls {
            is_left |= self.change(|connection| connection.execute(sql, params))? > 0;
        }
        if !is_left {
            // The counts know of what was deleted. Gauges are not worth an error.
            let _ = self.recount();
        }
        Ok(is_left)
    }
}
