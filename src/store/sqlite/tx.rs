//! The transaction under way, as an operation sees it, and what the server remembers from one to the
//! next.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};

use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Params, Row, params};

use super::StoreError;
use super::counts::CountChanges;
use super::keys::Keys;
use super::origins::WaitingOrigins;
use super::outside::Outside;
use crate::clock::Timestamp;
use crate::model::{DeliveryState, IntentId};

/// The transaction under way.
pub(crate) struct Tx<'a> {
    /// The connection, in the middle of a transaction.
    pub sql: &'a Connection,
    /// When the transaction began.
    pub now: Timestamp,
    /// None for a command's: only the server accepts anything, and looks for what others changed.
    writer: Option<&'a Rolling>,
    /// What it has prepared, by the place of its text: to look that up in the connection's own cache
    /// for each row was a tenth of the writer's work (profiled).
    prepared: RefCell<Vec<(&'static str, CachedStatement<'a>)>>,
    changes: RefCell<CountChanges>,
}

/// What the writer keeps from one transaction to the next.
pub(super) struct Rolling {
    last_row: Cell<i64>,
    /// Destinations for which this transaction makes something due.
    pub made_due: RefCell<Vec<i64>>,
    /// The newest row that this transaction adds, or 0; and the newest that it deletes.
    pub added: Cell<i64>,
    pub deleted: Cell<i64>,
    pub keys: RefCell<Keys>,
    /// Destinations by name: all that are looked for are few.
    destinations: RefCell<HashMap<String, i64>>,
    pub origins: RefCell<WaitingOrigins>,
    /// Ad hoc origins that may be unused, and haven't been used since that was asked.
    pub unused: RefCell<HashSet<i64>>,
}

/// Destinations that are remembered: ad hoc origins can be any number.
const MAX_DESTINATIONS: usize = 4096;

impl Rolling {
    pub fn new(last_row: i64, keys: Keys) -> Self {
        Self {
            last_row: Cell::new(last_row),
            made_due: RefCell::default(),
            added: Cell::new(0),
            deleted: Cell::new(0),
            keys: RefCell::new(keys),
            destinations: RefCell::default(),
            origins: RefCell::default(),
            unused: RefCell::default(),
        }
    }

    pub fn committed(&self) {
        self.keys.borrow_mut().committed(self.last_row.get());
    }

    pub fn rolled_back(&self) {
        self.keys.borrow_mut().rolled_back();
        self.made_due.borrow_mut().clear();
        // One of them may have been new.
        self.destinations.borrow_mut().clear();
    }
}

impl<'a> Tx<'a> {
    /// The server's transaction.
    pub(super) fn of_server(sql: &'a Connection, now: Timestamp, writer: &'a Rolling) -> Self {
        Self {
            sql,
            now,
            writer: Some(writer),
            prepared: RefCell::default(),
            changes: RefCell::default(),
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

    /// Whether it is a command's.
    pub fn is_operators(&self) -> bool {
        self.writer.is_none()
    }

    /// The next intent's id. A rolled back transaction leaves a gap, never a repetition.
    pub fn next_id(&self) -> Result<IntentId, StoreError> {
        let writer = self.rolling()?;
        let row = IntentId::next_row(writer.last_row.get(), self.now.as_millis());
        writer.last_row.set(row);
        writer.added.set(row);
        writer.keys.borrow_mut().accepted();
        Ok(IntentId::new(row, rand::random()))
    }

    /// What has to be a server's.
    pub(super) fn rolling(&self) -> Result<&Rolling, StoreError> {
        self.writer
            .ok_or_else(|| StoreError::Unexpected("only a server accepts anything".to_owned()))
    }

    /// The intents that an idempotency key of this digest may name, the newest first: a key may have
    /// been used again after its window.
    pub fn candidates(&self, digest: i64) -> Result<Vec<i64>, StoreError> {
        let mut candidates = self.rolling()?.keys.borrow().candidates(digest);
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

    /// One that is past its window names nothing any more.
    pub fn forget_key(&self, digest: i64, intent: i64) -> Result<(), StoreError> {
        self.rolling()?.keys.borrow_mut().forget((digest, intent));
        self.execute(
            "DELETE FROM idempotency WHERE digest = ?1 AND intent_id = ?2",
            [digest, intent],
        )?;
        Ok(())
    }

    /// The number of a destination, which is made known if it isn't. `owner` is a digest of the API
    /// key whose relay it is for; a named destination has none. The only way to a number for what is
    /// written: from here on the destination counts as used.
    pub fn destination(&self, name: &str, owner: Option<i64>) -> Result<i64, StoreError> {
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
        let id = self.sql.last_insert_rowid();
        self.remember_destination(name, id);
        Ok(id)
    }

    /// The number of a destination, if it has one.
    pub(super) fn known_destination(&self, name: &str) -> Result<Option<i64>, StoreError> {
        let known = self.writer.map(|writer| writer.destinations.borrow());
        if let Some(id) = known.and_then(|known| known.get(name).copied()) {
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

    fn remember_destination(&self, name: &str, id: i64) {
        if let Some(writer) = self.writer {
            let mut known = writer.destinations.borrow_mut();
            if known.len() >= MAX_DESTINATIONS {
                known.clear();
            }
            known.insert(name.to_owned(), id);
        }
    }

    /// Says that destinations are no longer there.
    pub fn forget_destinations(&self, ids: &HashSet<i64>) -> Result<(), StoreError> {
        let mut known = self.rolling()?.destinations.borrow_mut();
        known.retain(|_, id| !ids.contains(id));
        Ok(())
    }

    /// Says that a delivery goes from a state to another; none: it wasn't stored before, or isn't any
    /// more. What is said counts once the transaction is durable.
    pub fn moved(
        &self,
        destination: i64,
        from: impl Into<Option<DeliveryState>>,
        to: impl Into<Option<DeliveryState>>,
    ) {
        let mut changes = self.changes.borrow_mut();
        changes.moved(destination, from.into(), to.into());
    }

    /// At its beginning: adds what commands have left.
    pub(super) fn take_outside(&self, outside: &Outside) -> rusqlite::Result<()> {
        outside.take(self.sql, &mut self.changes.borrow_mut())
    }

    /// What it changes about the counts.
    pub(super) fn into_changes(self) -> CountChanges {
        self.changes.into_inner()
    }

    /// Says that an intent is no longer there.
    pub fn deleted(&self, row: i64) {
        if let Some(writer) = self.writer {
            writer.deleted.set(row.max(writer.deleted.get()));
        }
    }

    /// Says that something became due for a destination: after the commit the executor is told.
    pub fn made_due(&self, destination: i64) {
        if let Some(writer) = self.writer {
            let mut due = writer.made_due.borrow_mut();
            // Most batches go to few destinations, one after the other.
            if due.last() != Some(&destination) {
                due.push(destination);
            }
        }
    }
}
