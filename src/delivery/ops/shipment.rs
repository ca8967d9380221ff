use rusqlite::Connection;

use crate::clock::Timestamp;
use crate::model::{IntentId, Surface};
use crate::store::StoreError;

/// What is sent: the cold side of a delivery.
pub(in crate::delivery) struct Shipment {
    pub id: IntentId,
    pub surface: Surface,
    /// A relay's event type.
    pub label: String,
    /// A relay's URL.
    pub url: Option<String>,
    pub created_at: Timestamp,
    /// `name: value\r\n` each.
    pub headers: Vec<u8>,
    pub body: Vec<u8>,
}

impl Shipment {
    /// All of it.
    pub fn load(sql: &Connection, intent: i64) -> Result<Self, StoreError> {
        Self::load_small(sql, intent, i64::MAX)?
            .ok_or_else(|| StoreError::Unexpected("a body that is longer than any".to_owned()))
    }

    /// None if its headers and body are more than `max` bytes; the body is then not read.
    pub fn load_small(sql: &Connection, intent: i64, max: i64) -> Result<Option<Self>, StoreError> {
        let mut statement = sql.prepare_cached(
            "SELECT random, surface, label, url, created_at, headers,
                    iif(length(headers) + length(body) <= ?2, body, NULL)
             FROM intents WHERE id = ?1",
        )?;
        Ok(statement.query_row([intent, max], |row| {
            let Some(body) = row.get(6)? else {
                return Ok(None);
            };
            let random: i64 = row.get(0)?;
            Ok(Some(Self {
                id: IntentId::new(intent, random.cast_unsigned()),
                surface: Surface::from_number(row.get(1)?),
                label: row.get(2)?,
                url: row.get(3)?,
                created_at: Timestamp::from_millis(row.get(4)?),
                headers: row.get(5)?,
                body,
            }))
        })?)
    }

    /// The id as its own API shows it.
    pub fn public_id(&self) -> String {
        match self.surface {
            Surface::Relay => self.id.to_string(),
            Surface::Event => format!("evt_{}", self.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_body_together_make_what_is_too_large_to_be_kept() {
        let sql = Connection::open_in_memory().expect("a database");
        sql.execute_batch(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/schema.sql"
        )))
        .expect("the schema");
        sql.execute(
            "INSERT INTO intents (id, random, surface, created_at, label, headers, body)
             VALUES (1, 0, 1, 0, 'a', zeroblob(30), zeroblob(70))",
            [],
        )
        .expect("an intent");
        let small = |max| Shipment::load_small(&sql, 1, max).expect("it is there");
        assert!(small(99).is_none());
        let whole = small(100).expect("it fits");
        assert_eq!((whole.headers.len(), whole.body.len()), (30, 70));
    }
}
