//! The messages that deliveries send.

use rusqlite::{Connection, OptionalExtension as _};

use crate::model::{IntentId, Surface};
use crate::store::error::StoreError;
use crate::store::sqlite::columns::{is_any_damaged, maybe_text, text};
use crate::store::sqlite::readers::Reader;
use crate::store::types::{IntentRow, OutboundMessage};

/// The message of an intent; none if its headers and body are more than `max` bytes. Then the body
/// is not read.
fn load(
    sql: &Connection,
    intent: IntentRow,
    max: i64,
) -> rusqlite::Result<Option<OutboundMessage>> {
    let mut statement = sql.prepare_cached(
        "SELECT random, surface, label, url, created_at, headers,
                iif(length(headers) + length(body) <= ?2, body, NULL), event_type, query,
                checksum, gone
         FROM intents WHERE id = ?1",
    )?;
    statement.query_row([intent.0, max], |row| {
        let Some(body) = row.get(6)? else {
            return Ok(None);
        };
        let random: i64 = row.get(0)?;
        Ok(Some(OutboundMessage {
            id: IntentId::new(intent.0, random.cast_unsigned()),
            surface: Surface::from_number(row.get(1)?),
            label: text(row, 2)?,
            event_type: maybe_text(row, 7)?,
            url: maybe_text(row, 3)?,
            query: maybe_text(row, 8)?,
            created_at: row.get(4)?,
            headers: row.get(5)?,
            body,
            has_damaged_text: is_any_damaged(row, &[2, 3, 7, 8])?,
            checksum: row.get(9)?,
            gone: row.get(10)?,
        }))
    })
}

/// The message of an intent, whatever its size; none if there is no such intent.
pub fn find_message(
    sql: &Connection,
    intent: IntentRow,
) -> Result<Option<OutboundMessage>, StoreError> {
    Ok(load(sql, intent, i64::MAX).optional()?.flatten())
}

/// The message of an intent, whatever its size.
fn load_message(sql: &Connection, intent: IntentRow) -> Result<OutboundMessage, StoreError> {
    load(sql, intent, i64::MAX)?
        .ok_or_else(|| StoreError::Unexpected("a body that is longer than any".to_owned()))
}

impl Reader {
    /// The message of an intent, whatever its size.
    pub fn message(&self, intent: IntentRow) -> Result<OutboundMessage, StoreError> {
        self.read(|sql| load_message(sql, intent))
    }

    /// The messages of these intents, each loaded or not by itself; none of a message with more
    /// than `max` bytes of headers and body.
    pub fn messages(
        &self,
        intents: impl Iterator<Item = IntentRow>,
        max: i64,
    ) -> Result<Vec<Result<Option<OutboundMessage>, StoreError>>, StoreError> {
        self.read(|sql| {
            let messages = intents.map(|intent| Ok(load(sql, intent, max)?));
            Ok(messages.collect())
        })
    }
}
