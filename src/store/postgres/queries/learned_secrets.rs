//! Secrets that handshakes brought, and sources that expect one.

use tokio_postgres::Row;

use crate::clock::Timestamp;
use crate::config::Secret;
use crate::store::error::StoreError;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::operator::Operator;
use crate::store::postgres::reader::Reader;
use crate::store::postgres::values::text;
use crate::store::types::{LearnedSecret, SecretExpectation};

fn learned(sql: &mut Connection) -> Result<Vec<LearnedSecret>, Failure> {
    let select = "SELECT id, source, secret, learned_at FROM relay.learned_secrets
                  ORDER BY source COLLATE \"C\", id";
    let secret = |row: &Row| {
        Ok(LearnedSecret {
            id: row.try_get(0)?,
            source: row.try_get(1)?,
            secret: Secret::new(text(row, 2)?),
            learned_at: row.try_get(3)?,
        })
    };
    sql.rows(select, &[])?.iter().map(secret).collect()
}

fn expectations(sql: &mut Connection, now: Timestamp) -> Result<Vec<SecretExpectation>, Failure> {
    let select = "SELECT source, until FROM relay.expected_secrets WHERE until > $1
                  ORDER BY source COLLATE \"C\"";
    let expectation = |row: &Row| {
        Ok(SecretExpectation {
            source: row.try_get(0)?,
            until: row.try_get(1)?,
        })
    };
    sql.rows(select, &[&now])?.iter().map(expectation).collect()
}

impl Postgres {
    /// Whether a source expects a handshake to bring a secret.
    pub async fn expects_secret(&self, source: &str, now: Timestamp) -> Result<bool, StoreError> {
        let source = source.to_owned();
        self.read_async(move |sql| {
            let select = "SELECT 1 FROM relay.expected_secrets WHERE source = $1 AND until > $2";
            Ok(sql.first(select, &[&source, &now])?.is_some())
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

impl Reader {
    /// The secrets that sources have learned, by source.
    pub fn learned_secrets(&self) -> Result<Vec<LearnedSecret>, StoreError> {
        self.read(learned)
    }
}
