//! Replays or discards dead letters.

use rusqlite::params;

use crate::model::{DeliveryState, IntentId, OrderKey};
use crate::store::error::StoreError;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::limits::{MAX_HISTORY, PAGE};
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::ops::line;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::{LongWrite, RowBudget, WriteOp};
use crate::store::types::{DeadLetterAction, DestinationId, IntentRow};

/// Rows that replaying a dead letter writes: the delivery and an entry in its history. With an
/// order the delivery is written a second time, in the same page.
const REPLAY_ROWS: usize = 2;

impl DeadLetterAction {
    /// Rows, and pages of the payload, that it writes at most, if the delivery's history has this
    /// many entries and its intent this many bytes.
    pub(super) fn rows(self, history: u32, bytes: u32) -> usize {
        match self {
            Self::Replay => REPLAY_ROWS,
            Self::Discard => (2 + history + bytes / PAGE) as usize,
        }
    }

    /// Applies it to a delivery; whether that was a dead letter.
    pub(super) fn apply(
        self,
        intent: IntentRow,
        destination: DestinationId,
        tx: &Tx<'_>,
    ) -> Result<bool, StoreError> {
        match self {
            Self::Replay => replay(tx, intent, destination),
            Self::Discard => discard(tx, intent, destination),
        }
    }
}

/// Replays or discards the dead letters of one intent, in steps.
#[derive(Debug)]
pub struct DeadLettersOf {
    id: IntentId,
    action: DeadLetterAction,
    /// The next step begins after this destination; none if there is no next step.
    after: Option<DestinationId>,
    /// Dead letters that were replayed or discarded.
    pub done: usize,
}

impl DeadLettersOf {
    pub fn new(id: IntentId, action: DeadLetterAction) -> Self {
        Self {
            id,
            action,
            after: Some(DestinationId(i64::MIN)),
            done: 0,
        }
    }
}

impl LongWrite for DeadLettersOf {
    type Step = DeadLettersStep;

    fn next_step(&mut self, rows: usize) -> Option<DeadLettersStep> {
        self.after.map(|after| DeadLettersStep {
            id: self.id,
            action: self.action,
            after,
            rows,
        })
    }

    fn committed(&mut self, (done, after): (usize, Option<DestinationId>)) {
        self.done += done;
        self.after = after;
    }
}

/// One transaction's share of a [`DeadLettersOf`]. Returns how many dead letters there were, and
/// the destination after which there are more.
pub struct DeadLettersStep {
    id: IntentId,
    action: DeadLetterAction,
    after: DestinationId,
    /// Rows that it may write.
    rows: usize,
}

impl WriteOp for DeadLettersStep {
    type Out = (usize, Option<DestinationId>);

    fn apply(&self, tx: &Tx<'_>) -> Result<Self::Out, StoreError> {
        let mut budget = RowBudget::of(self.rows);
        let letters: Vec<(DestinationId, u32, u32)> = tx.rows(
            "SELECT d.destination_id, min(d.history, ?5), length(i.headers) + length(i.body)
             FROM deliveries d JOIN intents i ON i.id = d.intent_id
             WHERE i.id = ?1 AND i.random = ?2 AND d.state = ?3 AND d.destination_id > ?4
             ORDER BY d.destination_id",
            params![
                self.id.row(),
                self.id.random(),
                DeliveryState::DeadLettered,
                self.after,
                MAX_HISTORY,
            ],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        let count = budget.spend_on(&letters, |(_, history, bytes)| {
            self.action.rows(*history, *bytes)
        });
        let intent = IntentRow::of(self.id);
        let mut done = 0;
        for (destination, ..) in &letters[..count] {
            done += usize::from(self.action.apply(intent, *destination, tx)?);
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

/// Replays one dead letter; whether it was one. A command's clock may be off, so a delivery that it
/// replays is due by the newest time that a server has written.
fn replay(tx: &Tx<'_>, intent: IntentRow, destination: DestinationId) -> Result<bool, StoreError> {
    let dead = DeliveryState::DeadLettered;
    tx.execute(
        "INSERT INTO attempts (intent_id, destination_id, entry, attempt, started_at,
                               duration_ms, outcome, next)
         SELECT intent_id, destination_id, history + 1, 0, ?4, 0, 4,
                'attempt 1, with a fresh budget'
         FROM deliveries WHERE intent_id = ?1 AND destination_id = ?2 AND state = ?3",
        params![intent, destination, dead, tx.now],
    )?;
    let replayed: Option<(Option<OrderKey>, bool)> = tx.first(
        "UPDATE deliveries
         SET state = ?4, attempts = 0, interruptions = 0, history = history + 1,
             next_attempt_at = iif(?6, min(?5, max(updated_at,
                 (SELECT max(id) >> 12 FROM intents))), ?5),
             updated_at = ?5
         WHERE intent_id = ?1 AND destination_id = ?2 AND state = ?3
         RETURNING order_key, place IS NOT NULL",
        params![
            intent,
            destination,
            dead,
            DeliveryState::Queued,
            tx.now,
            tx.is_operators(),
        ],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let Some((key, blocked_others)) = replayed else {
        return Ok(false);
    };
    tx.moved(destination, dead, DeliveryState::Queued);
    if blocked_others {
        tx.unblocked(destination);
    }
    if let Some(key) = key {
        line::enter_again(tx, intent, destination, key)?;
    }
    tx.notify_dispatcher(destination);
    Ok(true)
}

/// Discards one dead letter; whether it was one.
fn discard(tx: &Tx<'_>, intent: IntentRow, destination: DestinationId) -> Result<bool, StoreError> {
    let dead = tx.first(
        "SELECT 1 FROM deliveries WHERE intent_id = ?1 AND destination_id = ?2 AND state = ?3",
        params![intent, destination, DeliveryState::DeadLettered],
        |_| Ok(()),
    )?;
    if dead.is_some() {
        line::leave(tx, intent, destination)?;
        tx.execute(
            "DELETE FROM deliveries WHERE intent_id = ?1 AND destination_id = ?2",
            params![intent, destination],
        )?;
        tx.moved(destination, DeliveryState::DeadLettered, None);
        tx.execute(
            "DELETE FROM intents WHERE id = ?1
             AND NOT EXISTS (SELECT 1 FROM deliveries WHERE intent_id = ?1)",
            [intent],
        )?;
        tx.deleted(intent);
    }
    Ok(dead.is_some())
}

impl Sqlite {
    /// Replays the dead letters of an intent; how many there were. Blocks.
    pub fn replay(&self, id: IntentId) -> Result<usize, StoreError> {
        let mut letters = DeadLettersOf::new(id, DeadLetterAction::Replay);
        self.write_steps(&mut letters)?;
        Ok(letters.done)
    }

    /// Discards the dead letters of an intent; how many there were. Blocks.
    #[cfg(test)]
    pub fn discard(&self, id: IntentId) -> Result<usize, StoreError> {
        let mut letters = DeadLettersOf::new(id, DeadLetterAction::Discard);
        self.write_steps(&mut letters)?;
        Ok(letters.done)
    }
}

impl Operator {
    /// Replays the dead letters of an intent; how many there were.
    pub fn replay(&mut self, id: IntentId) -> Result<usize, StoreError> {
        let mut letters = DeadLettersOf::new(id, DeadLetterAction::Replay);
        self.write_steps(&mut letters)?;
        Ok(letters.done)
    }

    /// Discards the dead letters of an intent; how many there were.
    pub fn discard(&mut self, id: IntentId) -> Result<usize, StoreError> {
        let mut letters = DeadLettersOf::new(id, DeadLetterAction::Discard);
        self.write_steps(&mut letters)?;
        Ok(letters.done)
    }
}
