//! The SHA-256 of a backup, within the file that it covers.
//!
//! The manifest holds 16 constant bytes and 32 for the digest. The file is hashed with those 32 as
//! zeros, and the digest is written over them in place: so any changed bit is noticed, in free
//! pages, too, and a missing or added end.
//!
//! The place is looked up in the one page that the manifest's table has. A search through the whole
//! file would let everybody who knows the constant put it into a payload, and so spoil all backups.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rusqlite::Connection;
use sha2::{Digest as _, Sha256};

use super::manifest::{DIGEST_BYTES, MARK};
use crate::store::backup_error::{BackupError, Damage};
use crate::store::sqlite::open;
use crate::store::types::StopCheck;

/// Bytes that are read at a time.
const CHUNK: usize = 1 << 20;

/// Computes the digest and writes it into its place.
pub fn write(file: &File, path: &Path, is_stopped: &StopCheck) -> Result<(), BackupError> {
    let place = place(file, path)?;
    let digest = hash(file, path, place, is_stopped)?;
    file.write_all_at(&digest, place)
        .map_err(|source| BackupError::File {
            path: path.to_owned(),
            source,
        })
}

/// The digest, if it is that of the file; otherwise the file was changed.
pub fn check(
    file: &File,
    path: &Path,
    is_stopped: &StopCheck,
) -> Result<[u8; DIGEST_BYTES], BackupError> {
    let place = place(file, path)?;
    let mut stored = [0; DIGEST_BYTES];
    file.read_exact_at(&mut stored, place)
        .map_err(|source| BackupError::File {
            path: path.to_owned(),
            source,
        })?;
    if hash(file, path, place, is_stopped)? != stored {
        return Err(damaged(path, Damage::Digest));
    }
    Ok(stored)
}

pub fn damaged(path: &Path, damage: Damage) -> BackupError {
    BackupError::Damaged {
        path: path.to_owned(),
        damage,
    }
}

/// The place of the digest in the file.
fn place(file: &File, path: &Path) -> Result<u64, BackupError> {
    let (root, size) = root_page(path).map_err(|error| damaged(path, unreadable(error)))?;
    let mut page = vec![0; usize::try_from(size).unwrap_or(0)];
    let begin = root.saturating_sub(1).saturating_mul(size);
    let read = file.read_exact_at(&mut page, begin);
    read.map_err(|_| damaged(path, Damage::NoDigest))?;
    let mut found = page
        .windows(MARK.len())
        .enumerate()
        .filter(|(_, bytes)| *bytes == MARK);
    let (Some((at, _)), None) = (found.next(), found.next()) else {
        return Err(damaged(path, Damage::NoDigest));
    };
    let at = at + MARK.len();
    if at + DIGEST_BYTES > page.len() {
        return Err(damaged(path, Damage::NoDigest));
    }
    Ok(begin + at as u64)
}

/// The number of the manifest's page, and the size of a page.
fn root_page(path: &Path) -> rusqlite::Result<(u64, u64)> {
    let sql: Connection = open::immutable(path)?;
    let root: i64 = sql.query_row(
        "SELECT rootpage FROM sqlite_schema WHERE type = 'table' AND name = 'backup_manifest'",
        [],
        |row| row.get(0),
    )?;
    let size: i64 = sql.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    Ok((root.unsigned_abs(), size.unsigned_abs()))
}

/// The reason why a file holds no manifest that can be read.
pub fn unreadable(error: rusqlite::Error) -> Damage {
    match error {
        rusqlite::Error::QueryReturnedNoRows => Damage::NoManifest,
        other => Damage::Engine(other.to_string()),
    }
}

/// The SHA-256 of the file, with the digest's place as zeros.
fn hash(
    file: &File,
    path: &Path,
    place: u64,
    is_stopped: &StopCheck,
) -> Result<[u8; DIGEST_BYTES], BackupError> {
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut at: u64 = 0;
    loop {
        if is_stopped.is_set() {
            return Err(BackupError::Stopped);
        }
        let read = match file.read_at(&mut chunk, at) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => {
                return Err(BackupError::File {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        blank(&mut chunk[..read], at, place);
        hasher.update(&chunk[..read]);
        at += read as u64;
    }
    Ok(hasher.finalize().into())
}

/// Zeroes the bytes of the digest, as far as they are in this chunk.
fn blank(chunk: &mut [u8], at: u64, place: u64) {
    let end = at + chunk.len() as u64;
    let from = place.clamp(at, end) - at;
    let to = (place + DIGEST_BYTES as u64).clamp(at, end) - at;
    let index = |offset: u64| usize::try_from(offset).expect("within the chunk");
    chunk[index(from)..index(to)].fill(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_place_of_the_digest_is_blanked_wherever_chunks_begin() {
        for size in [1, 5, 31, 32, 33, 64, 200] {
            let bytes = vec![0xff_u8; 200];
            let place = 50;
            let mut blanked = bytes.clone();
            for (n, chunk) in blanked.chunks_mut(size).enumerate() {
                blank(chunk, (n * size) as u64, place);
            }
            let zeros: Vec<usize> = (0..200).filter(|at| blanked[*at] == 0).collect();
            assert_eq!(zeros, (50..82).collect::<Vec<_>>(), "{size}");
        }
    }
}
