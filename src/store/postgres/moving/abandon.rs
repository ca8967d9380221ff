//! Gives a move up.

use super::marks::Marks;
use super::side::{MovedServer, all_tables};
use super::source::ALLOW;
use crate::config::{self, Secret};
use crate::store::move_error::MoveError;
use crate::store::postgres::open::Absent;
use crate::store::postgres::url::BY_FILE;

/// Empties a database that a move has not filled, or lets one be served again that was moved away;
/// in words, what was done.
pub fn abandon_move(url: &Secret, settings: &config::Database) -> Result<String, MoveError> {
    let mut server = MovedServer::connect(url, settings, BY_FILE, Absent::IsAnError)?;
    server.abandon()
}

impl MovedServer {
    fn abandon(&mut self) -> Result<String, MoveError> {
        let lock = format!(
            "BEGIN; LOCK TABLE {} IN ACCESS EXCLUSIVE MODE",
            all_tables()
        );
        let locked = self.sql.batch(&lock);
        locked.map_err(|failure| self.failed(&failure))?;
        let marks = Marks::of(&mut self.sql).map_err(|failure| self.failed(&failure))?;
        let name = self.shown();
        let done = if marks.unfinished.is_some() {
            self.empty().map_err(|failure| self.failed(&failure))?;
            format!("{name}: the unfinished copy is removed")
        } else if let Some(away) = marks.away {
            let allowed = self.sql.batch(ALLOW);
            allowed.map_err(|failure| self.failed(&failure))?;
            format!(
                "{name}: can be served again, as it was when it was moved to {}",
                away.to
            )
        } else {
            return Err(MoveError::NothingToAbandon { name });
        };
        let ended = self
            .sql
            .batch("UPDATE relay.about SET unfinished_move = NULL, moved_away = NULL; COMMIT");
        ended.map_err(|failure| self.failed(&failure))?;
        Ok(done)
    }
}
