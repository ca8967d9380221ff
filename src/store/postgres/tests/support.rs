//! A database of a test's own on a real server.

use std::time::Duration;

use crate::clock::Stopwatch;
use crate::config::{self, Secret};
use crate::store::conformance::NewStore;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::open::{Absent, prepare};
use crate::store::postgres::tests::server::{self, Server};
use crate::store::postgres::url::{BY_FILE, DatabaseUrl};

/// A database, dropped at the end of its test.
pub struct Database {
    server: &'static Server,
    url: String,
}

/// An empty database; none if there is no server.
pub fn empty_database() -> Option<Database> {
    let server = server::server()?;
    let url = server.create_database();
    Some(Database { server, url })
}

/// A database with relay's tables, and a connection to it; none if there is no server.
pub fn database() -> Option<(Database, Connection)> {
    let database = empty_database()?;
    let mut connection = database.connection();
    prepare(&mut connection, Absent::IsCreated).expect("the tables");
    Some((database, connection))
}

impl Database {
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn settings(&self) -> config::Database {
        settings(&self.url)
    }

    /// A connection whose calls may take as long as a relay's.
    pub fn connection(&self) -> Connection {
        connection(&self.url, Duration::from_secs(10))
    }

    /// The output of psql for a query.
    pub fn psql(&self, sql: &str) -> String {
        let output = self.server.query(&self.url, sql, &[]);
        String::from_utf8(output).expect("text")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.server.drop_database(&self.url);
    }
}

/// Waits until a backend of this connection's database does so.
pub fn until(sql: &mut Connection, condition: &str) {
    let look = format!(
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND {condition}"
    );
    let clock = Stopwatch::start();
    while sql.first(&look, &[]).expect("good SQL").is_none() {
        assert!(
            clock.elapsed() < Duration::from_secs(10),
            "never: {condition}"
        );
    }
}

/// The settings of a store on this database.
pub fn settings(url: &str) -> config::Database {
    config::Database {
        url: Some(Secret::new(url)),
        min_free_bytes: 0,
        max_bytes: None,
        readers: 2,
        ..config::Database::default()
    }
}

pub fn parsed(url: &str) -> DatabaseUrl {
    let timeout = Duration::from_secs(5);
    DatabaseUrl::read(&Secret::new(url), None, timeout, BY_FILE).expect("a URL")
}

pub fn connection(url: &str, limit: Duration) -> Connection {
    Connection::open(&parsed(url), limit).expect("a connection")
}

/// An empty store; none if there is no server.
pub fn new_store() -> Option<NewStore> {
    let database = empty_database()?;
    Some(NewStore {
        settings: database.settings(),
        check: check_references,
        _guard: Box::new(database),
    })
}

/// Checks that no row refers to one that isn't there, and that no claim is left behind by a life
/// that has ended.
fn check_references(settings: &config::Database) {
    let url = settings.url.as_ref().expect("a URL");
    let mut sql = connection(url.reveal(), Duration::from_secs(10));
    for orphans in [
        "SELECT count(*) FROM relay.deliveries
         WHERE destination_id NOT IN (SELECT id FROM relay.destinations)",
        "SELECT count(*) FROM relay.deliveries
         WHERE intent_id NOT IN (SELECT id FROM relay.intents)",
        "SELECT count(*) FROM relay.waiting JOIN relay.ended USING (intent_id, destination_id)",
        "SELECT count(*) FROM relay.intents
         WHERE (unrouted IS NULL) = (id NOT IN (SELECT intent_id FROM relay.deliveries))",
        "SELECT count(*) FROM relay.attempts a WHERE NOT EXISTS (SELECT 1 FROM relay.deliveries d
         WHERE d.intent_id = a.intent_id AND d.destination_id = a.destination_id)",
    ] {
        let row = sql.one(orphans, &[]).expect("a count");
        let count: i64 = row.try_get(0).expect("a number");
        assert_eq!(count, 0, "{orphans}");
    }
}

/// Lets the leases of all nodes lapse, as if none had been heard for an hour.
pub fn let_nodes_lapse(url: &str) {
    let mut connection = connection(url, Duration::from_secs(10));
    let lapsed = connection
        .batch("UPDATE relay.nodes SET seen_at = seen_at - interval '1 hour', lease = '1 second'");
    lapsed.expect("good SQL");
}
