//! Idempotency keys that were used recently. Their digests are random: written into the table one
//! by one, each would cost a page of its own, the most expensive part of a commit (measured). So
//! keys are buffered here and flushed in digest order, a chunk at a time. A start reads the
//! buffered keys back from the intents, which hold them anyway.

use std::collections::BTreeSet;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::store::sqlite::columns::{maybe_text, text};
use crate::store::types::{IdempotencyKey, OwnerId};

/// Keys buffered before a flush. With 500 000 keys stored, 16 384 buffered ones fall seven to an
/// index page, so a flush writes a seventh of the pages. They take half a megabyte.
const BUFFERED: usize = if cfg!(test) { 32 } else { 16_384 };
/// Intents after which a pass is made, however few keys are buffered. The high-water mark is where
/// the pass before it ended, so a start reads up to twice as many.
const PASS_EVERY: usize = 4 * BUFFERED;
/// Keys in a chunk, besides those buffered beyond [`BUFFERED`].
const CHUNK: usize = if cfg!(test) { 8 } else { 256 };

/// Digest and intent, as in the table.
type KeyRow = (i64, i64);

/// Buffers recent idempotency keys, and flushes them in passes through the table.
#[derive(Debug)]
pub struct RecentKeys {
    recent: BTreeSet<KeyRow>,
    /// Keys that the transaction under way adds.
    added: Vec<KeyRow>,
    /// Intents accepted since the high-water mark was set, with a key or without: a start reads
    /// them.
    since_mark: usize,
    /// The chunk that the transaction under way flushes.
    flushed: Option<FlushChunk>,
    /// Where the next chunk begins.
    next: KeyRow,
    /// The newest intent when this pass began: at its end all keys up to it are flushed.
    pass_began_at: i64,
}

/// Keys next to each other in the table.
#[derive(Debug)]
struct FlushChunk {
    keys: Vec<KeyRow>,
    /// Whether it ends a pass.
    is_last: bool,
}

/// The newest row, or the high-water mark of flushed keys if that row was deleted since. New
/// intents come after it; otherwise their keys would count as flushed.
pub fn newest(sql: &Connection) -> rusqlite::Result<i64> {
    sql.query_row(
        "SELECT max(swept_to, (SELECT coalesce(max(id), 0) FROM intents)) FROM key_sweep",
        [],
        |row| row.get(0),
    )
}

/// The least key.
const FIRST: KeyRow = (i64::MIN, i64::MIN);

impl RecentKeys {
    /// Reads back the keys that are not flushed. Changes nothing.
    pub fn load(sql: &Connection) -> rusqlite::Result<Self> {
        let mut statement = sql.prepare(
            "SELECT id, scope, label, idempotency_key FROM intents
             WHERE id > (SELECT swept_to FROM key_sweep)",
        )?;
        let newest = newest(sql)?;
        let mut loaded = Self {
            recent: BTreeSet::new(),
            added: Vec::new(),
            since_mark: 0,
            flushed: None,
            next: FIRST,
            pass_began_at: newest,
        };
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            loaded.since_mark += 1;
            // Nobody asks for a damaged key again, and no key stops a start.
            if let Some(key) = maybe_text(row, 3)? {
                let (scope, label): (Option<OwnerId>, String) = (row.get(1)?, text(row, 2)?);
                let digest = IdempotencyKey::digest_of(scope, &label, &key);
                loaded.recent.insert((digest, row.get(0)?));
            }
        }
        Ok(loaded)
    }

    /// At a start: flushes all keys if there are many. Processes that never live long enough to end
    /// a pass must not leave ever more keys to the next.
    pub fn flush_if_many(&mut self, sql: &Connection) {
        if (self.recent.len() > BUFFERED || self.since_mark > PASS_EVERY)
            && let Err(error) = self.flush_all(sql)
        {
            log::warn!(
                error:% = error;
                "idempotency keys can't be moved to their table, and stay in memory"
            );
        }
    }

    fn flush_all(&mut self, sql: &Connection) -> rusqlite::Result<()> {
        let tx = Transaction::new_unchecked(sql, TransactionBehavior::Immediate)?;
        insert(&tx, self.recent.iter())?;
        end_pass(&tx, self.pass_began_at)?;
        tx.commit()?;
        self.recent.clear();
        self.since_mark = 0;
        Ok(())
    }

    /// The intents that a key of this digest may name, among the buffered keys.
    pub fn candidates(&self, digest: i64) -> Vec<i64> {
        self.recent
            .range((digest, i64::MIN)..=(digest, i64::MAX))
            .map(|&(_, intent)| intent)
            .collect()
    }

    pub fn add(&mut self, key: KeyRow) {
        self.recent.insert(key);
        self.added.push(key);
    }

    /// An intent was accepted, with a key or without.
    pub fn accepted(&mut self) {
        self.since_mark += 1;
    }

    /// Removes a key that is past its window, whether or not this transaction succeeds.
    pub fn forget(&mut self, key: KeyRow) {
        self.recent.remove(&key);
    }

    /// Flushes a chunk, if enough keys are buffered.
    pub fn flush(&mut self, sql: &Connection) -> rusqlite::Result<()> {
        if self.recent.len() < BUFFERED && self.since_mark < PASS_EVERY {
            return Ok(());
        }
        let count = self.recent.len().saturating_sub(BUFFERED) + CHUNK;
        let keys: Vec<KeyRow> = self
            .recent
            .range(self.next..)
            .take(count)
            .copied()
            .collect();
        let is_last = keys.len() < count;
        insert(sql, keys.iter())?;
        if is_last {
            end_pass(sql, self.pass_began_at)?;
        }
        self.flushed = Some(FlushChunk { keys, is_last });
        Ok(())
    }

    /// The transaction is durable; `newest` is the newest intent now.
    pub fn committed(&mut self, newest: i64) {
        self.added.clear();
        let Some(FlushChunk { keys, is_last }) = self.flushed.take() else {
            return;
        };
        match keys.last() {
            Some(&(digest, intent)) if !is_last => self.next = (digest, intent + 1),
            _ => {
                self.next = FIRST;
                self.pass_began_at = newest;
                self.since_mark = 0;
            }
        }
        for key in keys {
            self.recent.remove(&key);
        }
    }

    /// The transaction was undone.
    pub fn rolled_back(&mut self) {
        self.flushed = None;
        for key in self.added.drain(..) {
            self.recent.remove(&key);
        }
    }
}

/// Skips keys of intents discarded meanwhile, and keys that were read back and are stored already.
fn insert<'a>(sql: &Connection, keys: impl Iterator<Item = &'a KeyRow>) -> rusqlite::Result<()> {
    let mut insert = sql.prepare_cached(
        "INSERT OR IGNORE INTO idempotency (digest, intent_id)
         SELECT ?1, id FROM intents WHERE id = ?2",
    )?;
    for (digest, intent) in keys {
        insert.execute([digest, intent])?;
    }
    Ok(())
}

fn end_pass(sql: &Connection, began_at: i64) -> rusqlite::Result<()> {
    sql.prepare_cached("UPDATE key_sweep SET swept_to = ?1")?
        .execute([began_at])
        .map(|_| ())
}

#[cfg(test)]
mod tests;
