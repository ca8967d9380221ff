//! The pending deliveries of a backup, and their fates in the database that it replaces.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::model::DeliveryState;
use crate::store::error::StoreError;
use crate::store::sqlite::{open, settings};
use crate::store::types::{DestinationId, IntentRow};

/// Pending deliveries that are read at a time.
const PAGE: i64 = 1_000;

/// The database that is replaced, as far as it can be read.
pub enum Old {
    /// There is none.
    Absent,
    Readable(Connection),
    /// It tells nothing; why.
    Unknown(String),
}

impl Old {
    /// Opens the database, if it is the one of the backup, whose id this is.
    pub fn open(path: Option<&Path>, id: &str) -> Self {
        let Some(path) = path else {
            return Self::Absent;
        };
        let opened = open::snapshot(path).and_then(|sql| {
            let found: Option<String> = settings::get(&sql, settings::DATABASE_ID)?;
            Ok((sql, found))
        });
        match opened {
            Ok((sql, Some(found))) if found == id => Self::Readable(sql),
            Ok((_, Some(_))) => Self::Unknown("it is another database".to_owned()),
            Ok((_, None)) => Self::Unknown("it doesn't tell which database it is".to_owned()),
            Err(error) => Self::Unknown(format!("it can't be read: {error}")),
        }
    }
}

/// A pending delivery of the backup.
#[derive(Clone, Debug)]
pub struct PendingDelivery {
    pub intent: IntentRow,
    pub destination: DestinationId,
    pub state: DeliveryState,
    random: i64,
    pub name: String,
}

/// A pending delivery as the old database has it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Delivered,
    Absent,
    Other,
}

/// The next pending deliveries in the order of their events.
pub fn pending_after(
    sql: &Connection,
    after: (IntentRow, DestinationId),
) -> Result<Vec<PendingDelivery>, StoreError> {
    let mut statement = sql.prepare_cached(
        "SELECT d.intent_id, d.destination_id, d.state, i.random, t.name
         FROM deliveries d JOIN intents i ON i.id = d.intent_id
                           JOIN destinations t ON t.id = d.destination_id
         WHERE (d.intent_id, d.destination_id) > (?1, ?2) AND d.state < 3
         ORDER BY d.intent_id, d.destination_id LIMIT ?3",
    )?;
    let rows = statement.query_map(params![after.0, after.1, PAGE], |row| {
        Ok(PendingDelivery {
            intent: row.get(0)?,
            destination: row.get(1)?,
            state: row.get(2)?,
            random: row.get(3)?,
            name: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The same delivery in the old database, by the event's id and the destination's name.
pub fn fate(old: &Connection, one: &PendingDelivery) -> rusqlite::Result<Fate> {
    let mut statement = old.prepare_cached(
        "SELECT d.state FROM deliveries d JOIN intents i ON i.id = d.intent_id
                                          JOIN destinations t ON t.id = d.destination_id
         WHERE d.intent_id = ?1 AND i.random = ?2 AND t.name = ?3",
    )?;
    let state: Option<DeliveryState> = statement
        .query_row(params![one.intent, one.random, one.name], |row| row.get(0))
        .optional()?;
    Ok(match state {
        Some(DeliveryState::Delivered) => Fate::Delivered,
        Some(_) => Fate::Other,
        None => Fate::Absent,
    })
}
