//! Bulk operations on dead letters: created, cancelled and advanced.

use std::time::Duration;

use rusqlite::{Row, params};

use crate::model::OrderKey;
use crate::store::error::StoreError;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::limits::{MAX_HISTORY, STEP_ROWS};
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::ops::line;
use crate::store::sqlite::queries::DEAD_LETTER_MATCHES;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::{LongWrite, RowBudget, WriteOp};
use crate::store::types::{
    AdvanceBulk, BulkAdvance, BulkId, DeadLetterAction, DeadLetterCount, DeadLetterFilter,
    DestinationId, IntentRow,
};

/// Dead letters of an operation that one step considers.
const LETTERS_A_STEP: i64 = 100;
/// Operations that one step considers. A command may create one for each ad hoc origin; testing
/// whether a replay has to wait takes 20 µs.
const OPERATIONS_A_STEP: i64 = 64;

/// A paced replay adds nothing while this many deliveries are due for the destination, or stand in
/// the line of the dead letter's ordering key: a delivery accepted meanwhile has no more than these
/// before it.
const MAX_WAITING: i64 = 200;

/// Creates an operation for each of these destinations. Their dead letters are counted before: that
/// may take long, and nobody must wait for it.
pub struct CreateBulk {
    action: DeadLetterAction,
    filter: DeadLetterFilter,
    counts: Vec<DeadLetterCount>,
    /// Destinations whose operations are durable, or that had been deleted by then.
    done: usize,
    /// `done` once the step under way is durable.
    next: usize,
    /// The operations that were created.
    pub created: Vec<BulkId>,
}

impl CreateBulk {
    pub fn new(
        action: DeadLetterAction,
        filter: DeadLetterFilter,
        counts: Vec<DeadLetterCount>,
    ) -> Self {
        Self {
            action,
            filter,
            counts,
            done: 0,
            next: 0,
            created: Vec::new(),
        }
    }
}

impl LongWrite for CreateBulk {
    type Step = CreateBulkStep;

    fn next_step(&mut self, rows: usize) -> Option<CreateBulkStep> {
        let rest = &self.counts[self.done..];
        let count = RowBudget::of(rows).spend_on(rest, |_| 1);
        self.next = self.done + count;
        (count > 0).then(|| CreateBulkStep {
            action: self.action,
            filter: self.filter.clone(),
            totals: rest[..count]
                .iter()
                .map(|one| (one.id, one.count))
                .collect(),
        })
    }

    fn committed(&mut self, created: Vec<BulkId>) {
        self.done = self.next;
        self.created.extend(created);
    }
}

/// One transaction's share of a [`CreateBulk`].
pub struct CreateBulkStep {
    action: DeadLetterAction,
    filter: DeadLetterFilter,
    /// Dead letters by destination.
    totals: Vec<(DestinationId, i64)>,
}

impl WriteOp for CreateBulkStep {
    type Out = Vec<BulkId>;

    fn apply(&self, tx: &Tx<'_>) -> Result<Vec<BulkId>, StoreError> {
        let filter = &self.filter;
        let mut created = Vec::new();
        for (destination, total) in &self.totals {
            // An ad hoc origin whose dead letters were pruned since the count may be deleted, too.
            let inserted = tx.execute(
                "INSERT INTO jobs (kind, destination_id, source, reason, since, until, total,
                                   cursor_at, cursor_intent, created_at)
                 SELECT ?1, id, ?3, ?4, ?5, ?6, ?7, ?5, 0, ?8 FROM destinations WHERE id = ?2",
                params![
                    self.action as i64,
                    destination,
                    filter.source,
                    filter.reason,
                    filter.since,
                    filter.until,
                    total,
                    tx.now,
                ],
            )?;
            if inserted > 0 {
                created.push(BulkId(tx.sql.last_insert_rowid()));
            }
        }
        Ok(created)
    }

    fn rows(&self) -> usize {
        self.totals.len()
    }
}

/// Ends an operation before it is done; the letters that it has replayed or discarded stay so.
/// Returns whether it was under way.
pub struct CancelBulk(pub BulkId);

impl WriteOp for CancelBulk {
    type Out = bool;

    fn apply(&self, tx: &Tx<'_>) -> Result<bool, StoreError> {
        let cancelled = tx.execute(
            "UPDATE jobs SET ended_at = ?2, is_cancelled = 1 WHERE id = ?1 AND ended_at IS NULL",
            params![self.0, tx.now],
        )?;
        Ok(cancelled > 0)
    }
}

/// An operation under way, and how far it has come in the index `dead`.
struct Cursor {
    operation: BulkId,
    action: DeadLetterAction,
    destination: DestinationId,
    at: i64,
    intent: IntentRow,
}

impl Cursor {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            operation: row.get(0)?,
            action: row.get(1)?,
            destination: row.get(2)?,
            at: row.get(3)?,
            intent: row.get(4)?,
        })
    }
}

impl WriteOp for AdvanceBulk {
    type Out = BulkAdvance;

    fn apply(&self, tx: &Tx<'_>) -> Result<BulkAdvance, StoreError> {
        let operations: Vec<Cursor> = tx.rows(
            "SELECT id, kind, destination_id, cursor_at, cursor_intent FROM jobs
             WHERE ended_at IS NULL AND id > ?1 ORDER BY id LIMIT ?2",
            params![self.after.unwrap_or(BulkId(0)), OPERATIONS_A_STEP],
            Cursor::read,
        )?;
        let is_full = i64::try_from(operations.len()).unwrap_or(i64::MAX) == OPERATIONS_A_STEP;
        let last = operations.last().map(|cursor| cursor.operation);
        let mut advance = BulkAdvance::default();
        let mut has_advanced = false;
        let mut budget = RowBudget::of(STEP_ROWS);
        for mut cursor in operations {
            if self.is_paced && cursor.must_wait(tx)? {
                continue;
            }
            // The row of the operation itself.
            if !budget.spend(1) {
                break;
            }
            has_advanced = true;
            let (done, is_at_end) = cursor.advance(&mut budget, self.is_paced, tx)?;
            advance.done += done;
            tx.execute(
                "UPDATE jobs
                 SET done = done + ?2, cursor_at = ?3, cursor_intent = ?4, ended_at = ?5
                 WHERE id = ?1",
                params![
                    cursor.operation,
                    i64::try_from(done).unwrap_or(i64::MAX),
                    cursor.at,
                    cursor.intent,
                    is_at_end.then_some(tx.now),
                ],
            )?;
        }
        advance.after = last.filter(|_| is_full && !has_advanced);
        Ok(advance)
    }

    fn rows(&self) -> usize {
        STEP_ROWS
    }
}

/// The dead letters that a step acts on.
struct Letters {
    found: Vec<IntentRow>,
    /// Whether the operation has none left after these.
    is_at_end: bool,
}

impl Cursor {
    /// Whether a paced replay has to wait: too many deliveries wait for its destination.
    fn must_wait(&self, tx: &Tx<'_>) -> Result<bool, StoreError> {
        if self.action != DeadLetterAction::Replay {
            return Ok(false);
        }
        let waiting: i64 = tx
            .sql
            .prepare_cached(
                "SELECT count(*) FROM (SELECT 1 FROM deliveries
                 WHERE destination_id = ?1 AND next_attempt_at <= ?2 LIMIT ?3)",
            )?
            .query_row(params![self.destination, tx.now, MAX_WAITING], |row| {
                row.get(0)
            })?;
        Ok(waiting >= MAX_WAITING)
    }

    /// Whether a letter of this key, which has no place in the line, has to wait: too many stand in
    /// it already.
    fn is_crowded(&self, key: Option<OrderKey>, tx: &Tx<'_>) -> Result<bool, StoreError> {
        match key {
            Some(key) if self.action == DeadLetterAction::Replay => {
                line::is_crowded(tx, self.destination, key, MAX_WAITING)
            }
            _ => Ok(false),
        }
    }

    /// Acts on the next few letters; on how many, and whether there are no more.
    fn advance(
        &mut self,
        budget: &mut RowBudget,
        is_paced: bool,
        tx: &Tx<'_>,
    ) -> Result<(usize, bool), StoreError> {
        // The command that created the operation has a clock of its own. A delivery that fails anew
        // must never belong to the operation again, or the operation would never end.
        let before = tx.now.minus(Duration::from_millis(1));
        tx.execute(
            "UPDATE jobs SET until = ?2 WHERE id = ?1 AND until > ?2",
            params![self.operation, before],
        )?;
        let letters = self.next_letters(budget, is_paced, tx)?;
        let mut done = 0;
        for intent in letters.found {
            done += usize::from(self.action.apply(intent, self.destination, tx)?);
        }
        Ok((done, letters.is_at_end))
    }

    /// Moves past the next letters, and collects those that match. The index `dead` is read to the
    /// end before anything is changed. A replayed delivery leaves the index; one that doesn't match
    /// stays, so the cursor moves past it.
    fn next_letters(
        &mut self,
        budget: &mut RowBudget,
        is_paced: bool,
        tx: &Tx<'_>,
    ) -> Result<Letters, StoreError> {
        let mut statement = tx.sql.prepare_cached(&format!(
            "SELECT d.updated_at, d.intent_id, ({DEAD_LETTER_MATCHES}), min(d.history, ?9),
                    length(i.headers) + length(i.body), iif(d.place IS NULL, d.order_key, NULL)
             FROM deliveries d INDEXED BY dead JOIN intents i ON i.id = d.intent_id
             WHERE d.state = 4 AND d.destination_id = ?1
               AND (d.updated_at, d.intent_id) > (?6, ?7) AND d.updated_at <= ?5
             ORDER BY d.updated_at, d.intent_id LIMIT ?8"
        ))?;
        let (source, reason, since, until): (Option<String>, Option<String>, i64, i64) = tx
            .sql
            .prepare_cached("SELECT source, reason, since, until FROM jobs WHERE id = ?1")?
            .query_row([self.operation], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?;
        let mut rows = statement.query(params![
            self.destination,
            source,
            reason,
            since,
            until,
            self.at,
            self.intent,
            LETTERS_A_STEP,
            MAX_HISTORY,
        ])?;
        let mut found = Vec::new();
        let (mut passed, mut is_cut) = (0, false);
        while let Some(row) = rows.next()? {
            let (at, intent, matches): (i64, IntentRow, bool) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            is_cut = matches && is_paced && self.is_crowded(row.get(5)?, tx)?;
            if is_cut {
                break;
            }
            let cost = if matches {
                self.action.rows(row.get(3)?, row.get(4)?)
            } else {
                1
            };
            is_cut = !budget.spend(cost);
            if is_cut {
                break;
            }
            passed += 1;
            (self.at, self.intent) = (at, intent);
            found.extend(matches.then_some(intent));
        }
        let is_at_end = !is_cut && passed < LETTERS_A_STEP;
        Ok(Letters { found, is_at_end })
    }
}

impl Sqlite {
    /// Advances the bulk operations under way by one step. Blocks.
    pub fn advance_bulk(&self, step: AdvanceBulk) -> Result<BulkAdvance, StoreError> {
        self.write_blocking(step)
    }
}

impl Operator {
    /// Creates a bulk operation for each destination that was counted.
    pub fn create_bulk(
        &mut self,
        action: DeadLetterAction,
        filter: DeadLetterFilter,
        counts: Vec<DeadLetterCount>,
    ) -> Result<Vec<BulkId>, StoreError> {
        let mut create = CreateBulk::new(action, filter, counts);
        self.write_steps(&mut create)?;
        Ok(create.created)
    }

    /// Ends a bulk operation before it is done; whether it was under way.
    pub fn cancel_bulk(&mut self, id: BulkId) -> Result<bool, StoreError> {
        self.write(&CancelBulk(id))
    }

    /// Advances the bulk operations under way by one step, without a server.
    pub fn advance_bulk(&mut self, step: AdvanceBulk) -> Result<BulkAdvance, StoreError> {
        self.write(&step)
    }
}
