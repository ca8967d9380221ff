//! The initial rows of databases.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use relay::config::{Destination, Source};
use relay::model::Level;
use relay::{Config, Relay};
use rusqlite::{Connection, params};

use super::support;

/// Adds a destination, and a source of the same name for it.
pub fn destination(config: &mut Config, name: &str, at: SocketAddr) {
    let url = format!("http://{at}/").parse().expect("a URL");
    config
        .destinations
        .insert(name.to_owned(), Destination::new(url));
    config
        .sources
        .insert(name.to_owned(), Source::to([name.to_owned()]));
}

/// Makes the database by starting a relay.
pub fn create(config: &Config) {
    let mut off = config.clone();
    off.delivery.level = Some(Level::Off);
    let relay = Relay::start(off).expect("the relay starts");
    relay.stop().expect("the relay stops");
}

/// Makes the database with this many events for each of these destinations.
pub fn seed(config: &Config, names: &[String], each: usize, state: &str, ago: Duration) {
    create(config);
    fill(&config.database.path, names, each, state, millis_ago(ago));
}

/// Milliseconds since the Unix epoch.
fn millis_ago(ago: Duration) -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    i64::try_from(now.saturating_sub(ago).as_millis()).expect("in range")
}

fn fill(path: &Path, names: &[String], each: usize, state: &str, at: i64) {
    let mut database = Connection::open(path).expect("the database");
    let transaction = database.transaction().expect("a transaction");
    let body = support::body();
    for name in names {
        transaction
            .execute(
                "INSERT OR IGNORE INTO destinations (name) VALUES (?1)",
                [name],
            )
            .expect("a destination");
    }
    for at_name in 0..each {
        for (index, name) in names.iter().enumerate() {
            let row = (at << 12) + i64::try_from(at_name * names.len() + index).expect("small");
            transaction
                .prepare_cached(
                    "INSERT INTO intents (id, random, surface, created_at, label, headers, body)
                     VALUES (?1, ?1, 1, ?2, ?3, x'', ?4)",
                )
                .and_then(|mut insert| insert.execute(params![row, at, name, body.as_bytes()]))
                .expect("an intent");
            transaction
                .prepare_cached(&format!(
                    "INSERT INTO deliveries (intent_id, destination_id, state, attempts, next_attempt_at, updated_at)
                     SELECT ?1, id, {state}, ?2 FROM destinations WHERE name = ?3"
                ))
                .and_then(|mut insert| insert.execute(params![row, at, name]))
                .expect("a delivery");
        }
    }
    transaction.commit().expect("committed");
}

/// Inserts events that were delivered long ago, each to all of these destinations after this many
/// attempts. Returns the number of rows.
pub fn wide_events(path: &Path, names: &[String], events: i64, attempts: i64) -> i64 {
    let mut database = Connection::open(path).expect("the database");
    let transaction = database.transaction().expect("a transaction");
    for name in names {
        transaction
            .execute(
                "INSERT OR IGNORE INTO destinations (name) VALUES (?1)",
                [name],
            )
            .expect("a destination");
    }
    let at = millis_ago(Duration::from_secs(30 * 86_400));
    let names = serde_json::to_string(names).expect("text is JSON");
    let body = support::body();
    let mut rows = 0;
    // Each statement inserts for all rows of the one before.
    for (insert, values) in [
        (
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2)
             INSERT INTO intents (id, random, surface, created_at, label, headers, body)
             SELECT (?1 << 12) + i, i, 1, ?1, 'bench', x'', ?3 FROM n",
            params![at, events, body.as_bytes()],
        ),
        (
            "INSERT INTO deliveries (intent_id, destination_id, state, attempts, history, updated_at)
             SELECT i.id, t.id, 3, ?2, ?2, ?1
             FROM intents i CROSS JOIN destinations t
             WHERE i.id >> 12 = ?1 AND t.name IN (SELECT value FROM json_each(?3))",
            params![at, attempts, names],
        ),
        (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2)
             INSERT INTO attempts (intent_id, destination_id, entry, attempt, started_at, duration_ms,
                                   outcome, status_code, error)
             SELECT d.intent_id, d.destination_id, n.i, n.i, ?1, 5, iif(n.i = ?2, 0, 1),
                    iif(n.i = ?2, 200, 503), iif(n.i = ?2, NULL, 'status 503')
             FROM deliveries d CROSS JOIN n WHERE d.intent_id >> 12 = ?1",
            params![at, attempts],
        ),
    ] {
        let inserted = transaction.execute(insert, values).expect("the schema");
        rows += i64::try_from(inserted).expect("in range");
    }
    transaction.commit().expect("committed");
    rows
}

/// Deletes the remaining old events; returns the number of rows.
pub fn delete_old(path: &Path) -> usize {
    let database = Connection::open(path).expect("the database");
    let before = millis_ago(Duration::from_secs(86_400)) << 12;
    [
        "DELETE FROM attempts WHERE intent_id < ?1",
        "DELETE FROM deliveries WHERE intent_id < ?1",
        "DELETE FROM intents WHERE id < ?1",
    ]
    .into_iter()
    .map(|delete| database.execute(delete, [before]).expect("the schema"))
    .sum()
}

/// Pauses the destinations whose name matches the LIKE pattern: their events are accepted and wait.
pub fn pause(path: &Path, like: &str) {
    let database = Connection::open(path).expect("the database");
    database
        .execute(
            "INSERT OR IGNORE INTO destinations (name) VALUES ('sink')",
            [],
        )
        .and_then(|_| {
            database.execute(
                "UPDATE destinations SET paused_at = 1, pause_reason = 'benchmark'
                 WHERE name LIKE ?1",
                [like],
            )
        })
        .expect("a destination");
}

/// Resumes the destinations whose name matches the LIKE pattern.
pub fn resume(path: &Path, like: &str) {
    let database = Connection::open(path).expect("the database");
    database
        .execute(
            "UPDATE destinations SET paused_at = NULL, pause_reason = NULL WHERE name LIKE ?1",
            [like],
        )
        .expect("a destination");
}

/// Gives a seeded backlog the variety that operators look at: one in twenty deliveries is a dead
/// letter, two are delivered, each of these after an attempt. There are rollups of an hour and of a
/// day, and a hundred operations that have ended.
pub fn vary(path: &Path) {
    let database = Connection::open(path).expect("the database");
    let minute = millis_ago(Duration::ZERO) / 60_000 * 60_000;
    let hour = minute / 3_600_000 * 3_600_000;
    database
        .execute_batch(&format!(
            "PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -262144;
             PRAGMA journal_mode = OFF; BEGIN EXCLUSIVE;
             UPDATE deliveries SET state = iif((intent_id >> 12) % 20 = 0, 4, 3),
                                   next_attempt_at = NULL
             WHERE (intent_id >> 12) % 20 < 3;
             INSERT INTO attempts (intent_id, destination_id, entry, attempt, started_at,
                                   duration_ms, outcome, status_code, error, address, resolve_ms,
                                   connect_ms, tls_ms, first_byte_ms, next)
             SELECT intent_id, destination_id, 1, 1, updated_at, 40, iif(state = 3, 0, 1),
                    iif(state = 3, 200, 503), iif(state = 3, NULL, 'status 503'), '127.0.0.1', 1, 9,
                    7, 30, NULL
             FROM deliveries ORDER BY intent_id DESC LIMIT 10000;
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
             INSERT OR REPLACE INTO destination_rollups
             SELECT grain, at - i * grain * 1000, name, 90, 10, 1, x'000000000a5a0a'
             FROM n, destinations, (SELECT 60 AS grain, {minute} AS at
                                    UNION ALL SELECT 3600, {hour});
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
             INSERT OR REPLACE INTO source_rollups
             SELECT grain, at - i * grain * 1000, 'bench', 1000, 1, 1
             FROM n, (SELECT 60 AS grain, {minute} AS at UNION ALL SELECT 3600, {hour});
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
             INSERT INTO jobs (id, operation, kind, destination_id, states, since, until, total,
                               done, cursor_at, cursor_intent, cursor_more, created_at, ended_at)
             SELECT i, i, 0, (SELECT min(id) FROM destinations), 16, 0, {minute}, 10, 10, 0, 0, 0,
                    {minute}, {minute} FROM n;
             COMMIT; PRAGMA journal_mode = WAL"
        ))
        .expect("the schema is as known here");
}
