use rusqlite::Connection;

use super::migrate::{APPLICATION_ID, MIGRATIONS, SCHEMA};
use super::pragmas::read_pragma;
use super::*;

#[test]
fn the_schema_is_what_the_version_says() {
    assert_eq!(
        MIGRATIONS.len() + 1,
        usize::try_from(VERSION).expect("small")
    );
}

/// A schema as `SQLite` knows it: columns with types and defaults, indexes, references.
fn outline(sql: &Connection) -> Vec<String> {
    let mut outline: Vec<String> = [
        "SELECT m.name || '.' || c.name || ' ' || c.type || ' ' || c.\"notnull\" || ' '
                || coalesce(c.dflt_value, '-') || ' ' || c.pk
         FROM sqlite_schema m, pragma_table_xinfo(m.name) c WHERE m.type = 'table'",
        "SELECT sql FROM sqlite_schema WHERE type IN ('index', 'view') AND sql IS NOT NULL",
        "SELECT m.name || '.' || f.\"from\" || ' -> ' || f.\"table\" || '.' || f.\"to\" || ' ' || f.on_delete
         FROM sqlite_schema m, pragma_foreign_key_list(m.name) f WHERE m.type = 'table'",
    ]
    .iter()
    .flat_map(|query| {
        let mut statement = sql.prepare(query).expect("good SQL");
        let rows = statement.query_map([], |row| row.get(0)).expect("rows");
        rows.collect::<Result<Vec<_>, _>>().expect("text")
    })
    .collect();
    outline.sort();
    outline
}

#[test]
fn migrations_lead_to_the_schema() {
    let fresh = Connection::open_in_memory().expect("a database");
    fresh.execute_batch(SCHEMA).expect("the schema");
    let old = Connection::open_in_memory().expect("a database");
    old.execute_batch(include_str!("../migrations/1.sql"))
        .expect("the first schema");
    for migration in MIGRATIONS {
        old.execute_batch(migration).expect("a migration");
    }
    assert_eq!(outline(&old), outline(&fresh));
    assert!(outline(&fresh).len() > 60);
}

#[test]
fn an_older_file_is_migrated_with_its_contents() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("relay.db");
    {
        let old = Connection::open(&path).expect("a database");
        old.execute_batch(include_str!("../migrations/1.sql"))
            .expect("the first schema");
        old.execute_batch(
            "INSERT INTO destinations (name, held_until) VALUES ('a', 5);
             INSERT INTO intents VALUES (1, 2, 1, 3, 's', NULL, NULL, NULL, NULL, NULL, x'', x'7b7d');
             INSERT INTO deliveries (intent_id, destination_id, state, updated_at, last_error) VALUES (1, 1, 4, 3, 'e');
             INSERT INTO attempts VALUES (1, 1, 1, 1, 3, 4, 2, 410, 'e', x'');",
        )
        .expect("rows");
        old.pragma_update(None, "application_id", APPLICATION_ID)
            .expect("a pragma");
        old.pragma_update(None, "user_version", 1)
            .expect("a pragma");
    }
    let connection = writer(&path, &|| 0).expect("it opens");
    assert_eq!(
        read_pragma(&connection, "user_version").expect("a pragma"),
        VERSION.to_string()
    );
    let row: (i64, Option<i64>, i64, Option<String>) = connection
        .query_row(
            "SELECT t.held_until, t.probe_at, a.status_code, a.next FROM destinations t, attempts a",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
        .expect("what was there");
    assert_eq!(row, (5, None, 410, None));
}

#[test]
fn every_version_gives_up_the_reference_to_destinations_and_stays_sound() {
    for version in 1..VERSION {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("relay.db");
        let old = at_version(&path, version);
        old.execute_batch(
            "INSERT INTO destinations (name) VALUES ('a'), ('http://b'), ('http://c');
             INSERT INTO intents (id, random, surface, created_at, label, headers, body)
             VALUES (1, 2, 1, 3, 's', x'', x'7b7d');
             INSERT INTO deliveries (intent_id, destination_id, state, updated_at, last_error)
             VALUES (1, 1, 4, 3, 'e');
             INSERT INTO attempts (intent_id, destination_id, entry, attempt, started_at, duration_ms, outcome)
             VALUES (1, 1, 1, 1, 3, 4, 2);",
        )
        .expect("rows");
        let migrated = writer(&path, &|| 0).expect("it opens");
        let reopened = Connection::open(&path).expect("it opens");
        // A connection opened before the migration reads the new schema, too.
        for sql in [&migrated, &reopened, &old] {
            let check: String = sql
                .query_row("PRAGMA integrity_check", [], |row| row.get(0))
                .expect("a check");
            assert_eq!(check, "ok", "from version {version}");
            let mut statement = sql
                .prepare("SELECT \"table\" FROM pragma_foreign_key_list('deliveries')")
                .expect("good SQL");
            let references: Vec<String> = statement
                .query_map([], |row| row.get(0))
                .expect("rows")
                .collect::<Result<_, _>>()
                .expect("text");
            assert_eq!(references, ["intents"], "from version {version}");
        }
        migrated
            .execute_batch(
                "DELETE FROM destinations WHERE id = 2;
                 UPDATE deliveries SET destination_id = destination_id;
                 DELETE FROM intents WHERE id = 1;",
            )
            .expect("the other references hold");
        let left: i64 = migrated
            .query_row("SELECT count(*) FROM attempts", [], |row| row.get(0))
            .expect("a count");
        assert_eq!(left, 0);
    }
}

#[test]
fn an_upgrade_keeps_events_and_jobs_and_remembers_the_last_event_without_a_checksum() {
    for version in 1..VERSION {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("relay.db");
        let old = at_version(&path, version);
        old.execute_batch(
            "INSERT INTO destinations (name) VALUES ('a');
             INSERT INTO intents (id, random, surface, created_at, label, headers, body)
             VALUES (1, 2, 1, 3, 's', x'', x'7b7d'), (7, 2, 1, 3, 's', x'', x'7b7d');",
        )
        .expect("rows");
        if version == 5 {
            old.execute_batch(
                "INSERT INTO jobs (id, operation, kind, target_id, states, since, until, done,
                                   skipped, cursor_at, cursor_intent, cursor_more, look_until,
                                   nonce, actor, created_at)
                 VALUES (3, 3, 2, 1, 16, 0, 9, 5, 6, 7, 8, 9, 10, 'n', 'me', 11);",
            )
            .expect("a job");
        }
        let migrated = writer(&path, &|| 0).expect("it opens");
        let (events, to): (i64, i64) = migrated
            .query_row(
                "SELECT count(*), (SELECT value FROM settings WHERE name = 'unchecked_to')
                 FROM intents WHERE body = x'7b7d' AND checksum IS NULL AND gone IS NULL",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .expect("the events");
        assert_eq!((events, to), (2, 7), "from version {version}");
        if version == 5 {
            let job: String = migrated
                .query_row(
                    "SELECT concat_ws(' ', kind, target_id, states, until, done, skipped, cursor_at,
                            cursor_intent, cursor_more, look_until, nonce, actor, created_at)
                     FROM jobs WHERE id = 3 AND erased_at IS NULL AND ended_at IS NULL",
                    [],
                    |row| row.get(0),
                )
                .expect("the job");
            assert_eq!(job, "2 1 16 9 5 6 7 8 9 10 n me 11");
        }
    }
}

#[test]
fn an_upgrade_of_an_empty_database_leaves_nothing_unchecked() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("relay.db");
    drop(at_version(&path, VERSION - 1));
    let migrated = writer(&path, &|| 0).expect("it opens");
    let settings: String = migrated
        .query_row("SELECT group_concat(name) FROM settings", [], |row| {
            row.get(0)
        })
        .expect("its id");
    assert_eq!(settings, "database_id");
}

/// A database of an older version.
fn at_version(path: &Path, version: i64) -> Connection {
    let old = Connection::open(path).expect("a database");
    old.execute_batch("PRAGMA journal_mode = WAL")
        .expect("a pragma");
    old.execute_batch(include_str!("../migrations/1.sql"))
        .expect("the first schema");
    let steps = usize::try_from(version - 1).expect("few");
    for migration in &MIGRATIONS[..steps] {
        old.execute_batch(migration).expect("a migration");
    }
    old.pragma_update(None, "application_id", APPLICATION_ID)
        .expect("a pragma");
    old.pragma_update(None, "user_version", version)
        .expect("a pragma");
    old
}

/// Read from the connection itself, so that no list of settings can agree with itself.
#[test]
fn the_writers_connection_syncs_every_commit_and_checks_references() {
    let directory = tempfile::tempdir().expect("a directory");
    let connection = writer(&directory.path().join("relay.db"), &|| 0).expect("it opens");
    let is = |pragma: &str| read_pragma(&connection, pragma).expect("a pragma");
    assert_eq!(is("synchronous"), "2", "FULL");
    assert_eq!(is("fullfsync"), "1");
    assert_eq!(is("checkpoint_fullfsync"), "1");
    assert_eq!(is("journal_mode"), "wal");
    assert_eq!(is("foreign_keys"), "1");
    assert_eq!(is("wal_autocheckpoint"), "0");
    assert_eq!(is("mmap_size"), "0");
    assert_eq!(is("auto_vacuum"), "2", "incremental");
}

#[test]
fn a_commands_connection_syncs_every_commit() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("relay.db");
    drop(writer(&path, &|| 0).expect("it opens"));
    let connection = operator(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).expect("it opens");
    let is = |pragma: &str| read_pragma(&connection, pragma).expect("a pragma");
    assert_eq!(is("synchronous"), "2", "FULL");
    assert_eq!(is("fullfsync"), "1");
    assert_eq!(is("checkpoint_fullfsync"), "1");
    assert_eq!(is("foreign_keys"), "1");
}

#[test]
fn statements_are_not_planned_anew_for_each_binding() {
    use rusqlite::StatementStatus;

    let directory = tempfile::tempdir().expect("a directory");
    let connection = writer(&directory.path().join("relay.db"), &|| 0).expect("it opens");
    // Both columns have a partial index that asks for just one value.
    let mut statement = connection
        .prepare("SELECT 1 FROM intents, deliveries WHERE surface = ?1 AND state = ?2")
        .expect("good SQL");
    for value in [0, 4, 1, 0, 4] {
        statement.exists([value, value]).expect("a query");
    }
    assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
}
