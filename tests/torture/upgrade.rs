//! A database of version 1 becomes one of the newest: killed at any moment, without power, under load.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use relay::model::IntentId;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, params};
use sha2::{Digest as _, Sha256};

use crate::images::{Disk, Luck, parse};
use crate::judge::{Hit, Journal, Sent, digest, number};
use crate::support::{Answer, KEY, relay_to};
use crate::world::World;

const VERSION_1: &str = include_str!("../../src/store/sqlite/migrations/1.sql");
/// From each version to the next. What a new one adds is also to be undone in [`to_version_1`].
const MIGRATIONS: [&str; 3] = [
    include_str!("../../src/store/sqlite/migrations/2.sql"),
    include_str!("../../src/store/sqlite/migrations/3.sql"),
    include_str!("../../src/store/sqlite/migrations/4.sql"),
];
/// Where they lead.
const NEWEST: i64 = 4;
const APPLICATION_ID: i64 = 0x524C_4159;

/// The first number of what version 1 left; a load's numbers are far below.
const OLD: u64 = 1_000_000_000_000_000;
/// How many events version 1 left, a fifth of them in each state.
const EVENTS: u64 = 300;

const QUEUED: i64 = 0;
const PROCESSING: i64 = 1;
const RETRYING: i64 = 2;
const DELIVERED: i64 = 3;
const DEAD: i64 = 4;

fn state_of(n: u64) -> i64 {
    ((n - OLD) % 5).cast_signed()
}

fn is_event(n: u64) -> bool {
    !(n - OLD).is_multiple_of(3)
}

fn body_of(n: u64) -> String {
    format!("{{\"n\":{n},\"filler\":\"{}\"}}", "o".repeat(200))
}

/// As the server makes them: 64 bits of SHA-256 over the parts, each preceded by its length.
fn key_digest(parts: &[&[u8]]) -> i64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let whole = <[u8; 32]>::from(hash.finalize());
    i64::from_be_bytes(*whole.first_chunk().expect("32 bytes hold 8"))
}

/// What stands for a key in the table: of a relay, if there is a scope, or else of an event.
fn digest_of(scope: Option<i64>, label: &str, key: &str) -> i64 {
    match scope {
        Some(scope) => key_digest(&[b"relay", &scope.to_be_bytes(), key.as_bytes()]),
        None => key_digest(&[b"event", label.as_bytes(), key.as_bytes()]),
    }
}

/// Whether what version 1 wrote last still stands in its WAL, as after a crash of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wal {
    Emptied,
    Left,
}

/// A world whose database version 1 has left behind, with events in all states. The journal knows
/// them all, and what of them had arrived.
fn old_world(wal: Wal) -> World {
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
    // The process that version 1 ran in ended: who was under way arrives once more.
    world.journal.fault();
    world
}

fn close(sql: Connection, wal: Wal) {
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, wal == Wal::Left)
        .expect("a setting");
    sql.close().map_err(|(_, error)| error).expect("it closes");
}

fn fill(sql: &mut Connection, world: &World, events: std::ops::Range<u64>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("now");
    let now = i64::try_from(now.as_millis()).expect("a time");
    // Within the window of its idempotency key.
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

/// The text of all that there is in a schema.
type Schema = BTreeMap<String, String>;

fn schema(sql: &Connection) -> rusqlite::Result<Schema> {
    let mut statement = sql.prepare("SELECT type || ' ' || name, sql FROM sqlite_schema")?;
    let rows = statement.query_map([], |row| {
        Ok((
            row.get(0)?,
            row.get::<_, Option<String>>(1)?.unwrap_or_default(),
        ))
    })?;
    rows.collect()
}

/// What version 1 and the newest look like in a file that version 1 has made.
fn schemas() -> (Schema, Schema) {
    let sql = Connection::open_in_memory().expect("a database");
    sql.execute_batch(VERSION_1).expect("the first schema");
    let old = schema(&sql).expect("a schema");
    for migration in MIGRATIONS {
        sql.execute_batch(migration).expect("a migration");
    }
    (old, schema(&sql).expect("a schema"))
}

/// Which version a file is of; or what is wrong with it, if it is of none, or lacks anything that
/// version 1 left.
fn version_of(path: &Path, journal: &Journal) -> Result<i64, String> {
    let sql = Connection::open(path).map_err(|error| error.to_string())?;
    look(&sql, journal).map_err(|error| format!("it can't be read: {error}"))?
}

fn look(sql: &Connection, journal: &Journal) -> rusqlite::Result<Result<i64, String>> {
    let check: String = sql.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    let references: i64 =
        sql.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| {
            row.get(0)
        })?;
    // No reference since version 4, and still none of them may be without.
    let orphans: i64 = sql.query_row(
        "SELECT count(*) FROM deliveries
         WHERE destination_id NOT IN (SELECT id FROM destinations)",
        [],
        |row| row.get(0),
    )?;
    if check != "ok" || references + orphans > 0 {
        return Ok(Err(format!(
            "{check}, {references} broken references, {orphans} deliveries without a destination"
        )));
    }
    let version: i64 = sql.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let (old, new) = schemas();
    let expected = match version {
        1 => old,
        NEWEST => new,
        _ => return Ok(Err(format!("version {version} is in between"))),
    };
    let found = schema(sql)?;
    if found != expected {
        return Ok(Err(format!(
            "version {version} looks otherwise: {found:#?}"
        )));
    }
    let swept_to = match keys(sql, version)? {
        Ok(swept_to) => swept_to,
        Err(wrong) => return Ok(Err(wrong)),
    };

    let mut statement = sql.prepare(
        "SELECT i.body, d.state, (SELECT count(*) FROM attempts a WHERE a.intent_id = i.id), i.id
         FROM intents i LEFT JOIN deliveries d ON d.intent_id = i.id",
    )?;
    let mut rows = statement.query([])?;
    let mut found: HashMap<u64, (Option<i64>, i64, bool)> = HashMap::new();
    let bodies = journal.bodies();
    while let Some(row) = rows.next()? {
        let body: Vec<u8> = row.get(0)?;
        let n = number(&body).unwrap_or(u64::MAX);
        if bodies.get(&n) != Some(&digest(&body)) {
            return Ok(Err(format!("{n} isn't what was sent")));
        }
        // What version 1 put into the table is there, and nothing has to be read back.
        let is_swept = row.get::<_, i64>(3)? <= swept_to;
        found.insert(n, (row.get(1)?, row.get(2)?, is_swept));
    }
    for n in OLD..OLD + EVENTS {
        let was = state_of(n);
        let is_well = match found.get(&n) {
            Some(&(Some(is), attempts, true)) => {
                let had = i64::from(!matches!(was, QUEUED | PROCESSING));
                // What has ended stays as it is; all else is tried.
                attempts >= had && (is == was || !matches!(was, DELIVERED | DEAD))
            }
            _ => false,
        };
        if !is_well {
            return Ok(Err(format!("{n} was {was}, and is {:?}", found.get(&n))));
        }
    }
    Ok(Ok(version))
}

/// Up to which intent all keys have to be in their table; or what is wrong with them. Each is there
/// under its own digest, once, or its intent is a later one.
fn keys(sql: &Connection, version: i64) -> rusqlite::Result<Result<i64, String>> {
    let swept_to = if version == 1 {
        i64::MAX
    } else {
        let (count, swept_to): (i64, Option<i64>) =
            sql.query_row("SELECT count(*), max(swept_to) FROM key_sweep", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        match swept_to {
            Some(swept_to) if count == 1 => swept_to,
            _ => return Ok(Err(format!("key_sweep has {count} rows"))),
        }
    };
    let mut statement = sql.prepare("SELECT digest, intent_id FROM idempotency")?;
    let table = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut table: HashSet<(i64, i64)> = table.collect::<Result<_, _>>()?;
    for key in keys_after(sql, 0)? {
        if !table.remove(&key) && key.1 <= swept_to {
            return Ok(Err(format!("the key of intent {} is lost", key.1)));
        }
    }
    if let Some((_, intent)) = table.iter().next() {
        return Ok(Err(format!("intent {intent} never had such a key")));
    }
    Ok(Ok(swept_to))
}

/// The keys of all intents after this one, as they stand in the table, or will.
fn keys_after(sql: &Connection, intent: i64) -> rusqlite::Result<Vec<(i64, i64)>> {
    let mut statement = sql.prepare(
        "SELECT scope, label, idempotency_key, id FROM intents
         WHERE id > ?1 AND idempotency_key IS NOT NULL",
    )?;
    let keys = statement.query_map([intent], |row| {
        let (label, key): (String, String) = (row.get(1)?, row.get(2)?);
        Ok((digest_of(row.get(0)?, &label, &key), row.get(3)?))
    })?;
    keys.collect()
}

/// The same for files that are somebody's: reading them would tidy them up.
fn version_in(directory: &Path, journal: &Journal) -> Result<i64, String> {
    let copy = tempfile::tempdir().expect("a directory");
    copy_files(directory, copy.path());
    version_of(&copy.path().join("relay.db"), journal)
}

fn copy_files(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a directory").flatten() {
        // Rebuilt from the WAL.
        if !entry.path().to_string_lossy().ends_with("-shm") {
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
        }
    }
}

/// Serves it to the end: what version 1 knew by its key is known, what waited arrives.
fn serve_and_judge(world: &mut World) {
    world.start();
    let target = world.target();
    for n in [OLD, OLD + 1, OLD + EVENTS / 2, OLD + EVENTS - 1] {
        // The judge compares the ids.
        let sent = target.try_once(n, is_event(n), &body_of(n));
        assert!(sent.id.is_some(), "{n} was answered {:?}", sent.status);
        world.journal.sent(sent);
    }
    world.drain();
    let ended = world.stop();
    assert!(ended.status.success(), "{}", ended.log);
    assert_eq!(version_of(&world.database(), &world.journal), Ok(NEWEST));
    let verdict = world.journal.judge(&world.database());
    assert_eq!(verdict.wrong, Vec::<String>::new());
    let fifth = usize::try_from(EVENTS / 5).expect("few");
    assert_eq!(
        (verdict.pending, verdict.dead, verdict.delivered),
        (0, fifth, 4 * fifth),
        "{verdict}"
    );
}

/// Then a start is its own operations, and few of the deliveries that follow.
fn answer_slowly(world: &World) {
    world.answers(|_| Answer::status(200).after(Duration::from_millis(100)));
}

/// So many of 1 to `count`, evenly.
fn spread(count: u64, many: u64) -> Vec<u64> {
    let many = many.min(count);
    (0..many)
        .map(|at| 1 + at * (count - 1) / (many - 1).max(1))
        .collect()
}

#[test]
fn killed_during_the_migration_it_is_old_or_new_and_never_in_between() {
    let _alone = crate::alone();
    for wal in [Wal::Emptied, Wal::Left] {
        let mut world = old_world(wal);
        assert_eq!(version_in(&world.data(), &world.journal), Ok(1));
        world.records = true;
        answer_slowly(&world);
        world.start();
        let count = world.shim.records();
        world.kill();
        assert_eq!(version_in(&world.data(), &world.journal), Ok(NEWEST));

        let mut found = [0; 2];
        for record in spread(count, crate::choose(13, u64::MAX)) {
            let mut world = old_world(wal);
            world.records = true;
            answer_slowly(&world);
            world.shim.kill_at_record(record);
            // Near the end of the start it may live a little longer.
            if world.try_start().is_ok() {
                world.kill();
            }
            world.journal.fault();
            world.shim.kill_at_record(0);
            world.records = false;
            world.answers(|_| Answer::status(200));
            match version_in(&world.data(), &world.journal) {
                Ok(1) => found[0] += 1,
                Ok(_) => found[1] += 1,
                Err(wrong) => panic!("killed at operation {record} of {count}: {wrong}"),
            }
            serve_and_judge(&mut world);
        }
        println!(
            "killed while migrating, WAL {wal:?}: {count} operations, {} times old and {} times new",
            found[0], found[1]
        );
        assert!(found[0] > 0 && found[1] > 0, "{found:?}");
    }
}

#[test]
fn a_power_failure_during_the_migration_leaves_old_or_new() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let (images, every) = crate::choose((60, 15), (1_000, 40));
    for wal in [Wal::Emptied, Wal::Left] {
        let mut world = old_world(wal);
        let files = ["relay.db", "relay.db-wal"].map(|name| {
            let bytes = std::fs::read(world.data().join(name));
            (name.to_owned(), bytes.unwrap_or_default())
        });
        let files = files.into_iter().filter(|(_, bytes)| !bytes.is_empty());
        world.records = true;
        answer_slowly(&world);
        world.start();
        let started = world.shim.records();
        world.answers(|_| Answer::status(200));
        world.drain();
        // With the checkpoint of a stop in order, which writes the new schema over the old one.
        world.stop();
        let ops = parse(&world.shim.log());

        let last = u64::try_from(ops.len()).expect("a number");
        let mut moments: Vec<u64> = (0..images)
            // The migration is among the first.
            .map(|at| random.random_range(0..=if at % 4 == 0 { last } else { started }))
            .collect();
        moments.sort_unstable();
        let mut disk = Disk::holding(files.collect(), &ops);
        let mut done = 0;
        let mut found = [0; 2];
        let mut served = 0;
        for (at, moment) in moments.into_iter().enumerate() {
            while done < moment {
                disk.apply(&ops[usize::try_from(done).expect("a 64-bit machine")]);
                done += 1;
            }
            let luck = Luck::random(&mut random);
            let image = tempfile::tempdir().expect("a directory");
            disk.write_to(image.path(), luck, &mut random);
            match version_in(image.path(), &world.journal) {
                // Once it serves, nothing brings the old one back.
                Ok(1) if moment < started => found[0] += 1,
                Ok(NEWEST) => found[1] += 1,
                Ok(_) => panic!("served, and old again: operation {moment} of {last}, {luck:?}"),
                Err(wrong) => panic!("after operation {moment} of {last}, {luck:?}: {wrong}"),
            }
            if at % every == 0 {
                let mut next = World::new();
                copy_files(image.path(), &next.data());
                next.start();
                next.drain();
                let ended = next.stop();
                assert!(ended.status.success(), "{}", ended.log);
                assert_eq!(version_of(&next.database(), &world.journal), Ok(NEWEST));
                served += 1;
            }
        }
        println!(
            "power failures while migrating, WAL {wal:?}: {last} operations, {started} until ready, {} times old and {} times new, {served} of them served",
            found[0], found[1]
        );
        assert!(found[0] > 0 && found[1] > 0, "{found:?}");
    }
}

/// The same eyes see what a migration without its transaction would leave.
#[test]
fn a_migration_in_steps_would_be_seen() {
    let world = old_world(Wal::Emptied);
    let version = || version_in(&world.data(), &world.journal);
    assert_eq!(version(), Ok(1));
    let sql = Connection::open(world.database()).expect("the database opens");
    for (migration, to) in MIGRATIONS.into_iter().zip(2..) {
        for step in migration.split_inclusive(';') {
            if step.trim().is_empty() {
                continue;
            }
            sql.execute_batch(step).expect("a step");
            let wrong = version().expect_err("a step was made, and the version stayed");
            let says = if to == 2 {
                "looks otherwise"
            } else {
                "in between"
            };
            assert!(wrong.contains(says), "{wrong}");
        }
        sql.pragma_update(None, "user_version", to)
            .expect("a pragma");
        if to < NEWEST {
            let wrong = version().expect_err("one migration was made, and not the next");
            assert!(wrong.contains("in between"), "{wrong}");
        }
    }
    assert_eq!(version(), Ok(NEWEST));
    // And so would be whatever else it might do to what was there.
    for (loss, event) in [
        ("DELETE FROM intents WHERE id", 0),
        ("DELETE FROM deliveries WHERE intent_id", 1),
        ("DELETE FROM attempts WHERE intent_id", 2),
        (
            "UPDATE deliveries SET state = 4, last_error = '' WHERE intent_id",
            3,
        ),
        ("DELETE FROM idempotency WHERE intent_id", 5),
        ("UPDATE intents SET body = x'7b7d' WHERE id", 6),
        ("UPDATE idempotency SET digest = 0 WHERE intent_id", 7),
        ("UPDATE key_sweep SET swept_to", 8),
        ("DELETE FROM key_sweep WHERE swept_to", EVENTS - 1),
        ("INSERT INTO key_sweep SELECT id FROM intents WHERE id", 9),
    ] {
        let row = format!("(SELECT id FROM intents ORDER BY id LIMIT 1 OFFSET {event})");
        sql.execute_batch(&format!("BEGIN; {loss} = {row}"))
            .expect("a loss");
        let found = look(&sql, &world.journal).expect("it can be read");
        assert!(found.is_err(), "{loss}");
        sql.execute_batch("ROLLBACK").expect("as it was");
    }
    assert_eq!(version(), Ok(NEWEST));
}

/// Takes a stopped database back to version 1, in one transaction: what later versions added is
/// dropped, and the keys that haven't been moved into their table come there first, as version 1 had
/// them.
///
/// `ALTER TABLE … DROP COLUMN` would refuse what a table's check names, and leave other text; so the
/// tables are made anew from version 1's own text and filled with what they held. Only the order in
/// which they stand in the file is another.
fn to_version_1(database: &Path, wal: Wal) {
    let sql = Connection::open(database).expect("the database opens");
    let (old, _) = schemas();
    sql.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA legacy_alter_table = ON; BEGIN IMMEDIATE")
        .expect("a transaction");
    let swept_to = sql
        .query_row("SELECT swept_to FROM key_sweep", [], |row| row.get(0))
        .expect("a row");
    for (digest, intent) in keys_after(&sql, swept_to).expect("keys") {
        // A sweep that hasn't come to its end may have moved it.
        sql.execute(
            "INSERT OR IGNORE INTO idempotency VALUES (?1, ?2)",
            [digest, intent],
        )
        .expect("a key");
    }
    let mut script =
        "DROP TABLE jobs; DROP TABLE key_sweep; DROP TABLE count_changes; DROP INDEX listed;"
            .to_owned();
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
    sql.execute_batch(&script).expect("a step back");
    // A reference is no part of what is stored, so the text is enough.
    sql.execute_batch("PRAGMA writable_schema = ON")
        .expect("a setting");
    sql.execute(
        "UPDATE sqlite_schema SET sql = ?1 WHERE type = 'table' AND name = 'deliveries'",
        [&old["table deliveries"]],
    )
    .expect("the text");
    sql.execute_batch("PRAGMA writable_schema = RESET; PRAGMA user_version = 1; COMMIT")
        .expect("a step back");
    close(sql, wal);
}

#[test]
fn it_goes_back_and_forth_between_versions_under_load() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let cycles = crate::choose(4, 20);
    let mut world = old_world(Wal::Left);
    world.answers(|arrival| {
        // A tenth fails at first.
        let fails = arrival.header("relay-attempt") == "1" && arrival.body.len().is_multiple_of(10);
        Answer::status(if fails { 500 } else { 200 })
    });
    let mut slowest = world.start();
    let load = world.load(seed, 6, 400);
    let mut died_migrating = 0;
    for cycle in 0..cycles {
        let before = world.journal.acknowledged();
        world.acknowledged(before + 100);
        crate::pause(Duration::from_millis(random.random_range(0..300)));
        let ended = if cycle % 2 == 0 {
            world.kill()
        } else {
            let ended = world.stop();
            assert!(ended.status.success(), "{}", ended.log);
            ended
        };
        let migrated = format!("from schema version 1 to {NEWEST}");
        assert!(ended.log.contains(&migrated), "{}", ended.log);
        let wal = if random.random() {
            Wal::Left
        } else {
            Wal::Emptied
        };
        to_version_1(&world.database(), wal);
        assert_eq!(version_in(&world.data(), &world.journal), Ok(1));
        if cycle % 4 >= 2 {
            // Now and then it dies over it, and has to begin again.
            world.records = true;
            world.shim.forget_log();
            world.shim.kill_at_record(random.random_range(1..=20));
            if world.try_start().is_ok() {
                world.kill();
            } else {
                died_migrating += 1;
            }
            world.journal.fault();
            world.shim.kill_at_record(0);
            world.records = false;
            if version_in(&world.data(), &world.journal) == Ok(NEWEST) {
                to_version_1(&world.database(), wal);
            }
            assert_eq!(version_in(&world.data(), &world.journal), Ok(1));
        }
        slowest = slowest.max(world.start());
    }
    load.stop();
    world.drain();
    world.stop();
    assert_eq!(version_of(&world.database(), &world.journal), Ok(NEWEST));
    let verdict = world
        .journal
        .assert_just("back and forth", &world.database());
    println!(
        "back and forth: {cycles} cycles, {died_migrating} deaths while migrating, ready within {slowest:?}"
    );
    let dead = usize::try_from(EVENTS / 5).expect("few");
    assert_eq!((verdict.pending, verdict.dead), (0, dead));
    assert!(died_migrating > 0);
}
