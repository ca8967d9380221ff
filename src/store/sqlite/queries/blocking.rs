//! Dead letters that block the deliveries behind them.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::limits::STEP_ROWS;
use crate::store::sqlite::columns::text;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::readers::Reader;
use crate::store::types::{
    BlockingLetters, BlockingPart, DeadLetterCursor, DestinationId, IntentRow,
};

/// Dead letters read in one step: some 2 ms. Few of them block as a rule.
const LETTERS_A_STEP: i64 = 1000;

/// Those found that end a step: letting one leave writes it and the one behind it.
const MOST_FOUND: usize = STEP_ROWS / 2;

/// Reads the next few dead letters of a destination, in the order of their deaths, and picks those
/// that block.
fn find(
    sql: &Connection,
    destination: DestinationId,
    after: DeadLetterCursor,
) -> Result<BlockingPart, StoreError> {
    let mut statement = sql.prepare_cached(
        "SELECT updated_at, intent_id, place IS NOT NULL FROM deliveries INDEXED BY dead
         WHERE state = 4 AND discarded_at IS NULL AND destination_id = ?1 AND (updated_at, intent_id) > (?2, ?3)
         ORDER BY updated_at, intent_id LIMIT ?4",
    )?;
    let mut rows = statement.query(params![destination, after.at, after.intent, LETTERS_A_STEP])?;
    let mut letters = BlockingLetters {
        destination,
        intents: Vec::new(),
    };
    let (mut read, mut last) = (0, after);
    while let Some(row) = rows.next()? {
        read += 1;
        let (at, intent): (Timestamp, IntentRow) = (row.get(0)?, row.get(1)?);
        last = DeadLetterCursor { at, intent };
        if row.get(2)? {
            letters.intents.push(intent);
            if letters.intents.len() == MOST_FOUND {
                break;
            }
        }
    }
    let is_cut = read == LETTERS_A_STEP || letters.intents.len() == MOST_FOUND;
    Ok(BlockingPart {
        letters,
        next: is_cut.then_some(last),
    })
}

fn name_of(sql: &Connection, id: DestinationId) -> Result<Option<String>, StoreError> {
    let mut statement = sql.prepare_cached("SELECT name FROM destinations WHERE id = ?1")?;
    Ok(statement.query_row([id], |row| text(row, 0)).optional()?)
}

impl Reader {
    /// The next dead letters of a destination that block, after the cursor.
    pub fn blocking_letters(
        &self,
        destination: DestinationId,
        after: DeadLetterCursor,
    ) -> Result<BlockingPart, StoreError> {
        self.read(|sql| find(sql, destination, after))
    }

    /// The name of a destination.
    pub fn destination_name(&self, id: DestinationId) -> Result<Option<String>, StoreError> {
        self.read(|sql| name_of(sql, id))
    }
}

impl Sqlite {
    /// The destinations that have, or had since the start, dead letters that block, each with their
    /// number; none until they are counted. Asks no reader.
    pub fn blocking(&self) -> Option<Vec<(DestinationId, i64)>> {
        self.shared().counts.blocking()
    }

    /// The same by name.
    pub async fn blocking_by_name(&self) -> Result<Option<Vec<(String, i64)>>, StoreError> {
        let shared = Arc::clone(self.shared());
        match shared.counts.blocking() {
            None => Ok(None),
            Some(counts) if counts.is_empty() => Ok(Some(Vec::new())),
            Some(counts) => {
                self.read(move |sql| {
                    let named = counts.into_iter().map(|(id, count)| {
                        let name = name_of(sql, id)?;
                        Ok(name.map(|name| (name, count)))
                    });
                    named
                        .filter_map(Result::transpose)
                        .collect::<Result<_, _>>()
                        .map(Some)
                })
                .await
            }
        }
    }
}
