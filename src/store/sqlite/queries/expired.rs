//! Intents and idempotency keys that retention may delete. Read on a reader, so that the writer
//! only deletes.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::limits::{MAX_HISTORY, STEP_ROWS};
use crate::store::sqlite::limits::PAGE;
use crate::store::sqlite::readers::Reader;
use crate::store::types::{Cutoffs, Expired, ExpiredIntent, IntentRow, PruneCursor, StoredKey};

/// Intents read in one step.
const INTENTS_A_STEP: i64 = 500;
/// Idempotency keys read in one step.
const KEYS_A_STEP: i64 = 2_000;

/// Reads the next few intents, in the order of acceptance, and the next few keys.
fn find(sql: &Connection, cutoffs: &Cutoffs, cursor: PruneCursor) -> Result<Expired, StoreError> {
    let mut expired = Expired {
        intents: Vec::new(),
        keys: Vec::new(),
        next: PruneCursor {
            intent: None,
            unrouted: None,
            shed: None,
            key: None,
        },
    };
    if let Some(after) = cursor.intent {
        find_intents(sql, cutoffs, after, &mut expired)?;
    }
    if let Some(after) = cursor.unrouted {
        find_unrouted(sql, cutoffs, after, &mut expired)?;
    }
    if let Some(after) = cursor.shed {
        find_shed(sql, cutoffs, after, &mut expired)?;
    }
    if let Some(after) = cursor.key {
        find_keys(sql, cutoffs, after, &mut expired)?;
    }
    Ok(expired)
}

fn find_intents(
    sql: &Connection,
    cutoffs: &Cutoffs,
    after: IntentRow,
    expired: &mut Expired,
) -> Result<(), StoreError> {
    // An intent that was accepted later can't have ended earlier. Without these times only what was
    // discarded is deleted, once its key is.
    let latest = match cutoffs.delivered.max(cutoffs.dead_lettered) {
        Some(latest) => latest,
        None if has_discarded(sql)? => cutoffs.keys,
        None => return Ok(()),
    };
    // The narrow table alone: it is in the order of acceptance, too.
    let mut statement = sql.prepare_cached(
        "SELECT intent_id, max(updated_at), max(state = 4 AND discarded_at IS NULL),
                max(state < 3 OR place IS NOT NULL), count(*),
                sum(max(0, min(history, ?4))), min(discarded_at IS NOT NULL)
         FROM deliveries WHERE intent_id > ?1 AND intent_id < ?2
         GROUP BY intent_id ORDER BY intent_id LIMIT ?3",
    )?;
    let before = IntentRow::first_at(latest);
    let mut rows = statement.query(params![after, before, INTENTS_A_STEP, MAX_HISTORY])?;
    let (mut read, mut found) = (0, 0);
    let mut last = after;
    while let Some(row) = rows.next()? {
        read += 1;
        last = row.get(0)?;
        let ended: Timestamp = row.get(1)?;
        let (is_dead, is_pending): (bool, bool) = (row.get(2)?, row.get(3)?);
        let is_old = if row.get(6)? {
            // Its key has to name it for as long as any key does.
            let is_key_over = last < IntentRow::first_at(cutoffs.keys);
            is_key_over && cutoffs.dead_lettered.is_none_or(|cutoff| ended < cutoff)
        } else if is_dead {
            cutoffs.dead_lettered.is_some_and(|cutoff| ended < cutoff)
        } else {
            cutoffs.delivered.is_some_and(|cutoff| ended < cutoff)
        };
        if is_old && !is_pending {
            let intent = expired_intent(sql, last, ended, (row.get(4)?, row.get(5)?))?;
            found += intent.rows;
            expired.intents.push(intent);
            if found >= STEP_ROWS {
                break;
            }
        }
    }
    if read == INTENTS_A_STEP || found >= STEP_ROWS {
        expired.next.intent = Some(last);
    }
    Ok(())
}

/// Finds events that no route wanted: they end when they are accepted.
fn find_unrouted(
    sql: &Connection,
    cutoffs: &Cutoffs,
    after: IntentRow,
    expired: &mut Expired,
) -> Result<(), StoreError> {
    let Some(latest) = cutoffs.delivered else {
        return Ok(());
    };
    let mut statement = sql.prepare_cached(
        "SELECT id, created_at FROM intents INDEXED BY unrouted
         WHERE unrouted = 1 AND id > ?1 AND id < ?2 ORDER BY id LIMIT ?3",
    )?;
    let before = IntentRow::first_at(latest);
    let mut rows = statement.query(params![after, before, INTENTS_A_STEP])?;
    let (mut read, mut found) = (0, 0);
    while let Some(row) = rows.next()? {
        read += 1;
        let intent = expired_intent(sql, row.get(0)?, row.get(1)?, (0, 0))?;
        found += intent.rows;
        let is_full = read == INTENTS_A_STEP || found >= STEP_ROWS;
        expired.next.unrouted = is_full.then_some(intent.intent);
        expired.intents.push(intent);
        if is_full {
            break;
        }
    }
    Ok(())
}

/// Finds events that were shed, and whose keys are past their window: nothing of them is needed.
fn find_shed(
    sql: &Connection,
    cutoffs: &Cutoffs,
    after: IntentRow,
    expired: &mut Expired,
) -> Result<(), StoreError> {
    let mut statement = sql.prepare_cached(
        "SELECT id, (SELECT count(*) FROM deliveries WHERE intent_id = id)
         FROM intents INDEXED BY shed WHERE gone = 2 AND id > ?1 AND id < ?2 ORDER BY id LIMIT ?3",
    )?;
    let before = IntentRow::first_at(cutoffs.keys);
    let mut rows = statement.query(params![after, before, INTENTS_A_STEP])?;
    let (mut read, mut found) = (0, 0);
    while let Some(row) = rows.next()? {
        read += 1;
        // Whenever they ended: nothing can send them once more.
        let ended = Timestamp::from_millis(i64::MAX);
        let intent = expired_intent(sql, row.get(0)?, ended, (row.get(1)?, 0))?;
        found += intent.rows;
        let is_full = read == INTENTS_A_STEP || found >= STEP_ROWS;
        expired.next.shed = is_full.then_some(intent.intent);
        expired.intents.push(intent);
        if is_full {
            break;
        }
    }
    Ok(())
}

fn has_discarded(sql: &Connection) -> Result<bool, StoreError> {
    Ok(sql
        .prepare_cached("SELECT 1 FROM deliveries WHERE discarded_at IS NOT NULL LIMIT 1")?
        .exists([])?)
}

/// Adds up the rows that deleting an intent with so many deliveries and attempts costs.
fn expired_intent(
    sql: &Connection,
    intent: IntentRow,
    ended: Timestamp,
    (deliveries, attempts): (u32, u32),
) -> Result<ExpiredIntent, StoreError> {
    let bytes: Option<u32> = sql
        .prepare_cached("SELECT length(headers) + length(body) FROM intents WHERE id = ?1")?
        .query_row([intent], |row| row.get(0))
        .optional()?;
    // Pages that the headers and the body fill, beyond the row itself.
    let pages = bytes.unwrap_or(0) / PAGE;
    let mut found = ExpiredIntent {
        intent,
        ended,
        rows: (1 + deliveries + attempts + pages) as usize,
        histories: Vec::new(),
    };
    if found.rows > STEP_ROWS {
        let mut statement = sql.prepare_cached(
            "SELECT destination_id, max(0, min(history, ?2)) FROM deliveries
             WHERE intent_id = ?1 AND history > 0",
        )?;
        found.histories = statement
            .query_map(params![intent, MAX_HISTORY], |row| {
                Ok((row.get(0)?, row.get::<_, u32>(1)? as usize))
            })?
            .collect::<Result<_, _>>()?;
    }
    Ok(found)
}

fn find_keys(
    sql: &Connection,
    cutoffs: &Cutoffs,
    after: StoredKey,
    expired: &mut Expired,
) -> Result<(), StoreError> {
    let before = IntentRow::first_at(cutoffs.keys);
    let mut statement = sql.prepare_cached(
        "SELECT digest, intent_id FROM idempotency
         WHERE (digest, intent_id) > (?1, ?2) ORDER BY digest, intent_id LIMIT ?3",
    )?;
    let mut rows = statement.query(params![after.digest, after.intent, KEYS_A_STEP])?;
    let mut read = 0;
    while let Some(row) = rows.next()? {
        read += 1;
        let key = StoredKey {
            digest: row.get(0)?,
            intent: row.get(1)?,
        };
        if key.intent < before {
            expired.keys.push(key);
        }
        if read == KEYS_A_STEP || expired.keys.len() == STEP_ROWS {
            expired.next.key = Some(key);
            break;
        }
    }
    Ok(())
}

impl Reader {
    /// Finds the next expired intents and keys after the cursor.
    pub fn expired(&self, cutoffs: &Cutoffs, cursor: PruneCursor) -> Result<Expired, StoreError> {
        self.read(|sql| find(sql, cutoffs, cursor))
    }
}
