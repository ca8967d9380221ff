//! Databases of version 1: a new one with events in all states, and one taken back from the newest.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use relay::model::IntentId;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, params};
use sha2::{Digest as _, Sha256};

use crate::judge::{Hit, Sent, digest};
use crate::support::{KEY, relay_to};
use crate::upgrade::checks::{keys_after, schemas};
use crate::world::World;

pub const VERSION_1: &str = include_str!("../../../src/store/sqlite/migrations/1.sql");

/// The migrations, from each version to the next. [`to_version_1`] undoes each of them.
pub const MIGRATIONS: [&str; 5] = [
    include_str!("../../../src/store/sqlite/migrations/2.sql"),
    include_str!("../../../src/store/sqlite/migrations/3.sql"),
    include_str!("../../../src/store/sqlite/migrations/4.sql"),
    include_str!("../../../src/store/sqlite/migrations/5.sql"),
    include_str!("../../../src/store/sqlite/migrations/6.sql"),
];

/// The newest version.
pub const NEWEST: i64 = 6;

pub const APPLICATION_ID: i64 = 0x524C_4159;

/// The number of version 1's first event; a load's numbers are far below.
pub const OLD: u64 = 1_000_000_000_000_000;

/// The number of version 1's events, a fifth of them in each state.
pub const EVENTS: u64 = 300;

pub const QUEUED: i64 = 0;

pub const PROCESSING: i64 = 1;

pub const RETRYING: i64 = 2;

pub const DELIVERED: i64 = 3;

pub const DEAD: i64 = 4;

pub fn state_of(n: u64) -> i64 {
    ((n - OLD) % 5).cast_signed()
}

pub fn is_event(n: u64) -> bool {
    !(n - OLD).is_multiple_of(3)
}

pub fn body_of(n: u64) -> String {
    format!("{{\"n\":{n},\"filler\":\"{}\"}}", "o".repeat(200))
}

/// A digest as the server makes it: 64 bits of SHA-256 over the parts, each preceded by its length.
pub fn key_digest(parts: &[&[u8]]) -> i64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let whole = <[u8; 32]>::from(hash.finalize());
    i64::from_be_bytes(*whole.first_chunk().expect("32 bytes hold 8"))
}

/// The digest of a key in the table: of a relay if there is a scope, else of an event.
pub fn digest_of(scope: Option<i64>, label: &str, key: &str) -> i64 {
    match scope {
        Some(scope) => key_digest(&[b"relay", &scope.to_be_bytes(), key.as_bytes()]),
        None => key_digest(&[b"event", label.as_bytes(), key.as_bytes()]),
    }
}

/// Whether version 1's last writes are still in its WAL, as after a crash.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wal {
    Emptied,
    Left,
}

/// A world with a database of version 1 that has events in all states. They are in the journal, and
/// so are their arrivals.
pub fn old_world(wal: Wal) -> World {
    let world = World::new();
    world.data();
    let mut sql = Connection::open(world.database()).expect("a database");
    sql.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL")
        .expect("pragmas");
    sql.pragma_update(None, "application_id", APPLICATION_ID)
        .expect("a pragma");
    sql.execute_batch(VERSION_1).expect("the first schema");
    sql.pragma_update(None, "user_version", 1)
        .expect("a pragma");
    let origin = world.receiver.url("");
    sql.execute(
        "INSERT INTO destinations (id, name) VALUES (1, 'orders'), (2, ?1)",
        [&origin],
    )
    .expect("destinations");
    fill(&mut sql, &world, 0..EVENTS / 2);
    sql.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .expect("a checkpoint");
    fill(&mut sql, &world, EVENTS / 2..EVENTS);
    close(sql, wal);
    assert_eq!(
        std::fs::exists(world.data().join("relay.db-wal")).expect("a directory"),
        wal == Wal::Left
    );
    // Version 1's process ended, so deliveries in flight arrive once more.
    world.journal.fault();
    world
}

pub fn close(sql: Connection, wal: Wal) {
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, wal == Wal::Left)
        .expect("a setting");
    sql.close().map_err(|(_, error)| error).expect("it closes");
}

pub fn fill(sql: &mut Connection, world: &World, events: std::ops::Range<u64>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("now");
    let now = i64::try_from(now.as_millis()).expect("a time");
    // Within the window of the idempotency key.
    let then = now - 60_000;
    let tx = sql.transaction().expect("a transaction");
    for n in events.map(|event| OLD + event) {
        let row = IntentId::first_row_at(then) + i64::try_from(n - OLD).expect("few");
        let id = IntentId::new(row, rand::random());
        let (body, key, state) = (body_of(n), format!("key-{n}"), state_of(n));
        let url = world.receiver.url("/relay");
        let scope = (!is_event(n)).then(|| key_digest(&[b"api key", KEY.as_bytes()]));
        let label = if is_event(n) {
            "github"
        } else {
            "order.created"
        };
        let request: [u8; 32] = Sha256::digest(relay_to(&url, &body)).into();
        let destination = if is_event(n) { 1 } else { 2 };
        tx.execute(
            "INSERT INTO intents VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, NULL, ?10, ?11)",
            params![
                id.row(),
                id.random(),
                i64::from(is_event(n)),
                then,
                label,
                (!is_event(n)).then_some(url),
                scope,
                key,
                (!is_event(n)).then_some(request),
                b"content-type: application/json\r\n",
                body.as_bytes(),
            ],
        )
        .expect("an intent");
        tx.execute(
            "INSERT INTO idempotency VALUES (?1, ?2)",
            [digest_of(scope, label, &key), id.row()],
        )
        .expect("a key");
        let was_tried = i64::from(state != QUEUED);
        let has_history = !matches!(state, QUEUED | PROCESSING);
        tx.execute(
            "INSERT INTO deliveries VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, ?8, ?9)",
            params![
                id.row(),
                destination,
                state,
                was_tried,
                i64::from(has_history),
                matches!(state, QUEUED | RETRYING).then_some(then),
                (state == PROCESSING).then_some(7),
                then,
                matches!(state, RETRYING | DEAD).then_some("an error"),
            ],
        )
        .expect("a delivery");
        if has_history {
            let (outcome, status) = match state {
                DELIVERED => (0, 200),
                RETRYING => (1, 500),
                _ => (2, 410),
            };
            tx.execute(
                "INSERT INTO attempts VALUES (?1, ?2, 1, 1, ?3, 4, ?4, ?5, NULL, x'')",
                params![id.row(), destination, then, outcome, status],
            )
            .expect("an attempt");
        }
        let id = if is_event(n) {
            format!("evt_{id}")
        } else {
            id.to_string()
        };
        let at = world.journal.now();
        if state == DELIVERED || state == PROCESSING {
            world.journal.hit(Hit {
                n: Some(n),
                id: id.clone(),
                body: digest(body.as_bytes()),
                at,
                answered: 200,
            });
        }
        world.journal.sent(Sent {
            n,
            key,
            body: digest(body.as_bytes()),
            began: at,
            ended: at,
            status: Some(202),
            id: Some(id),
            records: 0,
        });
    }
    tx.commit().expect("a commit");
}

/// Takes a stopped database back to version 1, in one transaction: drops the additions of later
/// versions, after it has moved all buffered keys into their table, where version 1 had them.
///
/// `ALTER TABLE … DROP COLUMN` refuses columns that a CHECK names, and leaves other SQL text; so
/// the tables are created anew with version 1's text, and refilled. Only their order in the file
/// differs.
pub fn to_version_1(database: &Path, wal: Wal) {
    let sql = Connection::open(database).expect("the database opens");
    let (old, _) = schemas();
    sql.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA legacy_alter_table = ON; BEGIN IMMEDIATE")
        .expect("a transaction");
    let swept_to = sql
        .query_row("SELECT swept_to FROM key_sweep", [], |row| row.get(0))
        .expect("a row");
    for (digest, intent) in keys_after(&sql, swept_to).expect("keys") {
        // An unfinished sweep may have moved it.
        sql.execute(
            "INSERT OR IGNORE INTO idempotency VALUES (?1, ?2)",
            [digest, intent],
        )
        .expect("a key");
    }
    let mut script = "DROP INDEX listed; DROP VIEW relay_events; DROP VIEW relay_deliveries;
                      DROP VIEW relay_attempts;"
        .to_owned();
    for table in [
        "jobs",
        "key_sweep",
        "count_changes",
        "learned_secrets",
        "expected_secrets",
        "source_rollups",
        "destination_rollups",
        "alert_states",
        "config_state",
        "settings",
        "erasures",
        "space_samples",
    ] {
        write!(script, "DROP TABLE {table};").expect("a String takes all");
    }
    for (table, columns) in [
        (
            "destinations",
            "id, name, paused_at, pause_reason, held_until",
        ),
        (
            "attempts",
            "intent_id, destination_id, entry, attempt, started_at, duration_ms, outcome,
             status_code, error, response",
        ),
    ] {
        let create = &old[&format!("table {table}")];
        write!(
            script,
            "ALTER TABLE {table} RENAME TO newer; {create};
             INSERT INTO {table} ({columns}) SELECT {columns} FROM newer; DROP TABLE newer;"
        )
        .expect("a String takes all");
    }
    // These columns are in no CHECK. Rebuilding the table would drop its index.
    script += "DROP INDEX line; DROP INDEX unrouted; DROP INDEX discarded; DROP INDEX dead;
               DROP INDEX shed;";
    for (table, column) in [
        ("intents", "event_type"),
        ("intents", "query"),
        ("intents", "unrouted"),
        ("intents", "checksum"),
        ("intents", "gone"),
        ("intents", "gone_at"),
        ("deliveries", "order_key"),
        ("deliveries", "place"),
        ("deliveries", "discarded_at"),
    ] {
        write!(script, "ALTER TABLE {table} DROP COLUMN {column};").expect("a String takes all");
    }
    write!(script, "{};", old["index dead"]).expect("a String takes all");
    sql.execute_batch(&script).expect("a step back");
    // A foreign key isn't part of the stored rows, so changing the text is enough; and DROP COLUMN
    // has left other text than version 1's.
    sql.execute_batch("PRAGMA writable_schema = ON")
        .expect("a setting");
    for table in ["deliveries", "intents"] {
        sql.execute(
            "UPDATE sqlite_schema SET sql = ?1 WHERE type = 'table' AND name = ?2",
            [&old[&format!("table {table}")], table],
        )
        .expect("the text");
    }
    sql.execute_batch("PRAGMA writable_schema = RESET; PRAGMA user_version = 1; COMMIT")
        .expect("a step back");
    close(sql, wal);
}
