//! Nodes of one database, each with clients of its own and a receiver for each client.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::attempts::{ANSWERED_AFTER, Attempts, Freeze};
use super::database::{Database, HeldClaims};
use crate::judge::{Hit, Journal, Verdict, digest, number};
use crate::load::{Address, Load, Target};
use crate::shim::Shim;
use crate::support::engine::{Columns, FromRow, rows_of_postgres};
use crate::support::{Answer, Client, KEY, Receiver, free_port, until};
use crate::world::send;

const NAMES: [&str; 3] = ["a", "b", "c"];
/// Receivers, and so destinations of relays: more than nodes, so that each node has some.
const RECEIVERS: usize = 6;

/// How long claims are held until a node has one: several events come in this time.
const HELD_FOR: Duration = Duration::from_millis(300);

/// The nodes' lease: in the short form shorter than usual, so that a cycle is.
pub fn lease() -> Duration {
    crate::choose(Duration::from_secs(2), Duration::from_secs(5))
}

pub fn heartbeat() -> Duration {
    crate::choose(Duration::from_millis(500), Duration::from_secs(1))
}

/// How a cluster is made.
#[derive(Default)]
pub struct Setup {
    /// How many hours each node's clock is ahead.
    pub clocks: [i64; 3],
    pub has_standby: bool,
    /// Whether the server's disk can be filled.
    pub may_be_full: bool,
}

struct Node {
    name: &'static str,
    address: Address,
    port: u16,
    child: Option<Child>,
    /// Shifts its clock.
    shim: Shim,
}

pub struct Cluster {
    pub journal: Arc<Journal>,
    pub database: Database,
    attempts: Arc<Attempts>,
    /// The freezes of nodes that had just claimed something.
    freezes: Vec<Freeze>,
    /// When a node was killed, or began to stand still.
    deaths: Vec<Duration>,
    url: String,
    directory: tempfile::TempDir,
    receivers: Vec<Receiver>,
    nodes: Vec<Node>,
    shim: Arc<Shim>,
}

/// A receiver that takes everything, after some milliseconds, and records it.
fn receiver(journal: &Arc<Journal>, attempts: &Arc<Attempts>, which: usize) -> Receiver {
    let (journal, attempts) = (Arc::clone(journal), Arc::clone(attempts));
    Receiver::start(move |arrival| {
        // A truncated request arrives without a body and doesn't count.
        if arrival.body.is_empty() {
            return Answer::status(400);
        }
        let at = journal.now();
        attempts.saw(at, which, arrival);
        journal.hit(Hit {
            n: number(&arrival.body),
            id: arrival.header("webhook-id").to_owned(),
            body: digest(&arrival.body),
            at,
            answered: 200,
        });
        Answer::status(200).after(ANSWERED_AFTER)
    })
}

impl Cluster {
    /// Starts the server and all nodes, and waits until each owns some of the buckets.
    pub fn start_all(setup: &Setup) -> Self {
        let (journal, attempts) = (Arc::new(Journal::new()), Arc::new(Attempts::default()));
        let database = Database::new(setup.has_standby, setup.may_be_full);
        let created = database.server().create_database();
        let name = created
            .rsplit('/')
            .next()
            .and_then(|name| name.split('?').next());
        let url = database.url(name.expect("a name"));
        let receivers = (0..RECEIVERS).map(|which| receiver(&journal, &attempts, which));
        let nodes = NAMES.iter().zip(setup.clocks).map(|(name, hours)| {
            let shim = Shim::new();
            shim.wall_offset(hours * 3_600);
            Node {
                name,
                address: Arc::new(Mutex::new(None)),
                port: free_port(),
                child: None,
                shim,
            }
        });
        let mut cluster = Self {
            receivers: receivers.collect(),
            nodes: nodes.collect(),
            journal,
            attempts,
            freezes: Vec::new(),
            deaths: Vec::new(),
            database,
            url,
            directory: tempfile::tempdir().expect("a temporary directory"),
            shim: Arc::new(Shim::new()),
        };
        for at in 0..cluster.nodes.len() {
            cluster.start(at);
        }
        cluster.until_shared();
        cluster
    }

    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    pub fn peek<T: FromRow>(&self, sql: &str) -> Vec<T> {
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

    /// Waits until all nodes own buckets.
    pub fn until_shared(&self) {
        until("all nodes own buckets", || {
            (self.owners() == NAMES.map(str::to_owned)).then_some(())
        });
    }

    /// The lives that the nodes have, and how often a node took another's deliveries over.
    pub fn lives(&self) -> (Vec<i64>, usize) {
        let takeovers = NAMES.map(|name| self.log(name).matches("were taken over").count());
        let epochs = self.peek("SELECT epoch FROM nodes ORDER BY epoch");
        (epochs, takeovers.iter().sum())
    }

    fn log(&self, name: &str) -> String {
        let log = self.directory.path().join(format!("{name}.log"));
        std::fs::read_to_string(log).unwrap_or_default()
    }

    fn configuration(&self, at: usize) -> String {
        format!(
            r#"
[server]
listen = "127.0.0.1:{}"
shutdown_grace = "2s"
[admin]
listen = ""
[node]
name = "{}"
lease = "{}ms"
heartbeat = "{}ms"
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
            self.nodes[at].port,
            self.nodes[at].name,
            lease().as_millis(),
            heartbeat().as_millis(),
            self.receivers[0].url("/event"),
        )
    }

    /// Starts a node, and waits until it is ready.
    pub fn start(&mut self, at: usize) {
        let (name, port) = (self.nodes[at].name, self.nodes[at].port);
        let joint = if self.url.contains('?') { '&' } else { '?' };
        let url = format!("{}{joint}application_name={name}", self.url);
        let file = self.directory.path().join(format!("{name}.toml"));
        std::fs::write(&file, self.configuration(at)).expect("a configuration");
        let log = self.directory.path().join(format!("{name}.log"));
        let log = std::fs::File::options().create(true).append(true).open(log);
        let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
        command
            .args([Path::new("serve"), Path::new("--config"), &file])
            .env_clear()
            .env("RELAY_DATABASE_URL", url)
            .env("RELAY_TEST_NODE_HEADER", "1")
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("a log"));
        let node = &mut self.nodes[at];
        node.shim.load(&mut command, self.directory.path(), false);
        node.child = Some(command.spawn().expect("the binary starts"));
        let address = ([127, 0, 0, 1], port).into();
        until("the node is ready", || {
            self.assert_runs(at);
            let reply = Client::of(address).try_send("GET", "/readyz", &[], b"");
            reply.filter(|reply| reply.status == 200)
        });
        self.listens_at(at, Some(address));
    }

    pub fn assert_runs(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let name = node.name;
        let child = node.child.as_mut().expect("it was started");
        if let Some(status) = child.try_wait().expect("a child") {
            panic!("node {name} ended: {status}\n{}", self.log(name));
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
        self.deaths.push(self.journal.now());
    }

    /// Stops a node in order; how long it took until the others owned everything.
    pub fn stop(&mut self, at: usize) -> Duration {
        self.listens_at(at, None);
        let began = Instant::now();
        let child = self.nodes[at].child.as_ref().expect("it runs");
        send("-TERM", child.id());
        self.until_taken_over(at);
        let took = began.elapsed();
        let (status, log) = self.ended(at);
        assert!(status.success(), "node {}: {status}\n{log}", NAMES[at]);
        took
    }

    fn ended(&mut self, at: usize) -> (ExitStatus, String) {
        let mut child = self.nodes[at].child.take().expect("it runs");
        let status = until("the node ends", || child.try_wait().expect("a child"));
        (status, self.log(NAMES[at]))
    }

    /// Lets a node stand still until it is taken over, with attempts under way, or, if `claims`,
    /// with deliveries that it has just claimed and not begun.
    pub fn freeze(&mut self, at: usize, claims: bool) {
        if claims {
            Database::make_claims_holdable(&self.url);
            let held = until("the node claims something", || {
                self.assert_runs(at);
                self.hold_a_claim(at)
            });
            // Attempts that it had begun before, and the eight at most that were prefetched behind
            // each, are answered by then: none is just about to begin when it stops.
            crate::pause(ANSWERED_AFTER * 10);
            self.signal(at, "-STOP");
            drop(held);
        } else {
            self.signal(at, "-STOP");
        }
        let from = self.journal.now();
        self.deaths.push(from);
        self.until_taken_over(at);
        let to = self.journal.now();
        self.signal(at, "-CONT");
        if claims {
            let node = NAMES[at];
            self.freezes.push(Freeze { node, from, to });
        }
    }

    /// Holds a claim of a node. None if it has nothing to claim meanwhile.
    fn hold_a_claim(&self, at: usize) -> Option<HeldClaims> {
        let held = self.database.hold_claims(&self.url);
        let began = Instant::now();
        while began.elapsed() < HELD_FOR {
            if self.database.is_claim_held(NAMES[at]) {
                return Some(held);
            }
        }
        None
    }

    /// Signals a node. Before and after it, outcomes of its attempts may be refused.
    fn signal(&self, at: usize, signal: &str) {
        self.journal.fault();
        let child = self.nodes[at].child.as_ref().expect("it runs");
        send(signal, child.id());
        self.journal.fault();
    }

    /// Waits until a node owns nothing, and the others own everything.
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
                    pace: Duration::from_millis(150),
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

    /// Waits until nothing waits, ends the nodes, and judges the run: `longest` is the longest that
    /// an event may wait for its first attempt from one death of a node to the next.
    ///
    /// # Panics
    ///
    /// If there is a violation.
    pub fn judge(&mut self, name: &str, longest: Duration) -> Verdict {
        until("nothing is pending", || {
            let left: Vec<i64> = self.peek("SELECT count(*) FROM waiting");
            (left == [0]).then_some(())
        });
        for (at, name) in NAMES.iter().enumerate() {
            let child = self.nodes[at].child.as_ref().expect("it runs");
            send("-TERM", child.id());
            let (status, log) = self.ended(at);
            assert!(status.success(), "node {name}: {status}\n{log}");
        }
        let rows: Vec<Columns<(Vec<u8>, i64)>> = self.peek(
            "SELECT i.body, d.state FROM intents i LEFT JOIN deliveries d ON d.intent_id = i.id",
        );
        let rows = rows.into_iter().map(|Columns(row)| row).collect();
        let mut verdict = self.journal.judge_rows(rows, false);
        for (query, what) in [
            (
                "SELECT count(*) FROM (SELECT FROM attempts
                 GROUP BY intent_id, destination_id, attempt HAVING count(*) > 1) AS twice",
                "attempts with two outcomes",
            ),
            ("SELECT count(*) FROM claims", "claims of nobody"),
            (
                "SELECT count(*) FROM buckets WHERE epoch IS NOT NULL",
                "buckets of nobody who lives",
            ),
        ] {
            let found: Vec<i64> = self.peek(query);
            if found != [0] {
                verdict.wrong.push(format!("{found:?} {what}"));
            }
        }
        let (attempts, at_once) = self.attempts.at_once(&self.journal.faults());
        verdict.wrong.extend(at_once);
        verdict
            .wrong
            .extend(self.attempts.after_freezes(&self.freezes));
        let wait = self.journal.longest_wait(&self.deaths);
        println!("{name}: {attempts} attempts; the longest wait for the first one: {wait:?}");
        if wait.undisturbed > longest {
            let wrong = format!("{wait:?}, expected {longest:?} at most without a node's death");
            verdict.wrong.push(wrong);
        }
        if !verdict.wrong.is_empty() {
            self.keep(name).expect("room for logs");
        }
        self.journal.assert_verdict(name, verdict)
    }
}

impl Cluster {
    /// Keeps the nodes' logs and the attempts, to find the cause of a violation.
    fn keep(&self, name: &str) -> std::io::Result<()> {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR"));
        for node in NAMES {
            let log = kept.join(format!("torture-{name}-{node}.log"));
            std::fs::write(log, self.log(node))?;
        }
        let attempts = kept.join(format!("torture-{name}-attempts.log"));
        std::fs::write(attempts, self.attempts.lines())
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
