//! Opening a database: who may, which version, and the settings that durability rests on.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::lock::path_beside;
use super::notes::LockFileRecord;
use super::{OpenError, private};
use crate::clock::Timestamp;
use crate::model::IntentId;

/// The version of `schema.sql`, kept in `user_version`. A change of schema adds a numbered
/// migration to [`MIGRATIONS`] and counts up.
const VERSION: i64 = 4;

/// Migrations from version n (at index n - 1) to n + 1. All that are needed run in one transaction:
/// a file is of the version that it was of, or of this one, never in between.
const MIGRATIONS: [&str; 3] = [
    include_str!("migrations/2.sql"),
    include_str!("migrations/3.sql"),
    include_str!("migrations/4.sql"),
];

/// `RLAY`: tells relay's files from other people's (`file` and `sqlite3` show it).
const APPLICATION_ID: i64 = 0x524C_4159;

const SCHEMA: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/schema.sql"));

/// How long a statement waits for another process, such as a command-line tool that writes.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The page cache of the writer: past 8 to 16 MB more memory brought nothing (measured).
const WRITER_CACHE_KIB: i64 = 8 * 1024;
/// The page cache of a reader: it serves single rows and pages of a list.
const READER_CACHE_KIB: i64 = 1024;

/// What each writing connection is set to and must then report.
const PRAGMAS: [(&str, &str, &str); 9] = [
    ("journal_mode", "WAL", "wal"),
    // FULL, because NORMAL loses acknowledged commits on power loss (measured).
    ("synchronous", "FULL", "2"),
    // On macOS an fsync stops at the disk's cache: these two make it F_FULLFSYNC, for commits and for
    // checkpoints. Elsewhere they change nothing.
    ("fullfsync", "ON", "1"),
    ("checkpoint_fullfsync", "ON", "1"),
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
/// short leaves a first page that announces more pages than the file has yet, or a part of its last
/// page. So beside a WAL only what that can't change is believed here, and beside a journal, which
/// undoes a creation that was cut short, nothing: the rest is for the real opening to judge.
pub(super) fn precheck(path: &Path) -> Result<(), OpenError> {
    let size = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
    let is_alone = size(&path_beside(path, "-wal")) == 0;
    if size(path) == 0 || path_beside(path, "-journal").exists() {
        return Ok(());
    }
    let unreadable = |source: rusqlite::Error| refused(path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(immutable_uri(path), flags).map_err(unreadable)?;
    match check_version(&connection, path) {
        Err(OpenError::NotADatabase { source, .. })
            if source.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) && !is_alone =>
        {
            Ok(())
        }
        // SQLite would read what is missing of a last page as zeros.
        Ok(_)
            if is_alone
                && !size(path).is_multiple_of(page_size(&connection).map_err(unreadable)?) =>
        {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
            let what = Some("its last page is cut off".to_owned());
            Err(unreadable(rusqlite::Error::SqliteFailure(code, what)))
        }
        Err(OpenError::Sqlite { .. }) | Ok(_) => Ok(()),
        Err(refused) => Err(refused),
    }
}

fn page_size(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .query_row("PRAGMA page_size", [], |row| row.get::<_, u32>(0))
        .map(u64::from)
}

/// Refuses a file that is gone, or empty, and has to hold a row: SQLite would make a new one, and
/// throw away the WAL of an empty one.
fn not_gone(path: &Path, newest: i64) -> Result<(), OpenError> {
    if newest > 0 && path.metadata().map_or(0, |metadata| metadata.len()) == 0 {
        return Err(older(path, newest));
    }
    Ok(())
}

/// Refuses a database that lacks a row which is known to have been on the disk.
fn holds(connection: &Connection, path: &Path, newest: &dyn Fn() -> i64) -> Result<(), OpenError> {
    let expected = newest();
    if expected == 0 {
        return Ok(());
    }
    let found = match connection.query_row("SELECT max(id) FROM intents", [], |row| row.get(0)) {
        Ok(found) => found,
        // Without its WAL there may be no table yet.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) => None,
        Err(error) => return Err(refused(path, error)),
    };
    // Asked again: whoever deletes the newest row says so first.
    if found.unwrap_or(0) < expected && newest() == expected {
        return Err(older(path, expected));
    }
    Ok(())
}

fn older(path: &Path, newest: i64) -> OpenError {
    OpenError::Older {
        path: path.to_owned(),
        accepted_at: Timestamp::from_millis(IntentId::millis_of(newest)),
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

/// Opens the one connection that writes, with the schema in place. `newest` tells a row that the
/// database has to hold, or 0. What is refused stays as it is: see [`trust`].
pub(crate) fn writer(path: &Path, newest: &dyn Fn() -> i64) -> Result<Connection, OpenError> {
    not_gone(path, newest())?;
    let failed = |source| refused(path, source);
    private::create(path).map_err(|source| OpenError::Create {
        path: path.to_owned(),
        source,
    })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    keep_plans(&connection).map_err(failed)?;
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .map_err(failed)?;
    let version = check_version(&connection, path)?;
    holds(&connection, path, newest)?;
    // It is ours. Later files get the mode of the database from SQLite.
    private::restrict(path);
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
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Says that nothing is wrong with the database: from now on the connection's end may move the WAL
/// into it. Until then that could do harm to what somebody may still want to mend.
pub(super) fn trust(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
        .map(|_| ())
}

/// Opens a connection that does nothing but make a checkpoint, beside the writer's. Its pragmas are
/// those that durability rests on: the WAL is synced before pages are moved, and the database after.
pub(super) fn checkpointer(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.busy_timeout(Duration::ZERO)?;
    for (pragma, value) in [
        ("synchronous", "FULL"),
        ("fullfsync", "ON"),
        ("checkpoint_fullfsync", "ON"),
    ] {
        connection.pragma_update(None, pragma, value)?;
    }
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    Ok(connection)
}

/// Opens a command's own connection to a database of just this version.
pub(super) fn operator(path: &Path, access: OpenFlags) -> Result<Connection, OpenError> {
    let newest = || LockFileRecord::beside(path).newest;
    not_gone(path, newest())?;
    let failed = |source| refused(path, source);
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    keep_plans(&connection).map_err(failed)?;
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .map_err(failed)?;
    let version = check_version(&connection, path)?;
    // What a start would refuse isn't for commands either, which could do harm to it.
    holds(&connection, path, &newest)?;
    match version {
        Some(VERSION) => {}
        found => {
            return Err(OpenError::OtherVersion {
                path: path.to_owned(),
                found: found.unwrap_or(0),
                known: VERSION,
            });
        }
    }
    trust(&connection).map_err(failed)?;
    for (pragma, value) in [
        ("synchronous", "FULL"),
        ("fullfsync", "ON"),
        ("checkpoint_fullfsync", "ON"),
        ("foreign_keys", "ON"),
    ] {
        connection
            .pragma_update(None, pragma, value)
            .map_err(failed)?;
    }
    // The server checkpoints; a command's connection isn't there for long enough.
    connection
        .pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))
        .map_err(failed)?;
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
            if found < VERSION {
                log::info!(
                    "bringing the database from schema version {found} to {VERSION}: a large one takes a while"
                );
            }
            let done = usize::try_from(found - 1).unwrap_or(0);
            for migration in MIGRATIONS.iter().skip(done) {
                transaction.execute_batch(migration)?;
            }
        }
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

/// Why a migration doesn't fit the tables that are there, if it was that: in one line, while the error
/// has the whole of the migration in it.
fn does_not_fit(error: &rusqlite::Error) -> Option<String> {
    use rusqlite::Error::{SqlInputError, SqliteFailure};

    match error {
        SqlInputError { msg, .. } => Some(msg.clone()),
        SqliteFailure(error, why) if error.code == ErrorCode::Unknown => {
            Some(why.clone().unwrap_or_else(|| error.to_string()))
        }
        _ => None,
    }
}

/// Plans don't depend on what is bound. Otherwise a parameter that is compared with a partial
/// index's column has its statement parsed and planned anew each time that it is bound: a third of
/// the writer's time (profiled).
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map(|_| ())
}

/// Opens a connection for reading, outside of the pool.
pub(super) fn own_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    reader(&connection)?;
    Ok(connection)
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

    /// All that `SQLite` knows of a schema: columns with types and defaults, indexes, references.
    fn outline(sql: &Connection) -> Vec<String> {
        let mut outline: Vec<String> = [
            "SELECT m.name || '.' || c.name || ' ' || c.type || ' ' || c.\"notnull\" || ' '
                    || coalesce(c.dflt_value, '-') || ' ' || c.pk
             FROM sqlite_schema m, pragma_table_xinfo(m.name) c WHERE m.type = 'table'",
            "SELECT sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL",
            "SELECT m.name || '.' || f.\"from\" || ' -> ' || f.\"table\" || '.' || f.\"to\" || ' ' || f.on_delete
             FROM sqlite_schema m, pragma_foreign_key_list(m.name) f WHERE m.type = 'table'",
        ]
        .iter()
        .flat_map(|query| {
            let mut statement = sql.prepare(query).expect("good SQL");
            let rows = statement.query_map([], |row| row.get(0)).expect("rows");
            rows.collect::<Result<Vec<_>, _>>().expect("text")
        })
        .collect();
        outline.sort();
        outline
    }

    #[test]
    fn migrations_lead_to_the_schema() {
        let fresh = Connection::open_in_memory().expect("a database");
        fresh.execute_batch(SCHEMA).expect("the schema");
        let old = Connection::open_in_memory().expect("a database");
        old.execute_batch(include_str!("migrations/1.sql"))
            .expect("the first schema");
        for migration in MIGRATIONS {
            old.execute_batch(migration).expect("a migration");
        }
        assert_eq!(outline(&old), outline(&fresh));
        assert!(outline(&fresh).len() > 60);
    }

    #[test]
    fn an_older_file_is_brought_here_with_all_that_is_in_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("relay.db");
        {
            let old = Connection::open(&path).expect("a database");
            old.execute_batch(include_str!("migrations/1.sql"))
                .expect("the first schema");
            old.execute_batch(
                "INSERT INTO destinations (name, held_until) VALUES ('a', 5);
                 INSERT INTO intents VALUES (1, 2, 1, 3, 's', NULL, NULL, NULL, NULL, NULL, x'', x'7b7d');
                 INSERT INTO deliveries (intent_id, destination_id, state, updated_at, last_error) VALUES (1, 1, 4, 3, 'e');
                 INSERT INTO attempts VALUES (1, 1, 1, 1, 3, 4, 2, 410, 'e', x'');",
            )
            .expect("rows");
            old.pragma_update(None, "application_id", APPLICATION_ID)
                .expect("a pragma");
            old.pragma_update(None, "user_version", 1)
                .expect("a pragma");
        }
        let connection = writer(&path, &|| 0).expect("it opens");
        assert_eq!(
            read_pragma(&connection, "user_version").expect("a pragma"),
            VERSION.to_string()
        );
        let row: (i64, Option<i64>, i64, Option<String>) = connection
            .query_row(
                "SELECT t.held_until, t.probe_at, a.status_code, a.next FROM destinations t, attempts a",
                [],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
            )
            .expect("what was there");
        assert_eq!(row, (5, None, 410, None));
    }

    #[test]
    fn every_version_gives_up_the_reference_to_destinations_and_stays_sound() {
        for version in 1..VERSION {
            let directory = tempfile::tempdir().expect("a directory");
            let path = directory.path().join("relay.db");
            let old = Connection::open(&path).expect("a database");
            old.execute_batch("PRAGMA journal_mode = WAL")
                .expect("a pragma");
            old.execute_batch(include_str!("migrations/1.sql"))
                .expect("the first schema");
            let steps = usize::try_from(version - 1).expect("few");
            for migration in &MIGRATIONS[..steps] {
                old.execute_batch(migration).expect("a migration");
            }
            old.execute_batch(
                "INSERT INTO destinations (name) VALUES ('a'), ('http://b'), ('http://c');
                 INSERT INTO intents VALUES (1, 2, 1, 3, 's', NULL, NULL, NULL, NULL, NULL, x'', x'7b7d');
                 INSERT INTO deliveries (intent_id, destination_id, state, updated_at, last_error)
                 VALUES (1, 1, 4, 3, 'e');
                 INSERT INTO attempts (intent_id, destination_id, entry, attempt, started_at, duration_ms, outcome)
                 VALUES (1, 1, 1, 1, 3, 4, 2);",
            )
            .expect("rows");
            old.pragma_update(None, "application_id", APPLICATION_ID)
                .expect("a pragma");
            old.pragma_update(None, "user_version", version)
                .expect("a pragma");
            let migrated = writer(&path, &|| 0).expect("it opens");
            let reopened = Connection::open(&path).expect("it opens");
            // One that has been open all the while reads the new schema, too.
            for sql in [&migrated, &reopened, &old] {
                let check: String = sql
                    .query_row("PRAGMA integrity_check", [], |row| row.get(0))
                    .expect("a check");
                assert_eq!(check, "ok", "from version {version}");
                let mut statement = sql
                    .prepare("SELECT \"table\" FROM pragma_foreign_key_list('deliveries')")
                    .expect("good SQL");
                let references: Vec<String> = statement
                    .query_map([], |row| row.get(0))
                    .expect("rows")
                    .collect::<Result<_, _>>()
                    .expect("text");
                assert_eq!(references, ["intents"], "from version {version}");
            }
            migrated
                .execute_batch(
                    "DELETE FROM destinations WHERE id = 2;
                     UPDATE deliveries SET destination_id = destination_id;
                     DELETE FROM intents WHERE id = 1;",
                )
                .expect("the other references hold");
            let left: i64 = migrated
                .query_row("SELECT count(*) FROM attempts", [], |row| row.get(0))
                .expect("a count");
            assert_eq!(left, 0);
        }
    }

    /// Read from the connection itself, so that no list of settings can agree with itself.
    #[test]
    fn the_writers_connection_syncs_every_commit_and_checks_references() {
        let directory = tempfile::tempdir().expect("a directory");
        let connection = writer(&directory.path().join("relay.db"), &|| 0).expect("it opens");
        let is = |pragma: &str| read_pragma(&connection, pragma).expect("a pragma");
        assert_eq!(is("synchronous"), "2", "FULL");
        assert_eq!(is("fullfsync"), "1");
        assert_eq!(is("checkpoint_fullfsync"), "1");
        assert_eq!(is("journal_mode"), "wal");
        assert_eq!(is("foreign_keys"), "1");
        assert_eq!(is("wal_autocheckpoint"), "0");
        assert_eq!(is("mmap_size"), "0");
        assert_eq!(is("auto_vacuum"), "2", "incremental");
    }

    #[test]
    fn a_commands_connection_syncs_every_commit() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("relay.db");
        drop(writer(&path, &|| 0).expect("it opens"));
        let connection = operator(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).expect("it opens");
        let is = |pragma: &str| read_pragma(&connection, pragma).expect("a pragma");
        assert_eq!(is("synchronous"), "2", "FULL");
        assert_eq!(is("fullfsync"), "1");
        assert_eq!(is("checkpoint_fullfsync"), "1");
        assert_eq!(is("foreign_keys"), "1");
    }

    #[test]
    fn statements_are_not_planned_anew_for_each_binding() {
        use rusqlite::StatementStatus;

        let directory = tempfile::tempdir().expect("a directory");
        let connection = writer(&directory.path().join("relay.db"), &|| 0).expect("it opens");
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
