//! Connects to the database, and starts the writer.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use super::connection::Connection;
use super::failure::Failure;
use super::handle::Postgres;
use super::nodes::{self, Membership};
use super::open::{Absent, prepare};
use super::recover;
use super::retry::{CALL_LIMIT, Connector};
use super::shared::Shared;
use super::upkeep::{self, Vacuum};
use super::url::DatabaseUrl;
use super::writer::{self, Writer};
use crate::clock::Timestamp;
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
        let connector = connector(url, settings)?;
        let refused = |failure: Failure| refused(&connector, &failure);
        let mut connection = connector.connect().map_err(refused)?;
        let membership = begin(&mut connection, &context, longest_wait).map_err(refused)?;
        let newest = newest_row(&mut connection).map_err(refused)?;
        let shared = Shared::new(context, &connector, settings.readers, membership);
        shared.budget.set_max(settings.max_bytes);
        let shared = Arc::new(shared);
        let (queue, receiver) = sync_channel(QUEUE + OWN_PLACES);
        let writer = Writer::new(receiver, Arc::clone(&shared), newest);
        let ended = writer::spawn(writer, Arc::clone(&shared)).map_err(OpenError::Thread)?;
        upkeep::start_vacuum(Vacuum::new(Arc::clone(&shared))).map_err(OpenError::Thread)?;
        nodes::spawn_heartbeat(Arc::clone(&shared)).map_err(OpenError::Thread)?;
        nodes::spawn_rounds(Arc::clone(&shared)).map_err(OpenError::Thread)?;
        Ok(Self::new(queue, shared, ended))
    }
}

/// Makes the connections to the server that the settings name.
pub fn connector(url: &Secret, settings: &config::Database) -> Result<Arc<Connector>, OpenError> {
    let ca_file = settings.ca_file.as_deref();
    let url = DatabaseUrl::read(url, ca_file, settings.statement_timeout);
    let url = url.map_err(|problem| OpenError::Server {
        database: "database.url".to_owned(),
        problem,
    })?;
    Ok(Connector::new(url, CALL_LIMIT))
}

/// The error of a server that refuses.
pub fn refused(connector: &Connector, failure: &Failure) -> OpenError {
    OpenError::Server {
        database: connector.url().to_string(),
        problem: failure.to_string(),
    }
}

/// Prepares the tables, and begins a life of this node.
fn begin(
    sql: &mut Connection,
    context: &StoreContext,
    longest_wait: Duration,
) -> Result<Membership, Failure> {
    prepare(sql, Absent::IsCreated)?;
    let joined = nodes::join(sql, &context.node, &*context.clock, &context.stop)?;
    recover::begin(sql, context, longest_wait)?;
    Ok(joined)
}

/// The time by the database's clock.
pub fn database_clock(sql: &mut Connection) -> Result<Timestamp, Failure> {
    const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8";
    Ok(sql.one(NOW, &[])?.try_get(0)?)
}

/// The newest event: later ones have greater ids, also if the clock was set back.
fn newest_row(sql: &mut Connection) -> Result<i64, Failure> {
    const NEWEST: &str = "SELECT coalesce(max(id), 0) FROM relay.intents";
    Ok(sql.one(NEWEST, &[])?.try_get(0)?)
}
