//! A database that another store is moved to.

use super::marks::Marks;
use super::read;
use super::side::{MovedServer, NO_LIMITS, all_tables, moved_tables};
use super::write;
use crate::clock::Timestamp;
use crate::store::move_error::MoveError;
use crate::store::postgres::failure::Failure;
use crate::store::types::{MOVED, MoveTarget, MovedRow, MovedTable, OnRows, UnfinishedMove};

const MARK: &str = "UPDATE relay.about SET unfinished_move = $1";

/// Ids that are given from now on come after those that were moved.
const GO_ON: &str = "
    SELECT setval('relay.destinations_id_seq', coalesce(max(id), 1), max(id) IS NOT NULL)
    FROM relay.destinations;
    SELECT setval('relay.jobs_id_seq', coalesce(max(id), 1), max(id) IS NOT NULL)
    FROM relay.jobs;
    SELECT setval('relay.learned_secrets_id_seq', coalesce(max(id), 1), max(id) IS NOT NULL)
    FROM relay.learned_secrets;";

impl MovedServer {
    /// Refuses a database with content of a relay's, unless an unfinished move has brought it.
    fn refuse_if_used(&mut self) -> Result<(), MoveError> {
        let marks = Marks::of(&mut self.sql).map_err(|failure| self.failed(&failure))?;
        if let Some(away) = marks.away {
            let at = Timestamp::from_millis(away.at);
            return Err(MoveError::NotEmpty {
                name: self.shown(),
                found: format!("a store that was moved to {} at {at}", away.to),
            });
        }
        if marks.unfinished.is_some() {
            return Ok(());
        }
        let content = MOVED.iter().filter(|table| table.is_content());
        for name in content.flat_map(|table| table.on_postgres) {
            let look = format!("SELECT EXISTS (SELECT 1 FROM relay.{name})");
            let row = self
                .sql
                .one(&look, &[])
                .map_err(|failure| self.failed(&failure))?;
            if row.try_get(0).map_err(|error| self.failed(&error.into()))? {
                return Err(MoveError::NotEmpty {
                    name: self.shown(),
                    found: format!("rows of {name}"),
                });
            }
        }
        Ok(())
    }

    /// Empties the tables in the transaction under way.
    pub(super) fn empty(&mut self) -> Result<(), Failure> {
        let moved = moved_tables().collect::<Vec<_>>().join(", ");
        self.sql.batch(&format!(
            "TRUNCATE {moved}, relay.made, relay.space_samples, relay.erased_keys RESTART IDENTITY;
             DELETE FROM relay.nodes; UPDATE relay.buckets SET epoch = NULL"
        ))
    }

    fn set_mark(&mut self, mark: &UnfinishedMove) -> Result<(), MoveError> {
        let text = serde_json::to_string(mark)
            .map_err(|error| MoveError::of(self.shown(), error.to_string()))?;
        let set = self.sql.execute(MARK, &[&text]);
        set.map(|_| ()).map_err(|failure| self.failed(&failure))
    }

    fn batch(&mut self, sql: &str) -> Result<(), MoveError> {
        let made = self.sql.batch(sql);
        made.map_err(|failure| self.failed(&failure))
    }

    /// Another move to here may have begun since the mark was written.
    fn check_token(&mut self, token: &str) -> Result<(), MoveError> {
        let marks = Marks::of(&mut self.sql).map_err(|failure| self.failed(&failure))?;
        if marks.unfinished.is_some_and(|mark| mark.token == token) {
            return Ok(());
        }
        let problem = "another relay migrate to here has begun; nothing was changed";
        Err(MoveError::of(self.shown(), problem))
    }
}

impl MoveTarget for MovedServer {
    fn name(&self) -> String {
        self.shown()
    }

    fn unfinished(&mut self) -> Result<Option<UnfinishedMove>, MoveError> {
        let marks = Marks::of(&mut self.sql).map_err(|failure| self.failed(&failure))?;
        Ok(marks.unfinished)
    }

    fn begin(&mut self, mark: &UnfinishedMove) -> Result<(), MoveError> {
        self.refuse_if_served()?;
        self.batch(&format!(
            "BEGIN; LOCK TABLE {} IN ACCESS EXCLUSIVE MODE",
            all_tables()
        ))?;
        self.refuse_if_served()?;
        self.refuse_if_used()?;
        self.empty().map_err(|failure| self.failed(&failure))?;
        self.set_mark(mark)?;
        // The copy is one transaction: without its end there is nothing.
        self.batch(&format!(
            "COMMIT; BEGIN; {NO_LIMITS} SELECT 1 FROM relay.about FOR UPDATE"
        ))?;
        self.check_token(&mark.token)
    }

    fn write(&mut self, table: &MovedTable, rows: Vec<MovedRow>) -> Result<(), MoveError> {
        let made = write::write(self, table, &rows);
        made.map_err(|failure| MoveError::of(self.shown(), format!("{}: {failure}", table.name)))
    }

    fn copied(&mut self, installation: &str) -> Result<(), MoveError> {
        const INSTALLATION: &str = "UPDATE relay.about SET installation = $1::text::uuid";
        let set = self.sql.execute(INSTALLATION, &[&installation]);
        set.map_err(|failure| self.failed(&failure))?;
        self.batch(GO_ON)
    }

    fn read(&mut self, table: &MovedTable, each: OnRows<'_>) -> Result<(), MoveError> {
        read::read(self, table, each)
    }

    fn now(&mut self, _source: Timestamp) -> Result<Timestamp, MoveError> {
        self.clock()
    }

    fn complete(&mut self, mark: &UnfinishedMove) -> Result<(), MoveError> {
        self.set_mark(mark)?;
        self.batch("COMMIT")
    }

    fn release(&mut self) -> Result<(), MoveError> {
        self.batch("UPDATE relay.about SET unfinished_move = NULL")
    }
}
