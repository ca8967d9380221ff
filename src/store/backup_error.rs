//! Why a backup was not made, is not whole, or was not restored. None names an engine.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::error::{EngineError, OpenError, StoreError};

/// Why a backup was not made, or is not whole. One line each.
#[derive(Debug, Error)]
pub(crate) enum BackupError {
    #[error("{}: exists already; expected the name of a new file", path.display())]
    Exists { path: PathBuf },
    #[error(
        "{}: is the database, or one of its files; expected the name of a new file",
        path.display()
    )]
    IsDatabase { path: PathBuf },
    #[error(
        "{}: exists: another backup is being written there, or one was interrupted: then remove it",
        path.display()
    )]
    PartialExists { path: PathBuf },
    #[error(
        "{}: {free} bytes are free on its disk, and {needed} are needed; no backup was made",
        path.display()
    )]
    NoRoom {
        path: PathBuf,
        needed: u64,
        free: u64,
    },
    #[error(
        "the write-ahead log has grown to {wal} bytes beside the copy, and {free} are free on its \
         disk: no backup was made; try again while less is written, or on a larger disk"
    )]
    WalTooLarge { wal: u64, free: u64 },
    #[error(
        "the database is a server of PostgreSQL, which has backups of its own: pg_basebackup, a \
         standby, or the provider's"
    )]
    ServersOwn,
    #[error("the database is busy: somebody holds a lock on it; no backup was made")]
    Busy,
    #[error("relay stops: no backup was made")]
    Stopped,
    #[error("{}: {source}", path.display())]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{}: {source}", path.display())]
    Engine { path: PathBuf, source: EngineError },
    #[error("{}: {damage}", path.display())]
    Damaged { path: PathBuf, damage: Damage },
    #[error(
        "{}: has schema version {found}, newer than this relay's {known}; use the newer binary",
        path.display()
    )]
    Newer {
        path: PathBuf,
        found: i64,
        known: i64,
    },
}

/// How a file differs from a whole backup.
#[derive(Debug, Error)]
pub(crate) enum Damage {
    #[error("not a backup: it has no manifest; expected a file that relay backup wrote")]
    NoManifest,
    #[error("damaged, or not a backup: its manifest holds no digest")]
    NoDigest,
    #[error("damaged: its content is not what relay backup wrote (SHA-256 differs)")]
    Digest,
    #[error("damaged: its content is not what its manifest says")]
    Content,
    #[error("damaged, or not a backup: {0}")]
    Engine(String),
}

impl BackupError {
    /// The same error of another file: of the one that was copied, if the copy was examined.
    pub fn of(mut self, file: &Path) -> Self {
        match &mut self {
            Self::File { path, .. }
            | Self::Engine { path, .. }
            | Self::Damaged { path, .. }
            | Self::Newer { path, .. } => file.clone_into(path),
            _ => {}
        }
        self
    }

    /// The class of the error, without anything from outside.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Exists { .. } | Self::IsDatabase { .. } | Self::PartialExists { .. } => {
                "the file exists"
            }
            Self::NoRoom { .. } => "too little free space",
            Self::WalTooLarge { .. } => "the write-ahead log grew too large",
            Self::ServersOwn => "backups are PostgreSQL's own",
            Self::Busy => "the database is busy",
            Self::Stopped => "relay stopped",
            Self::File { source, .. } => match source.kind() {
                std::io::ErrorKind::StorageFull => "the disk is full",
                std::io::ErrorKind::NotFound => "the directory is missing",
                std::io::ErrorKind::PermissionDenied => "the directory can't be written to",
                _ => "the file can't be written",
            },
            Self::Engine { .. } => "the copy failed",
            Self::Damaged { .. } | Self::Newer { .. } => "the copy is damaged",
        }
    }
}

/// Why a backup was not restored.
#[derive(Debug, Error)]
pub(crate) enum RestoreError {
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(
        "{}: is the database itself; expected a file that relay backup wrote",
        path.display()
    )]
    IsDatabase { path: PathBuf },
    /// After the files began to change places.
    #[error("{}: {source}", path.display())]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the copy can't be prepared: {0}")]
    Store(#[from] StoreError),
    #[error("{}: no restore was interrupted here; nothing was done", path.display())]
    NotInterrupted { path: PathBuf },
    #[error(
        "{}: no restored backup is held here: relay restore FILE restores one; nothing was done",
        path.display()
    )]
    NotHeld { path: PathBuf },
    #[error("nothing is known of deliveries after the backup: {0}; nothing was done")]
    NothingAside(String),
    #[error(
        "{}: can't be read, and {} is missing: put the files of the database in place, and remove \
         the former",
        marker.display(), database.display()
    )]
    Unclear { marker: PathBuf, database: PathBuf },
}
