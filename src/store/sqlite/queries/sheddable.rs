//! Finished events that may be shed to make room. Read on a reader, so that the writer only
//! deletes.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::limits::{MAX_HISTORY, STEP_ROWS};
use crate::store::sqlite::limits::PAGE;
use crate::store::sqlite::ops::payload::GONE;
use crate::store::sqlite::readers::Reader;
use crate::store::types::{GoneReason, IntentRow, ShedCursor, ShedEvent, Sheddable};

/// Events looked at in one step.
const LOOKS: i64 = 500;

/// Reads the next few events in the order of acceptance. A pass meets each event once: one that
/// waits is skipped, and not looked at again before the next pass.
fn find(sql: &Connection, keys: Timestamp, cursor: ShedCursor) -> Result<Sheddable, StoreError> {
    let mut page = Page {
        sql,
        over: IntentRow::first_at(keys),
        rows: 0,
        found: Sheddable {
            events: Vec::new(),
            next: ShedCursor::End,
        },
    };
    match cursor {
        ShedCursor::Routed(after) => page.routed(after)?,
        ShedCursor::Unrouted(after) => page.unrouted(after)?,
        ShedCursor::End => {}
    }
    Ok(page.found)
}

struct Page<'a> {
    sql: &'a Connection,
    /// Of earlier events the idempotency window is over.
    over: IntentRow,
    /// Rows that shedding the found ones writes.
    rows: usize,
    found: Sheddable,
}

impl Page<'_> {
    fn routed(&mut self, after: IntentRow) -> Result<(), StoreError> {
        // The narrow table alone: it is in the order of acceptance, too. Neither a waiting
        // delivery nor a dead letter is shed.
        let mut statement = self.sql.prepare_cached(
            "SELECT intent_id, max(state < 3 OR place IS NOT NULL
                                   OR (state = 4 AND discarded_at IS NULL)),
                    sum(1 + max(0, min(history, ?3)))
             FROM deliveries WHERE intent_id > ?1
             GROUP BY intent_id ORDER BY intent_id LIMIT ?2",
        )?;
        let mut rows = statement.query(params![after, LOOKS, MAX_HISTORY])?;
        let (mut read, mut last) = (0, after);
        while let Some(row) = rows.next()? {
            read += 1;
            last = row.get(0)?;
            if !row.get::<_, bool>(1)? {
                self.add(last, row.get(2)?)?;
            }
            if self.rows >= STEP_ROWS {
                break;
            }
        }
        self.found.next = if read == LOOKS || self.rows >= STEP_ROWS {
            ShedCursor::Routed(last)
        } else {
            ShedCursor::Unrouted(IntentRow(0))
        };
        Ok(())
    }

    fn unrouted(&mut self, after: IntentRow) -> Result<(), StoreError> {
        let mut statement = self.sql.prepare_cached(
            "SELECT id FROM intents INDEXED BY unrouted
             WHERE unrouted = 1 AND id > ?1 ORDER BY id LIMIT ?2",
        )?;
        let mut rows = statement.query(params![after, LOOKS])?;
        let (mut read, mut last) = (0, after);
        while let Some(row) = rows.next()? {
            read += 1;
            last = row.get(0)?;
            self.add(last, 0)?;
            if self.rows >= STEP_ROWS {
                break;
            }
        }
        if read == LOOKS || self.rows >= STEP_ROWS {
            self.found.next = ShedCursor::Unrouted(last);
        }
        Ok(())
    }

    /// Adds an event, unless it has nothing to give.
    fn add(&mut self, intent: IntentRow, of_deliveries: u32) -> Result<(), StoreError> {
        let mut statement = self.sql.prepare_cached(&format!(
            "SELECT length(i.headers) + length(i.body), {GONE} FROM intents i WHERE i.id = ?1"
        ))?;
        let found: Option<(u32, Option<GoneReason>)> = statement
            .query_row([intent], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let is_over = intent < self.over;
        match found {
            Some((bytes, gone)) if gone != Some(GoneReason::Erased) && (bytes > 0 || is_over) => {
                let rows = (1 + of_deliveries + bytes / PAGE) as usize;
                self.rows += rows;
                self.found.events.push(ShedEvent {
                    intent,
                    rows,
                    is_over,
                });
            }
            _ => {}
        }
        Ok(())
    }
}

impl Reader {
    /// Finds the next finished events that may be shed. Keys accepted before `keys` are past their
    /// window.
    pub fn sheddable(&self, keys: Timestamp, cursor: ShedCursor) -> Result<Sheddable, StoreError> {
        self.read(|sql| find(sql, keys, cursor))
    }
}
