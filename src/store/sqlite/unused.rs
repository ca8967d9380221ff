//! Ad hoc origins that no delivery names any more are forgotten.
//!
//! No index leads from a destination to its delivered deliveries: it would cost each delivery more
//! than it is worth. So a pass goes through all deliveries on a reader, the newest first, and strikes
//! out the origins that it sees from a set of candidates. Before it begins, the writer is told the
//! set, and strikes out the origins that are used from then on ([`Tx::destination`]). An origin
//! that both sets still hold at the end of the pass has no delivery.
//!
//! A row id is never used again, since the dispatcher and settlements under way know destinations by
//! it: the row with the greatest id stays, from which SQLite counts on.

use std::collections::HashSet;
use std::sync::Arc;

use rusqlite::{Connection, params};

use super::{LongWrite, Reader, RowBudget, Store, StoreError, Tx, WriteOp};
use crate::clock::Timestamp;

/// Origins that one pass may forget: the two sets take less than a megabyte together.
const CANDIDATES: usize = if cfg!(test) { 64 } else { 16_384 };
/// Destinations looked at in one step: some milliseconds of a reader's time.
const LOOK_DESTINATIONS: i64 = if cfg!(test) { 8 } else { 1_000 };
/// Deliveries looked at in one step: a millisecond of a reader's time.
const LOOK_DELIVERIES: i64 = if cfg!(test) { 8 } else { 2_000 };
/// Rows deleted in one step: two to three milliseconds of the writer's time, as in `prune`.
const DELETE_ROWS: usize = if cfg!(test) { 8 } else { 256 };

/// An ad hoc origin `t` that nothing but a delivered delivery may still need, at the time ?2. An
/// open breaker and a hold are needed until their time comes.
const IS_IDLE: &str = "instr(t.name, '://') > 0
     AND t.paused_at IS NULL AND coalesce(t.held_until, 0) <= ?2 AND coalesce(t.probe_at, 0) <= ?2
     AND t.id < (SELECT max(id) FROM destinations)
     AND NOT EXISTS (SELECT 1 FROM jobs WHERE destination_id = t.id)
     AND NOT EXISTS (SELECT 1 FROM deliveries
                     WHERE destination_id = t.id AND next_attempt_at IS NOT NULL)
     AND NOT EXISTS (SELECT 1 FROM deliveries WHERE destination_id = t.id AND state = 4)";

/// One pass after the other.
pub(crate) struct UnusedOrigins {
    stage: Stage,
    candidates: HashSet<i64>,
    /// The next pass's candidates come after this destination.
    after: i64,
}

enum Stage {
    /// Looks for candidates.
    Collect,
    /// Strikes out the origins of deliveries before this one.
    StrikeOut((i64, i64)),
    /// Deletes what is left.
    Forget(ForgetOrigins),
    /// Has the writer forget the set.
    End,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PassStep {
    Looked,
    Deleted,
    /// The pass is over.
    Over,
}

impl UnusedOrigins {
    pub fn new() -> Self {
        Self {
            stage: Stage::Collect,
            candidates: HashSet::new(),
            after: i64::MIN,
        }
    }

    /// Does the next step of the pass; after the last one, the first of another. After an error it
    /// can be called again.
    pub fn step(
        &mut self,
        now: Timestamp,
        reader: &Reader,
        store: &Store,
    ) -> Result<PassStep, StoreError> {
        match &mut self.stage {
            Stage::Collect => {
                let (found, next) = reader.read(|sql| find_candidates(sql, now, self.after))?;
                self.candidates.extend(found);
                self.after = next.unwrap_or(i64::MIN);
                if next.is_some() && self.candidates.len() < CANDIDATES {
                    return Ok(PassStep::Looked);
                }
                if self.candidates.is_empty() {
                    return Ok(PassStep::Over);
                }
                // Before the first look at deliveries, or one accepted in between would be missed.
                store.write_blocking(WatchOrigins(Arc::new(self.candidates.clone())))?;
                self.stage = Stage::StrikeOut((i64::MAX, i64::MAX));
            }
            Stage::StrikeOut(before) => {
                let seen = reader.read(|sql| find_used(sql, *before))?;
                for (_, destination) in &seen {
                    self.candidates.remove(destination);
                }
                let is_last = i64::try_from(seen.len()).unwrap_or(0) < LOOK_DELIVERIES;
                match seen.last() {
                    Some(last) if !is_last && !self.candidates.is_empty() => *before = *last,
                    _ => {
                        let mut ids: Vec<i64> = self.candidates.drain().collect();
                        ids.sort_unstable();
                        self.stage = Stage::Forget(ForgetOrigins {
                            ids,
                            done: 0,
                            next: 0,
                        });
                    }
                }
            }
            Stage::Forget(origins) => {
                if store.write_step(origins)? {
                    return Ok(PassStep::Deleted);
                }
                self.stage = Stage::End;
            }
            Stage::End => {
                store.write_blocking(WatchOrigins(Arc::default()))?;
                self.stage = Stage::Collect;
                return Ok(PassStep::Over);
            }
        }
        Ok(PassStep::Looked)
    }
}

/// Origins that may be unused among the next destinations, and the last destination if there are
/// more.
fn find_candidates(
    sql: &Connection,
    now: Timestamp,
    after: i64,
) -> Result<(Vec<i64>, Option<i64>), StoreError> {
    let mut statement = sql.prepare_cached(&format!(
        "SELECT t.id, {IS_IDLE} FROM destinations t WHERE t.id > ?1 ORDER BY t.id LIMIT ?3"
    ))?;
    let mut rows = statement.query(params![after, now.as_millis(), LOOK_DESTINATIONS])?;
    let (mut found, mut looked_at, mut last) = (Vec::new(), 0, None);
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        looked_at += 1;
        last = Some(id);
        found.extend(row.get::<_, bool>(1)?.then_some(id));
    }
    Ok((found, last.filter(|_| looked_at == LOOK_DESTINATIONS)))
}

/// The deliveries before this one, the newest first: intent and destination.
fn find_used(
    sql: &Connection,
    (intent, destination): (i64, i64),
) -> Result<Vec<(i64, i64)>, StoreError> {
    let mut statement = sql.prepare_cached(
        "SELECT intent_id, destination_id FROM deliveries
         WHERE (intent_id, destination_id) < (?1, ?2)
         ORDER BY intent_id DESC, destination_id DESC LIMIT ?3",
    )?;
    let rows = statement.query_map(params![intent, destination, LOOK_DELIVERIES], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Has the writer strike out the origins that are used from now on.
struct WatchOrigins(Arc<HashSet<i64>>);

impl WriteOp for WatchOrigins {
    type Out = ();

    fn apply(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        tx.rolling()?.unused.borrow_mut().clone_from(&self.0);
        Ok(())
    }
}

/// Deletes origins that no delivery names, in steps.
struct ForgetOrigins {
    ids: Vec<i64>,
    done: usize,
    next: usize,
}

impl LongWrite for ForgetOrigins {
    type Step = ForgetSomeOrigins;

    fn next_step(&mut self, _rows: usize) -> Option<ForgetSomeOrigins> {
        let rest = &self.ids[self.done..];
        let count = RowBudget::of(DELETE_ROWS).spend_on(rest, |_| 1);
        self.next = self.done + count;
        (count > 0).then(|| ForgetSomeOrigins(rest[..count].to_vec()))
    }

    fn committed(&mut self, (): ()) {
        self.done = self.next;
    }
}

struct ForgetSomeOrigins(Vec<i64>);

impl WriteOp for ForgetSomeOrigins {
    type Out = ();

    fn apply(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        let unused = tx.rolling()?.unused.borrow();
        // No more rows than nine for each worker.
        let claimed: HashSet<i64> = tx
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
        let mut gone = HashSet::new();
        for id in &self.0 {
            let may_go = unused.contains(id) && !claimed.contains(id);
            if may_go && delete.execute(params![id, tx.now.as_millis()])? > 0 {
                gone.insert(*id);
            }
        }
        tx.forget_destinations(&gone)
    }

    fn rows(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests;
