//! Retention: what is finished is deleted once it is old enough, in small steps. Looking happens on a
//! reader, so that the writer only does what is to be done.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{LongWrite, MAX_HISTORY, PAGE, RowBudget, StoreError, Tx, WriteOp};
use crate::clock::Timestamp;
use crate::model::{DeliveryState, IntentId};

/// Intents looked at in one step.
const LOOK: i64 = 500;
/// Rows deleted in one step: two to three milliseconds of the writer's time (10 µs a row, measured).
/// A quarter of a transaction, since nobody waits for maintenance and others wait behind it.
const DELETE_ROWS: usize = 256;
/// Idempotency keys looked at in one step.
const LOOK_KEYS: i64 = 2_000;

/// What may go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cutoffs {
    /// Delivered before this; none: never.
    pub delivered: Option<Timestamp>,
    /// Given up before this; none: never.
    pub dead_lettered: Option<Timestamp>,
    /// Idempotency keys from before this name nothing any more.
    pub keys: Timestamp,
}

/// What a look found.
#[derive(Debug, Default)]
pub(crate) struct Expired {
    intents: Vec<Finished>,
    /// Digest and intent.
    keys: Vec<(i64, i64)>,
    /// Where to look on; none: all were looked at.
    pub next_intent: Option<i64>,
    pub next_key: Option<(i64, i64)>,
}

/// An intent that may go.
#[derive(Debug)]
struct Finished {
    intent: i64,
    /// When the last of its deliveries ended.
    ended: i64,
    deliveries: u32,
    /// Entries of all histories.
    attempts: u32,
    /// Pages that its headers and its body fill, beyond the row itself.
    pages: u32,
    /// Entries by destination, for an intent that takes more than one step.
    histories: Vec<(i64, u32)>,
}

impl Finished {
    /// What it takes to delete it at once.
    fn rows(&self) -> usize {
        (1 + self.deliveries + self.attempts + self.pages) as usize
    }
}

impl Expired {
    /// Looks at the next few intents, in the order of acceptance, and the next few keys, each after
    /// the one given; at none if there is none given.
    pub fn find(
        sql: &Connection,
        cutoffs: &Cutoffs,
        after_intent: Option<i64>,
        after_key: Option<(i64, i64)>,
    ) -> Result<Self, StoreError> {
        let mut expired = Self::default();
        if let Some(after) = after_intent {
            expired.find_intents(sql, cutoffs, after)?;
        }
        if let Some(after) = after_key {
            expired.find_keys(sql, cutoffs, after)?;
        }
        Ok(expired)
    }

    fn find_intents(
        &mut self,
        sql: &Connection,
        cutoffs: &Cutoffs,
        after: i64,
    ) -> Result<(), StoreError> {
        // An intent that was accepted later can't have ended earlier.
        let Some(latest) = cutoffs.delivered.max(cutoffs.dead_lettered) else {
            return Ok(());
        };
        // The narrow table alone: it is in the order of acceptance, too.
        let mut statement = sql.prepare_cached(
            "SELECT intent_id, max(updated_at), max(state = 4), max(state < 3), count(*),
                    sum(min(history, ?4))
             FROM deliveries WHERE intent_id > ?1 AND intent_id < ?2
             GROUP BY intent_id ORDER BY intent_id LIMIT ?3",
        )?;
        let before = IntentId::first_row_at(latest.as_millis());
        let mut rows = statement.query(params![after, before, LOOK, MAX_HISTORY])?;
        let (mut looked_at, mut found) = (0, 0);
        let mut last = after;
        while let Some(row) = rows.next()? {
            looked_at += 1;
            last = row.get(0)?;
            let ended: i64 = row.get(1)?;
            let (is_dead, is_pending): (bool, bool) = (row.get(2)?, row.get(3)?);
            let cutoff = if is_dead {
                cutoffs.dead_lettered
            } else {
                cutoffs.delivered
            };
            let is_old = cutoff.is_some_and(|cutoff| ended < cutoff.as_millis());
            if is_old && !is_pending {
                let intent = Finished::read(sql, last, ended, (row.get(4)?, row.get(5)?))?;
                found += intent.rows();
                self.intents.push(intent);
                if found >= DELETE_ROWS {
                    break;
                }
            }
        }
        if looked_at == LOOK || found >= DELETE_ROWS {
            self.next_intent = Some(last);
        }
        Ok(())
    }

    fn find_keys(
        &mut self,
        sql: &Connection,
        cutoffs: &Cutoffs,
        after: (i64, i64),
    ) -> Result<(), StoreError> {
        let before = IntentId::first_row_at(cutoffs.keys.as_millis());
        let mut statement = sql.prepare_cached(
            "SELECT digest, intent_id FROM idempotency
             WHERE (digest, intent_id) > (?1, ?2) ORDER BY digest, intent_id LIMIT ?3",
        )?;
        let mut rows = statement.query(params![after.0, after.1, LOOK_KEYS])?;
        let mut looked_at = 0;
        while let Some(row) = rows.next()? {
            looked_at += 1;
            let key: (i64, i64) = (row.get(0)?, row.get(1)?);
            if key.1 < before {
                self.keys.push(key);
            }
            if looked_at == LOOK_KEYS || self.keys.len() == DELETE_ROWS {
                self.next_key = Some(key);
                break;
            }
        }
        Ok(())
    }

    /// How many intents may go, and how many keys.
    pub fn count(&self) -> (usize, usize) {
        (self.intents.len(), self.keys.len())
    }
}

impl Finished {
    fn read(
        sql: &Connection,
        intent: i64,
        ended: i64,
        (deliveries, attempts): (u32, u32),
    ) -> Result<Self, StoreError> {
        let bytes: Option<u32> = sql
            .prepare_cached("SELECT length(headers) + length(body) FROM intents WHERE id = ?1")?
            .query_row([intent], |row| row.get(0))
            .optional()?;
        let mut found = Self {
            intent,
            ended,
            deliveries,
            attempts,
            pages: bytes.unwrap_or(0) / PAGE,
            histories: Vec::new(),
        };
        if found.rows() > DELETE_ROWS {
            let mut statement = sql.prepare_cached(
                "SELECT destination_id, min(history, ?2) FROM deliveries
                 WHERE intent_id = ?1 AND history > 0",
            )?;
            found.histories = statement
                .query_map([intent, MAX_HISTORY], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
        }
        Ok(found)
    }
}

/// Deletes what was found, in steps. An intent with more rows than a step loses its attempts first,
/// destination by destination, and then goes with all its deliveries at once: until then it is
/// listed as what it is, finished. What was replayed since it was found stays.
pub(crate) struct Prune {
    parts: Vec<Part>,
    /// Of the parts, how many are deleted, and how many are once the step under way is durable.
    done: usize,
    next: usize,
    /// Intents that are gone.
    pub gone: usize,
}

/// What is deleted at once.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// The attempts of one delivery.
    History {
        intent: i64,
        ended: i64,
        destination: i64,
        rows: usize,
    },
    /// An intent, with its deliveries and the attempts that are left.
    Intent {
        intent: i64,
        ended: i64,
        rows: usize,
    },
    Key(i64, i64),
}

impl Part {
    fn rows(&self) -> usize {
        match self {
            Self::History { rows, .. } | Self::Intent { rows, .. } => *rows,
            Self::Key(..) => 1,
        }
    }
}

impl Prune {
    pub fn new(expired: Expired) -> Self {
        let mut parts = Vec::new();
        for found in expired.intents {
            let (intent, ended) = (found.intent, found.ended);
            let mut rows = found.rows();
            for (destination, entries) in found.histories {
                let entries = entries as usize;
                rows = rows.saturating_sub(entries);
                parts.push(Part::History {
                    intent,
                    ended,
                    destination,
                    rows: entries,
                });
            }
            parts.push(Part::Intent {
                intent,
                ended,
                rows,
            });
        }
        let keys = expired.keys.into_iter();
        parts.extend(keys.map(|(digest, intent)| Part::Key(digest, intent)));
        Self {
            parts,
            done: 0,
            next: 0,
            gone: 0,
        }
    }
}

impl LongWrite for Prune {
    type Step = PruneStep;

    fn next_step(&mut self, _rows: usize) -> Option<PruneStep> {
        let rest = &self.parts[self.done..];
        let count = RowBudget::of(DELETE_ROWS).spend_on(rest, Part::rows);
        self.next = self.done + count;
        (count > 0).then(|| PruneStep {
            parts: rest[..count].to_vec(),
        })
    }

    fn committed(&mut self, gone: usize) {
        self.done = self.next;
        self.gone += gone;
    }
}

/// One transaction's share of a [`Prune`]. Returns how many intents went.
pub(crate) struct PruneStep {
    parts: Vec<Part>,
}

impl WriteOp for PruneStep {
    type Out = usize;

    fn apply(&self, tx: &Tx<'_>) -> Result<usize, StoreError> {
        let mut gone = 0;
        for part in &self.parts {
            match *part {
                Part::History {
                    intent,
                    ended,
                    destination,
                    ..
                } => {
                    tx.execute(
                        "DELETE FROM attempts WHERE intent_id = ?1 AND destination_id = ?3
                         AND NOT EXISTS (SELECT 1 FROM deliveries WHERE intent_id = ?1
                                         AND (state < 3 OR updated_at > ?2))",
                        [intent, ended, destination],
                    )?;
                }
                Part::Intent { intent, ended, .. } => {
                    // They go with the intent, by a cascade.
                    let dead_letters: Vec<i64> = tx.rows(
                        "SELECT destination_id FROM deliveries WHERE intent_id = ?1 AND state = 4",
                        [intent],
                        |row| row.get(0),
                    )?;
                    let deleted = tx.execute(
                        "DELETE FROM intents WHERE id = ?1
                         AND NOT EXISTS (SELECT 1 FROM deliveries WHERE intent_id = ?1
                                         AND (state < 3 OR updated_at > ?2))",
                        [intent, ended],
                    )?;
                    if deleted > 0 {
                        gone += 1;
                        for destination in dead_letters {
                            tx.moved(destination, DeliveryState::DeadLettered, None);
                        }
                    }
                    tx.deleted(intent);
                }
                Part::Key(digest, intent) => {
                    tx.execute(
                        "DELETE FROM idempotency WHERE digest = ?1 AND intent_id = ?2",
                        [digest, intent],
                    )?;
                }
            }
        }
        Ok(gone)
    }

    fn rows(&self) -> usize {
        self.parts.iter().map(Part::rows).sum()
    }
}

/// Pages given back to the file system in one step: 1 MiB.
const VACUUM: i64 = 256;

/// Jobs forgotten in one step.
const FORGET_JOBS: i64 = 200;

/// How long a job that has ended can still be looked at.
const JOBS_KEPT: Duration = Duration::from_secs(30 * 86_400);

/// The end of a sweep: forgets jobs of long ago, and gives free pages back while they are more than
/// a quarter of the file. Fewer are used again soon: a file that shrinks only to grow again gains
/// nothing. Returns how many pages and jobs are left for further steps.
pub(crate) struct TidyUp;

impl WriteOp for TidyUp {
    type Out = i64;

    fn apply(&self, tx: &Tx<'_>) -> Result<i64, StoreError> {
        let forgotten = tx.execute(
            "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE ended_at < ?1 LIMIT ?2)",
            params![tx.now.minus(JOBS_KEPT).as_millis(), FORGET_JOBS],
        )?;
        if forgotten > 0 {
            return Ok(1);
        }
        let number = |pragma: &str| -> Result<i64, StoreError> {
            Ok(tx.sql.query_row(pragma, [], |row| row.get(0))?)
        };
        let free = number("PRAGMA freelist_count")?;
        let pages = number("PRAGMA page_count")?;
        let excess = (free - pages / 4).max(0);
        if excess > 0 {
            let now = excess.min(VACUUM);
            let mut statement = tx
                .sql
                .prepare(&format!("PRAGMA incremental_vacuum({now})"))?;
            let mut rows = statement.query([])?;
            while rows.next()?.is_some() {}
        }
        Ok((excess - VACUUM).max(0))
    }

    fn rows(&self) -> usize {
        DELETE_ROWS
    }
}
