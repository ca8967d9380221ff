//! A backup: one file with a consistent copy of the database, which can tell whether it is whole.
//!
//! - `make`: copies, adds the manifest and the digest, verifies, and only then gives the file its
//!   name. `job`: the backup to be made. `partial`: the file until then. `copy`: the copy, beside a
//!   server's traffic.
//! - `manifest`: the table of contents. `digest`: the SHA-256 within the file that it covers.
//! - [`verify()`]: whether a file is a whole backup.
//! - `handles`: backups by a server and by commands.

mod copy;
mod digest;
mod handles;
mod job;
mod make;
mod manifest;
mod partial;
mod verify;

pub use manifest::remove as remove_manifest;
pub use partial::remove_stale;
pub use verify::{manifest_of, verify};

#[cfg(test)]
mod tests;
