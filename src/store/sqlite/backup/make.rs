//! Makes a backup.

use super::job::BackupJob;
use super::partial::Partial;
use super::{copy, digest, manifest, verify};
use crate::store::backup_error::BackupError;
use crate::store::types::{BackupProgress, VerifiedBackup};

/// Makes a backup, and verifies it. There is a file of that name only if all of it went well.
pub fn make(job: &BackupJob<'_>) -> Result<VerifiedBackup, BackupError> {
    let partial = Partial::create(job.target, job.database)?;
    copy::copy(job, &partial)?;
    let io = |source| partial.failed(source);
    partial.leave_wal_mode().map_err(io)?;
    manifest::add(partial.path(), job.now).map_err(|source| partial.refused(source))?;
    digest::write(partial.file(), partial.path(), &job.is_stopped)?;
    partial.sync().map_err(io)?;
    (job.progress)(BackupProgress::Verifying);
    let mut verified = verify::verify_open(partial.file(), partial.path(), &job.is_stopped)?;
    verified.path = partial.publish()?;
    Ok(verified)
}
