//! The database as commands see it: a connection of their own, beside running servers or without.

use std::sync::{Mutex, PoisonError};

use super::connection::Connection;
use super::failure::Failure;
use super::moving;
use super::open;
use super::retry::{CALL_LIMIT, Connector, Link, Patience};
use super::url::BY_FILE;
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::config::{self, Secret};
use crate::stop::Stop;
use crate::store::error::{OpenError, StoreError};

/// A command's own connection. It never creates tables, but for an import.
pub struct Operator {
    link: Mutex<Link>,
    /// Nobody asks: a command ends by itself.
    stop: Stop,
    /// The database's clock, less the system's, in milliseconds.
    offset: i64,
}

impl Operator {
    /// For commands that read.
    pub fn reading(url: &Secret, settings: &config::Database) -> Result<Self, OpenError> {
        Self::open(url, settings, open::Absent::IsAnError, moving::Use::Reading)
    }

    /// For commands that change something.
    pub fn writing(url: &Secret, settings: &config::Database) -> Result<Self, OpenError> {
        Self::open(url, settings, open::Absent::IsAnError, moving::Use::Writing)
    }

    /// For a command that brings events from elsewhere: creates the tables if there are none.
    pub fn importing(url: &Secret, settings: &config::Database) -> Result<Self, OpenError> {
        Self::open(url, settings, open::Absent::IsCreated, moving::Use::Writing)
    }

    fn open(
        url: &Secret,
        settings: &config::Database,
        absent: open::Absent,
        to: moving::Use,
    ) -> Result<Self, OpenError> {
        let connector = Connector::of_settings(url, settings, BY_FILE)?;
        let mut link = connector.link();
        let refused = |failure: Failure| connector.refused(&failure);
        let connection = link.connection().map_err(refused)?;
        if absent == open::Absent::IsAnError && open::is_empty(connection).map_err(refused)? {
            let database = connector.url().to_string();
            return Err(OpenError::NoTables { database });
        }
        open::prepare(connection, absent).map_err(refused)?;
        moving::refuse_if_marked(connection, to).map_err(refused)?;
        let clock = database_clock(connection).map_err(refused)?;
        Ok(Self {
            link: Mutex::new(link),
            stop: Stop::default(),
            offset: clock.as_millis() - SystemClock::new().wall().as_millis(),
        })
    }

    /// The time by the clock that everything stored was written by: the database's.
    pub fn now(&self) -> Timestamp {
        #[cfg(test)]
        if let Some(now) = super::tests_clock::now() {
            return now;
        }
        Timestamp::from_millis(SystemClock::new().wall().as_millis() + self.offset)
    }

    /// Whether a server has the database open.
    pub fn has_server(&self) -> bool {
        const LIVES: &str = "SELECT 1 FROM relay.nodes WHERE seen_at > clock_timestamp() - lease";
        // A database that can't be asked has nobody who serves it.
        self.read(|sql| sql.first(LIVES, &[]))
            .is_ok_and(|row| row.is_some())
    }

    /// Reads; on a new connection if this one is lost.
    pub(super) fn read<T>(
        &self,
        read: impl FnMut(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let patience = Patience {
            limit: CALL_LIMIT,
            stop: &self.stop,
        };
        Ok(link.call(patience, read)?)
    }

    /// Makes a change. It is made again after some failures, so it must come to the same if it is
    /// made twice.
    pub(super) fn change<T>(
        &self,
        change: impl FnMut(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        self.read(change)
    }
}

/// The time by the database's clock.
fn database_clock(sql: &mut Connection) -> Result<Timestamp, Failure> {
    const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8";
    Ok(sql.one(NOW, &[])?.try_get(0)?)
}
