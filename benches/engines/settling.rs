//! Deliveries settled a second from a backlog.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use relay::model::Level;
use serde_json::{Value, json};

use super::postgres::Server;
use super::posts::posts;
use super::support::backlog::{Waiting, lasting, now, of_one_host, warm_up};
use super::support::seed::Skew;
use super::support::servers::answering;
use super::support::{self, median, ratios, rounds, runtime, sample, shown};
use super::{NODES, Shared, stop};

const WORKERS: usize = 64;

/// The numbers of destinations, and how their deliveries are spread.
const BACKLOGS: [(usize, Skew); 4] = [
    (1, Skew::Even),
    (100, Skew::Even),
    (100, Skew::MostlyFirst),
    (10_000, Skew::Even),
];

/// Settling on PostgreSQL beside SQLite, and beside as many threads that only post.
pub fn beside_sqlite(server: &Server) -> Value {
    let sinks = runtime(1);
    println!(
        "settling: {WORKERS} workers of each node, {} rounds of {:?}, interleaved; medians, and \
         (least–most) of the ratio",
        rounds(),
        sample()
    );
    println!(
        "{:>7} | {:>12} | {:>5} | {:>8} | {:>8} | {:>8} | {:<16} | nodes ÷ bare",
        "attempt", "destinations", "nodes", "bare/s", "SQLite/s", "nodes/s", "nodes ÷ SQLite"
    );
    let mut kept = Vec::new();
    for attempt in [Duration::ZERO, Duration::from_millis(5)] {
        let sink = answering(&sinks, Ipv4Addr::LOCALHOST, None, move |_| async move {
            if !attempt.is_zero() {
                tokio::time::sleep(attempt).await;
            }
            true
        });
        for (destinations, skew) in BACKLOGS {
            kept.extend(measured(server, sink, attempt, destinations, skew));
        }
    }
    json!(kept)
}

/// The figures with each number of nodes. A single destination is always one node's, and so is the
/// owner of most deliveries.
fn measured(
    server: &Server,
    sink: SocketAddr,
    attempt: Duration,
    count: usize,
    skew: Skew,
) -> Vec<Value> {
    let (is_owned, name) = match skew {
        Skew::Even => (count == 1, count.to_string()),
        Skew::MostlyFirst => (true, format!("{count}, skewed")),
    };
    let nodes = if is_owned { 1 } else { NODES.len() };
    let rows = lasting(warm_up() + sample());
    let destinations = of_one_host(sink, count);
    let mut file = Waiting::new(destinations, rows, skew);
    file.config.delivery.workers = WORKERS;
    let database = seeded(server, &file, skew);
    let (mut bare, mut of_file) = (Vec::new(), Vec::new());
    let mut of_nodes = vec![Vec::new(); nodes];
    for _ in 0..rounds() {
        bare.push(posts(sink, WORKERS));
        of_file.push(file.settle().per_second);
        for (at, samples) in of_nodes.iter_mut().enumerate() {
            samples.push(settled(&database, &file, at + 1));
        }
    }
    let figures = of_nodes.into_iter().zip(1..).map(|(samples, nodes)| {
        let (ratio, by_sqlite) = shown(&ratios(&samples, &of_file));
        let (to_bare, by_bare) = shown(&ratios(&samples, &bare));
        let (bare, sqlite) = (median(bare.clone()), median(of_file.clone()));
        let postgres = median(samples);
        println!(
            "{:>7} | {name:>12} | {nodes:>5} | {bare:>8.0} | {sqlite:>8.0} | {postgres:>8.0} | \
             {ratio:<16} | {to_bare}",
            format!("{attempt:?}")
        );
        json!({
            "attempt_ms": attempt.as_millis(),
            "destinations": name,
            "nodes": nodes,
            "sqlite_per_second": sqlite,
            "postgres_per_second": postgres,
            "by_sqlite": by_sqlite,
            "bare_per_second": bare,
            "by_bare": by_bare,
        })
    });
    figures.collect()
}

/// Everything waits.
const WAIT: &str = "TRUNCATE relay.waiting, relay.ended, relay.attempts, relay.claims;
    INSERT INTO relay.waiting (destination_id, next_attempt_at, intent_id, updated_at)
        SELECT s.destination_id, i.created_at, i.id, i.created_at
        FROM relay.intents i JOIN seeded s ON s.id = i.id ORDER BY i.id;
    VACUUM ANALYZE relay.waiting;
    CHECKPOINT";

/// The same backlog on PostgreSQL.
fn seeded<'a>(server: &'a Server, file: &Waiting, skew: Skew) -> Shared<'a> {
    let database = Shared::new(server);
    let mut off = file.config.clone();
    off.delivery.level = Some(Level::Off);
    stop(database.nodes(&off, 1));
    let (count, rows) = (file.destinations, file.rows);
    let (body, proven_at) = (support::body(), now());
    let nth = match skew {
        Skew::Even => format!("n % {count}"),
        Skew::MostlyFirst => format!(
            "CASE WHEN n % 100 = 99 THEN 1 + n / 100 % {} ELSE 0 END",
            count - 1
        ),
    };
    // A destination's bucket: the first 64 bits of the digest of its name, of which 8 count.
    database.sql(&format!(
        "INSERT INTO relay.destinations (name, bucket, proven_at)
             SELECT name, get_byte(sha256(convert_to(name, 'UTF8')), 7), {proven_at}
             FROM (SELECT 'to' || n AS name FROM generate_series(0, {count} - 1) n) names;
         CREATE TABLE seeded AS
             SELECT ((ms + n / 100) << 12) | ((n % 100) << 5) | 31 AS id, d.destination_id
             FROM generate_series(0, {rows} - 1) n
                 CROSS JOIN (SELECT (extract(epoch FROM now()) * 1000)::int8 - 1800000 AS ms) past
                 JOIN (SELECT id AS destination_id, substr(name, 3)::int AS nth
                       FROM relay.destinations WHERE name ~ '^to[0-9]') d ON d.nth = {nth};
         INSERT INTO relay.intents (id, random, surface, created_at, label, headers, body)
             SELECT id, id, 1, id >> 12, 'bench', 'content-type: application/json\\015\\012',
                 convert_to('{body}', 'UTF8')
             FROM seeded ORDER BY id"
    ));
    // Not in the transaction that the statements of one call are.
    database.sql("VACUUM ANALYZE");
    database
}

/// Deliveries that nodes settle a second.
fn settled(database: &Shared<'_>, file: &Waiting, nodes: usize) -> f64 {
    for statement in WAIT.split(';') {
        database.sql(statement);
    }
    let relays = database.nodes(&file.config, nodes);
    std::thread::sleep(warm_up());
    let from = now();
    std::thread::sleep(sample());
    let to = now();
    stop(relays);
    let failed = database.number("SELECT count(*) FROM relay.attempts WHERE outcome <> 0");
    assert!(failed < 1.0, "attempts failed");
    let left = database.number("SELECT count(*) FROM relay.waiting");
    assert!(left > 0.0, "the backlog is too short");
    let count = format!(
        "SELECT count(*) FROM relay.ended WHERE updated_at > {from} AND updated_at <= {to}"
    );
    #[expect(clippy::cast_precision_loss, reason = "a stretch of time")]
    let seconds = (to - from) as f64 / 1e3;
    database.number(&count) / seconds
}
