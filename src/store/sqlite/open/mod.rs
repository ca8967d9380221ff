//! Opens connections to a database.
//!
//! - `precheck`, `checks`: which file may be opened. `migrate`: the schema's versions. `pragmas`:
//!   the settings of connections, among them those that durability depends on.

mod checks;
mod migrate;
mod pragmas;
mod precheck;

use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use rustix::fs::Access;

pub use checks::{AS_SERVER, permit};
pub use migrate::VERSION;
pub use pragmas::set_reader;
pub use precheck::{immutable, precheck};

use self::checks::{check_version, exists, holds, permit_database, refused};
use self::migrate::{does_not_fit, migrate};
use super::limits::BUSY_TIMEOUT;
use super::lock_file::LockFileRecord;
use super::paths::path_beside;
use super::private;
use crate::store::error::OpenError;

/// Statements that the writing connection keeps prepared.
const STATEMENTS: usize = 64;

/// Creates an empty database, unless it exists. `newest` tells a row that it must hold, or 0.
pub fn create(path: &Path, newest: i64) -> Result<(), OpenError> {
    exists(path, newest)?;
    private::create(path).map_err(|source| OpenError::Create {
        path: path.to_owned(),
        source,
    })
}

/// The same for a command that may run as the superuser.
pub fn create_by_command(path: &Path, newest: i64) -> Result<(), OpenError> {
    exists(path, newest)?;
    private::create_for_owner(path).map_err(|source| OpenError::Create {
        path: path.to_owned(),
        source,
    })
}

/// Opens the one connection that writes, with the schema in place. `newest` tells a row that the
/// database must hold, or 0. A refused database is left unchanged: see [`trust`].
pub fn writer(path: &Path, newest: &dyn Fn() -> i64) -> Result<Connection, OpenError> {
    create(path, newest())?;
    let failed = |source| refused(path, source);
    let mut connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
    let version = check_version(&connection, path)?;
    holds(&connection, path, newest)?;
    // It is relay's. Later files get the mode of the database from SQLite.
    private::restrict(path);
    if version.is_none() {
        // Only takes effect before the first table; lets retention give space back later.
        connection
            .execute_batch("PRAGMA auto_vacuum = INCREMENTAL")
            .map_err(failed)?;
    }
    pragmas::set_writer(&connection, path, failed)?;
    if version != Some(VERSION) {
        migrate(&mut connection, version).map_err(|source| {
            match (version, does_not_fit(&source)) {
                (Some(found), Some(why)) => OpenError::Unlike {
                    path: path.to_owned(),
                    found,
                    why,
                },
                _ => failed(source),
            }
        })?;
    }
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// Opens a connection that leaves the WAL in place when it ends: see [`trust`].
fn open(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    pragmas::keep_plans(&connection)?;
    pragmas::keep_wal_on_close(&connection, true)?;
    Ok(connection)
}

/// Nothing is wrong with the database: from now on the connection's end may move the WAL into it.
/// Before that, doing so could harm a database that somebody may still want to repair.
pub fn trust(connection: &Connection) -> rusqlite::Result<()> {
    pragmas::keep_wal_on_close(connection, false)
}

/// Opens a connection that only makes a checkpoint, beside the writer's.
pub fn checkpointer(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    pragmas::keep_wal_on_close(&connection, true)?;
    pragmas::set_checkpointer(&connection)?;
    Ok(connection)
}

/// Opens a command's own connection to a database of exactly this version.
pub fn operator(path: &Path, access: OpenFlags) -> Result<Connection, OpenError> {
    let mut wanted = Access::READ_OK;
    wanted.set(
        Access::WRITE_OK,
        access.contains(OpenFlags::SQLITE_OPEN_READ_WRITE),
    );
    permit_database(path, wanted, AS_SERVER)?;
    permit(&path_beside(path, ".lock"), Access::READ_OK, AS_SERVER)?;
    let newest = || LockFileRecord::beside(path).newest;
    exists(path, newest())?;
    if !path.is_file() {
        return Err(OpenError::Missing {
            path: path.to_owned(),
        });
    }
    let failed = |source| refused(path, source);
    let connection = open(path, access).map_err(failed)?;
    let version = check_version(&connection, path)?;
    // A command refuses a database that a start would refuse: it could harm it.
    holds(&connection, path, &newest)?;
    if version != Some(VERSION) {
        return Err(OpenError::OtherVersion {
            path: path.to_owned(),
            found: version.unwrap_or(0),
            known: VERSION,
        });
    }
    trust(&connection).map_err(failed)?;
    pragmas::set_operator(&connection).map_err(failed)?;
    Ok(connection)
}

/// Opens a connection for a read that lasts: that of a backup.
pub fn snapshot(path: &Path) -> rusqlite::Result<Connection> {
    let sql = reader(path)?;
    // Without a server it may be the last connection, and must leave everything as it was.
    pragmas::keep_wal_on_close(&sql, true)?;
    Ok(sql)
}

/// Opens a copy of a database that nobody else knows. It needs neither locks nor a journal: if
/// something goes wrong, the file is removed.
pub fn copy(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let sql = Connection::open_with_flags_and_vfs(path, flags, c"unix-none")?;
    pragmas::set_copy(&sql)?;
    Ok(sql)
}

/// Opens a connection for reading, outside the pool.
pub fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    set_reader(&connection)?;
    Ok(connection)
}

#[cfg(test)]
mod tests;
