//! `relay verify`: whether a file is a whole backup.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::error::CommandError;
use crate::store::{BackupError, VerifiedBackup, verify_backup};

#[derive(Args)]
pub(super) struct Verify {
    /// A file that relay backup wrote
    file: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub fn run(&self) -> Result<(), CommandError> {
        match verify_backup(&self.file) {
            Ok(found) if self.json => {
                say!("{}", as_json(&found));
                Ok(())
            }
            Ok(found) => {
                say!("{}: a whole backup", found.path.display());
                print(&found)
            }
            Err(error) => {
                if self.json {
                    // The exit code is the verdict, though nobody reads the document.
                    let _ = self.print_failure(&error);
                }
                Err(error.into())
            }
        }
    }

    fn print_failure(&self, error: &BackupError) -> Result<(), CommandError> {
        let file = self.file.display().to_string();
        let document = json!({ "ok": false, "file": file, "error": error.to_string() });
        say!("{document}");
        Ok(())
    }
}

/// A backup for programs.
pub(super) fn as_json(found: &VerifiedBackup) -> Value {
    let manifest = &found.manifest;
    let counts = manifest
        .counts
        .iter()
        .map(|(state, count)| (state.name().to_owned(), json!(count)));
    json!({
        "ok": true,
        "file": found.path.display().to_string(),
        "bytes": found.bytes,
        "sha256": hex::encode(found.sha256),
        "version": manifest.relay_version,
        "schema_version": manifest.schema_version,
        "database_id": manifest.database_id,
        "taken_at": manifest.taken_at,
        "newest_event": manifest.newest.as_ref().map(|newest| &newest.id),
        "newest_event_at": manifest.newest.as_ref().map(|newest| newest.accepted_at),
        "deliveries": counts.collect::<serde_json::Map<_, _>>(),
    })
}

/// A backup for people.
pub(super) fn print(found: &VerifiedBackup) -> Result<(), CommandError> {
    let manifest = &found.manifest;
    say!("  taken at      {}", manifest.taken_at);
    if let Some(newest) = &manifest.newest {
        say!("  newest event  {} at {}", newest.id, newest.accepted_at);
    } else {
        say!("  newest event  none");
    }
    let counts: Vec<_> = manifest
        .counts
        .iter()
        .map(|(state, count)| format!("{count} {}", state.name()))
        .collect();
    say!("  deliveries    {}", counts.join(", "));
    say!("  database      {}", manifest.database_id);
    say!(
        "  made by       relay {}, schema version {}",
        manifest.relay_version,
        manifest.schema_version
    );
    say!("  size          {} bytes", found.bytes);
    say!("  SHA-256       {}", hex::encode(found.sha256));
    Ok(())
}
