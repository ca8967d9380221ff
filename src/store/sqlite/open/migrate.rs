//! The schema's versions, and the migrations between them.

use rusqlite::{Connection, ErrorCode};

/// The version of `schema.sql`, kept in `user_version`. A change of the schema adds a numbered
/// migration to [`MIGRATIONS`] and counts up.
pub const VERSION: i64 = 6;

/// Migrations from version n (at index n - 1) to n + 1. All that are needed run in one transaction:
/// a file has its old version or this one, never one in between.
pub const MIGRATIONS: [&str; 5] = [
    include_str!("../migrations/2.sql"),
    include_str!("../migrations/3.sql"),
    include_str!("../migrations/4.sql"),
    include_str!("../migrations/5.sql"),
    include_str!("../migrations/6.sql"),
];

/// `RLAY`: tells relay's files from others (`file` and `sqlite3` show it).
pub const APPLICATION_ID: i64 = 0x524C_4159;

pub const SCHEMA: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/schema.sql"));

/// Creates the schema, or brings it from an older version to this one.
pub fn migrate(connection: &mut Connection, version: Option<i64>) -> rusqlite::Result<()> {
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

/// The reason in one line, if a migration failed because the tables don't fit it; the error itself
/// contains the whole migration.
pub fn does_not_fit(error: &rusqlite::Error) -> Option<String> {
    use rusqlite::Error::{SqlInputError, SqliteFailure};

    match error {
        SqlInputError { msg, .. } => Some(msg.clone()),
        SqliteFailure(error, why) if error.code == ErrorCode::Unknown => {
            Some(why.clone().unwrap_or_else(|| error.to_string()))
        }
        _ => None,
    }
}
