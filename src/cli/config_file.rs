//! The configuration that a command reads.

use std::path::{Path, PathBuf};

use clap::Args;

#[derive(Args)]
pub(super) struct ConfigFile {
    /// Configuration file [default: relay.toml, if it exists]
    ///
    /// Settings that are missing have built-in defaults. Environment variables override the file:
    /// RELAY_HTTP_ADDR, RELAY_DB, RELAY_API_KEYS and others.
    #[arg(long, short, value_name = "FILE", verbatim_doc_comment)]
    config: Option<PathBuf>,
}

impl ConfigFile {
    pub fn path(&self) -> Option<&Path> {
        self.config.as_deref()
    }
}
