//! The transaction under way, as a change sees it.

use std::cell::RefCell;
use std::collections::HashSet;

use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Params, Row, params};

use super::counts::CountChanges;
use super::outside::Outside;
use super::writer_state::WriterState;
use crate::clock::Timestamp;
use crate::model::{DeliveryState, IntentId};
use crate::store::error::StoreError;
use crate::store::types::{DestinationId, IntentRow, OwnerId};

/// The transaction under way.
pub struct Tx<'a> {
    /// The connection, in the middle of a transaction.
    pub sql: &'a Connection,
    /// When the transaction began.
    pub now: Timestamp,
    /// None for a command's transaction: only the server accepts intents and notices what others
    /// changed.
    writer: Option<&'a WriterState>,
    /// Prepared statements by the address of their text: looking the text up in the connection's
    /// own cache for each row was a tenth of the writer's work (profiled).
    prepared: RefCell<Vec<(&'static str, CachedStatement<'a>)>>,
    changes: RefCell<CountChanges>,
}

impl<'a> Tx<'a> {
    /// The server's transaction.
    pub fn of_server(sql: &'a Connection, now: Timestamp, writer: &'a WriterState) -> Self {
        Self {
            writer: Some(writer),
            ..Self::of_operator(sql, now)
        }
    }

    /// A command's own transaction.
    pub fn of_operator(sql: &'a Connection, now: Timestamp) -> Self {
        Self {
            sql,
            now,
            writer: None,
            prepared: RefCell::default(),
            changes: RefCell::default(),
        }
    }

    /// Runs a prepared statement. It is taken out of the list meanwhile, so that `run` may use this
    /// transaction itself, for the same statement too.
    fn with<T>(
        &self,
        sql: &'static str,
        run: impl FnOnce(&mut CachedStatement<'a>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let known = {
            let mut prepared = self.prepared.borrow_mut();
            let at = prepared
                .iter()
                .position(|(text, _)| std::ptr::eq(*text, sql));
            at.map(|at| prepared.swap_remove(at).1)
        };
        let mut statement = match known {
            Some(statement) => statement,
            None => self.sql.prepare_cached(sql)?,
        };
        let result = run(&mut statement);
        self.prepared.borrow_mut().push((sql, statement));
        Ok(result?)
    }

    /// Executes a statement; how many rows it changed.
    pub fn execute(&self, sql: &'static str, params: impl Params) -> Result<usize, StoreError> {
        self.with(sql, |statement| statement.execute(params))
    }

    /// The first row, if there is one.
    pub fn first<T>(
        &self,
        sql: &'static str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        self.with(sql, |statement| {
            statement.query_row(params, read).optional()
        })
    }

    /// All rows.
    pub fn rows<T>(
        &self,
        sql: &'static str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        self.with(sql, |statement| {
            statement.query_map(params, read)?.collect()
        })
    }

    /// Whether it is a command's transaction.
    pub fn is_operators(&self) -> bool {
        self.writer.is_none()
    }

    /// The next intent's id. A rolled back transaction leaves a gap, never a repetition.
    pub fn next_id(&self) -> Result<IntentId, StoreError> {
        let writer = self.writer_state()?;
        let row = IntentId::next_row(writer.last_row.get(), self.now.as_millis());
        writer.last_row.set(row);
        writer.added.set(row);
        writer.keys.borrow_mut().accepted();
        Ok(IntentId::new(row, rand::random()))
    }

    /// The state of the server's writer; an error in a command's transaction.
    pub fn writer_state(&self) -> Result<&'a WriterState, StoreError> {
        self.writer
            .ok_or_else(|| StoreError::Unexpected("only a server accepts anything".to_owned()))
    }

    /// The intents that an idempotency key of this digest may name, newest first: a key may have
    /// been used again after its window.
    pub fn candidates(&self, digest: i64) -> Result<Vec<i64>, StoreError> {
        let mut candidates = self.writer_state()?.keys.borrow().candidates(digest);
        candidates.extend(self.rows(
            "SELECT intent_id FROM idempotency WHERE digest = ?1",
            [digest],
            |row| row.get::<_, i64>(0),
        )?);
        candidates.sort_unstable_by(|a, b| b.cmp(a));
        Ok(candidates)
    }

    /// From now on the digest finds the intent.
    pub fn add_key(&self, digest: i64, intent: i64) {
        if let Some(writer) = self.writer {
            writer.keys.borrow_mut().add((digest, intent));
        }
    }

    /// Deletes a key that is past its window.
    pub fn forget_key(&self, digest: i64, intent: i64) -> Result<(), StoreError> {
        self.writer_state()?
            .keys
            .borrow_mut()
            .forget((digest, intent));
        self.execute(
            "DELETE FROM idempotency WHERE digest = ?1 AND intent_id = ?2",
            [digest, intent],
        )?;
        Ok(())
    }

    /// The id of a destination, which is created if it doesn't exist. `owner` is the API key whose
    /// relay it is for; a named destination has none. All writes get ids from here: from here on
    /// the destination counts as used.
    pub fn destination(
        &self,
        name: &str,
        owner: Option<OwnerId>,
    ) -> Result<DestinationId, StoreError> {
        if let Some(id) = self.known_destination(name)? {
            if let Some(writer) = self.writer {
                // Empty mostly, and then this costs nothing.
                writer.unused.borrow_mut().remove(&id);
            }
            return Ok(id);
        }
        self.execute(
            "INSERT INTO destinations (name, owner) VALUES (?1, ?2)",
            params![name, owner],
        )?;
        let id = DestinationId(self.sql.last_insert_rowid());
        self.remember_destination(name, id);
        Ok(id)
    }

    /// The id of a destination, if it exists.
    pub fn known_destination(&self, name: &str) -> Result<Option<DestinationId>, StoreError> {
        if let Some(id) = self.writer.and_then(|writer| writer.destination(name)) {
            return Ok(Some(id));
        }
        let found = self.first(
            "SELECT id FROM destinations WHERE name = ?1",
            [name],
            |row| row.get(0),
        )?;
        if let Some(id) = found {
            self.remember_destination(name, id);
        }
        Ok(found)
    }

    fn remember_destination(&self, name: &str, id: DestinationId) {
        if let Some(writer) = self.writer {
            writer.remember_destination(name, id);
        }
    }

    /// These destinations were deleted.
    pub fn forget_destinations(&self, ids: &HashSet<DestinationId>) -> Result<(), StoreError> {
        self.writer_state()?.forget_destinations(ids);
        Ok(())
    }

    /// Records that a delivery changes its state; none: it is created or deleted. The change counts
    /// once the transaction is durable.
    pub fn moved(
        &self,
        destination: DestinationId,
        from: impl Into<Option<DeliveryState>>,
        to: impl Into<Option<DeliveryState>>,
    ) {
        let to = to.into();
        if to == Some(DeliveryState::DeadLettered)
            && let Some(writer) = self.writer
        {
            writer.dead.borrow_mut().push(destination);
        }
        self.changes
            .borrow_mut()
            .moved(destination, from.into(), to);
    }

    /// Records that a dead letter blocks the deliveries behind it in its line.
    pub fn blocked(&self, destination: DestinationId) {
        self.changes.borrow_mut().blocking(destination, 1);
    }

    /// Records that a dead letter no longer blocks the deliveries behind it.
    pub fn unblocked(&self, destination: DestinationId) {
        self.changes.borrow_mut().blocking(destination, -1);
    }

    /// Takes the count changes that commands have left. For the transaction's beginning. A command
    /// may have used any origin: none counts as unused any more.
    pub fn take_outside(&self, outside: &Outside) -> rusqlite::Result<()> {
        let has_written = outside.take(self.sql, &mut self.changes.borrow_mut())?;
        if has_written && let Some(writer) = self.writer {
            writer.unused.borrow_mut().clear();
        }
        Ok(())
    }

    /// The transaction's changes of the counts.
    pub fn into_changes(self) -> CountChanges {
        self.changes.into_inner()
    }

    /// Records that an intent was deleted.
    pub fn deleted(&self, row: IntentRow) {
        if let Some(writer) = self.writer {
            writer.deleted.set(row.0.max(writer.deleted.get()));
        }
    }

    /// Something became due for a destination: after the commit the dispatcher is notified.
    pub fn notify_dispatcher(&self, destination: DestinationId) {
        if let Some(writer) = self.writer {
            let mut due = writer.due.borrow_mut();
            // Most batches go to few destinations, one after the other.
            if due.last() != Some(&destination) {
                due.push(destination);
            }
        }
    }
}
