//! Facts that outlive a process, by name.

use rusqlite::types::{FromSql, ToSql};
use rusqlite::{Connection, OptionalExtension as _, params};

/// Tells the copies of one database from those of another one.
pub const DATABASE_ID: &str = "database_id";
/// The last event without a checksum.
pub const UNCHECKED_TO: &str = "unchecked_to";
/// Set while nothing is sent.
pub const HELD: &str = "held";
/// The moment of the last scheduled backup, by relay's clock.
pub const LAST_BACKUP: &str = "last_backup";

/// A fact, if it is known.
pub fn get<T: FromSql>(sql: &Connection, name: &str) -> rusqlite::Result<Option<T>> {
    sql.prepare_cached("SELECT value FROM settings WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

/// Sets a fact.
pub fn set(sql: &Connection, name: &str, value: &dyn ToSql) -> rusqlite::Result<()> {
    sql.prepare_cached("INSERT OR REPLACE INTO settings (name, value) VALUES (?1, ?2)")?
        .execute(params![name, value])?;
    Ok(())
}

/// Forgets a fact; whether it was known.
pub fn remove(sql: &Connection, name: &str) -> rusqlite::Result<bool> {
    let removed = sql
        .prepare_cached("DELETE FROM settings WHERE name = ?1")?
        .execute([name])?;
    Ok(removed > 0)
}
