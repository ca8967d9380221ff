//! Intents and keys that retention may delete. Read apart from their deletion, which finds again
//! that nothing of them waits.

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::limits::{MAX_HISTORY, STEP_ROWS};
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::reader::Reader;
use crate::store::types::{
    Cutoffs, DestinationId, Expired, ExpiredIntent, IntentRow, PruneCursor, StoredKey,
};

/// Intents read in one step, as the statements have it.
const INTENTS_A_STEP: usize = 500;

/// Keys read in one step, as [`SELECT_KEYS`] has it.
const KEYS_A_STEP: usize = 2_000;

/// Bytes of a body or headers that one row of a TOAST table holds: a quarter of a page of 8 KiB,
/// less its headers.
pub const TOAST_CHUNK: i64 = 1996;

/// Finished deliveries by intent. The limit stands in the text, so that the planner reads the
/// table's key in its order and stops, rather than to group all; and the join is lateral, since it
/// would read all that waits for an EXISTS.
const SELECT_FINISHED: &str = "
    SELECT e.intent_id, e.ended, e.is_dead,
        e.is_in_line OR w.waits IS NOT NULL,
        e.deliveries, e.entries, e.are_discarded,
        coalesce((SELECT octet_length(i.headers)::int8 + octet_length(i.body)
                  FROM relay.intents i WHERE i.id = e.intent_id), 0)
    FROM (SELECT intent_id, max(updated_at) AS ended,
                 bool_or(state = 4 AND discarded_at IS NULL) AS is_dead,
                 bool_or(place IS NOT NULL) AS is_in_line,
                 count(*) AS deliveries,
                 sum(greatest(0, least(history, $3::int4)))::int8 AS entries,
                 bool_and(discarded_at IS NOT NULL) AS are_discarded
          FROM relay.ended WHERE intent_id > $1 AND intent_id < $2
          GROUP BY intent_id ORDER BY intent_id LIMIT 500) e
        LEFT JOIN LATERAL (SELECT true AS waits FROM relay.waiting
                           WHERE intent_id = e.intent_id LIMIT 1) w ON true
    ORDER BY e.intent_id";

/// Events that no route wanted: they end when they are accepted.
const SELECT_UNROUTED: &str = "
    SELECT id, created_at, octet_length(headers)::int8 + octet_length(body)
    FROM relay.intents WHERE unrouted = 1 AND id > $1 AND id < $2 ORDER BY id LIMIT 500";

/// Events that were shed.
const SELECT_SHED: &str = "
    SELECT i.id, (SELECT count(*) FROM relay.ended e WHERE e.intent_id = i.id),
        octet_length(i.headers)::int8 + octet_length(i.body)
    FROM relay.intents i WHERE i.gone = 2 AND i.id > $1 AND i.id < $2 ORDER BY i.id LIMIT 500";

/// Keys in the order of the intents that they name, so that those past their window come first.
const SELECT_KEYS: &str = "
    SELECT intent_id FROM relay.idempotency WHERE intent_id > $1 AND intent_id < $2
    ORDER BY intent_id LIMIT 2000";

const SELECT_HISTORIES: &str = "
    SELECT destination_id, least(history, $2::int4)::int8 FROM relay.ended
    WHERE intent_id = $1 AND history > 0";

const HAS_DISCARDED: &str =
    "SELECT EXISTS (SELECT 1 FROM relay.ended WHERE discarded_at IS NOT NULL)";

/// Reads the next few intents, in the order of acceptance, and the next few keys.
fn find(
    connection: &mut Connection,
    cutoffs: &Cutoffs,
    cursor: PruneCursor,
) -> Result<Expired, Failure> {
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
        find_finished(connection, cutoffs, after, &mut expired)?;
    }
    if let Some(after) = cursor.unrouted {
        find_unrouted(connection, cutoffs, after, &mut expired)?;
    }
    if let Some(after) = cursor.shed {
        find_shed(connection, cutoffs, after, &mut expired)?;
    }
    if let Some(after) = cursor.key {
        find_keys(connection, cutoffs, after, &mut expired)?;
    }
    Ok(expired)
}

/// The facts about a finished intent's deliveries that decide whether it has expired.
struct Finished {
    intent: IntentRow,
    ended: Timestamp,
    /// Whether one of its deliveries is a dead letter that was not discarded.
    is_dead: bool,
    are_discarded: bool,
}

impl Finished {
    fn is_old(&self, cutoffs: &Cutoffs) -> bool {
        let Self { ended, .. } = *self;
        if self.are_discarded {
            // Its key has to name it for as long as any key does.
            let is_key_over = self.intent < IntentRow::first_at(cutoffs.keys);
            return is_key_over && cutoffs.dead_lettered.is_none_or(|cutoff| ended < cutoff);
        }
        let cutoff = if self.is_dead {
            cutoffs.dead_lettered
        } else {
            cutoffs.delivered
        };
        cutoff.is_some_and(|cutoff| ended < cutoff)
    }
}

fn find_finished(
    connection: &mut Connection,
    cutoffs: &Cutoffs,
    after: IntentRow,
    expired: &mut Expired,
) -> Result<(), Failure> {
    // An intent that was accepted later can't have ended earlier. Without these times only intents
    // whose deliveries were all discarded are deleted, once their keys are.
    let latest = match cutoffs.delivered.max(cutoffs.dead_lettered) {
        Some(latest) => latest,
        None if connection.one(HAS_DISCARDED, &[])?.try_get(0)? => cutoffs.keys,
        None => return Ok(()),
    };
    let before = IntentRow::first_at(latest);
    let most = i32::try_from(MAX_HISTORY).unwrap_or(i32::MAX);
    let rows = connection.rows(SELECT_FINISHED, &[&after, &before, &most])?;
    let (mut found, mut last) = (0, after);
    for row in &rows {
        let finished = Finished {
            intent: row.try_get(0)?,
            ended: row.try_get(1)?,
            is_dead: row.try_get(2)?,
            are_discarded: row.try_get(6)?,
        };
        last = finished.intent;
        if row.try_get(3)? || !finished.is_old(cutoffs) {
            continue;
        }
        let (deliveries, entries, bytes): (i64, i64, i64) =
            (row.try_get(4)?, row.try_get(5)?, row.try_get(7)?);
        let rows = rows_of(deliveries + entries, bytes);
        let mut intent = expired_intent(last, finished.ended, rows);
        if rows > STEP_ROWS {
            intent.histories = histories(connection, last, most)?;
        }
        found += rows;
        expired.intents.push(intent);
        if found >= STEP_ROWS {
            break;
        }
    }
    if rows.len() == INTENTS_A_STEP || found >= STEP_ROWS {
        expired.next.intent = Some(last);
    }
    Ok(())
}

/// The history entries of an intent by destination.
fn histories(
    connection: &mut Connection,
    intent: IntentRow,
    most: i32,
) -> Result<Vec<(DestinationId, usize)>, Failure> {
    let rows = connection.rows(SELECT_HISTORIES, &[&intent, &most])?;
    let history = |row: &tokio_postgres::Row| {
        let entries: i64 = row.try_get(1)?;
        Ok((row.try_get(0)?, usize::try_from(entries).unwrap_or(0)))
    };
    rows.iter().map(history).collect()
}

fn find_unrouted(
    connection: &mut Connection,
    cutoffs: &Cutoffs,
    after: IntentRow,
    expired: &mut Expired,
) -> Result<(), Failure> {
    let Some(latest) = cutoffs.delivered else {
        return Ok(());
    };
    let before = IntentRow::first_at(latest);
    let rows = connection.rows(SELECT_UNROUTED, &[&after, &before])?;
    let found = rows.iter().map(|row| {
        let rows = rows_of(0, row.try_get(2)?);
        Ok(expired_intent(row.try_get(0)?, row.try_get(1)?, rows))
    });
    expired.next.unrouted = take(found, &mut expired.intents)?;
    Ok(())
}

/// Finds events that were shed, and whose keys are past their window: nothing of them is needed.
fn find_shed(
    connection: &mut Connection,
    cutoffs: &Cutoffs,
    after: IntentRow,
    expired: &mut Expired,
) -> Result<(), Failure> {
    let before = IntentRow::first_at(cutoffs.keys);
    let rows = connection.rows(SELECT_SHED, &[&after, &before])?;
    let found = rows.iter().map(|row| {
        let rows = rows_of(row.try_get(1)?, row.try_get(2)?);
        // Whenever they ended: nothing can send them once more.
        let ended = Timestamp::from_millis(i64::MAX);
        Ok(expired_intent(row.try_get(0)?, ended, rows))
    });
    expired.next.shed = take(found, &mut expired.intents)?;
    Ok(())
}

/// Takes intents until a step is full. Returns where the sweep continues, if there may be more.
fn take(
    found: impl Iterator<Item = Result<ExpiredIntent, Failure>>,
    taken: &mut Vec<ExpiredIntent>,
) -> Result<Option<IntentRow>, Failure> {
    let (mut read, mut rows) = (0, 0);
    for intent in found {
        let intent = intent?;
        read += 1;
        rows += intent.rows;
        let last = intent.intent;
        taken.push(intent);
        if read == INTENTS_A_STEP || rows >= STEP_ROWS {
            return Ok(Some(last));
        }
    }
    Ok(None)
}

fn find_keys(
    connection: &mut Connection,
    cutoffs: &Cutoffs,
    after: StoredKey,
    expired: &mut Expired,
) -> Result<(), Failure> {
    let before = IntentRow::first_at(cutoffs.keys);
    let rows = connection.rows(SELECT_KEYS, &[&after.intent, &before])?;
    for row in rows.iter().take(STEP_ROWS) {
        // An intent has one key at most.
        let intent = row.try_get(0)?;
        expired.keys.push(StoredKey { digest: 0, intent });
    }
    if rows.len() == KEYS_A_STEP || rows.len() > STEP_ROWS {
        expired.next.key = expired.keys.last().copied();
    }
    Ok(())
}

fn expired_intent(intent: IntentRow, ended: Timestamp, rows: usize) -> ExpiredIntent {
    ExpiredIntent {
        intent,
        ended,
        rows,
        histories: Vec::new(),
    }
}

/// Rows that deleting an intent with so many other rows and bytes costs: at least one, and few
/// enough to be added up, even if numbers are damaged.
pub fn rows_of(others: i64, bytes: i64) -> usize {
    let number = |rows: i64| u32::try_from(rows.max(0)).unwrap_or(u32::MAX) as usize;
    1 + number(others) + number(bytes / TOAST_CHUNK)
}

impl Reader {
    /// The next expired intents and idempotency keys after the cursor.
    pub fn expired(&self, cutoffs: &Cutoffs, cursor: PruneCursor) -> Result<Expired, StoreError> {
        self.read(|connection| find(connection, cutoffs, cursor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_damaged_numbers_can_be_added_up() {
        assert_eq!(rows_of(2, TOAST_CHUNK), 4);
        assert_eq!(rows_of(-50, -TOAST_CHUNK), 1);
        let most = rows_of(i64::MAX, i64::MAX);
        assert!(most > STEP_ROWS && most.checked_mul(INTENTS_A_STEP).is_some());
    }
}
