//! Opening a database: who may, which version, and the settings that durability rests on.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::OpenError;

/// The version of `schema.sql`, kept in `user_version`. A change of schema adds a numbered
/// migration to [`MIGRATIONS`] and counts up.
const VERSION: i64 = 1;

/// Migrations from version n (at index n - 1) to n + 1; each runs in one transaction.
const MIGRATIONS: [&str; 0] = [];

/// `RLAY`: tells relay's files from other people's (`file` and `sqlite3` show it).
const APPLICATION_ID: i64 = 0x524C_4159;

const SCHEMA: &str = include_str!("../../schema.sql");

/// How long a statement waits for another process, such as a command-line tool that writes.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The page cache of the writer: past 8 to 16 MB more memory brought nothing (measured).
const WRITER_CACHE_KIB: i64 = 8 * 1024;
/// The page cache of a reader: it serves single rows and pages of a list.
const READER_CACHE_KIB: i64 = 1024;

/// What each writing connection is set to and must then report.
const PRAGMAS: [(&str, &str, &str); 7] = [
    ("journal_mode", "WAL", "wal"),
    // FULL, because NORMAL loses acknowledged commits on power loss (measured).
    ("synchronous", "FULL", "2"),
    ("foreign_keys", "ON", "1"),
    ("journal_size_limit", "67108864", "67108864"),
    ("temp_store", "MEMORY", "2"),
    ("mmap_size", "0", "0"),
    // We checkpoint ourselves: SQLite's own hook throws the checkpoint's error away.
    ("wal_autocheckpoint", "0", "0"),
];

/// Refuses a file that isn't ours or is newer, without changing anything: reads the header alone,
/// as an immutable file, so that neither a WAL is replayed nor a lock or a file made.
///
/// Without its WAL a healthy database may look damaged: a checkpoint that a reader or a crash cut
/// short leaves a first page that announces more pages than the file has yet. So only what the WAL
/// can't change is believed here; anything else is for the real opening to judge.
pub(super) fn precheck(path: &Path) -> Result<(), OpenError> {
    match path.metadata() {
        Ok(metadata) if metadata.len() > 0 => {}
        _ => return Ok(()),
    }
    let unreadable = |source: rusqlite::Error| refused(path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(immutable_uri(path), flags).map_err(unreadable)?;
    match check_version(&connection, path) {
        Err(OpenError::NotADatabase { source, .. })
            if source.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) =>
        {
            Ok(())
        }
        Err(OpenError::Sqlite { .. }) | Ok(_) => Ok(()),
        Err(refused) => Err(refused),
    }
}

fn immutable_uri(path: &Path) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt as _;

    let mut uri = String::from("file:");
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(byte as char),
            _ if byte.is_ascii_alphanumeric() => uri.push(byte as char),
            _ => write!(uri, "%{byte:02X}").expect("writing to a String can't fail"),
        }
    }
    uri.push_str("?immutable=1");
    uri
}

fn refused(path: &Path, source: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            OpenError::NotADatabase { path, source }
        }
        _ => OpenError::Sqlite { path, source },
    }
}

/// The version of an existing database of ours; none when it is empty.
fn check_version(connection: &Connection, path: &Path) -> Result<Option<i64>, OpenError> {
    let number = |sql: &str| -> Result<i64, OpenError> {
        connection
            .query_row(sql, [], |row| row.get(0))
            .map_err(|source| refused(path, source))
    };
    let found = number("PRAGMA user_version")?;
    let application = number("PRAGMA application_id")?;
    if application == APPLICATION_ID {
        if found > VERSION {
            return Err(OpenError::Newer {
                path: path.to_owned(),
                found,
                known: VERSION,
            });
        }
        return Ok(Some(found));
    }
    if application != 0 || found != 0 || number("SELECT count(*) FROM sqlite_schema")? != 0 {
        return Err(OpenError::Foreign {
            path: path.to_owned(),
        });
    }
    Ok(None)
}

/// Opens the one connection that writes, with the schema in place.
pub(super) fn writer(path: &Path) -> Result<Connection, OpenError> {
    let failed = |source| refused(path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    keep_plans(&connection).map_err(failed)?;
    let version = check_version(&connection, path)?;
    if version.is_none() {
        // Only takes before the first table, and lets retention give space back later.
        connection
            .execute_batch("PRAGMA auto_vacuum = INCREMENTAL")
            .map_err(failed)?;
    }
    for (pragma, value, _) in PRAGMAS {
        connection
            .pragma_update_and_check(None, pragma, value, |_| Ok(()))
            .or_else(|error| match error {
                // Most pragmas answer nothing when set.
                rusqlite::Error::QueryReturnedNoRows => Ok(()),
                other => Err(other),
            })
            .map_err(failed)?;
    }
    connection
        .pragma_update(None, "cache_size", -WRITER_CACHE_KIB)
        .map_err(failed)?;
    for (pragma, _, expected) in PRAGMAS {
        let found = read_pragma(&connection, pragma).map_err(failed)?;
        if found != expected {
            return Err(OpenError::Pragma {
                path: path.to_owned(),
                pragma,
                found,
                expected,
            });
        }
    }
    migrate(&mut connection, version).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn read_pragma(connection: &Connection, pragma: &str) -> rusqlite::Result<String> {
    use rusqlite::types::ValueRef;
    connection.pragma_query_value(None, pragma, |row| {
        Ok(match row.get_ref(0)? {
            ValueRef::Integer(number) => number.to_string(),
            ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
            other => format!("{other:?}"),
        })
    })
}

fn migrate(connection: &mut Connection, version: Option<i64>) -> rusqlite::Result<()> {
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    match version {
        None => {
            transaction.execute_batch(SCHEMA)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        }
        Some(found) => {
            let done = usize::try_from(found - 1).unwrap_or(0);
            for migration in MIGRATIONS.iter().skip(done) {
                transaction.execute_batch(migration)?;
            }
        }
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

/// Plans don't depend on what is bound. Otherwise a parameter that is compared with a partial
/// index's column has its statement parsed and planned anew each time that it is bound: a third of
/// the writer's time (profiled).
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map(|_| ())
}

/// Sets up a connection of the readers' pool.
pub(super) fn reader(connection: &Connection) -> rusqlite::Result<()> {
    keep_plans(connection)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "query_only", "ON")?;
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_what_the_version_says() {
        assert_eq!(
            MIGRATIONS.len() + 1,
            usize::try_from(VERSION).expect("small")
        );
    }

    /// Read from the connection itself, so that no list of settings can agree with itself.
    #[test]
    fn the_writers_connection_syncs_every_commit_and_checks_references() {
        let directory = tempfile::tempdir().expect("a directory");
        let connection = writer(&directory.path().join("relay.db")).expect("it opens");
        let is = |pragma: &str| read_pragma(&connection, pragma).expect("a pragma");
        assert_eq!(is("synchronous"), "2", "FULL");
        assert_eq!(is("journal_mode"), "wal");
        assert_eq!(is("foreign_keys"), "1");
        assert_eq!(is("wal_autocheckpoint"), "0");
        assert_eq!(is("mmap_size"), "0");
        assert_eq!(is("auto_vacuum"), "2", "incremental");
    }

    #[test]
    fn statements_are_not_planned_anew_for_each_binding() {
        use rusqlite::StatementStatus;

        let directory = tempfile::tempdir().expect("a directory");
        let connection = writer(&directory.path().join("relay.db")).expect("it opens");
        // Both columns have a partial index that asks for just one value.
        let mut statement = connection
            .prepare("SELECT 1 FROM intents, deliveries WHERE surface = ?1 AND state = ?2")
            .expect("good SQL");
        for value in [0, 4, 1, 0, 4] {
            statement.exists([value, value]).expect("a query");
        }
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
    }

    #[test]
    fn odd_paths_are_quoted() {
        assert_eq!(
            immutable_uri(Path::new("a b/ü?#.db")),
            "file:a%20b/%C3%BC%3F%23.db?immutable=1"
        );
    }
}
