//! Checks that a database is of version 1 or of the newest, and has everything that it had.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use rusqlite::Connection;

use crate::judge::{Journal, digest, number};
use crate::upgrade::version_1::{
    DEAD, DELIVERED, EVENTS, MIGRATIONS, NEWEST, OLD, PROCESSING, QUEUED, VERSION_1, digest_of,
    state_of,
};

/// The SQL of everything in a schema, by name.
pub type Schema = BTreeMap<String, String>;

pub fn schema(sql: &Connection) -> rusqlite::Result<Schema> {
    let mut statement = sql.prepare("SELECT type || ' ' || name, sql FROM sqlite_schema")?;
    let rows = statement.query_map([], |row| {
        Ok((
            row.get(0)?,
            row.get::<_, Option<String>>(1)?.unwrap_or_default(),
        ))
    })?;
    rows.collect()
}

/// The schemas of version 1 and of the newest version, in a file that began as version 1.
pub fn schemas() -> (Schema, Schema) {
    let sql = Connection::open_in_memory().expect("a database");
    sql.execute_batch(VERSION_1).expect("the first schema");
    let old = schema(&sql).expect("a schema");
    for migration in MIGRATIONS {
        sql.execute_batch(migration).expect("a migration");
    }
    (old, schema(&sql).expect("a schema"))
}

/// The version of a file; or an error if it is of no version, or lacks any of version 1's rows.
pub fn version_of(path: &Path, journal: &Journal) -> Result<i64, String> {
    let sql = Connection::open(path).map_err(|error| error.to_string())?;
    look(&sql, journal).map_err(|error| format!("it can't be read: {error}"))?
}

pub fn look(sql: &Connection, journal: &Journal) -> rusqlite::Result<Result<i64, String>> {
    let check: String = sql.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    let references: i64 =
        sql.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| {
            row.get(0)
        })?;
    // Since version 4 this is no foreign key, but every row must still have its counterpart.
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
        // The table has all keys of version 1, and none has to be read back.
        let is_swept = row.get::<_, i64>(3)? <= swept_to;
        found.insert(n, (row.get(1)?, row.get(2)?, is_swept));
    }
    for n in OLD..OLD + EVENTS {
        let was = state_of(n);
        let is_well = match found.get(&n) {
            Some(&(Some(is), attempts, true)) => {
                let had = i64::from(!matches!(was, QUEUED | PROCESSING));
                // Finished deliveries are unchanged; all others are attempted.
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

/// The intent up to which all keys must be in their table; or an error. Each of these keys must be
/// there once, under its own digest.
pub fn keys(sql: &Connection, version: i64) -> rusqlite::Result<Result<i64, String>> {
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

/// The keys of all intents after this one, as rows of the table, whether stored yet or not.
pub fn keys_after(sql: &Connection, intent: i64) -> rusqlite::Result<Vec<(i64, i64)>> {
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

/// As [`version_of`], on a copy of the files, because reading would change them.
pub fn version_in(directory: &Path, journal: &Journal) -> Result<i64, String> {
    let copy = tempfile::tempdir().expect("a directory");
    copy_files(directory, copy.path());
    version_of(&copy.path().join("relay.db"), journal)
}

pub fn copy_files(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a directory").flatten() {
        // The index is rebuilt from the WAL.
        if !entry.path().to_string_lossy().ends_with("-shm") {
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
        }
    }
}
