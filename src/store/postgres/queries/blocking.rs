//! Dead letters that block the deliveries behind them.

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::reader::Reader;
use crate::store::postgres::values::limit;
use crate::store::types::{
    BlockingLetters, BlockingPart, DeadLetterCursor, DestinationId, IntentRow,
};

/// Dead letters read in one step: some 2 ms. Few of them block as a rule.
const LETTERS_A_STEP: usize = 1000;

/// Those found that end a step: letting one leave writes it and the one behind it.
const MOST_FOUND: usize = 250;

/// The next dead letters of a destination in the order of their deaths.
pub const SELECT: &str = "SELECT updated_at, intent_id, place IS NOT NULL FROM relay.ended
     WHERE state = 4 AND discarded_at IS NULL AND destination_id = $1
       AND (updated_at, intent_id) > ($2, $3)
     ORDER BY updated_at, intent_id LIMIT $4";

/// Reads the next few dead letters of a destination, and picks those that block.
fn find(
    sql: &mut Connection,
    destination: DestinationId,
    after: DeadLetterCursor,
) -> Result<BlockingPart, Failure> {
    let rows = sql.rows(
        SELECT,
        &[
            &destination,
            &after.at,
            &after.intent,
            &limit(LETTERS_A_STEP),
        ],
    )?;
    let mut letters = BlockingLetters {
        destination,
        intents: Vec::new(),
    };
    let mut last = after;
    for row in &rows {
        let (at, intent): (Timestamp, IntentRow) = (row.try_get(0)?, row.try_get(1)?);
        last = DeadLetterCursor { at, intent };
        if row.try_get(2)? {
            letters.intents.push(intent);
            if letters.intents.len() == MOST_FOUND {
                break;
            }
        }
    }
    let is_cut = rows.len() == LETTERS_A_STEP || letters.intents.len() == MOST_FOUND;
    Ok(BlockingPart {
        letters,
        next: is_cut.then_some(last),
    })
}

impl Reader {
    /// The next dead letters of a destination that block the deliveries behind them.
    pub fn blocking_letters(
        &self,
        destination: DestinationId,
        after: DeadLetterCursor,
    ) -> Result<BlockingPart, StoreError> {
        self.read(|sql| find(sql, destination, after))
    }
}
