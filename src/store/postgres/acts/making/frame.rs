//! The parts that the statements of all acts share: the guard of a bulk operation, the times, and
//! the operation's progress.
//!
//! $1: the operation, or NULL; $2 to $4: where it stood; $5, $6: what was skipped, and had no
//! payload; $7 to $9: where it stands now; $10: now; $11: when the operation began; $12: whether a
//! command makes the acts, whose clock may be off.

use crate::clock::Timestamp;
use crate::store::bulk::{Cursor, PlannedPart};
use crate::store::postgres::acts::selection::CLAIMED;
use crate::store::postgres::connection::Param;
use crate::store::types::BulkId;

/// The step of a bulk operation that acts belong to.
#[derive(Clone, Copy, Debug)]
pub struct JobStep {
    pub id: BulkId,
    pub before: Cursor,
    pub after: Cursor,
    pub skipped: i64,
    pub payload_gone: i64,
    pub begun_at: Timestamp,
}

impl JobStep {
    pub fn of(part: &PlannedPart) -> Self {
        Self {
            id: part.operation,
            before: part.before,
            after: part.after,
            skipped: part.skipped,
            payload_gone: part.payload_gone,
            begun_at: part.selection.begun_at,
        }
    }
}

/// The first twelve parameters.
pub struct Frame {
    job: Option<BulkId>,
    numbers: [i64; 10],
    is_operators: bool,
}

impl Frame {
    pub fn new(job: Option<JobStep>, now: Timestamp, is_operators: bool) -> Self {
        let step = job.unwrap_or(JobStep {
            id: BulkId(0),
            before: Cursor::default(),
            after: Cursor::default(),
            skipped: 0,
            payload_gone: 0,
            begun_at: now,
        });
        Self {
            job: job.map(|job| job.id),
            numbers: [
                step.before.at,
                step.before.intent,
                step.before.more,
                step.skipped,
                step.payload_gone,
                step.after.at,
                step.after.intent,
                step.after.more,
                now.as_millis(),
                step.begun_at.as_millis(),
            ],
            is_operators,
        }
    }

    pub fn bound(&self) -> Vec<Param<'_>> {
        let mut bound: Vec<Param<'_>> = vec![&self.job];
        bound.extend(self.numbers.iter().map(|number| -> Param<'_> { number }));
        bound.push(&self.is_operators);
        bound
    }
}

/// A statement that makes acts. `made` are its parts, of which the last one is `tally`: how many
/// were made, skipped, had no payload and are in flight, the intent at which the acts stopped, and
/// the destinations of what was given up.
///
/// None of its parts may change anything unless there is a row in `step`: another node may have
/// advanced the operation, or the same statement was made before and its answer was lost.
pub fn statement(made: &str) -> String {
    format!(
        "WITH step AS MATERIALIZED (
             SELECT 1 WHERE $1::int8 IS NULL
             UNION ALL
             SELECT 1 FROM relay.jobs
             WHERE id = $1::int8 AND ended_at IS NULL AND cursor_at = $2::int8
               AND cursor_intent = $3::int8 AND cursor_more = $4::int8),
         newest AS MATERIALIZED (SELECT max(id) >> 12 AS at FROM relay.intents),
         due AS MATERIALIZED (
             SELECT CASE WHEN $12::bool THEN least($10::int8, (SELECT at FROM newest))
                         ELSE $10::int8 END AS at),
         {CLAIMED},
         {made},
         job AS (
             UPDATE relay.jobs j
             SET done = j.done + t.done, skipped = j.skipped + t.skipped + $5::int8,
                 payload_gone = j.payload_gone + t.payload_gone + $6::int8,
                 pass_done = j.pass_done + t.done, in_flight = t.in_flight,
                 cursor_at = CASE WHEN t.stopped_at IS NULL THEN $7::int8 ELSE $2::int8 END,
                 cursor_intent = coalesce(t.stopped_at - 1, $8::int8),
                 cursor_more = CASE WHEN t.stopped_at IS NULL THEN $9::int8 ELSE $4::int8 END,
                 look_again_at = CASE WHEN t.stopped_at IS NOT NULL THEN $10::int8 + {again} END,
                 begun_at = coalesce(j.begun_at, $11::int8),
                 total = CASE WHEN j.total IS NOT NULL
                              THEN greatest(j.total, j.done + t.done) END
             FROM tally t
             WHERE j.id = $1::int8 AND EXISTS (SELECT 1 FROM step)
             RETURNING j.pass_done, j.look_until)
         SELECT EXISTS (SELECT 1 FROM step), t.done, t.skipped, t.payload_gone, t.in_flight,
                t.stopped_at, t.dead, (SELECT pass_done FROM job), (SELECT look_until FROM job)
         FROM tally t",
        again = crate::store::bulk::LOOK_AGAIN.as_millis(),
    )
}

/// The tally of acts that are none.
pub const NO_ACTS: &str = "tally AS (
    SELECT 0::int8 AS done, 0::int8 AS skipped, 0::int8 AS payload_gone, 0::int8 AS in_flight,
           NULL::int8 AS stopped_at, NULL::int4[] AS dead)";
