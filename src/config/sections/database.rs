//! `[database]`: the database file.

use std::path::PathBuf;

use serde::Deserialize;

use crate::config::rules::{Checked, bad, quoted, within};
use crate::config::units;

/// The database.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// The file; `-wal`, `-shm` and `.lock` files stand beside it. Default: `relay.db`.
    pub path: PathBuf,
    /// Connections that read. Default: 4.
    pub readers: u32,
    /// The free space on the file's disk below which ingestion is refused, in bytes. Default:
    /// 64 MiB.
    #[serde(deserialize_with = "units::size")]
    #[cfg_attr(test, schemars(with = "units::SizeText"))]
    pub min_free_bytes: u64,
    /// The space that the database may use, its write-ahead log included. Above nine tenths of it
    /// the payloads of finished events are deleted, the oldest first. Default: none.
    #[serde(deserialize_with = "units::some_size")]
    #[cfg_attr(test, schemars(with = "Option<units::SizeText>"))]
    pub max_bytes: Option<u64>,
}

/// Less would be taken by the write-ahead log alone.
const MIN_MAX_BYTES: u64 = 1 << 20;

impl Default for Database {
    fn default() -> Self {
        Self {
            path: PathBuf::from("relay.db"),
            readers: 4,
            min_free_bytes: 64 << 20,
            max_bytes: None,
        }
    }
}

impl Database {
    pub(in crate::config) fn check(&self, key: &str) -> Checked {
        let path = self.path.as_os_str();
        if path.is_empty() || path == ":memory:" || path.as_encoded_bytes().starts_with(b"file:") {
            return bad(&format!("{key}.path"), quoted(path), "the path of a file");
        }
        if let Some(max) = self.max_bytes.filter(|max| *max < MIN_MAX_BYTES) {
            let expected = "at least \"1MiB\"";
            return bad(&format!("{key}.max_bytes"), max.to_string(), expected);
        }
        within(&format!("{key}.readers"), self.readers, 1, 64)
    }
}
