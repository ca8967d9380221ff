//! Fills a database as if its events had been accepted within the last half hour, in a fraction of
//! the time that accepting them takes.

use std::fs::File;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use relay::model::Level;
use relay::{Config, Relay};
use rusqlite::{Connection, params};

/// The rows to insert.
pub struct Backlog<'a> {
    /// The number of events, each of which waits for one destination.
    pub events: i64,
    /// The destinations' names in the configuration.
    pub destinations: &'a [String],
    pub skew: Skew,
    /// The body of each event.
    pub body: &'a [u8],
    /// The number of events, newest first, whose idempotency keys are stored.
    pub keys: i64,
    /// The time until the deliveries are due, as after a failed attempt; none if they have been due
    /// since they were accepted.
    pub due_in: Option<Duration>,
}

/// The distribution of the events over the destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skew {
    /// Each destination in turn.
    Even,
    /// 99 of 100 to the first destination, the others in turn.
    MostlyFirst,
}

/// The time over which the events are spread, in milliseconds.
const SPAN: i64 = 30 * 60 * 1_000;

/// The numbers from 0 to ?3. Event i has the row (?1 + i / ?2) << 12 | i % ?2: ?2 events a
/// millisecond, from ?1 on.
const NUMBERS: &str =
    "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?3)";
const ROW: &str = "((?1 + i / ?2) << 12 | i % ?2)";
const MILLIS: &str = "(?1 + i / ?2)";

/// Makes the database of `config` by starting a relay, and fills it. Afterwards everything is
/// synced, and the WAL is empty.
pub fn seed(config: &Config, backlog: &Backlog<'_>) {
    let mut off = config.clone();
    off.delivery.level = Some(Level::Off);
    let relay = Relay::start(off).expect("the relay starts");
    relay.stop().expect("the relay stops");

    let path = &config.database.path;
    let sql = Connection::open(path).expect("the database");
    // Nothing here must survive a crash, so it needs no WAL.
    sql.execute_batch(
        "PRAGMA foreign_keys = OFF; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
         PRAGMA temp_store = MEMORY; PRAGMA cache_size = -262144; BEGIN EXCLUSIVE",
    )
    .expect("a database that nobody else uses");
    fill(&sql, backlog).expect("the schema is as known here");
    sql.execute_batch("COMMIT; PRAGMA journal_mode = WAL")
        .expect("room");
    drop(sql);
    // Otherwise the kernel would write it back during the measurement.
    let file = File::open(path).expect("the database");
    file.sync_all().expect("a disk that syncs");
}

#[expect(clippy::too_many_lines, reason = "one statement a table")]
fn fill(sql: &Connection, backlog: &Backlog<'_>) -> rusqlite::Result<()> {
    let mut insert = sql.prepare("INSERT INTO destinations (name) VALUES (?1)")?;
    let mut ids = Vec::new();
    for name in backlog.destinations {
        insert.execute([name])?;
        ids.push(sql.last_insert_rowid());
    }
    let (first, destinations) = (ids[0], ids.len());
    assert_eq!(ids[destinations - 1] - first, count(destinations) - 1);

    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    let now = count(usize::try_from(now.as_millis()).expect("in range"));
    let a_milli = (backlog.events / SPAN + 1).max(1);
    let start = now - 60_000 - backlog.events / a_milli;
    let each = params![start, a_milli, backlog.events];

    // As from a provider's request.
    sql.execute(
        &format!(
            "{NUMBERS} INSERT INTO intents (id, random, surface, created_at, label, idempotency_key, headers, body)
             SELECT {ROW}, random() & 0x3fffffffffffffff, 1, {MILLIS}, 'bench', key,
                    CAST('idempotency-key: ' || key || ?5 AS BLOB), ?4
             FROM (SELECT i, lower(hex(randomblob(8))) || printf('-%08x', i) AS key FROM n)"
        ),
        params![
            start,
            a_milli,
            backlog.events,
            backlog.body,
            "\r\ncontent-type: application/json\r\n"
        ],
    )?;
    let destination = match backlog.skew {
        Skew::Even => format!("{first} + i % {destinations}"),
        Skew::MostlyFirst => format!(
            "iif(i % 100 = 99, {first} + 1 + i / 100 % {}, {first})",
            destinations - 1
        ),
    };
    let state = match backlog.due_in {
        None => format!("0, 0, 0, {MILLIS}, {MILLIS}, NULL"),
        Some(wait) => {
            let due = now + count(usize::try_from(wait.as_millis()).expect("in range"));
            format!("2, 1, 1, {due} + i / ?2, {MILLIS}, 'status 503'")
        }
    };
    sql.execute(
        &format!(
            "{NUMBERS} INSERT INTO deliveries (intent_id, destination_id, state, attempts, history,
                                               next_attempt_at, updated_at, last_error)
             SELECT {ROW}, {destination}, {state} FROM n"
        ),
        each,
    )?;
    if backlog.keys > 0 {
        // In the order of the digests, which differs from that of the events.
        sql.execute(
            &format!(
                "{NUMBERS} INSERT INTO idempotency (digest, intent_id)
                 SELECT random() AS digest, {ROW} FROM n WHERE i >= ?3 - ?4 ORDER BY digest"
            ),
            params![start, a_milli, backlog.events, backlog.keys],
        )?;
    }
    // Keys that aren't stored are expired, so that a start doesn't read them back.
    sql.execute(
        "UPDATE key_sweep SET swept_to = (SELECT max(id) FROM intents)",
        [],
    )?;
    Ok(())
}

/// How deliveries that were seeded stand in the lines of ordering keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// All in one line.
    OneKey,
    /// A hundred in each line, at most.
    HundredEach,
    /// The older half in one line behind a dead letter; the others have no order.
    BlockedFirst,
}

/// Puts the deliveries of a seeded database into lines, as if they had been accepted so. All of
/// them are pending again.
pub fn order(config: &Config, lines: Lines) {
    let sql = Connection::open(&config.database.path).expect("the database");
    let key = match lines {
        Lines::OneKey => "1",
        Lines::HundredEach => "1 + nth / 100",
        Lines::BlockedFirst => "iif(nth < half, 1, NULL)",
    };
    // The greatest number marks those that wait behind others.
    sql.execute_batch(&format!(
        "PRAGMA synchronous = OFF;
         BEGIN;
         DELETE FROM attempts;
         CREATE TEMP TABLE IF NOT EXISTS numbered
             (i INTEGER PRIMARY KEY, nth INTEGER, half INTEGER);
         DELETE FROM numbered;
         INSERT INTO numbered
             SELECT intent_id, row_number() OVER (ORDER BY intent_id) - 1, count(*) OVER () / 2
             FROM deliveries;
         UPDATE deliveries
         SET state = 0, claim = NULL, attempts = 0, history = 0, last_error = NULL,
             updated_at = intent_id >> 12, order_key = {key},
             place = iif({key} IS NULL, NULL, intent_id), next_attempt_at = intent_id >> 12
         FROM numbered WHERE intent_id = i;
         UPDATE deliveries SET next_attempt_at = 9223372036854775807
         WHERE place > (SELECT min(d.place) FROM deliveries d INDEXED BY line
                        WHERE d.destination_id = deliveries.destination_id
                          AND d.order_key = deliveries.order_key AND d.place IS NOT NULL);
         COMMIT"
    ))
    .expect("the schema is as known here");
    if lines == Lines::BlockedFirst {
        sql.execute_batch(
            "UPDATE deliveries SET state = 4, next_attempt_at = NULL, last_error = 'status 400'
             WHERE intent_id = (SELECT min(intent_id) FROM deliveries)",
        )
        .expect("the schema is as known here");
    }
    sql.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        .expect("room");
}

fn count(number: usize) -> i64 {
    i64::try_from(number).expect("in range")
}
