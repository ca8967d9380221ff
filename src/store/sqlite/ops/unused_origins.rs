//! Forgets ad hoc origins that no delivery names any more.
//!
//! No index leads from a destination to its delivered deliveries: it would cost each delivery more
//! than it is worth. So a pass reads all deliveries on a reader, newest first, and removes their
//! origins from a set of candidates. Before it begins, the writer gets a copy of the set, and
//! removes the origins that are used from then on ([`Tx::destination`]): all of them once another
//! process has written ([`Tx::take_outside`]). An origin that both sets still hold at the end of
//! the pass has no delivery.
//!
//! A row id is never used again, since the dispatcher and settlements in flight name destinations
//! by it: the row with the greatest id stays, and `SQLite` counts on from there.

use std::collections::HashSet;
use std::sync::Arc;

use rusqlite::{Connection, params};

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::limits::STEP_ROWS;
use crate::store::row_budget::RowBudget;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::readers::Reader;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::{LongWrite, WriteOp};
use crate::store::types::{
    DestinationId, IntentRow, OriginsPassStep, OriginsStage, UnusedBatch, UnusedOrigins,
};

/// Origins that one pass may forget: the two sets take less than a megabyte together.
const CANDIDATES: usize = if cfg!(test) { 64 } else { 16_384 };
/// Destinations read in one step: some milliseconds of a reader's time.
const DESTINATIONS_A_STEP: i64 = if cfg!(test) { 8 } else { 1_000 };
/// Deliveries read in one step: a millisecond of a reader's time.
const DELIVERIES_A_STEP: i64 = if cfg!(test) { 8 } else { 2_000 };
/// Rows deleted in one step.
const DELETE_ROWS: usize = if cfg!(test) { 8 } else { STEP_ROWS };

/// An ad hoc origin `t` that nothing but a delivered delivery may still need, at the time ?2. An
/// open breaker and a hold are needed until their time comes.
const IS_IDLE: &str = "instr(t.name, '://') > 0
     AND t.paused_at IS NULL AND coalesce(t.held_until, 0) <= ?2 AND coalesce(t.probe_at, 0) <= ?2
     AND t.id < (SELECT max(id) FROM destinations)
     AND NOT EXISTS (SELECT 1 FROM jobs WHERE destination_id = t.id)
     AND NOT EXISTS (SELECT 1 FROM deliveries
                     WHERE destination_id = t.id AND next_attempt_at IS NOT NULL)
     AND NOT EXISTS (SELECT 1 FROM deliveries WHERE destination_id = t.id AND state = 4 AND discarded_at IS NULL)";

impl Sqlite {
    /// Makes the next step of a pass; after the last one, the first step of another pass. After an
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
                let used = reader.read(|sql| find_used(sql, *before))?;
                for (_, destination) in &used {
                    pass.candidates.remove(destination);
                }
                let is_last = i64::try_from(used.len()).unwrap_or(0) < DELIVERIES_A_STEP;
                match used.last() {
                    Some(last) if !is_last && !pass.candidates.is_empty() => *before = Some(*last),
                    _ => {
                        let mut ids: Vec<DestinationId> = pass.candidates.drain().collect();
                        ids.sort_unstable();
                        pass.stage = OriginsStage::Delete(UnusedBatch {
                            ids,
                            done: 0,
                            next: 0,
                        });
                    }
                }
            }
            OriginsStage::Delete(origins) => {
                if self.write_step(origins)? {
                    return Ok(OriginsPassStep::Deleted);
                }
                pass.stage = OriginsStage::End;
            }
            OriginsStage::End => {
                self.write_blocking(WatchOrigins(Arc::default()))?;
                pass.stage = OriginsStage::Collect;
                return Ok(OriginsPassStep::Over);
            }
        }
        Ok(OriginsPassStep::Looked)
    }

    /// Adds candidates; once there are enough, gives the writer a copy.
    fn collect(
        &self,
        pass: &mut UnusedOrigins,
        reader: &Reader,
        now: Timestamp,
    ) -> Result<OriginsPassStep, StoreError> {
        let (found, next) = reader.read(|sql| find_candidates(sql, now, pass.after))?;
        pass.candidates.extend(found);
        pass.after = next;
        if next.is_some() && pass.candidates.len() < CANDIDATES {
            return Ok(OriginsPassStep::Looked);
        }
        if pass.candidates.is_empty() {
            return Ok(OriginsPassStep::Over);
        }
        // Before the first look at deliveries, or one accepted in between would be missed.
        self.write_blocking(WatchOrigins(Arc::new(pass.candidates.clone())))?;
        pass.stage = OriginsStage::RemoveUsed(None);
        Ok(OriginsPassStep::Looked)
    }
}

/// Origins that may be unused among the next destinations, and the last destination if there are
/// more.
fn find_candidates(
    sql: &Connection,
    now: Timestamp,
    after: Option<DestinationId>,
) -> Result<(Vec<DestinationId>, Option<DestinationId>), StoreError> {
    let mut statement = sql.prepare_cached(&format!(
        "SELECT t.id, {IS_IDLE} FROM destinations t WHERE t.id > ?1 ORDER BY t.id LIMIT ?3"
    ))?;
    let after = after.unwrap_or(DestinationId(i64::MIN));
    let mut rows = statement.query(params![after, now, DESTINATIONS_A_STEP])?;
    let (mut found, mut read, mut last) = (Vec::new(), 0, None);
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        read += 1;
        last = Some(id);
        found.extend(row.get::<_, bool>(1)?.then_some(id));
    }
    Ok((found, last.filter(|_| read == DESTINATIONS_A_STEP)))
}

/// The deliveries before this one, newest first: intent and destination.
fn find_used(
    sql: &Connection,
    before: Option<(IntentRow, DestinationId)>,
) -> Result<Vec<(IntentRow, DestinationId)>, StoreError> {
    let mut statement = sql.prepare_cached(
        "SELECT intent_id, destination_id FROM deliveries
         WHERE (intent_id, destination_id) < (?1, ?2)
         ORDER BY intent_id DESC, destination_id DESC LIMIT ?3",
    )?;
    let (intent, destination) = before.unwrap_or((IntentRow(i64::MAX), DestinationId(i64::MAX)));
    let rows = statement.query_map(params![intent, destination, DELIVERIES_A_STEP], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Gives the writer the set of candidates, from which it removes the origins that are used from now
/// on.
struct WatchOrigins(Arc<HashSet<DestinationId>>);

impl WriteOp for WatchOrigins {
    type Out = ();

    fn apply(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        tx.writer_state()?.unused.borrow_mut().clone_from(&self.0);
        Ok(())
    }
}

impl LongWrite for UnusedBatch {
    type Step = DeleteOrigins;

    fn next_step(&mut self, _rows: usize) -> Option<DeleteOrigins> {
        let rest = &self.ids[self.done..];
        let count = RowBudget::of(DELETE_ROWS).spend_on(rest, |_| 1);
        self.next = self.done + count;
        (count > 0).then(|| DeleteOrigins(rest[..count].to_vec()))
    }

    fn committed(&mut self, (): ()) {
        self.done = self.next;
    }
}

/// Deletes those of these origins that are still unused.
pub struct DeleteOrigins(Vec<DestinationId>);

impl WriteOp for DeleteOrigins {
    type Out = ();

    fn apply(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        let unused = tx.writer_state()?.unused.borrow();
        // At most nine rows for each worker.
        let claimed: HashSet<DestinationId> = tx
            .rows(
                "SELECT DISTINCT destination_id FROM deliveries WHERE claim IS NOT NULL",
                [],
                |row| row.get(0),
            )?
            .into_iter()
            .collect();
        let mut delete = tx.sql.prepare_cached(&format!(
            "DELETE FROM destinations AS t WHERE t.id = ?1 AND {IS_IDLE}"
        ))?;
        let mut deleted = HashSet::new();
        for id in &self.0 {
            let may_go = unused.contains(id) && !claimed.contains(id);
            if may_go && delete.execute(params![id, tx.now])? > 0 {
                deleted.insert(*id);
            }
        }
        tx.forget_destinations(&deleted)
    }

    fn rows(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests;
