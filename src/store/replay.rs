use rusqlite::params;

use super::{StoreError, Tx, WriteOp};
use crate::model::{DeliveryState, IntentId};

/// Sends an intent's dead letters once more, each with a fresh budget of attempts; the history
/// says so. Returns how many there were.
pub(crate) struct Replay(pub IntentId);

impl WriteOp for Replay {
    type Out = usize;

    fn apply(&self, tx: &Tx<'_>) -> Result<usize, StoreError> {
        let mut replayed = 0;
        for destination in dead_letters(tx, self.0)? {
            replayed += usize::from(replay(tx, self.0.row(), destination)?);
        }
        Ok(replayed)
    }
}

/// Deletes an intent's dead letters; with the last of its deliveries the intent goes too. Returns how
/// many there were.
pub(crate) struct Discard(pub IntentId);

impl WriteOp for Discard {
    type Out = usize;

    fn apply(&self, tx: &Tx<'_>) -> Result<usize, StoreError> {
        let mut discarded = 0;
        for destination in dead_letters(tx, self.0)? {
            discarded += usize::from(discard(tx, self.0.row(), destination)?);
        }
        Ok(discarded)
    }
}

/// The destinations that an intent was given up on.
fn dead_letters(tx: &Tx<'_>, id: IntentId) -> Result<Vec<i64>, StoreError> {
    let mut statement = tx.sql.prepare_cached(
        "SELECT d.destination_id FROM deliveries d JOIN intents i ON i.id = d.intent_id
         WHERE i.id = ?1 AND i.random = ?2 AND d.state = ?3 ORDER BY d.destination_id",
    )?;
    let rows = statement.query_map(
        params![id.row(), id.random(), DeliveryState::DeadLettered.number()],
        |row| row.get(0),
    )?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Sends one dead letter once more; whether it was one. A command's clock may be off: what it replays
/// is due by what a server has written last.
pub(super) fn replay(tx: &Tx<'_>, intent: i64, destination: i64) -> Result<bool, StoreError> {
    let dead = DeliveryState::DeadLettered.number();
    tx.execute("INSERT INTO attempts (intent_id, destination_id, entry, attempt, started_at, duration_ms, outcome, next)
             SELECT intent_id, destination_id, history + 1, 0, ?4, 0, 4, 'attempt 1, with a fresh budget'
             FROM deliveries WHERE intent_id = ?1 AND destination_id = ?2 AND state = ?3", params![intent, destination, dead, tx.now.as_millis()])?;
    let replayed = tx.execute("UPDATE deliveries
             SET state = ?4, attempts = 0, interruptions = 0, history = history + 1,
                 next_attempt_at = iif(?6, min(?5, max(updated_at, (SELECT max(id) >> 12 FROM intents))), ?5),
                 updated_at = ?5
             WHERE intent_id = ?1 AND destination_id = ?2 AND state = ?3", params![
            intent,
            destination,
            dead,
            DeliveryState::Queued.number(),
            tx.now.as_millis(),
            tx.is_operators(),
        ])?;
    if replayed > 0 {
        tx.made_due(destination);
    }
    Ok(replayed > 0)
}

/// Deletes one dead letter; whether it was one.
pub(super) fn discard(tx: &Tx<'_>, intent: i64, destination: i64) -> Result<bool, StoreError> {
    let deleted = tx.execute(
        "DELETE FROM deliveries WHERE intent_id = ?1 AND destination_id = ?2 AND state = ?3",
        params![intent, destination, DeliveryState::DeadLettered.number()],
    )?;
    if deleted > 0 {
        tx.execute(
            "DELETE FROM intents WHERE id = ?1
                 AND NOT EXISTS (SELECT 1 FROM deliveries WHERE intent_id = ?1)",
            [intent],
        )?;
        tx.deleted(intent);
    }
    Ok(deleted > 0)
}
