//! Why an operation of the store failed, and why a store cannot be opened. Neither knows an engine.

use std::path::PathBuf;

use thiserror::Error;

use crate::clock::Timestamp;

/// An engine's own error.
pub type EngineError = Box<dyn std::error::Error + Send + Sync>;

/// Why an operation of the store failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The writer's queue is full.
    #[error("the write queue is full")]
    Overloaded,
    /// The disk is full, or has less free space than `database.min_free_bytes`.
    #[error("the disk is full, or nearly so")]
    Full,
    /// `database.max_bytes` are used.
    #[error("database.max_bytes are used")]
    BudgetSpent,
    /// Another process holds the database, or no reader is free.
    #[error("the database is busy")]
    Busy,
    /// The server of the database can't be reached, or lets nobody in.
    #[error("the database can't be reached: {0}")]
    Unreachable(EngineError),
    /// The answer to a change was lost, and made again it found nothing to do: it may be made.
    #[error(
        "the connection to the database was lost while the change was made, and it may be done: \
         look, and repeat it if it isn't"
    )]
    AnswerLost,
    /// The store has stopped, or is stopping.
    #[error("the store has stopped")]
    Stopped,
    /// The database or its disk can't be trusted any more: the process must end.
    #[error("the database failed: {0}")]
    Broken(EngineError),
    /// A file of the database was removed or replaced while it was in use, so another server may
    /// own the database: the process must end.
    #[error("{0}")]
    Displaced(String),
    /// A row is missing, or its contents are not valid.
    #[error("the database holds a value that it should not: {0}")]
    Unexpected(String),
    /// The engine refused the operation for another reason.
    #[error("the database refused: {0}")]
    Rejected(EngineError),
}

impl StoreError {
    /// Whether the failure concerns the whole batch, rather than one operation of it.
    pub(super) fn fails_whole_batch(&self) -> bool {
        !matches!(self, Self::Rejected(_) | Self::Unexpected(_))
    }

    /// Whether the same may do once others are done with the database, or it is back.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Busy | Self::Unreachable(_))
    }

    /// Whether the process must end.
    pub(super) fn is_fatal(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::Displaced(_))
    }

    /// A copy of the error for each waiter of a failed batch.
    pub(super) fn share(&self) -> Self {
        match self {
            Self::Overloaded => Self::Overloaded,
            Self::Full => Self::Full,
            Self::BudgetSpent => Self::BudgetSpent,
            Self::Busy => Self::Busy,
            Self::Unreachable(error) => Self::Unreachable(error.to_string().into()),
            Self::AnswerLost => Self::AnswerLost,
            Self::Stopped | Self::Broken(_) | Self::Displaced(_) => Self::Stopped,
            Self::Unexpected(why) => Self::Unexpected(why.clone()),
            Self::Rejected(error) => Self::Unexpected(error.to_string()),
        }
    }
}

/// Why a database can't be opened. One line; nothing was changed on disk.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A command was given a database that does not exist.
    #[error(
        "{}: there is no database here; expected the one that relay serve uses (database.path)",
        path.display()
    )]
    Missing {
        /// The database.
        path: PathBuf,
    },
    /// This user has too few rights to a file of the database, or to its directory.
    #[error("{}: {source}: expected {expected}", path.display())]
    Denied {
        /// The file or the directory.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
        /// The rights, or the user who has them.
        expected: &'static str,
    },
    /// There is a directory or a device in the place of a file of the database.
    #[error("{}: expected a file, and this is none", path.display())]
    NoFile {
        /// The path.
        path: PathBuf,
    },
    /// A command found a database of another schema version. It changes nothing: a server of that
    /// version may be using the database.
    #[error(
        "{}: this is a database of schema version {found}, and this relay's commands know version {known}; use the commands of the relay that serves it",
        path.display()
    )]
    OtherVersion {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// This relay's version.
        known: i64,
    },
    /// A restore has begun and not ended: the files may be in two places.
    #[error(
        "{}: a restore was interrupted: run relay restore FILE again, or relay restore --abandon (puts the old files back)",
        path.display()
    )]
    RestoreInterrupted {
        /// The database.
        path: PathBuf,
    },
    /// Another process owns the database.
    #[error(
        "{}: in use by another relay ({holder}); stop that one, or give this one another database.path",
        path.display()
    )]
    InUse {
        /// The database.
        path: PathBuf,
        /// The owner, according to the lock file.
        holder: String,
    },
    /// The lock file can't be created or locked: most often for want of rights to the directory.
    #[error(
        "{}: can't be locked: {source}; expected a directory and a file that this user may write to",
        path.display()
    )]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A new database can't be created.
    #[error(
        "{}: can't be created: {source}; expected a directory that this user may write to",
        path.display()
    )]
    Create {
        /// The database.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// Not SQLite, or damaged.
    #[error("{}: not a database, or a damaged one: {source}; nothing was changed", path.display())]
    NotADatabase {
        /// The database.
        path: PathBuf,
        /// The engine's error.
        source: EngineError,
    },
    /// A database of another application.
    #[error("{}: an SQLite database that isn't relay's; nothing was changed", path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// The database lacks acknowledged events: its WAL is missing or damaged, or it is an older
    /// copy.
    #[error(
        "{}: it doesn't hold the last event that was accepted here (at {accepted_at}): its -wal file is missing or damaged, or this is an older copy; put the files that belong together in place, or run relay unlock --accept-data-loss to go on with what is left; nothing was changed",
        path.display()
    )]
    Older {
        /// The database.
        path: PathBuf,
        /// When the last event was accepted.
        accepted_at: Timestamp,
    },
    /// Written by a newer relay.
    #[error(
        "{}: has schema version {found}, newer than this relay's {known}; use the newer binary; nothing was changed",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// This relay's version.
        known: i64,
    },
    /// The tables are not those of the database's schema version: most often its first page is
    /// damaged.
    #[error(
        "{}: it says that it has schema version {found}, and its tables are others ({why}): damaged, or changed by somebody else; restore it from a backup; nothing was changed",
        path.display()
    )]
    Unlike {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The engine's error.
        why: String,
    },
    /// A setting that durability depends on was not applied.
    #[error(
        "{}: {setting} is {found}, expected {expected}: this file system can't keep relay's promises",
        path.display()
    )]
    Setting {
        /// The database.
        path: PathBuf,
        /// The setting's name.
        setting: String,
        /// Its value.
        found: String,
        /// The required value.
        expected: &'static str,
    },
    /// The engine refused for another reason.
    #[error("{}: can't be opened: {source}", path.display())]
    Rejected {
        /// The database.
        path: PathBuf,
        /// The engine's error.
        source: EngineError,
    },
    /// The pool of readers can't be created.
    #[error("{}: can't be opened for reading: {source}", path.display())]
    Pool {
        /// The database.
        path: PathBuf,
        /// The pool's error.
        source: EngineError,
    },
    /// Everything was moved to another store.
    #[error("{database}: {}", moved_away(to, *at))]
    MovedAway {
        /// The database, without a password.
        database: String,
        /// The store that it was moved to, without a password.
        to: String,
        /// When.
        at: Timestamp,
    },
    /// A move to this database was interrupted, or is under way.
    #[error("{database}: {}", move_unfinished(from, *begun_at))]
    MoveUnfinished {
        /// The database, without a password.
        database: String,
        /// The store that is moved, without a password.
        from: String,
        /// When the move began.
        begun_at: Timestamp,
    },
    /// The settings name a server of PostgreSQL, and this build has no engine for one.
    #[error(
        "{setting}: this build keeps its database in a file alone; a build with --features \
         postgres takes a URL"
    )]
    NoPostgres {
        /// The setting that names the server.
        setting: &'static str,
    },
    /// A command was given a database of a server that has no tables of relay's.
    #[error(
        "{database}: relay has no tables here; expected the database that relay serve uses (database.url)"
    )]
    NoTables {
        /// The server and its database, without a password.
        database: String,
    },
    /// A server that can't be reached, or that can't keep relay's promises.
    #[error("{database}: {problem}")]
    Server {
        /// The server and its database, without a password.
        database: String,
        /// The reason, and what is expected.
        problem: String,
    },
    /// Recovery failed.
    #[error("{}: can't be recovered: {source}", path.display())]
    Recover {
        /// The database.
        path: PathBuf,
        /// The store's error.
        source: StoreError,
    },
    /// The system refuses a thread for the writer.
    #[error("can't start the writer's thread: {0}")]
    Thread(std::io::Error),
}

#[allow(
    dead_code,
    reason = "a build with PostgreSQL has an engine for servers"
)]
impl OpenError {
    /// This build has no engine for a server, which the configuration names, or `relay migrate`.
    pub(super) fn no_postgres(is_configured: bool) -> Self {
        let setting = if is_configured {
            "database.url"
        } else {
            "--to"
        };
        Self::NoPostgres { setting }
    }
}

/// The problem of a store that was moved away.
pub(super) fn moved_away(to: &str, at: Timestamp) -> String {
    format!(
        "everything here was moved to {to} at {at}: serve that one, since this one would deliver \
         again what waited; or run relay migrate --abandon, which lets this one be served as it was \
         then; nothing was changed"
    )
}

/// The problem of a store that a move has not filled.
pub(super) fn move_unfinished(from: &str, begun_at: Timestamp) -> String {
    format!(
        "a move of {from} to here has begun at {begun_at} and isn't finished: run the same relay \
         migrate again, or relay migrate --abandon, which empties this one; nothing was changed"
    )
}
