//! Nodes of one database, each with clients of its own and a receiver for each client.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::database::Database;
use crate::judge::{Hit, Journal, Verdict, digest, number};
use crate::load::{Address, Load, Target};
use crate::shim::Shim;
use crate::support::engine::{Columns, FromRow, rows_of_postgres};
use crate::support::{Answer, Client, KEY, Receiver, free_port, until};
use crate::world::send;

/// The nodes' lease: shorter than usual, so that a cycle is.
pub const LEASE: Duration = Duration::from_secs(2);
const NAMES: [&str; 3] = ["a", "b", "c"];
/// Receivers, and so destinations of relays: more than nodes, so that each node has some.
const RECEIVERS: usize = 6;

struct Node {
    name: &'static str,
    address: Address,
    port: u16,
    child: Option<Child>,
}

pub struct Cluster {
    pub journal: Arc<Journal>,
    pub database: Database,
    url: String,
    directory: tempfile::TempDir,
    receivers: Vec<Receiver>,
    nodes: Vec<Node>,
    shim: Arc<Shim>,
}

/// A receiver that takes everything, after some milliseconds, and records it.
fn receiver(journal: &Arc<Journal>) -> Receiver {
    let journal = Arc::clone(journal);
    Receiver::start(move |arrival| {
        // A truncated request arrives without a body and doesn't count.
        if arrival.body.is_empty() {
            return Answer::status(400);
        }
        journal.hit(Hit {
            n: number(&arrival.body),
            id: arrival.header("webhook-id").to_owned(),
            body: digest(&arrival.body),
            at: journal.now(),
            answered: 200,
        });
        Answer::status(200).after(Duration::from_millis(5))
    })
}

impl Cluster {
    /// Starts the server and all nodes, and waits until each owns some of the buckets.
    pub fn start_all() -> Self {
        let journal = Arc::new(Journal::new());
        let database = Database::new();
        let url = database.server().create_database();
        let receivers = (0..RECEIVERS).map(|_| receiver(&journal)).collect();
        let nodes = NAMES.map(|name| Node {
            name,
            address: Arc::new(Mutex::new(None)),
            port: free_port(),
            child: None,
        });
        let mut cluster = Self {
            journal,
            database,
            url,
            directory: tempfile::tempdir().expect("a temporary directory"),
            receivers,
            nodes: nodes.into(),
            shim: Arc::new(Shim::new()),
        };
        for at in 0..cluster.nodes.len() {
            cluster.start(at);
        }
        until("all nodes own buckets", || {
            (cluster.owners() == NAMES.map(str::to_owned)).then_some(())
        });
        cluster
    }

    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    fn peek<T: FromRow>(&self, sql: &str) -> Vec<T> {
        let rows = rows_of_postgres(&self.database.server(), &self.url, sql);
        rows.into_iter().map(T::from_row).collect()
    }

    /// The names of the nodes that own buckets, if no bucket is nobody's.
    fn owners(&self) -> Vec<String> {
        self.peek(
            "SELECT DISTINCT coalesce(n.name, '') FROM buckets b LEFT JOIN nodes n USING (epoch)
             ORDER BY 1",
        )
    }

    /// Starts a node, and waits until it is ready.
    pub fn start(&mut self, at: usize) {
        let (name, port) = (self.nodes[at].name, self.nodes[at].port);
        let toml = format!(
            r#"
[server]
listen = "127.0.0.1:{port}"
shutdown_grace = "2s"
[admin]
listen = ""
[node]
name = "{name}"
lease = "{}ms"
heartbeat = "250ms"
[api]
keys = ["{KEY}"]
[api.rate_limit]
post = {{ per_second = 100000, burst = 100000 }}
[destinations.orders]
url = "{}"
breaker = {{ enabled = false }}
[sources.github]
destinations = ["orders"]
[delivery]
workers = 8
allow_networks = ["127.0.0.0/8"]
"#,
            LEASE.as_millis(),
            self.receivers[0].url("/event"),
        );
        let file = self.directory.path().join(format!("{name}.toml"));
        std::fs::write(&file, toml).expect("a configuration");
        let log = self.directory.path().join(format!("{name}.log"));
        let log = std::fs::File::options().create(true).append(true).open(log);
        let child = Command::new(env!("CARGO_BIN_EXE_relay"))
            .args([Path::new("serve"), Path::new("--config"), &file])
            .env_clear()
            .env("RELAY_DATABASE_URL", &self.url)
            .env("RELAY_TEST_NODE_HEADER", "1")
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("a log"))
            .spawn();
        self.nodes[at].child = Some(child.expect("the binary starts"));
        let address = ([127, 0, 0, 1], port).into();
        until("the node is ready", || {
            self.assert_runs(at);
            let reply = Client::of(address).try_send("GET", "/readyz", &[], b"");
            reply.filter(|reply| reply.status == 200)
        });
        self.listens_at(at, Some(address));
    }

    fn assert_runs(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let child = node.child.as_mut().expect("it was started");
        if let Some(status) = child.try_wait().expect("a child") {
            let log = self.directory.path().join(format!("{}.log", node.name));
            let log = std::fs::read_to_string(log).unwrap_or_default();
            panic!("node {} ended: {status}\n{log}", node.name);
        }
    }

    fn listens_at(&self, at: usize, address: Option<std::net::SocketAddr>) {
        let known = self.nodes[at].address.lock();
        *known.unwrap_or_else(PoisonError::into_inner) = address;
    }

    /// Kills a node.
    pub fn kill(&mut self, at: usize) {
        self.listens_at(at, None);
        let mut child = self.nodes[at].child.take().expect("it runs");
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        self.journal.fault();
    }

    /// Signals a node. Before and after it, outcomes of its attempts may be refused.
    pub fn signal(&self, at: usize, signal: &str) {
        self.journal.fault();
        let child = self.nodes[at].child.as_ref().expect("it runs");
        send(signal, child.id());
        self.journal.fault();
    }

    /// Waits until a node's row is gone, and the others own everything.
    pub fn until_taken_over(&self, at: usize) {
        let others: Vec<_> = NAMES
            .into_iter()
            .filter(|name| *name != NAMES[at])
            .collect();
        until("the node is taken over", || {
            (self.owners() == others).then_some(())
        });
    }

    /// Begins a load for each receiver, whose clients share one node.
    pub fn loads(&self, seed: u64) -> Vec<Load> {
        let receivers = self.receivers.iter().zip(0_u64..);
        receivers
            .map(|(receiver, number)| {
                let node = usize::try_from(number).expect("small") % self.nodes.len();
                let target = Target {
                    address: Arc::clone(&self.nodes[node].address),
                    url: receiver.url("/relay"),
                    journal: Arc::clone(&self.journal),
                    shim: Arc::clone(&self.shim),
                    pace: Duration::from_millis(5),
                };
                Load::start(target, seed ^ (number << 8), 2, 400, number * 1_000_000_000)
            })
            .collect()
    }

    /// Waits until `enough` requests have been acknowledged in all. The nodes go on meanwhile.
    pub fn until_acknowledged(&mut self, enough: usize) {
        until("enough is acknowledged", || {
            for at in 0..self.nodes.len() {
                self.assert_runs(at);
            }
            (self.journal.acknowledged() >= enough).then_some(())
        });
    }

    /// Waits until nothing waits, ends the nodes, and judges the run.
    ///
    /// # Panics
    ///
    /// If there is a violation.
    pub fn judge(&mut self, name: &str) -> Verdict {
        until("nothing is pending", || {
            let left: Vec<i64> = self.peek("SELECT count(*) FROM waiting");
            (left == [0]).then_some(())
        });
        for (at, name) in NAMES.iter().enumerate() {
            self.signal(at, "-TERM");
            let mut child = self.nodes[at].child.take().expect("it runs");
            let status = until("the node ends", || child.try_wait().expect("a child"));
            assert!(status.success(), "node {name}: {status}");
        }
        let twice: Vec<i64> = self.peek(
            "SELECT count(*) FROM (SELECT FROM attempts
             GROUP BY intent_id, destination_id, attempt HAVING count(*) > 1) AS twice",
        );
        assert_eq!(twice, [0], "outcomes of one attempt were recorded twice");
        let claims: Vec<i64> = self.peek("SELECT count(*) FROM claims");
        assert_eq!(claims, [0], "claims of nobody");
        let rows: Vec<Columns<(Vec<u8>, i64)>> = self.peek(
            "SELECT i.body, d.state FROM intents i LEFT JOIN deliveries d ON d.intent_id = i.id",
        );
        let rows = rows.into_iter().map(|Columns(row)| row).collect();
        let verdict = self.journal.judge_rows(rows, false);
        self.journal.assert_verdict(name, verdict)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(child) = &mut node.child {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}
