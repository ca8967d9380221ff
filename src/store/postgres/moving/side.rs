//! A database that is moved, or moved to.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::{self, Secret};
use crate::store::error::OpenError;
use crate::store::move_error::MoveError;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::open::{self, Absent};
use crate::store::postgres::retry::Connector;
use crate::store::postgres::url::{BY_FILE, BY_OPTIONS, SettingNames};
use crate::store::types::MOVED;

/// A call of a move reads or writes many rows, and nobody else waits for it.
const LONGEST_CALL: Duration = Duration::from_secs(3600);

/// Tables that are not moved, and that nobody changes meanwhile either.
const OTHER_TABLES: [&str; 6] = [
    "about",
    "nodes",
    "buckets",
    "made",
    "space_samples",
    "erased_keys",
];

/// Statements of a move may take longer than those of a server.
pub const NO_LIMITS: &str = "SET LOCAL statement_timeout = 0;
     SET LOCAL idle_in_transaction_session_timeout = 0;";

/// A connection to the database.
pub struct MovedServer {
    pub(super) sql: Connection,
    name: String,
    /// The name of the node that a configuration's row belongs to.
    pub(super) node: String,
    /// The life that claims are recorded for, which never lived, and its last turn.
    pub(super) claims: Option<(i64, i64)>,
}

impl MovedServer {
    /// Connects to a database that is moved.
    pub fn source(
        url: &Secret,
        settings: &config::Database,
        node: &config::Node,
    ) -> Result<Self, MoveError> {
        let mut server = Self::connect(url, settings, BY_FILE, Absent::IsAnError)?;
        server.node = node.own_name();
        server.lock_source()?;
        Ok(server)
    }

    /// Connects to a database that another store is moved to, and makes the tables if there are
    /// none.
    pub fn target(
        url: &Secret,
        settings: &config::Database,
        node: &config::Node,
    ) -> Result<Self, MoveError> {
        let mut server = Self::connect(url, settings, BY_OPTIONS, Absent::IsCreated)?;
        server.node = node.own_name();
        Ok(server)
    }

    /// Connects to a database whatever its marks say.
    pub(super) fn connect(
        url: &Secret,
        settings: &config::Database,
        names: SettingNames,
        absent: Absent,
    ) -> Result<Self, MoveError> {
        let connector = Connector::of_settings(url, settings, names)?;
        let refused = |failure: Failure| -> OpenError { connector.refused(&failure) };
        let mut sql = connector.connect().map_err(refused)?;
        open::prepare(&mut sql, absent).map_err(refused)?;
        sql.set_limit(LONGEST_CALL);
        Ok(Self {
            sql,
            name: connector.url().to_string(),
            node: String::new(),
            claims: None,
        })
    }

    /// Its name, without a password.
    pub(super) fn shown(&self) -> String {
        self.name.clone()
    }

    pub(super) fn failed(&self, failure: &Failure) -> MoveError {
        MoveError::of(self.shown(), failure.to_string())
    }

    /// The time by the database's clock.
    pub(super) fn clock(&mut self) -> Result<Timestamp, MoveError> {
        const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8";
        #[cfg(test)]
        if let Some(now) = crate::store::postgres::tests_clock::now() {
            return Ok(now);
        }
        let row = self.sql.one(NOW, &[]);
        let row = row.map_err(|failure| self.failed(&failure))?;
        row.try_get(0).map_err(|error| self.failed(&error.into()))
    }

    /// Refuses a database that a node lives on.
    pub(super) fn refuse_if_served(&mut self) -> Result<(), MoveError> {
        const LIVES: &str =
            "SELECT name FROM relay.nodes WHERE seen_at > clock_timestamp() - lease LIMIT 1";
        let found = self.sql.first(LIVES, &[]);
        let found = found.map_err(|failure| self.failed(&failure))?;
        let name = found.map(|row| row.try_get::<_, String>(0)).transpose();
        match name.map_err(|error| self.failed(&error.into()))? {
            Some(node) => Err(MoveError::Served {
                name: self.shown(),
                holder: format!("node {node:?}"),
            }),
            None => Ok(()),
        }
    }
}

/// All tables that are moved, by their names in the schema.
pub fn moved_tables() -> impl Iterator<Item = String> {
    let names = MOVED.iter().flat_map(|table| table.on_postgres);
    names.map(|name| format!("relay.{name}"))
}

/// All tables, as a list.
pub fn all_tables() -> String {
    let others = OTHER_TABLES.iter().map(|name| format!("relay.{name}"));
    moved_tables().chain(others).collect::<Vec<_>>().join(", ")
}
