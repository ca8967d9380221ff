//! The `SQLite` engine: one file, one writing thread, a pool of readers.
//!
//! - `handle`: [`Sqlite`], the engine's handle. `start`: opens the database and starts the writer.
//!   `shared`: the state that the writer and the handles share. `share`: that of this process.
//!   `limits`: sizes used by several files.
//! - `open/`: which file may be opened, the settings that durability depends on, and migrations.
//!   `paths`, `private`: the files' places and modes. `lock_file/`: sole ownership, and the numbers
//!   kept for the next start. `error`: what an error of `SQLite`'s means. `columns`: how values are
//!   stored.
//! - `write_op`: the traits of a change. `writer/`: group commit on one thread. `tx`: the
//!   transaction that a change is applied to. `writer_state`: what the writer remembers between
//!   transactions, such as `recent_keys`. `counts/`: deliveries by state, in memory. `outside`:
//!   commits of other processes. `checkpoint/`: when the WAL is moved into the database. `space`:
//!   the disk's free space.
//! - `readers`: connections that read. `queries/`: the reads, one subject a file.
//! - `ops/`: the changes, one subject a file.
//! - `operator`: the database as commands see it, beside a running server. `unlock`: `relay
//!   unlock`.
//! - `backup/`, `restore/`: copies of the database in files. `hold`: nothing is sent after one was
//!   restored. `settings`: facts that outlive a process.
//! - `moving/`: everything moves to another engine, or comes from there.
//! - `wal_readers`: who keeps the WAL from being emptied.
//! - `measure`: claims without a disk, for a benchmark.

mod backup;
mod checkpoint;
mod columns;
mod counts;
mod error;
mod handle;
mod hold;
mod limits;
mod lock_file;
mod measure;
mod moving;
mod open;
mod operator;
mod ops;
mod outside;
mod paths;
mod private;
mod queries;
mod readers;
mod recent_keys;
mod restore;
mod settings;
mod share;
mod shared;
mod space;
mod start;
mod tx;
mod unlock;
mod wal_readers;
mod write_op;
mod writer;
mod writer_state;

#[cfg(test)]
pub(crate) mod tests;

pub use backup::{manifest_of, remove_stale, verify as verify_backup};
pub use handle::Sqlite;
pub use measure::{Unsaved, UnsavedTransaction};
pub use moving::abandon_move;
#[allow(
    unused_imports,
    reason = "a build with one engine has nowhere to move to"
)]
pub use moving::{MovedFile, NewFile};
pub use operator::Operator;
pub use readers::{OWN_READERS, Reader};
pub use restore::Restore;
pub use unlock::{LockFileContents, Unlock};
