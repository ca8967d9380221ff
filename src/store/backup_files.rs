//! Backups as files: verified, restored, and removed.

use std::path::Path;

use super::backup_error::{BackupError, RestoreError};
use super::sqlite;
use super::types::{Manifest, Restored, VerifiedBackup};
use crate::config;

/// Verifies that a file is a whole backup. Changes nothing.
pub(crate) fn verify_backup(path: &Path) -> Result<VerifiedBackup, BackupError> {
    sqlite::verify_backup(path)
}

/// The manifest of a file, unverified.
pub(crate) fn manifest_of(path: &Path) -> Result<Manifest, BackupError> {
    sqlite::manifest_of(path)
}

/// Removes what interrupted backups left in a directory, if `is_ours` knows the name that the
/// backup would have got.
pub(crate) fn remove_stale_backups(
    directory: &Path,
    is_ours: impl Fn(&str) -> bool,
) -> std::io::Result<()> {
    sqlite::remove_stale(directory, is_ours)
}

/// Restores a backup; `is_settling` marks as delivered what the file aside has delivered.
pub(crate) fn restore(
    settings: &config::Database,
    backup: &Path,
    is_settling: bool,
) -> Result<Restored, RestoreError> {
    refuse_server(settings)?;
    sqlite::Restore::begin(&settings.path)?.run(backup, is_settling, &|_| {})
}

/// Puts the old files back after a restore that was interrupted.
pub(crate) fn abandon_restore(settings: &config::Database) -> Result<(), RestoreError> {
    refuse_server(settings)?;
    sqlite::Restore::begin(&settings.path)?.abandon()
}

/// A backup is put in the place of a file.
fn refuse_server(settings: &config::Database) -> Result<(), BackupError> {
    match settings.url {
        Some(_) => Err(BackupError::ServersOwn),
        None => Ok(()),
    }
}
