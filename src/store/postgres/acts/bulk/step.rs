//! Makes a planned step of the bulk operations.
//!
//! Any node may advance any operation. Each step is planned for the place where the operation
//! stood, and makes nothing if another one came in between.

use crate::clock::Timestamp;
use crate::store::bulk::{BulkReads as _, PassEnd, PlannedPart, plan};
use crate::store::error::StoreError;
use crate::store::postgres::acts::making::{JobStep, Made, make};
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::operator::Operator;
use crate::store::postgres::reader::Reader;
use crate::store::types::{AdvanceBulk, BulkAdvance, BulkId};

/// Ends a pass. $1: the operation; $2 to $4: where it stands; $5: what is in flight; $6: now.
const END: &str = "UPDATE relay.jobs
     SET in_flight = $5::int8, ended_at = $6::int8,
         erased_at = CASE WHEN kind = 6 THEN $6::int8 END
     WHERE id = $1 AND ended_at IS NULL
       AND cursor_at = $2 AND cursor_intent = $3 AND cursor_more = $4";

/// Begins another pass. $6 to $8: where it begins; $9: when; $10: until when the operation looks
/// for more.
const LOOK_AGAIN: &str = "UPDATE relay.jobs
     SET in_flight = $5::int8, cursor_at = $6, cursor_intent = $7, cursor_more = $8,
         pass_done = 0, look_again_at = $9, look_until = $10
     WHERE id = $1 AND ended_at IS NULL
       AND cursor_at = $2 AND cursor_intent = $3 AND cursor_more = $4";

/// Ends operations that have erased everything, and whose node ended before it said so.
const END_ERASURES: &str = "UPDATE relay.jobs SET ended_at = $2::int8, look_again_at = NULL
     WHERE id = ANY($1::int8[]) AND ended_at IS NULL AND erased_at IS NOT NULL";

/// Makes a step of one operation; none if another process has advanced or cancelled it since the
/// step was planned.
fn advance(
    sql: &mut Connection,
    part: &PlannedPart,
    (now, is_operators): (Timestamp, bool),
) -> Result<Option<Made>, Failure> {
    let made = make(
        sql,
        &part.acts,
        Some(JobStep::of(part)),
        (now, is_operators),
    )?;
    if !made.is_valid {
        return Ok(None);
    }
    if made.stopped_at.is_none() && part.is_at_end {
        end_pass(sql, part, &made, now)?;
    }
    Ok(Some(made))
}

/// At the end of a pass. If the process ends before it, the next step finds nothing more, and ends
/// the pass.
fn end_pass(
    sql: &mut Connection,
    part: &PlannedPart,
    made: &Made,
    now: Timestamp,
) -> Result<(), Failure> {
    let selection = &part.selection;
    let in_flight = if selection.is_of_waiting() {
        sql.in_flight(selection)?
    } else {
        0
    };
    let counts = (made.pass_done, in_flight);
    let (id, stands) = (&part.operation, &part.after);
    match PassEnd::of(selection, counts, made.look_until, (now, part.is_paced)) {
        PassEnd::Again {
            cursor,
            look_again_at,
            look_until,
        } => {
            let params: [crate::store::postgres::connection::Param<'_>; 10] = [
                id,
                &stands.at,
                &stands.intent,
                &stands.more,
                &in_flight,
                &cursor.at,
                &cursor.intent,
                &cursor.more,
                &look_again_at,
                &look_until,
            ];
            sql.execute(LOOK_AGAIN, &params)?;
        }
        PassEnd::Erased | PassEnd::Ended => {
            let (at, intent, more) = (&stands.at, &stands.intent, &stands.more);
            sql.execute(END, &[id, at, intent, more, &in_flight, &now])?;
        }
    }
    Ok(())
}

fn end_erasures(sql: &mut Connection, ids: &[BulkId], now: Timestamp) -> Result<u64, Failure> {
    sql.execute(END_ERASURES, &[&ids, &now])
}

fn add(advance: &mut BulkAdvance, made: Option<&Made>) {
    if let Some(made) = made {
        advance.has_advanced = true;
        advance.done += usize::try_from(made.tally.done).unwrap_or(0);
    }
}

impl Postgres {
    /// Advances the bulk operations under way by one step: `reader` finds what to do. Blocks.
    pub fn advance_bulk(
        &self,
        reader: &Reader,
        step: &AdvanceBulk<'_>,
    ) -> Result<BulkAdvance, StoreError> {
        let now = self.shared().clock.now();
        let planned = reader.read(|sql| plan(sql, step, now))?;
        let mut sum = BulkAdvance {
            after: planned.after,
            ..BulkAdvance::default()
        };
        for part in &planned.parts {
            let made = self.change(|sql| advance(sql, part, (now, false)))?;
            add(&mut sum, made.as_ref());
            if let Some(made) = made {
                self.tell(&made);
            }
        }
        if !planned.erased.is_empty() {
            sum.has_advanced |= self.change(|sql| end_erasures(sql, &planned.erased, now))? > 0;
        }
        Ok(sum)
    }
}

impl Operator {
    /// Advances the bulk operations under way by one step, without a server.
    pub fn advance_bulk(&mut self, step: &AdvanceBulk<'_>) -> Result<BulkAdvance, StoreError> {
        let now = self.now();
        let planned = self.read(|sql| plan(sql, step, now))?;
        let mut sum = BulkAdvance {
            after: planned.after,
            ..BulkAdvance::default()
        };
        for part in &planned.parts {
            let made = self.change(|sql| advance(sql, part, (now, true)))?;
            add(&mut sum, made.as_ref());
        }
        if !planned.erased.is_empty() {
            sum.has_advanced |= self.change(|sql| end_erasures(sql, &planned.erased, now))? > 0;
        }
        Ok(sum)
    }
}
