use rusqlite::params;

use super::{LongWrite, MAX_HISTORY, PAGE, RowBudget, StoreError, Tx, WriteOp};
use crate::model::{DeliveryState, IntentId};

/// Rows that replaying a dead letter writes: the delivery and an entry in its history.
pub(super) const REPLAY_ROWS: usize = 2;

/// Rows, and pages of the payload, that discarding a dead letter deletes at most, if its history has
/// this many entries and its intent this many bytes.
pub(super) fn discard_rows(history: u32, bytes: u32) -> usize {
    (2 + history + bytes / PAGE) as usize
}

/// Replays or discards the dead letters of one intent, in steps.
#[derive(Debug)]
pub(crate) struct OfIntent {
    id: IntentId,
    is_replay: bool,
    /// The next step begins after this destination; none if there is none.
    after: Option<i64>,
    /// Dead letters that were replayed or discarded.
    pub done: usize,
}

impl OfIntent {
    /// Sends them once more, each with a fresh budget of attempts; the history says so.
    pub fn replay(id: IntentId) -> Self {
        Self {
            id,
            is_replay: true,
            after: Some(i64::MIN),
            done: 0,
        }
    }

    /// Deletes them; with the last of its deliveries the intent goes too.
    pub fn discard(id: IntentId) -> Self {
        Self {
            is_replay: false,
            ..Self::replay(id)
        }
    }
}

impl LongWrite for OfIntent {
    type Step = StepOfIntent;

    fn next_step(&mut self, rows: usize) -> Option<StepOfIntent> {
        self.after.map(|after| StepOfIntent {
            id: self.id,
            is_replay: self.is_replay,
            after,
            rows,
        })
    }

    fn committed(&mut self, (done, after): (usize, Option<i64>)) {
        self.done += done;
        self.after = after;
    }
}

/// One transaction's share of an [`OfIntent`]. Returns how many dead letters there were, and after
/// which destination there are more.
pub(crate) struct StepOfIntent {
    id: IntentId,
    is_replay: bool,
    after: i64,
    /// At most so many.
    rows: usize,
}

impl WriteOp for StepOfIntent {
    type Out = (usize, Option<i64>);

    fn apply(&self, tx: &Tx<'_>) -> Result<Self::Out, StoreError> {
        let mut budget = RowBudget::of(self.rows);
        let letters = tx.rows(
            "SELECT d.destination_id, min(d.history, ?5), length(i.headers) + length(i.body)
             FROM deliveries d JOIN intents i ON i.id = d.intent_id
             WHERE i.id = ?1 AND i.random = ?2 AND d.state = ?3 AND d.destination_id > ?4
             ORDER BY d.destination_id",
            params![
                self.id.row(),
                self.id.random(),
                DeliveryState::DeadLettered.number(),
                self.after,
                MAX_HISTORY,
            ],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        let count = budget.spend_on(&letters, |(_, history, bytes)| {
            if self.is_replay {
                REPLAY_ROWS
            } else {
                discard_rows(*history, *bytes)
            }
        });
        let act = if self.is_replay { replay } else { discard };
        let mut done = 0;
        for (destination, ..) in &letters[..count] {
            done += usize::from(act(tx, self.id.row(), *destination)?);
        }
        let last = letters[..count]
            .last()
            .map(|(destination, ..)| *destination);
        Ok((done, last.filter(|_| count < letters.len())))
    }

    fn rows(&self) -> usize {
        self.rows
    }
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
        tx.moved(
            destination,
            DeliveryState::DeadLettered,
            DeliveryState::Queued,
        );
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
        tx.moved(destination, DeliveryState::DeadLettered, None);
        tx.execute(
            "DELETE FROM intents WHERE id = ?1
                 AND NOT EXISTS (SELECT 1 FROM deliveries WHERE intent_id = ?1)",
            [intent],
        )?;
        tx.deleted(intent);
    }
    Ok(deleted > 0)
}
