//! Whether a server can keep relay's promises, and whether its tables are those of this version.

use tokio_postgres::Row;

use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::{Class, Failure};

/// The version of `schema.sql`.
const VERSION: i32 = 1;

/// The oldest version whose statements `schema.sql` works with: nodes of both run side by side
/// while an upgrade goes from one to the next. Raised only by a change that nodes of the version
/// before have long been ready for.
const MINIMUM: i32 = 1;

/// The oldest server: version 14, as its own number.
const OLDEST_SERVER: i32 = 140_000;

const SCHEMA: &str = include_str!("schema.sql");

/// The treatment of a database without relay's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    IsAnError,
    IsCreated,
}

/// Checks the settings that durability depends on, and the version of the tables; creates them if
/// there are none. Any number of nodes may do so at once. The failure is one line.
pub fn prepare(sql: &mut Connection, absent: Absent) -> Result<(), Failure> {
    check_settings(sql)?;
    // Twice at most: once another node has created the tables, they are there.
    for _ in 0..2 {
        if let Some(found) = version(sql)? {
            return found.check();
        }
        if absent == Absent::IsAnError {
            let problem = "relay has no tables here; expected the database that relay serve uses \
                           (database.url)";
            return Err(Failure::unexpected(problem.to_owned()));
        }
        create(sql)?;
    }
    match version(sql)? {
        Some(found) => found.check(),
        None => Err(Failure::unexpected(
            "the schema \"relay\" is there, without relay's tables: it is somebody else's; \
             expected a database of relay's own"
                .to_owned(),
        )),
    }
}

/// The versions of the tables, as they were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchemaVersion {
    version: i32,
    /// The oldest version of a node that they work with.
    minimum: i32,
}

impl SchemaVersion {
    pub const SELECT: &str = "SELECT version, minimum FROM relay.about";

    /// The answer to [`Self::SELECT`].
    pub fn of(row: &Row) -> Result<Self, Failure> {
        Ok(Self {
            version: row.try_get(0)?,
            minimum: row.try_get(1)?,
        })
    }

    /// Why a node of this version can't work with them; none if it can.
    pub fn problem(self) -> Option<String> {
        let Self { version, minimum } = self;
        if version < VERSION {
            return Some(format!(
                "has schema version {version}, older than this relay's {VERSION}, which can't \
                 bring it up to date; nothing was changed"
            ));
        }
        (minimum > VERSION).then(|| {
            format!(
                "has schema version {version}, newer than this relay's {VERSION}, and works with \
                 {minimum} or newer; use the newer binary; nothing was changed"
            )
        })
    }

    fn check(self) -> Result<(), Failure> {
        let problem = self.problem();
        problem.map_or(Ok(()), |problem| Err(Failure::unexpected(problem)))
    }
}

/// Whether there are no tables of relay's.
pub fn is_empty(sql: &mut Connection) -> Result<bool, Failure> {
    Ok(version(sql)?.is_none())
}

/// The versions of the tables; none if there are none.
fn version(sql: &mut Connection) -> Result<Option<SchemaVersion>, Failure> {
    const IS_THERE: &str = "SELECT to_regclass('relay.about') IS NOT NULL";
    let is_there: bool = sql.one(IS_THERE, &[])?.try_get(0)?;
    if !is_there {
        return Ok(None);
    }
    match sql.first(SchemaVersion::SELECT, &[])? {
        Some(row) => Ok(Some(SchemaVersion::of(&row)?)),
        None => Err(Failure::unexpected(
            "relay.about has no row: the tables were changed by somebody else; restore them from a \
             backup"
                .to_owned(),
        )),
    }
}

/// Creates the tables. That another node does so is no failure: this one's transaction waits until
/// the other's has ended, and is undone.
fn create(sql: &mut Connection) -> Result<(), Failure> {
    let about = format!(
        "INSERT INTO relay.about (version, minimum, installation)
             VALUES ({VERSION}, {MINIMUM}, gen_random_uuid());
         INSERT INTO relay.buckets (bucket)
             SELECT generate_series(0, (SELECT buckets FROM relay.about) - 1);"
    );
    // One message, so one transaction.
    match sql.batch(&format!("{SCHEMA}\n{about}")) {
        // Another's schema, or its row of pg_namespace.
        Err(failure) if failure.code() == Some("42P06") => Ok(()),
        Err(failure) if failure.class() == Class::Duplicate => Ok(()),
        made => made,
    }
}

/// Settings, by their column in [`check_settings`]: what each must be, and why.
const REQUIRED: [(usize, &str, &[&str], &str); 6] = [
    (
        2,
        "fsync",
        &["on"],
        "acknowledged events would be lost with the server's power",
    ),
    (
        3,
        "full_page_writes",
        &["on"],
        "a crash of the server could damage its files",
    ),
    (
        4,
        "synchronous_commit",
        &["on", "local", "remote_write", "remote_apply"],
        "acknowledged events would be lost with a crash of the server",
    ),
    (5, "server_encoding", &["UTF8"], "names are UTF-8"),
    (
        6,
        "default_transaction_isolation",
        &["read committed"],
        "statements are written for it",
    ),
    (7, "default_transaction_read_only", &["off"], "relay writes"),
];

/// Reads back the settings that relay's promises depend on. A session without those of the planner,
/// which a pooler may drop, is only slower: it is taken, and logged.
fn check_settings(sql: &mut Connection) -> Result<(), Failure> {
    const SETTINGS: &str = "SELECT current_setting('server_version_num')::int,
            current_setting('server_version'),
            current_setting('fsync'), current_setting('full_page_writes'),
            current_setting('synchronous_commit'), current_setting('server_encoding'),
            current_setting('transaction_isolation'), current_setting('transaction_read_only'),
            current_setting('enable_seqscan'), current_setting('synchronous_standby_names')";
    let row = sql.one(SETTINGS, &[])?;
    let setting = |at| row.try_get::<_, String>(at);
    if row.try_get::<_, i32>(0)? < OLDEST_SERVER {
        let problem = format!("PostgreSQL {}: expected version 14 or newer", setting(1)?);
        return Err(Failure::unexpected(problem));
    }
    for (at, name, allowed, reason) in REQUIRED {
        let found = setting(at)?;
        if !allowed.contains(&found.as_str()) {
            let allowed = allowed.join(", ");
            let problem = format!("{name} is {found}, expected {allowed}: {reason}");
            return Err(Failure::unexpected(problem));
        }
    }
    if setting(8)? != "off" {
        log::warn!(
            "a pooler drops the settings of relay's sessions, and statements may become slow: \
             expected ALTER ROLE … SET enable_seqscan = off, as docs/postgres.md says"
        );
    }
    if setting(9)?.is_empty() {
        log::warn!(
            "synchronous_standby_names is empty: an acknowledged event survives a crash of the \
             server, but not the loss of its disk, nor a failover to a standby that lags"
        );
    }
    Ok(())
}
