//! A first look at a file, which changes nothing.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::Access;

use super::checks::{check_version, permit_database, refused};
use crate::store::error::{EngineError, OpenError};
use crate::store::sqlite::paths::path_beside;

/// Refuses a file that isn't relay's or is newer, without changing anything: reads the header
/// alone, as an immutable file, so that no WAL is replayed and no lock or file is created.
///
/// Without its WAL a healthy database may look damaged: a checkpoint that a reader or a crash cut
/// short leaves a first page that announces more pages than the file has yet, or a part of its last
/// page. So beside a WAL only facts that the WAL can't change are believed here, and beside a
/// journal, which undoes a creation that was cut short, nothing: the real opening judges the rest.
pub fn precheck(path: &Path) -> Result<(), OpenError> {
    let wanted = Access::READ_OK | Access::WRITE_OK;
    let expected = "a file and a directory that this user may read and write";
    permit_database(path, wanted, expected)?;
    let size = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
    let is_alone = size(&path_beside(path, "-wal")) == 0;
    if size(path) == 0 || path_beside(path, "-journal").exists() {
        return Ok(());
    }
    let unreadable = |source: rusqlite::Error| refused(path, source);
    let connection = immutable(path).map_err(unreadable)?;
    match check_version(&connection, path) {
        Err(OpenError::NotADatabase { source, .. }) if is_corrupt(&source) && !is_alone => Ok(()),
        // SQLite would read the missing part of a last page as zeros.
        Ok(_)
            if is_alone
                && !size(path).is_multiple_of(page_size(&connection).map_err(unreadable)?) =>
        {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
            let what = Some("its last page is cut off".to_owned());
            Err(unreadable(rusqlite::Error::SqliteFailure(code, what)))
        }
        Err(OpenError::Rejected { .. }) | Ok(_) => Ok(()),
        Err(refused) => Err(refused),
    }
}

/// Opens a file that nobody changes, to read it: without a lock, and without its WAL.
pub fn immutable(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(immutable_uri(path), flags)
}

fn page_size(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .query_row("PRAGMA page_size", [], |row| row.get::<_, u32>(0))
        .map(u64::from)
}

fn is_corrupt(error: &EngineError) -> bool {
    let code = error
        .downcast_ref::<rusqlite::Error>()
        .and_then(rusqlite::Error::sqlite_error_code);
    code == Some(ErrorCode::DatabaseCorrupt)
}

/// The path as a URI that tells `SQLite` that nobody changes the file.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_paths_are_quoted() {
        assert_eq!(
            immutable_uri(Path::new("a b/ü?#.db")),
            "file:a%20b/%C3%BC%3F%23.db?immutable=1"
        );
    }
}
