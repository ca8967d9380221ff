//! Gives a move up.

use std::path::Path;

use rusqlite::OpenFlags;

use super::marks::{AWAY, UNFINISHED, mark};
use super::target;
use crate::store::error::OpenError;
use crate::store::move_error::MoveError;
use crate::store::sqlite::paths::canonical;
use crate::store::sqlite::{lock_file, open, restore, settings};
use crate::store::types::{MovedAway, UnfinishedMove};

/// Removes a file that a move has not filled, or lets one be served again that was moved away; in
/// words, what was done.
pub fn abandon_move(path: &Path) -> Result<String, MoveError> {
    let path = canonical(path);
    restore::refuse_if_interrupted(&path)?;
    if !path.exists() {
        return Err(OpenError::Missing { path }.into());
    }
    let mut lock = lock_file::acquire(&path)?;
    lock.guard(&path)?;
    let name = path.display().to_string();
    let failed = |source: rusqlite::Error| MoveError::of(&name, source.to_string());
    let sql = open::operator(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    if mark::<UnfinishedMove>(&sql, UNFINISHED)
        .map_err(failed)?
        .is_some()
    {
        drop(sql);
        target::remove(&path, lock.file())?;
        return Ok(format!("{name}: the unfinished copy is removed"));
    }
    let Some(away) = mark::<MovedAway>(&sql, AWAY).map_err(failed)? else {
        return Err(MoveError::NothingToAbandon { name });
    };
    settings::remove(&sql, AWAY).map_err(failed)?;
    Ok(format!(
        "{name}: can be served again, as it was when it was moved to {}",
        away.to
    ))
}
