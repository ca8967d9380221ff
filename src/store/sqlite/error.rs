use std::path::PathBuf;

use crate::clock::Timestamp;

use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
use thiserror::Error;

/// Why the store didn't do what it was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The writer's queue is full.
    #[error("the write queue is full")]
    Overloaded,
    /// The disk is full, or has less free space than `database.min_free_bytes`.
    #[error("the disk is full, or nearly so")]
    DiskFull,
    /// Another process holds the database, or no reader is free.
    #[error("the database is busy")]
    Busy,
    /// The store has stopped, or is stopping.
    #[error("the store has stopped")]
    Stopped,
    /// The file or the disk can't be trusted any more: the process must end.
    #[error("the database failed: {0}")]
    Broken(rusqlite::Error),
    /// A file of the database was removed or replaced while it was in use, so that another server may
    /// own the database: the process must end.
    #[error("{0}")]
    Displaced(String),
    /// A row that should be there is not, or doesn't read as it should.
    #[error("the database holds what it should not: {0}")]
    Unexpected(String),
    /// Anything else that SQLite says.
    #[error("the database refused: {0}")]
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        // No room for the -shm file comes as an I/O error of its own, and heals like a full disk.
        let is_shm_full = error
            .sqlite_error()
            .is_some_and(|error| error.extended_code == SQLITE_IOERR_SHMSIZE);
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull,
            Some(ErrorCode::SystemIoFailure) if is_shm_full => Self::DiskFull,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(
                ErrorCode::SystemIoFailure
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::FileLockingProtocolFailed,
            ) => Self::Broken(error),
            _ => Self::Sqlite(error),
        }
    }
}

impl StoreError {
    /// Whether every other operation of the batch would meet it too.
    pub(super) fn is_everyones(&self) -> bool {
        !matches!(self, Self::Sqlite(_) | Self::Unexpected(_))
    }

    /// The same answer for each waiter of a failed batch.
    pub(super) fn share(&self) -> Self {
        match self {
            Self::Overloaded => Self::Overloaded,
            Self::DiskFull => Self::DiskFull,
            Self::Busy => Self::Busy,
            Self::Stopped | Self::Broken(_) | Self::Displaced(_) => Self::Stopped,
            Self::Unexpected(what) => Self::Unexpected(what.clone()),
            Self::Sqlite(error) => Self::Unexpected(error.to_string()),
        }
    }
}

/// Why a database can't be opened. One line; nothing has been changed on disk.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A command was told of a database that isn't there.
    #[error("{}: there is no database here; expected the one that relay serve uses (database.path)", path.display())]
    Missing {
        /// The database.
        path: PathBuf,
    },
    /// A command met a database of another version, which it doesn't change: a server of that version
    /// may be using it.
    #[error("{}: this is a database of schema version {found}, and this relay's commands know version {known}; use the commands of the relay that serves it", path.display())]
    OtherVersion {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Another process owns it.
    #[error("{}: in use by another relay ({holder}); stop that one, or give this one another database.path", path.display())]
    InUse {
        /// The database.
        path: PathBuf,
        /// What the lock file says of the owner.
        holder: String,
    },
    /// The lock file can't be made or locked: most often a directory without rights.
    #[error("{}: can't be locked: {source}; expected a directory that this user may write to", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A new database can't be made.
    #[error("{}: can't be created: {source}; expected a directory that this user may write to", path.display())]
    Create {
        /// The database.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not SQLite, or damaged.
    #[error("{}: not a database, or a damaged one: {source}; nothing was changed", path.display())]
    NotADatabase {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// SQLite, but somebody else's.
    #[error("{}: an SQLite database that isn't relay's; nothing was changed", path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// It lacks what was acknowledged: its WAL is gone or damaged, or it is an older copy.
    #[error("{}: it doesn't hold the last event that was accepted here (at {accepted_at}): its -wal file is missing or damaged, or this is an older copy; put the files that belong together in place, or run relay unlock --accept-data-loss to go on with what is left; nothing was changed", path.display())]
    Older {
        /// The database.
        path: PathBuf,
        /// When the last event was accepted.
        accepted_at: Timestamp,
    },
    /// Written by a newer relay.
    #[error("{}: has schema version {found}, newer than this relay's {known}; use the newer binary; nothing was changed", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Its tables aren't those of the version that it names: most often its first page is damaged.
    #[error("{}: it says that it has schema version {found}, and its tables are others ({why}): damaged, or changed by somebody else; restore it from a backup; nothing was changed", path.display())]
    Unlike {
        /// The database.
        path: PathBuf,
        /// The version that it names.
        found: i64,
        /// What SQLite said.
        why: String,
    },
    /// A setting that durability rests on did not take.
    #[error("{}: PRAGMA {pragma} is {found}, expected {expected}: this file system can't keep relay's promises", path.display())]
    Pragma {
        /// The database.
        path: PathBuf,
        /// The setting.
        pragma: &'static str,
        /// What it is.
        found: String,
        /// What it must be.
        expected: &'static str,
    },
    /// Anything else.
    #[error("{}: can't be opened: {source}", path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The readers' pool can't be made.
    #[error("{}: can't be opened for reading: {source}", path.display())]
    Pool {
        /// The database.
        path: PathBuf,
        /// What the pool said.
        source: r2d2::Error,
    },
    /// Recovery failed.
    #[error("{}: can't be recovered: {source}", path.display())]
    Recover {
        /// The database.
        path: PathBuf,
        /// What went wrong.
        source: StoreError,
    },
    /// No thread for the writer.
    #[error("can't start the writer's thread: {0}")]
    Thread(std::io::Error),
}
