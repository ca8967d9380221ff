//! A database that is moved: locked against changes from the first read to the mark.

use super::marks::{Marks, Use, refuse_if_marked};
use super::read;
use super::side::{MovedServer, NO_LIMITS, all_tables};
use crate::clock::Timestamp;
use crate::store::move_error::MoveError;
use crate::store::types::{MoveSource, MovedAway, MovedTable, OnRows};

/// A node that wakes up later records nothing: it accepts without looking at its own row first.
const FORBID: &str = "ALTER TABLE relay.intents ADD CONSTRAINT moved_away CHECK (false) NOT VALID";
/// Undoes it.
pub const ALLOW: &str = "ALTER TABLE relay.intents DROP CONSTRAINT IF EXISTS moved_away";

impl MovedServer {
    /// Begins the transaction of the move, and keeps nodes and commands from changing anything. A
    /// node that is not heard any more has ended: it is fenced when the source is left.
    pub(super) fn lock_source(&mut self) -> Result<(), MoveError> {
        self.refuse_if_served()?;
        // Waits for statements under way, as long as a statement may take.
        let locked = self.sql.batch(&format!(
            "BEGIN; LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE; {NO_LIMITS}",
            all_tables()
        ));
        locked.map_err(|failure| self.failed(&failure))?;
        self.refuse_if_served()?;
        let marks = Marks::of(&mut self.sql).map_err(|failure| self.failed(&failure))?;
        if marks.unfinished.is_some() {
            let refused = refuse_if_marked(&mut self.sql, Use::Reading);
            refused.map_err(|failure| self.failed(&failure))?;
        }
        Ok(())
    }
}

impl MoveSource for MovedServer {
    fn name(&self) -> String {
        self.shown()
    }

    fn moved_away(&mut self) -> Result<Option<MovedAway>, MoveError> {
        let marks = Marks::of(&mut self.sql).map_err(|failure| self.failed(&failure))?;
        Ok(marks.away)
    }

    fn installation(&mut self) -> Result<String, MoveError> {
        const ID: &str = "SELECT replace(installation::text, '-', '') FROM relay.about";
        let row = self
            .sql
            .one(ID, &[])
            .map_err(|failure| self.failed(&failure))?;
        row.try_get(0).map_err(|error| self.failed(&error.into()))
    }

    fn now(&mut self) -> Result<Timestamp, MoveError> {
        self.clock()
    }

    fn read(&mut self, table: &MovedTable, each: OnRows<'_>) -> Result<(), MoveError> {
        read::read(self, table, each)
    }

    fn leave(&mut self, mark: &MovedAway) -> Result<(), MoveError> {
        const MARK: &str = "UPDATE relay.about SET moved_away = $1";
        let text = serde_json::to_string(mark)
            .map_err(|error| MoveError::of(self.shown(), error.to_string()))?;
        let marked = self.sql.execute(MARK, &[&text]);
        // The rows of nodes that have died: each of their transactions looks for its own.
        let ended = format!("DELETE FROM relay.nodes; {FORBID}; COMMIT");
        let left = marked.and_then(|_| self.sql.batch(&ended));
        left.map_err(|failure| self.failed(&failure))
    }
}
