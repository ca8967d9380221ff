//! Secrets that handshakes brought, and the sources that expect one.

use rusqlite::{Connection, params};

use crate::clock::Timestamp;
use crate::config::Secret;
use crate::store::error::StoreError;
use crate::store::sqlite::columns::text;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::readers::Reader;
use crate::store::types::{LearnedSecret, SecretExpectation};

/// The number of secrets that a source has learned.
pub fn count_learned_secrets(sql: &Connection, source: &str) -> Result<usize, StoreError> {
    let count: u32 = sql
        .prepare_cached("SELECT count(*) FROM learned_secrets WHERE source = ?1")?
        .query_row([source], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

fn learned(sql: &Connection) -> Result<Vec<LearnedSecret>, StoreError> {
    let mut statement = sql.prepare(
        "SELECT id, source, secret, learned_at FROM learned_secrets ORDER BY source, id",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(LearnedSecret {
            id: row.get(0)?,
            source: text(row, 1)?,
            // A damaged one is no sender's.
            secret: Secret::new(text(row, 2)?),
            learned_at: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn expectations(sql: &Connection, now: Timestamp) -> Result<Vec<SecretExpectation>, StoreError> {
    let mut statement =
        sql.prepare("SELECT source, until FROM expected_secrets WHERE until > ?1 ORDER BY source")?;
    let rows = statement.query_map([now], |row| {
        Ok(SecretExpectation {
            source: row.get(0)?,
            until: row.get(1)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

impl Reader {
    /// The secrets that sources have learned.
    pub fn learned_secrets(&self) -> Result<Vec<LearnedSecret>, StoreError> {
        self.read(learned)
    }
}

impl Sqlite {
    /// Whether a source expects a secret.
    pub async fn expects_secret(&self, source: &str, now: Timestamp) -> Result<bool, StoreError> {
        let source = source.to_owned();
        self.read(move |sql| {
            let mut statement = sql.prepare_cached(
                "SELECT 1 FROM expected_secrets WHERE source = ?1 AND until > ?2",
            )?;
            Ok(statement.exists(params![source, now])?)
        })
        .await
    }
}

impl Operator {
    /// The secrets that sources have learned, by source.
    pub fn learned_secrets(&self) -> Result<Vec<LearnedSecret>, StoreError> {
        self.read(learned)
    }

    /// The sources that expect a secret, by name.
    pub fn secret_expectations(&self) -> Result<Vec<SecretExpectation>, StoreError> {
        let now = self.now();
        self.read(|sql| expectations(sql, now))
    }
}
