//! Forgets ad hoc origins that no delivery names any more.
//!
//! No index leads from a destination to its delivered deliveries. So a pass marks candidates as
//! its own, reads all deliveries that have ended, newest first, and removes their origins from the
//! candidates. Each settlement of a delivery to an origin takes the mark away, under the lock that
//! the pass takes to set it: a delivery that the pass read past while it waited is known that way.
//! Waiting deliveries are looked for at the end.
//!
//! An origin is deleted under a lock that conflicts with the one of those who send to it. They lock
//! it before they use its number, and see that it is gone.
//!
//! Commands and dispatchers name destinations by their numbers, which are never used again.

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::limits::STEP_ROWS;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::reader::Reader;
use crate::store::row_budget::RowBudget;
use crate::store::types::{
    DestinationId, IntentRow, OriginsPassStep, OriginsStage, UnusedBatch, UnusedOrigins,
};

/// Origins that one pass may forget.
const CANDIDATES: usize = if cfg!(test) { 64 } else { 16_384 };
/// Destinations read in one step.
const DESTINATIONS_A_STEP: i64 = if cfg!(test) { 8 } else { 1_000 };
/// Deliveries read in one step.
const DELIVERIES_A_STEP: i64 = if cfg!(test) { 8 } else { 2_000 };
/// Rows deleted in one step.
const DELETE_ROWS: usize = if cfg!(test) { 8 } else { STEP_ROWS };

/// An ad hoc origin `t` that nothing but a delivered delivery may still need, at the time $1. An
/// open breaker and a hold are needed until their time comes. The newest one is kept, as in SQLite.
macro_rules! is_idle {
    () => {
        "position('://' IN t.name) > 0
     AND t.paused_at IS NULL
     AND coalesce(t.held_until, 0) <= $1::int8 AND coalesce(t.probe_at, 0) <= $1::int8
     AND t.id < (SELECT max(id) FROM relay.destinations)
     AND NOT EXISTS (SELECT 1 FROM relay.jobs j WHERE j.destination_id = t.id)
     AND NOT EXISTS (SELECT 1 FROM relay.waiting w WHERE w.destination_id = ANY(ARRAY[t.id]))
     AND NOT EXISTS (SELECT 1 FROM relay.ended e
                     WHERE e.destination_id = t.id AND e.state = 4 AND e.discarded_at IS NULL)
     AND NOT EXISTS (SELECT 1 FROM relay.ended e
                     WHERE e.destination_id = t.id AND e.discarded_at IS NOT NULL)"
    };
}

/// The next destinations after $2, and whether each may be unused.
const CANDIDATES_AFTER: &str = concat!(
    "SELECT t.id, ",
    is_idle!(),
    " FROM relay.destinations t WHERE t.id > $2::int4 ORDER BY t.id LIMIT $3::int8"
);

/// Marks origins $1 as candidates of the epoch $2.
const MARK: &str = "UPDATE relay.destinations SET unused_by = $2::int8 WHERE id = ANY($1::int4[])";

/// The deliveries that ended before ($1, $2), newest first.
const ENDED_BEFORE: &str = "SELECT intent_id, destination_id FROM relay.ended
     WHERE (intent_id, destination_id) < ($1::int8, $2::int4)
     ORDER BY intent_id DESC, destination_id DESC LIMIT $3::int8";

/// Locks origins against those who send to them. $1: origins.
const LOCK: &str = "SELECT id FROM relay.destinations WHERE id = ANY($1::int4[])
     ORDER BY id FOR UPDATE";

/// Deletes those of the origins $2 that still carry the mark of the epoch $3 and are idle.
const DELETE: &str = concat!(
    "DELETE FROM relay.destinations t
     WHERE t.id = ANY($2::int4[]) AND t.unused_by = $3::int8 AND ",
    is_idle!(),
    " RETURNING t.id"
);

fn numbers<'a>(ids: impl IntoIterator<Item = &'a DestinationId>) -> Vec<i32> {
    let number = |id: &DestinationId| i32::try_from(id.0).ok();
    ids.into_iter().filter_map(number).collect()
}

impl Postgres {
    /// Makes the next step of forgetting ad hoc origins that no delivery names any more. After an
    /// error it can be called again. Blocks.
    pub fn forget_unused_origins(
        &self,
        pass: &mut UnusedOrigins,
        reader: &Reader,
        now: Timestamp,
    ) -> Result<OriginsPassStep, StoreError> {
        match &mut pass.stage {
            OriginsStage::Collect => return self.collect(pass, reader, now),
            OriginsStage::RemoveUsed(before) => {
                let used = reader.read(|connection| find_used(connection, *before))?;
                for (_, destination) in &used {
                    pass.candidates.remove(destination);
                }
                let is_last = i64::try_from(used.len()).unwrap_or(0) < DELIVERIES_A_STEP;
                match used.last() {
                    Some(last) if !is_last && !pass.candidates.is_empty() => *before = Some(*last),
                    _ => {
                        let mut ids: Vec<DestinationId> = pass.candidates.drain().collect();
                        ids.sort_unstable();
                        let (done, next) = (0, 0);
                        pass.stage = OriginsStage::Delete(UnusedBatch { ids, done, next });
                    }
                }
            }
            OriginsStage::Delete(batch) => {
                let rest = &batch.ids[batch.done..];
                let count = RowBudget::of(DELETE_ROWS).spend_on(rest, |_| 1);
                if count > 0 {
                    self.delete_unused(&rest[..count], now)?;
                    batch.done += count;
                    return Ok(OriginsPassStep::Deleted);
                }
                pass.stage = OriginsStage::End;
            }
            OriginsStage::End => {
                pass.stage = OriginsStage::Collect;
                return Ok(OriginsPassStep::Over);
            }
        }
        Ok(OriginsPassStep::Looked)
    }

    /// Adds candidates; once there are enough, marks them.
    fn collect(
        &self,
        pass: &mut UnusedOrigins,
        reader: &Reader,
        now: Timestamp,
    ) -> Result<OriginsPassStep, StoreError> {
        let after = pass.after;
        let (found, next) = reader.read(|connection| find_candidates(connection, now, after))?;
        pass.candidates.extend(found);
        pass.after = next;
        if next.is_some() && pass.candidates.len() < CANDIDATES {
            return Ok(OriginsPassStep::Looked);
        }
        if pass.candidates.is_empty() {
            return Ok(OriginsPassStep::Over);
        }
        let mut marked = numbers(&pass.candidates);
        marked.sort_unstable();
        let (_, epoch) = self.life()?;
        // Before the first look at deliveries, or one that ends in between would be missed.
        self.change(|connection| {
            connection.transaction(&[(LOCK, &[&marked]), (MARK, &[&marked, &epoch])])
        })?;
        pass.stage = OriginsStage::RemoveUsed(None);
        Ok(OriginsPassStep::Looked)
    }

    fn delete_unused(&self, ids: &[DestinationId], now: Timestamp) -> Result<(), StoreError> {
        let (ids, now) = (numbers(ids), now.as_millis());
        let (_, epoch) = self.life()?;
        self.change(|connection| {
            connection.transaction(&[(LOCK, &[&ids]), (DELETE, &[&now, &ids, &epoch])])
        })?;
        Ok(())
    }
}

/// Origins that may be unused among the next destinations, and the last destination if there are
/// more.
fn find_candidates(
    connection: &mut Connection,
    now: Timestamp,
    after: Option<DestinationId>,
) -> Result<(Vec<DestinationId>, Option<DestinationId>), Failure> {
    let after = after.map_or(0, |id| i32::try_from(id.0).unwrap_or(i32::MAX));
    let rows = connection.rows(
        CANDIDATES_AFTER,
        &[&now.as_millis(), &after, &DESTINATIONS_A_STEP],
    )?;
    let (mut found, mut last) = (Vec::new(), None);
    for row in &rows {
        let id: DestinationId = row.try_get(0)?;
        last = Some(id);
        found.extend(row.try_get::<_, bool>(1)?.then_some(id));
    }
    let is_cut = i64::try_from(rows.len()).ok() == Some(DESTINATIONS_A_STEP);
    Ok((found, last.filter(|_| is_cut)))
}

/// The deliveries that ended before this one, newest first: intent and destination.
fn find_used(
    connection: &mut Connection,
    before: Option<(IntentRow, DestinationId)>,
) -> Result<Vec<(IntentRow, DestinationId)>, Failure> {
    let last = (IntentRow(i64::MAX), DestinationId(i64::from(i32::MAX)));
    let (intent, destination) = before.unwrap_or(last);
    let rows = connection.rows(ENDED_BEFORE, &[&intent, &destination, &DELIVERIES_A_STEP])?;
    let read = rows
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    read.collect()
}
