//! Retention: what is finished is deleted once it is old enough, in small steps. Looking happens on a
//! reader, so that the writer only does what is to be done.

use std::time::Duration;

use rusqlite::{Connection, params};

use super::{StoreError, Tx, WriteOp};
use crate::clock::Timestamp;
use crate::model::IntentId;

/// Intents looked at in one step.
const LOOK: i64 = 500;
/// Intents deleted in one step: two to three milliseconds of the writer's time.
const DELETE: usize = 64;
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
    pub intents: Vec<i64>,
    /// Digest and intent.
    pub keys: Vec<(i64, i64)>,
    /// Where to look on; none: from the beginning again.
    pub next_intent: Option<i64>,
    pub next_key: Option<(i64, i64)>,
}

impl Expired {
    /// Looks at the next few intents after `after`, in the order of acceptance, and the next few keys.
    pub fn find(
        sql: &Connection,
        cutoffs: &Cutoffs,
        after_intent: i64,
        after_key: (i64, i64),
    ) -> Result<Self, StoreError> {
        let mut expired = Self::default();
        expired.find_intents(sql, cutoffs, after_intent)?;
        expired.find_keys(sql, cutoffs, after_key)?;
        Ok(expired)
    }

    fn find_intents(
        &mut self,
        sql: &Connection,
        cutoffs: &Cutoffs,
        after: i64,
    ) -> Result<(), StoreError> {
        // What was accepted later can't have ended earlier.
        let Some(latest) = cutoffs.delivered.max(cutoffs.dead_lettered) else {
            return Ok(());
        };
        // The narrow side alone: it is in the order of acceptance, too.
        let mut statement = sql.prepare_cached(
            "SELECT intent_id, max(updated_at), max(state = 4), max(state < 3)
             FROM deliveries WHERE intent_id > ?1 AND intent_id < ?2
             GROUP BY intent_id ORDER BY intent_id LIMIT ?3",
        )?;
        let before = IntentId::first_row_at(latest.as_millis());
        let mut rows = statement.query(params![after, before, LOOK])?;
        let mut looked_at = 0;
        let mut last = after;
        while let Some(row) = rows.next()? {
            looked_at += 1;
            last = row.get(0)?;
            let ended: Option<i64> = row.get(1)?;
            let is_dead: Option<bool> = row.get(2)?;
            let is_pending: Option<bool> = row.get(3)?;
            let cutoff = if is_dead == Some(true) {
                cutoffs.dead_lettered
            } else {
                cutoffs.delivered
            };
            let is_old = match (ended, cutoff) {
                (Some(ended), Some(cutoff)) => ended < cutoff.as_millis(),
                _ => false,
            };
            if is_old && is_pending != Some(true) {
                self.intents.push(last);
                if self.intents.len() == DELETE {
                    break;
                }
            }
        }
        if looked_at == LOOK || self.intents.len() == DELETE {
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
            if looked_at == LOOK_KEYS || self.keys.len() == 4 * DELETE {
                self.next_key = Some(key);
                break;
            }
        }
        Ok(())
    }

    /// Whether there is anything to delete.
    pub fn is_empty(&self) -> bool {
        self.intents.is_empty() && self.keys.is_empty()
    }
}

/// Deletes what was found. What has become pending meanwhile, by a replay, stays. Returns how many
/// intents went.
pub(crate) struct Prune {
    pub intents: Vec<i64>,
    pub keys: Vec<(i64, i64)>,
}

impl WriteOp for Prune {
    type Out = usize;

    fn apply(&self, tx: &Tx<'_>) -> Result<usize, StoreError> {
        let mut gone = 0;
        let mut delete = tx.sql.prepare_cached(
            "DELETE FROM intents WHERE id = ?1
             AND NOT EXISTS (SELECT 1 FROM deliveries WHERE intent_id = ?1 AND state < 3)",
        )?;
        for intent in &self.intents {
            gone += delete.execute([intent])?;
            tx.deleted(*intent);
        }
        let mut delete = tx
            .sql
            .prepare_cached("DELETE FROM idempotency WHERE digest = ?1 AND intent_id = ?2")?;
        for (digest, intent) in &self.keys {
            delete.execute([digest, intent])?;
        }
        Ok(gone)
    }
}

/// Pages given back to the file system in one step: 1 MiB.
const VACUUM: i64 = 256;

/// How long a job that has ended can still be looked at.
const JOBS_KEPT: Duration = Duration::from_secs(30 * 86_400);

/// The end of a sweep: forgets jobs of long ago, and gives free pages back, as long as they are more than a quarter of the file: what is free is used
/// again, and a file that shrinks only to grow again gains nothing. Returns how many are left to give.
pub(crate) struct TidyUp;

impl WriteOp for TidyUp {
    type Out = i64;

    fn apply(&self, tx: &Tx<'_>) -> Result<i64, StoreError> {
        tx.execute(
            "DELETE FROM jobs WHERE ended_at < ?1",
            [tx.now.minus(JOBS_KEPT).as_millis()],
        )?;
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
}
