//! The relay on PostgreSQL, and failures of the server. Skipped without one, whatever the engine of
//! the other tests.
//!
//! - [`lost_answers`]: connections that end around a commit. [`outages`]: a server that is full,
//!   stopped, crowded or replaced. [`plans`]: the rows that statements touch. [`sessions`]: the
//!   relay's sessions, as the server and a pooler see them. [`nodes`]: several nodes, as operators
//!   see them.

mod lost_answers;
mod nodes;
mod outages;
mod plans;
mod sessions;

use std::sync::Arc;

use relay::Config;
use relay::config::{Database, Ordering, Secret};

use crate::support::engine::{FromCell as _, rows_of_postgres};
use crate::support::own_server::{OwnServer, own_server};
use crate::support::postgres::Server;
use crate::support::{Answer, Receiver, TestRelay, config, orders};

/// A relay on a database of a server of its own, and its receiver.
struct Scene {
    relay: TestRelay,
    receiver: Receiver,
    queries: Server,
    server: OwnServer,
    /// The URL of the relay's database, by the server's socket.
    url: String,
}

/// A server that is started.
fn started() -> Option<OwnServer> {
    let mut server = own_server()?;
    server.tell("start");
    Some(server)
}

/// Deliveries in the order of a member of their bodies: their batches are transactions of several
/// statements.
fn in_order(config: &mut Config) {
    orders(config).ordering = Some(Ordering::by("/line"));
}

impl Scene {
    /// A relay on a new database of this server. `through` makes its URL, of the database's name.
    fn new(server: OwnServer, through: impl FnOnce(&str) -> String) -> Self {
        let url = server.server().create_database();
        Self::on(server, url, through, |_| {})
    }

    /// A relay on this database, with further changes to its configuration.
    fn on(
        server: OwnServer,
        url: String,
        through: impl FnOnce(&str) -> String,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let receiver = Receiver::start(|_| Answer::status(200));
        let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        let mut config = config(directory.path(), &receiver.url("/hook"));
        config.database = Database {
            url: Some(Secret::new(through(name_of(&url)))),
            ..Database::default()
        };
        change(&mut config);
        Self {
            relay: TestRelay::start_in(directory, config, None),
            receiver,
            queries: server.server(),
            server,
            url,
        }
    }

    /// The number that a query finds.
    fn count(&self, sql: &str) -> i64 {
        let rows = rows_of_postgres(&self.queries, &self.url, sql);
        let cell = rows.into_iter().flatten().next();
        i64::from_cell(cell.expect("a row"))
    }
}

/// The name of a URL's database.
fn name_of(url: &str) -> &str {
    let (path, _) = url.split_once('?').unwrap_or((url, ""));
    path.rsplit('/').next().unwrap_or_default()
}
