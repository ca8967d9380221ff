//! Checks that a database may be opened: it is relay's, of a known version, and has all
//! acknowledged events.

use std::io::ErrorKind;
use std::path::Path;

use rusqlite::{Connection, ErrorCode};
use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::migrate::{APPLICATION_ID, VERSION};
use crate::store::error::OpenError;
use crate::store::sqlite::paths::{directory_of, path_beside};
use crate::store::types::IntentRow;

/// The user whose rights a command needs.
pub const AS_SERVER: &str = "to be run by the user that relay serve runs as";

/// Refuses a file that this user has too few rights to, and anything else than a file: `SQLite`
/// would name neither cause nor remedy. Opens nothing, and says nothing of a file that is missing.
pub fn permit(path: &Path, wanted: Access, expected: &'static str) -> Result<(), OpenError> {
    let denied = |path: &Path, source: std::io::Error| OpenError::Denied {
        path: path.to_owned(),
        expected: expected_of(&source, expected),
        source,
    };
    match path.metadata() {
        Ok(found) if found.is_file() => {}
        Ok(_) => {
            return Err(OpenError::NoFile {
                path: path.to_owned(),
            });
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Err(denied(path, error));
        }
        Err(_) => return Ok(()),
    }
    match access(path, wanted) {
        // If anything else is wrong, the opening says what.
        Err(error @ (Errno::ACCESS | Errno::ROFS)) => Err(denied(path, error.into())),
        _ => Ok(()),
    }
}

/// The same for a database, beside which `SQLite` has to create files unless they are there.
pub fn permit_database(
    path: &Path,
    wanted: Access,
    expected: &'static str,
) -> Result<(), OpenError> {
    permit(path, wanted, expected)?;
    let directory = directory_of(path);
    let is_there = |ending: &str| path_beside(path, ending).exists();
    if !path.exists() || is_there("-wal") && is_there("-shm") {
        return Ok(());
    }
    match access(directory, Access::WRITE_OK) {
        Err(error @ (Errno::ACCESS | Errno::ROFS)) => Err(OpenError::Denied {
            path: directory.to_owned(),
            expected: expected_of(&error.into(), expected),
            source: error.into(),
        }),
        _ => Ok(()),
    }
}

/// The expectation of a refusal: no rights help on a file system that nobody may write to.
fn expected_of(error: &std::io::Error, rights: &'static str) -> &'static str {
    match error.kind() {
        ErrorKind::ReadOnlyFilesystem => "a file system that can be written to",
        _ => rights,
    }
}

/// Refuses a missing or empty file that should hold a row: `SQLite` would create a new database,
/// and delete the WAL of an empty one.
pub fn exists(path: &Path, newest: i64) -> Result<(), OpenError> {
    if newest > 0 && path.metadata().map_or(0, |metadata| metadata.len()) == 0 {
        return Err(older(path, newest));
    }
    Ok(())
}

/// Refuses a database without a row that is known to have been on the disk.
pub fn holds(
    connection: &Connection,
    path: &Path,
    newest: &dyn Fn() -> i64,
) -> Result<(), OpenError> {
    let expected = newest();
    if expected == 0 {
        return Ok(());
    }
    let found = match connection.query_row("SELECT max(id) FROM intents", [], |row| row.get(0)) {
        Ok(found) => found,
        // Without its WAL the database may have no table yet.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) => None,
        Err(error) => return Err(refused(path, error)),
    };
    // Asked again: a command that deletes the newest row clears the number first.
    if found.unwrap_or(0) < expected && newest() == expected {
        return Err(older(path, expected));
    }
    Ok(())
}

fn older(path: &Path, newest: i64) -> OpenError {
    OpenError::Older {
        path: path.to_owned(),
        accepted_at: IntentRow(newest).accepted_at(),
    }
}

/// The error of a database that `SQLite` refuses.
pub fn refused(path: &Path, source: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => OpenError::NotADatabase {
            path,
            source: source.into(),
        },
        _ => OpenError::Rejected {
            path,
            source: source.into(),
        },
    }
}

/// The schema version of a database of relay's; none if the file is empty.
pub fn check_version(connection: &Connection, path: &Path) -> Result<Option<i64>, OpenError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_only_file_system_asks_for_no_other_user() {
        let expected = |error: Errno| expected_of(&error.into(), AS_SERVER);
        assert_eq!(expected(Errno::ACCESS), AS_SERVER);
        assert_eq!(
            expected(Errno::ROFS),
            "a file system that can be written to"
        );
    }
}
