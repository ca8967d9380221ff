//! The lock file beside a database: who owns the database, and what the next start has to know.
//!
//! - `lock`: the exclusive lock that makes a server the sole owner.
//! - `second_guard`: keeps a second server out when the lock file is removed.
//! - `process`: the process that holds it.
//! - `ownership`: whether the files of the database are still the ones that the server opened.
//! - `record`: the numbers kept in the file, each with a checksum. `writer`: writes them.

mod lock;
mod ownership;
mod process;
mod record;
mod second_guard;
mod writer;

pub use lock::{Lock, acquire, refuse_if_held};
pub use ownership::Ownership;
pub use process::{is_held, server_process};
pub use record::LockFileRecord;
pub use writer::{LockFileWriter, forget_newest, newest_of, reset, set_newest, set_record};
