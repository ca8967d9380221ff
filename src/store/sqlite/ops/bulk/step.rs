//! Makes a planned step of the bulk operations, in the writer's transaction.

use rusqlite::params;

use crate::clock::Timestamp;
use crate::store::bulk::{BulkPlan, Cursor, LOOK_AGAIN, PassEnd, PlannedPart};
use crate::store::error::StoreError;
use crate::store::limits::STEP_ROWS;
use crate::store::sqlite::ops::act::make;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::WriteOp;
use crate::store::types::{BulkAdvance, BulkId, BulkTally, IntentRow};

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

impl WriteOp for BulkPlan {
    type Out = BulkAdvance;

    fn apply(&self, tx: &Tx<'_>) -> Result<BulkAdvance, StoreError> {
        let mut advance = BulkAdvance {
            after: self.after,
            ..BulkAdvance::default()
        };
        for part in &self.parts {
            if let Some(done) = apply(tx, part)? {
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

/// Makes the acts, and remembers how far the operation has come; how many were made. None if
/// another process has advanced or cancelled it since the step was planned.
fn apply(tx: &Tx<'_>, part: &PlannedPart) -> Result<Option<i64>, StoreError> {
    let found: Option<(i64, Option<Timestamp>)> = tx.first(
        "SELECT pass_done, look_until FROM jobs
         WHERE id = ?1 AND ended_at IS NULL
           AND cursor_at = ?2 AND cursor_intent = ?3 AND cursor_more = ?4",
        params![
            part.operation,
            part.before.at,
            part.before.intent,
            part.before.more
        ],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let Some((pass_done, look_until)) = found else {
        return Ok(None);
    };
    let (tally, stopped_at) = make_acts(tx, part)?;
    let mut progress = Progress {
        cursor: part.after,
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
            ..part.before
        };
        progress.look_again_at = Some(tx.now.plus(LOOK_AGAIN));
    } else if part.is_at_end {
        end(tx, part, &mut progress)?;
    }
    record(tx, part, tally, &progress)?;
    Ok(Some(tally.done))
}

/// Makes the acts, up to one that has to wait for an attempt: the intent of that one.
fn make_acts(
    tx: &Tx<'_>,
    part: &PlannedPart,
) -> Result<(BulkTally, Option<IntentRow>), StoreError> {
    let mut tally = BulkTally {
        skipped: part.skipped,
        payload_gone: part.payload_gone,
        ..BulkTally::default()
    };
    for act in &part.acts {
        tally += make(tx, act)?;
        if tally.in_flight > 0 {
            return Ok((tally, Some(act.intent)));
        }
    }
    Ok((tally, None))
}

/// At the end of a pass.
fn end(tx: &Tx<'_>, part: &PlannedPart, progress: &mut Progress) -> Result<(), StoreError> {
    let selection = &part.selection;
    if selection.is_of_waiting() {
        progress.in_flight = selection.in_flight_of(tx.sql)?;
    }
    let counts = (progress.pass_done, progress.in_flight);
    let at = (tx.now, part.is_paced);
    match PassEnd::of(selection, counts, progress.look_until, at) {
        PassEnd::Erased => progress.erased_at = Some(tx.now),
        PassEnd::Again {
            cursor,
            look_again_at,
            look_until,
        } => {
            progress.cursor = cursor;
            progress.pass_done = 0;
            progress.look_until = Some(look_until);
            progress.look_again_at = look_again_at;
        }
        PassEnd::Ended => progress.ended_at = Some(tx.now),
    }
    Ok(())
}

fn record(
    tx: &Tx<'_>,
    part: &PlannedPart,
    tally: BulkTally,
    progress: &Progress,
) -> Result<(), StoreError> {
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
            part.operation,
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
            part.selection.begun_at,
            progress.erased_at,
        ],
    )?;
    Ok(())
}
