//! The marks of moves, in `about`.

use serde::de::DeserializeOwned;

use crate::clock::Timestamp;
use crate::store::error::{move_unfinished, moved_away};
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::types::{MovedAway, UnfinishedMove};

/// The purpose of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// To look: a store that was moved away is whole.
    Reading,
    /// To serve or to change.
    Writing,
}

/// The marks of a database.
pub struct Marks {
    pub unfinished: Option<UnfinishedMove>,
    pub away: Option<MovedAway>,
}

impl Marks {
    /// Those of a database with relay's tables. Ones that can't be read are an error: nothing is
    /// served by mistake.
    pub fn of(sql: &mut Connection) -> Result<Self, Failure> {
        const MARKS: &str = "SELECT unfinished_move, moved_away FROM relay.about";
        let row = sql.one(MARKS, &[])?;
        Ok(Self {
            unfinished: parsed(row.try_get(0)?)?,
            away: parsed(row.try_get(1)?)?,
        })
    }
}

fn parsed<T: DeserializeOwned>(text: Option<&str>) -> Result<Option<T>, Failure> {
    let parsed = text.map(serde_json::from_str).transpose();
    parsed.map_err(|error| Failure::unexpected(format!("the mark of a move: {error}")))
}

/// Refuses a database that was moved away, or that a move to it has not filled yet.
pub fn refuse_if_marked(sql: &mut Connection, to: Use) -> Result<(), Failure> {
    let Marks { unfinished, away } = Marks::of(sql)?;
    if let Some(mark) = unfinished {
        let begun_at = Timestamp::from_millis(mark.begun_at);
        return Err(Failure::unexpected(move_unfinished(&mark.from, begun_at)));
    }
    match away {
        Some(mark) if to == Use::Writing => {
            let at = Timestamp::from_millis(mark.at);
            Err(Failure::unexpected(moved_away(&mark.to, at)))
        }
        _ => Ok(()),
    }
}
