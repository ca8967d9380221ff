//! Backlogs that wait for destinations, and the pace and the cost at which they are settled.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use relay::config::Destination;
use relay::model::Level;
use relay::{Config, Relay};
use rusqlite::{Connection, params};
use tempfile::TempDir;

use super::cost::{Cost, Snapshot};
use super::seed::{self, Skew};
use super::{body, host, metric, reset, rows, sample};

/// Hosts at one port, each an address of its own.
#[derive(Clone)]
pub struct Hosts {
    pub port: u16,
    /// The certificate authority of HTTPS; none for HTTP.
    pub ca_file: Option<PathBuf>,
}

impl Hosts {
    /// The destination at a host.
    pub fn destination(&self, n: usize) -> Destination {
        let scheme = if self.ca_file.is_some() {
            "https"
        } else {
            "http"
        };
        let url = format!("{scheme}://{}:{}/hook", host(n), self.port);
        let mut to = Destination::new(url.parse().expect("a URL"));
        to.concurrency = Some(1024);
        to.ca_file.clone_from(&self.ca_file);
        to
    }

    /// Destinations at the first `count` hosts.
    pub fn destinations(&self, count: usize) -> Vec<(String, Destination)> {
        let all = (0..count).map(|n| (format!("to{n}"), self.destination(n)));
        all.collect()
    }
}

/// Destinations that share one host.
pub fn of_one_host(sink: SocketAddr, count: usize) -> Vec<(String, Destination)> {
    let all = (0..count).map(|n| {
        let name = format!("to{n}");
        let url = format!("http://{sink}/{name}");
        let mut to = Destination::new(url.parse().expect("a URL"));
        to.concurrency = Some(1024);
        (name, to)
    });
    all.collect()
}

/// A backlog, all of it due, to destinations that have answered before: others have less than half
/// of the workers together until they do.
pub struct Waiting {
    pub rows: i64,
    pub destinations: usize,
    pub config: Config,
    /// The database's directory, deleted on drop.
    pub directory: TempDir,
    /// Whether the receiver refuses some deliveries.
    pub has_refusals: bool,
}

/// A number of rows that lasts for this time, at most [`rows`] of the usual number or more.
pub fn lasting(time: Duration) -> i64 {
    /// More than two processors settle a second.
    const FASTEST: u64 = 40_000;

    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let enough = i64::try_from(millis.saturating_mul(FASTEST) / 1000).unwrap_or(i64::MAX);
    rows(enough.max(100_000))
}

impl Waiting {
    pub fn new(destinations: Vec<(String, Destination)>, rows: i64, skew: Skew) -> Self {
        let directory = super::directory();
        // The source's destination gets nothing.
        let nobody = "127.0.0.1:9".parse().expect("an address");
        let mut config = super::config(directory.path(), nobody);
        let names: Vec<String> = destinations.iter().map(|(name, _)| name.clone()).collect();
        config.destinations.extend(destinations);
        config.delivery.level = Some(Level::Durable);
        seed::seed(
            &config,
            &seed::Backlog {
                events: rows,
                destinations: &names,
                skew,
                body: body().as_bytes(),
                keys: 0,
                due_in: None,
            },
        );
        prove(&config.database.path);
        Self {
            rows,
            destinations: names.len(),
            config,
            directory,
            has_refusals: false,
        }
    }

    /// Deliveries settled a second, by [`super::drain`].
    pub fn drain(&self) -> f64 {
        super::drain(&self.config)
    }

    /// Settles for a while, and then for a sample that is measured. Afterwards all deliveries are
    /// pending again.
    pub fn settle(&self) -> Settled {
        let relay = Relay::start(self.config.clone()).expect("the relay starts");
        let admin = relay.admin_address().expect("it is configured");
        std::thread::sleep(warm_up());
        let commits = || metric(admin, "relay_commits_total");
        let (committed, from, before) = (commits(), now(), Snapshot::take());
        std::thread::sleep(sample());
        let (after, to, commits) = (Snapshot::take(), now(), commits() - committed);
        relay.stop().expect("the relay stops");
        let sql = Connection::open(&self.config.database.path).expect("the database");
        let failed: i64 = sql
            .query_row(
                "SELECT count(*) FROM attempts WHERE outcome <> 0",
                [],
                |row| row.get(0),
            )
            .expect("a count");
        assert_eq!(failed > 0, self.has_refusals, "{failed} attempts failed");
        let (count, per_second) = settled_between(&sql, "%", from, to);
        reset(&sql);
        Settled {
            count,
            per_second,
            commits,
            cost: after.since(&before),
        }
    }
}

/// All destinations have answered before.
fn prove(path: &Path) {
    let sql = Connection::open(path).expect("a database");
    sql.execute("UPDATE destinations SET proven_at = ?1", [now()])
        .expect("the schema is as known here");
}

/// The time before a sample in which connections are made and pools are filled.
pub fn warm_up() -> Duration {
    sample() / 2
}

/// The measured part of a backlog.
pub struct Settled {
    pub count: f64,
    pub per_second: f64,
    pub commits: f64,
    pub cost: Cost,
}

/// Milliseconds since the Unix epoch, as the database counts.
pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(now.expect("after 1970").as_millis()).expect("in range")
}

/// The number of deliveries that were settled between two times, and their number a second. If the
/// backlog was empty before the end, the second counts until then.
pub fn settled_between(sql: &Connection, like: &str, from: i64, to: i64) -> (f64, f64) {
    let (count, last, left): (f64, Option<i64>, bool) = sql
        .query_row(
            "SELECT CAST(count(*) FILTER (WHERE state IN (3, 4) AND updated_at > ?2 AND updated_at <= ?3)
                         AS REAL),
                    max(updated_at) FILTER (WHERE state IN (3, 4)),
                    count(*) FILTER (WHERE state NOT IN (3, 4)) > 0
             FROM deliveries
             WHERE destination_id IN (SELECT id FROM destinations WHERE name LIKE ?1)",
            params![like, from, to],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .expect("a count");
    let end = match last {
        Some(last) if !left => last.clamp(from + 1, to),
        _ => to,
    };
    #[expect(clippy::cast_precision_loss, reason = "a stretch of time")]
    let seconds = (end - from) as f64 / 1e3;
    (count, count / seconds)
}

/// Waits until `is_done`, or for `patience` at most; whether it was done.
pub fn wait_until(patience: Duration, is_done: impl Fn() -> bool) -> bool {
    let end = Instant::now() + patience;
    while !is_done() {
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}
