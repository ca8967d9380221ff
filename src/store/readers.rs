//! The pool of connections that read.

use std::path::Path;
use std::time::Duration;

use r2d2::{ManageConnection, Pool};
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, OpenFlags};

use super::{OpenError, open};

/// How long a reader is waited for: more means overload, which is better said than sat out.
const READER_TIMEOUT: Duration = Duration::from_secs(1);

/// Opens readers, and closes one that comes back in a transaction.
pub(super) struct Readers(SqliteConnectionManager);

impl ManageConnection for Readers {
    type Connection = Connection;
    type Error = rusqlite::Error;

    fn connect(&self) -> rusqlite::Result<Connection> {
        self.0.connect()
    }

    fn is_valid(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        self.0.is_valid(connection)
    }

    /// A ROLLBACK that failed leaves the snapshot in place: the WAL could never be emptied again.
    fn has_broken(&self, connection: &mut Connection) -> bool {
        !connection.is_autocommit()
    }
}

pub(super) fn pool(path: &Path, readers: u32) -> Result<Pool<Readers>, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let manager = SqliteConnectionManager::file(path)
        .with_flags(flags)
        .with_init(|connection| open::reader(connection));
    Pool::builder()
        .max_size(readers)
        // Opened when first needed: an idle relay holds no page caches.
        .min_idle(Some(0))
        .test_on_check_out(false)
        .connection_timeout(READER_TIMEOUT)
        .build(Readers(manager))
        .map_err(|source| OpenError::Pool {
            path: path.to_owned(),
            source,
        })
}
