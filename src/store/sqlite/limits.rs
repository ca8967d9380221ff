//! Sizes that several files of this engine use.

use std::time::Duration;

/// Bytes of a page of the database: SQLite's default.
pub const PAGE: u32 = 4096;

/// How long a statement waits for another process, such as a command that writes.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// WAL frames above which a checkpoint must also empty the file: `journal_size_limit`, 64 MiB.
pub const TRUNCATE_FRAMES: i64 = 16_384;
