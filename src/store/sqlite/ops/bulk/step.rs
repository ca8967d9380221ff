//! Makes a planned step of the bulk operations, in the writer's transaction.

use std::time::Duration;

use rusqlite::params;

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::sqlite::limits::STEP_ROWS;
use crate::store::sqlite::ops::bulk::plan::{BulkStep, Part};
use crate::store::sqlite::queries::Cursor;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::WriteOp;
use crate::store::types::{BulkAction, BulkAdvance, BulkId};

/// When an operation looks again for deliveries that were in flight.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long it does: most attempts have ended by then, and the operator is told of the others.
const LOOK_FOR: Duration = Duration::from_secs(30);

/// How an operation stands after a step.
struct Progress {
    cursor: Cursor,
    /// Deliveries that this pass has acted on.
    pass_done: i64,
    look_again_at: Option<Timestamp>,
    look_until: Option<Timestamp>,
    in_flight: i64,
    erased_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
}

impl WriteOp for BulkStep {
    type Out = BulkAdvance;

    fn apply(&self, tx: &Tx<'_>) -> Result<BulkAdvance, StoreError> {
        let mut advance = BulkAdvance {
            after: self.after,
            ..BulkAdvance::default()
        };
        for part in &self.parts {
            if let Some(done) = part.apply(tx)? {
                advance.has_advanced = true;
                advance.done += usize::try_from(done).unwrap_or(0);
            }
        }
        Ok(advance)
    }

    fn rows(&self) -> usize {
        STEP_ROWS
    }
}

/// Ends operations that have erased everything: the WAL is emptied.
pub struct EndErasures(pub Vec<BulkId>);

impl WriteOp for EndErasures {
    type Out = ();

    fn apply(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        for id in &self.0 {
            tx.execute(
                "UPDATE jobs SET ended_at = ?2, look_again_at = NULL
                 WHERE id = ?1 AND ended_at IS NULL AND erased_at IS NOT NULL",
                params![id, tx.now],
            )?;
        }
        Ok(())
    }

    fn rows(&self) -> usize {
        self.0.len()
    }
}

impl Part {
    /// Makes the acts, and remembers how far the operation has come; how many were made. None if
    /// another process has advanced or cancelled it since the step was planned.
    fn apply(&self, tx: &Tx<'_>) -> Result<Option<i64>, StoreError> {
        let found: Option<(i64, Option<Timestamp>)> = tx.first(
            "SELECT pass_done, look_until FROM jobs
             WHERE id = ?1 AND ended_at IS NULL
               AND cursor_at = ?2 AND cursor_intent = ?3 AND cursor_more = ?4",
            params![
                self.operation,
                self.before.at,
                self.before.intent,
                self.before.more
            ],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let Some((pass_done, look_until)) = found else {
            return Ok(None);
        };
        let (tally, stopped_at) = self.act(tx)?;
        let mut progress = Progress {
            cursor: self.after,
            pass_done: pass_done + tally.done,
            look_again_at: None,
            look_until,
            in_flight: tally.in_flight,
            erased_at: None,
            ended_at: None,
        };
        if let Some(intent) = stopped_at {
            progress.cursor = Cursor {
                intent: intent.0 - 1,
                ..self.before
            };
            progress.look_again_at = Some(tx.now.plus(LOOK_AGAIN));
        } else if self.is_at_end {
            self.end(tx, &mut progress)?;
        }
        // Deliveries that came back to wait after the count are more than were counted.
        tx.execute(
            "UPDATE jobs
             SET done = done + ?2, skipped = skipped + ?3, payload_gone = payload_gone + ?4,
                 cursor_at = ?5, cursor_intent = ?6, cursor_more = ?7, pass_done = ?8,
                 look_again_at = ?9, look_until = ?10, in_flight = ?11, ended_at = ?12,
                 begun_at = coalesce(begun_at, ?13), erased_at = ?14,
                 total = max(total, done + ?2)
             WHERE id = ?1",
            params![
                self.operation,
                tally.done,
                tally.skipped,
                tally.payload_gone,
                progress.cursor.at,
                progress.cursor.intent,
                progress.cursor.more,
                progress.pass_done,
                progress.look_again_at,
                progress.look_until,
                progress.in_flight,
                progress.ended_at,
                self.selection.begun_at,
                progress.erased_at,
            ],
        )?;
        Ok(Some(tally.done))
    }

    /// At the end of a pass. Deliveries in flight come back to wait, before or behind the
    /// cursor: so an operation that takes waiting deliveries away looks again, from the
    /// beginning, until it finds nothing.
    fn end(&self, tx: &Tx<'_>, progress: &mut Progress) -> Result<(), StoreError> {
        if self.selection.action == BulkAction::Erase {
            // Ends once the bytes are in no file any more.
            progress.erased_at = Some(tx.now);
            return Ok(());
        }
        let is_of_waiting = self.selection.is_of_waiting();
        if is_of_waiting {
            progress.in_flight = self.selection.in_flight(tx.sql)?;
        }
        let takes_away = matches!(
            self.selection.action,
            BulkAction::Discard | BulkAction::Reroute
        );
        let may_be_more = progress.pass_done > 0 || (self.is_paced && progress.in_flight > 0);
        let until = progress.look_until.unwrap_or(tx.now.plus(LOOK_FOR));
        if is_of_waiting && takes_away && may_be_more && tx.now < until {
            progress.cursor = self.selection.start();
            progress.pass_done = 0;
            progress.look_until = Some(until);
            progress.look_again_at = (progress.in_flight > 0).then(|| tx.now.plus(LOOK_AGAIN));
        } else {
            progress.ended_at = Some(tx.now);
        }
        Ok(())
    }
}
