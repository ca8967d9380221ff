//! Maps errors of `SQLite` to errors of the store.

use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
use rustix::io::Errno;

use crate::store::error::StoreError;

/// Whether this process, or this machine, can open no more files.
fn is_short_of_descriptors() -> bool {
    // SQLite needs two at once, as a pipe does: the WAL and its index.
    let refused = std::io::pipe().err();
    let code = refused.as_ref().and_then(Errno::from_io_error);
    matches!(code, Some(Errno::MFILE | Errno::NFILE))
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        // A lack of room for the -shm file is an I/O error of its own, and heals like a full disk.
        let is_shm_full = error
            .sqlite_error()
            .is_some_and(|error| error.extended_code == SQLITE_IOERR_SHMSIZE);
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::SystemIoFailure) if is_shm_full => Self::Full,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            // That some files can't be opened for a while says nothing about those of the database.
            Some(ErrorCode::CannotOpen) if is_short_of_descriptors() => Self::Busy,
            Some(
                ErrorCode::SystemIoFailure
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::FileLockingProtocolFailed,
            ) => Self::Broken(error.into()),
            _ => Self::Rejected(error.into()),
        }
    }
}
