//! The marks of moves, among the settings.

use std::path::Path;

use rusqlite::Connection;
use serde::de::DeserializeOwned;

use crate::clock::Timestamp;
use crate::store::error::OpenError;
use crate::store::sqlite::settings;
use crate::store::types::{MovedAway, UnfinishedMove};

/// Set in the target of a move until its end: an [`UnfinishedMove`].
pub const UNFINISHED: &str = "unfinished_move";
/// Set in the source once the target is complete: a [`MovedAway`].
pub const AWAY: &str = "moved_away";

/// The purpose of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// To look: a store that was moved away is whole.
    Reading,
    /// To serve or to change.
    Writing,
}

/// A mark, if it is there. One that can't be read is an error: nothing is served by mistake.
pub fn mark<T: DeserializeOwned>(sql: &Connection, name: &str) -> rusqlite::Result<Option<T>> {
    let Some(text) = settings::get::<String>(sql, name)? else {
        return Ok(None);
    };
    let parsed = serde_json::from_str(&text);
    parsed.map(Some).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
    })
}

/// Refuses a file that was moved away, or that a move to it has not filled yet.
pub fn refuse_if_marked(sql: &Connection, path: &Path, to: Use) -> Result<(), OpenError> {
    let rejected = |source: rusqlite::Error| OpenError::Rejected {
        path: path.to_owned(),
        source: source.into(),
    };
    let name = || path.display().to_string();
    if let Some(mark) = mark::<UnfinishedMove>(sql, UNFINISHED).map_err(rejected)? {
        return Err(OpenError::MoveUnfinished {
            database: name(),
            from: mark.from,
            begun_at: Timestamp::from_millis(mark.begun_at),
        });
    }
    match mark::<MovedAway>(sql, AWAY).map_err(rejected)? {
        Some(mark) if to == Use::Writing => Err(OpenError::MovedAway {
            database: name(),
            to: mark.to,
            at: Timestamp::from_millis(mark.at),
        }),
        _ => Ok(()),
    }
}
