//! Settings of connections, among them those that durability depends on.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Result};

use crate::store::error::OpenError;
use crate::store::sqlite::limits::BUSY_TIMEOUT;

/// The page cache of the writer: past 8 to 16 MB more memory brought nothing (measured).
const WRITER_CACHE_KIB: i64 = 8 * 1024;
/// The page cache of a reader: it serves single rows and pages of a list.
const READER_CACHE_KIB: i64 = 1024;

/// Pragmas of the writing connection: name, value, and the value that it must then report.
const PRAGMAS: [(&str, &str, &str); 10] = [
    ("journal_mode", "WAL", "wal"),
    // FULL, because NORMAL loses acknowledged commits on power loss (measured).
    ("synchronous", "FULL", "2"),
    // On macOS an fsync stops at the disk's cache: these two make it F_FULLFSYNC, for commits and
    // for checkpoints. Elsewhere they have no effect.
    ("fullfsync", "ON", "1"),
    ("checkpoint_fullfsync", "ON", "1"),
    ("foreign_keys", "ON", "1"),
    ("journal_size_limit", "67108864", "67108864"),
    ("temp_store", "MEMORY", "2"),
    // Deleted rows are overwritten within their page. Whole pages are overwritten only while
    // something is erased, since that costs I/O.
    ("secure_delete", "FAST", "2"),
    ("mmap_size", "0", "0"),
    // The writer checkpoints: SQLite's own hook discards a checkpoint's error.
    ("wal_autocheckpoint", "0", "0"),
];

/// Sets up the writing connection, and verifies its settings.
pub fn set_writer(
    connection: &Connection,
    path: &Path,
    failed: impl Fn(rusqlite::Error) -> OpenError,
) -> std::result::Result<(), OpenError> {
    for (pragma, value, _) in PRAGMAS {
        connection
            .pragma_update_and_check(None, pragma, value, |_| Ok(()))
            .or_else(|error| match error {
                // Most pragmas return no row when set.
                rusqlite::Error::QueryReturnedNoRows => Ok(()),
                other => Err(other),
            })
            .map_err(&failed)?;
    }
    connection
        .pragma_update(None, "cache_size", -WRITER_CACHE_KIB)
        .map_err(&failed)?;
    for (pragma, _, expected) in PRAGMAS {
        let found = read_pragma(connection, pragma).map_err(&failed)?;
        if found != expected {
            return Err(OpenError::Setting {
                path: path.to_owned(),
                setting: format!("PRAGMA {pragma}"),
                found,
                expected,
            });
        }
    }
    Ok(())
}

/// Sets up a command's connection.
pub fn set_operator(connection: &Connection) -> Result<()> {
    set_durable(connection)?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.pragma_update(None, "secure_delete", "FAST")?;
    // The server checkpoints; a command's connection is too short-lived.
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))
}

/// Sets up a connection that only makes a checkpoint: the WAL is synced before pages are moved, and
/// the database after.
pub fn set_checkpointer(connection: &Connection) -> Result<()> {
    connection.busy_timeout(Duration::ZERO)?;
    set_durable(connection)?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))
}

/// Sets up the connection to a copy that is synced as a whole once it is complete. Pages that it
/// takes over are zeroed before it uses them.
pub fn set_copy(connection: &Connection) -> Result<()> {
    for (pragma, value) in [
        ("journal_mode", "OFF"),
        ("synchronous", "OFF"),
        ("secure_delete", "ON"),
        ("temp_store", "MEMORY"),
    ] {
        connection
            .pragma_update_and_check(None, pragma, value, |_| Ok(()))
            .or_else(|error| match error {
                rusqlite::Error::QueryReturnedNoRows => Ok(()),
                other => Err(other),
            })?;
    }
    Ok(())
}

fn set_durable(connection: &Connection) -> Result<()> {
    for (pragma, value) in [
        ("synchronous", "FULL"),
        ("fullfsync", "ON"),
        ("checkpoint_fullfsync", "ON"),
    ] {
        connection.pragma_update(None, pragma, value)?;
    }
    Ok(())
}

/// Sets up a connection for reading.
pub fn set_reader(connection: &Connection) -> Result<()> {
    keep_plans(connection)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "query_only", "ON")?;
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}

/// Makes plans independent of bound values. Otherwise a statement that compares a parameter with a
/// partial index's column is parsed and planned anew each time the parameter is bound: a third of
/// the writer's time (profiled).
pub fn keep_plans(connection: &Connection) -> Result<()> {
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map(|_| ())
}

/// Whether the connection's end leaves the WAL in place.
pub fn keep_wal_on_close(connection: &Connection, is_kept: bool) -> Result<()> {
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, is_kept)
        .map(|_| ())
}

pub fn read_pragma(connection: &Connection, pragma: &str) -> Result<String> {
    connection.pragma_query_value(None, pragma, |row| {
        Ok(match row.get_ref(0)? {
            ValueRef::Integer(number) => number.to_string(),
            ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
            other => format!("{other:?}"),
        })
    })
}
