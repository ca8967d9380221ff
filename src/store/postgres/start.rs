//! Connects to the database, and starts the writer.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use super::connection::Connection;
use super::failure::Failure;
use super::handle::Postgres;
use super::keys::ErasedKeys;
use super::moving;
use super::nodes::{self, DatabaseClock, Membership};
use super::open::{Absent, prepare};
use super::recover;
use super::retry::Connector;
use super::shared::Shared;
use super::upkeep::{self, Vacuum};
use super::url::BY_FILE;
use super::writer::{self, Writer};
use crate::config::{self, Secret};
use crate::store::context::StoreContext;
use crate::store::error::OpenError;
use crate::store::limits::{OWN_PLACES, QUEUE};

impl Postgres {
    /// Connects to the server, creates the tables if there are none, and starts the writer.
    pub fn open(
        url: &Secret,
        settings: &config::Database,
        longest_wait: Duration,
        context: StoreContext,
    ) -> Result<Self, OpenError> {
        #[cfg(test)]
        super::tests_clock::follow(&context.clock);
        let connector = Connector::of_settings(url, settings, BY_FILE)?;
        let refused = |failure: Failure| connector.refused(&failure);
        let mut connection = connector.connect().map_err(refused)?;
        let (membership, clock) =
            begin(&mut connection, &context, longest_wait).map_err(refused)?;
        let newest = newest_row(&mut connection).map_err(refused)?;
        let erased = ErasedKeys::load(&mut connection).map_err(refused)?;
        let shared = Shared::new(context, &connector, settings.readers, membership, erased);
        shared.budget.set_max(settings.max_bytes);
        let shared = Arc::new(shared);
        let (queue, receiver) = sync_channel(QUEUE + OWN_PLACES);
        let writer = Writer::new(receiver, Arc::clone(&shared), newest);
        let ended = writer::spawn(writer, Arc::clone(&shared)).map_err(OpenError::Thread)?;
        upkeep::start_vacuum(Vacuum::new(Arc::clone(&shared))).map_err(OpenError::Thread)?;
        nodes::spawn_heartbeat(Arc::clone(&shared), clock).map_err(OpenError::Thread)?;
        nodes::spawn_rounds(Arc::clone(&shared)).map_err(OpenError::Thread)?;
        Ok(Self::new(queue, shared, ended))
    }
}

/// Prepares the tables, begins to follow the database's clock, and begins a life of this node.
fn begin(
    sql: &mut Connection,
    context: &StoreContext,
    longest_wait: Duration,
) -> Result<(Membership, DatabaseClock), Failure> {
    prepare(sql, Absent::IsCreated)?;
    moving::refuse_if_marked(sql, moving::Use::Writing)?;
    // Before anything is written with a time.
    let clock = DatabaseClock::begin(sql, &*context.clock)?;
    let joined = nodes::join(sql, &context.node, &*context.clock, &context.stop)?;
    recover::begin(sql, context, longest_wait)?;
    Ok((joined, clock))
}

/// The newest event: later ones have greater ids, also if the clock was set back.
fn newest_row(sql: &mut Connection) -> Result<i64, Failure> {
    const NEWEST: &str = "SELECT coalesce(max(id), 0) FROM relay.intents";
    Ok(sql.one(NEWEST, &[])?.try_get(0)?)
}
