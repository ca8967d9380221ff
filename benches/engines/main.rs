//! `POST`s and deliveries a second over HTTP on PostgreSQL, with one to three nodes, beside SQLite
//! in the same rounds. The server runs on the same processors, below `/var/tmp`, with `fsync` on.
//! Each part has a name:
//!
//! - `accepting`: from 64 and 256 connections, and the bytes of PostgreSQL's log for each event;
//! - `limits`: one node beside a bare log, `COPY`, and sessions that insert rows one by one;
//! - `pickup`: from one node's answer to the request of the node that delivers;
//! - `settling`: from a backlog, with attempts of 0 and 5 ms to 1, 100 and 10 000 destinations,
//!   and to 100 of which one owns 99 %.
//!
//! ```text
//! cargo bench --bench engines --all-features
//! RELAY_BENCH_FORM=short cargo bench --bench engines --all-features -- accepting
//! ```

mod accepting;
mod limits;
mod pickup;
#[allow(dead_code, reason = "the tests use the rest of it")]
#[path = "../../tests/it/support/postgres.rs"]
mod postgres;
#[path = "../support/posts.rs"]
mod posts;
mod settling;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::time::Duration;

use relay::config::{Database, Secret};
use relay::{Config, Relay};
use serde_json::{Map, Value};

use postgres::Server;
use support::Parts;
use support::backlog::wait_until;

/// The names of the nodes, of which the first so many are started.
const NODES: [&str; 3] = ["a", "b", "c"];

/// A part's name and its function.
type Part = (&'static str, fn(&Server) -> Value);

fn main() {
    let all: [Part; 4] = [
        ("accepting", accepting::beside_sqlite),
        ("limits", limits::beside_bare),
        ("pickup", pickup::of_another_nodes_events),
        ("settling", settling::beside_sqlite),
    ];
    let parts = Parts::of(&all.map(|(name, _)| name));
    let Some(server) = postgres::start(Path::new("/var/tmp")) else {
        println!("skipped: PostgreSQL isn't installed");
        return;
    };
    let mut kept = Map::new();
    for (name, measure) in all {
        if parts.has(name) {
            kept.insert(name.to_owned(), measure(&server));
            println!();
        }
    }
    support::keep("engines", &Value::Object(kept));
}

/// A database of PostgreSQL.
struct Shared<'a> {
    server: &'a Server,
    url: String,
}

impl<'a> Shared<'a> {
    fn new(server: &'a Server) -> Self {
        let url = server.create_database();
        Self { server, url }
    }

    /// Psql's output for a query.
    fn sql(&self, sql: &str) -> String {
        let output = self.server.query(&self.url, sql, &[]);
        String::from_utf8(output).expect("text").trim().to_owned()
    }

    fn number(&self, sql: &str) -> f64 {
        self.sql(sql).parse().expect("a number")
    }

    /// Nodes that share the deliveries.
    fn nodes(&self, config: &Config, count: usize) -> Vec<Relay> {
        let nodes = NODES.iter().take(count).map(|name| {
            let mut config = config.clone();
            config.database = Database {
                url: Some(Secret::new(&self.url)),
                ..Database::default()
            };
            config.node.name = Some((*name).to_owned());
            Relay::start(config).expect("the relay starts")
        });
        let nodes = nodes.collect();
        let owners = "SELECT count(DISTINCT epoch) FROM relay.buckets WHERE NOT EXISTS
             (SELECT 1 FROM relay.buckets WHERE epoch IS NULL)";
        let is_shared = || self.sql(owners) == count.to_string();
        let is_done = wait_until(Duration::from_secs(30), is_shared);
        assert!(is_done, "the nodes don't share the buckets");
        nodes
    }
}

impl Drop for Shared<'_> {
    fn drop(&mut self) {
        self.server.drop_database(&self.url);
    }
}

fn stop(nodes: Vec<Relay>) {
    for node in nodes {
        node.stop().expect("the relay stops");
    }
}
