//! The table of contents of a backup, in a table of its own.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::clock::Timestamp;
use crate::model::{DeliveryState, Surface};
use crate::store::sqlite::columns::intent_id;
use crate::store::sqlite::open;
use crate::store::sqlite::settings;
use crate::store::types::{Manifest, NewestEvent};

/// The bytes before the digest.
pub const MARK: [u8; 16] = *b"\xb7relay backup\x01\r\n";
/// Bytes of a SHA-256.
pub const DIGEST_BYTES: usize = 32;

/// The digest comes first in the row, which is short: so it is in the table's first page.
const CREATE: &str = "CREATE TABLE backup_manifest (
    digest         BLOB NOT NULL,
    relay_version  TEXT NOT NULL,
    schema_version INTEGER NOT NULL,
    database_id    TEXT NOT NULL,
    taken_at       INTEGER NOT NULL,
    newest_id      TEXT,
    newest_at      INTEGER,
    queued         INTEGER NOT NULL,
    processing     INTEGER NOT NULL,
    retrying       INTEGER NOT NULL,
    delivered      INTEGER NOT NULL,
    dead_lettered  INTEGER NOT NULL
) STRICT";

/// Adds the manifest to the copy of a database, with zeros for the digest.
pub fn add(path: &Path, taken_at: Timestamp) -> rusqlite::Result<()> {
    let sql = open::copy(path)?;
    let manifest = describe(&sql, taken_at)?;
    let digest = [&MARK[..], &[0; DIGEST_BYTES]].concat();
    let newest = manifest.newest.as_ref();
    let [queued, processing, retrying, delivered, dead] = manifest.counts.map(|(_, count)| count);
    sql.execute_batch("BEGIN")?;
    sql.execute_batch(CREATE)?;
    sql.execute(
        "INSERT INTO backup_manifest VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            digest,
            manifest.relay_version,
            manifest.schema_version,
            manifest.database_id,
            manifest.taken_at,
            newest.map(|newest| newest.id.as_str()),
            newest.map(|newest| newest.accepted_at),
            queued,
            processing,
            retrying,
            delivered,
            dead,
        ],
    )?;
    sql.execute_batch("COMMIT")?;
    sql.close().map_err(|(_, error)| error)
}

/// Removes the manifest from a backup that becomes the database.
pub fn remove(sql: &Connection) -> rusqlite::Result<()> {
    sql.execute_batch("DROP TABLE backup_manifest")
}

/// The manifest as it stands in a backup.
pub fn read(sql: &Connection) -> rusqlite::Result<Manifest> {
    sql.query_row(
        "SELECT relay_version, schema_version, database_id, taken_at, newest_id, newest_at,
                queued, processing, retrying, delivered, dead_lettered
         FROM backup_manifest",
        [],
        |row| {
            let id: Option<String> = row.get(4)?;
            let at: Option<Timestamp> = row.get(5)?;
            let newest = id
                .zip(at)
                .map(|(id, accepted_at)| NewestEvent { id, accepted_at });
            let mut counts = DeliveryState::ALL.map(|state| (state, 0));
            for (at, (_, count)) in counts.iter_mut().enumerate() {
                *count = row.get(6 + at)?;
            }
            Ok(Manifest {
                relay_version: row.get(0)?,
                schema_version: row.get(1)?,
                database_id: row.get(2)?,
                taken_at: row.get(3)?,
                newest,
                counts,
            })
        },
    )
}

/// The manifest that a database should have, by its content.
pub fn describe(sql: &Connection, taken_at: Timestamp) -> rusqlite::Result<Manifest> {
    Ok(Manifest {
        relay_version: env!("CARGO_PKG_VERSION").to_owned(),
        schema_version: sql.query_row("PRAGMA user_version", [], |row| row.get(0))?,
        database_id: settings::get(sql, settings::DATABASE_ID)?.unwrap_or_default(),
        taken_at,
        newest: newest(sql)?,
        counts: counts(sql)?,
    })
}

fn newest(sql: &Connection) -> rusqlite::Result<Option<NewestEvent>> {
    let found = sql.query_row(
        "SELECT id, random, surface, created_at FROM intents ORDER BY id DESC LIMIT 1",
        [],
        |row| {
            let surface = if row.get::<_, i64>(2)? == 0 {
                Surface::Relay
            } else {
                Surface::Event
            };
            Ok(NewestEvent {
                id: surface.public_id(intent_id(row, 0)?),
                accepted_at: row.get(3)?,
            })
        },
    );
    found.optional()
}

/// Deliveries by state: one pass through their table.
fn counts(sql: &Connection) -> rusqlite::Result<[(DeliveryState, i64); DeliveryState::ALL.len()]> {
    let mut counts = DeliveryState::ALL.map(|state| (state, 0));
    let mut statement = sql.prepare("SELECT state, count(*) FROM deliveries GROUP BY state")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let state: DeliveryState = row.get(0)?;
        let found = counts.iter_mut().find(|(known, _)| *known == state);
        if let Some((_, count)) = found {
            *count = row.get(1)?;
        }
    }
    Ok(counts)
}
