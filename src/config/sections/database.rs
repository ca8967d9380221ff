//! `[database]`: the database file.

use std::path::PathBuf;

use serde::Deserialize;

use crate::config::rules::{Checked, bad, quoted, within};
use crate::config::units;

/// The database.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// The file; `-wal`, `-shm` and `.lock` files stand beside it. Default: `relay.db`.
    pub path: PathBuf,
    /// Connections that read. Default: 4.
    pub readers: u32,
    /// The free space on the file's disk below which ingestion is refused, in bytes. Default:
    /// 64 MiB.
    #[serde(deserialize_with = "units::size")]
    pub min_free_bytes: u64,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            path: PathBuf::from("relay.db"),
            readers: 4,
            min_free_bytes: 64 << 20,
        }
    }
}

impl Database {
    pub(in crate::config) fn check(&self, key: &str) -> Checked {
        let path = self.path.as_os_str();
        if path.is_empty() || path == ":memory:" || path.as_encoded_bytes().starts_with(b"file:") {
            return bad(&format!("{key}.path"), quoted(path), "the path of a file");
        }
        within(&format!("{key}.readers"), self.readers, 1, 64)
    }
}
