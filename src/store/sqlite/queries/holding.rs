//! Copies of the database that still hold what was erased.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::sqlite::open;
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::paths::path_beside;
use crate::store::types::IntentRow;

/// Erased events that are looked for.
const LOOKED_FOR: i64 = 10_000;
/// Files that are looked into.
const FILES: usize = 1_000;

/// The events that were erased since a time.
fn erased_since(sql: &Connection, since: Timestamp) -> Result<Vec<IntentRow>, StoreError> {
    let mut statement =
        sql.prepare("SELECT intent_id FROM erasures WHERE at >= ?1 ORDER BY intent_id LIMIT ?2")?;
    let rows = statement.query_map((since, LOOKED_FOR), |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Whether a copy has something of one of these events that an erasure deletes. One that can't be
/// read is no copy.
fn holds(path: &Path, events: &[IntentRow]) -> rusqlite::Result<bool> {
    // After a kill the latest events stand in the log alone.
    let log = path_beside(path, "-wal");
    let sql = if log.metadata().is_ok_and(|found| found.len() > 0) {
        open::snapshot(path)?
    } else {
        open::immutable(path)?
    };
    // Columns that every version of the schema has. A discarded event has no payload any more.
    let mut statement = sql.prepare(
        "SELECT 1 FROM intents i
         WHERE i.id = ?1 AND (length(i.body) + length(i.headers) > 0
                              OR i.idempotency_key IS NOT NULL OR i.metadata IS NOT NULL
                              OR EXISTS (SELECT 1 FROM attempts a WHERE a.intent_id = i.id
                                         AND a.response IS NOT NULL))",
    )?;
    for event in events {
        if statement.exists([event])? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The files of a directory with names that the condition takes, sorted.
fn files(directory: &Path, is_copy: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut found: Vec<PathBuf> = names
        .filter(|name| is_copy(name))
        .take(FILES)
        .map(|name| directory.join(name))
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    found
}

impl Operator {
    /// The copies that still hold something that was erased since a time: databases in the
    /// directory of backups, and those that a restore has put aside.
    pub fn copies_with_erased(
        &self,
        since: Timestamp,
        backups: Option<&Path>,
    ) -> Result<Vec<PathBuf>, StoreError> {
        let events = self.read(|sql| erased_since(sql, since))?;
        let database = self.path();
        let name = database.file_name().unwrap_or_default().to_string_lossy();
        let aside = format!("{name}.before-");
        let is_aside = |name: &str| {
            let is_beside = ["-wal", "-shm", "-journal"]
                .iter()
                .any(|end| name.ends_with(end));
            name.starts_with(&aside) && !is_beside
        };
        let mut copies = files(database.parent().unwrap_or(Path::new(".")), is_aside);
        copies.extend(backups.into_iter().flat_map(|directory| {
            let is_database = |name: &str| Path::new(name).extension().is_some_and(|it| it == "db");
            files(directory, is_database)
                .into_iter()
                .filter(|path| *path != database)
        }));
        copies.retain(|path| holds(path, &events).unwrap_or(false));
        Ok(copies)
    }
}
