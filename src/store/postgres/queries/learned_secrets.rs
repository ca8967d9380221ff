//! Secrets that handshakes brought, and sources that expect one.

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::postgres::handle::{Postgres, not_built};
use crate::store::postgres::operator::Operator;
use crate::store::postgres::reader::Reader;
use crate::store::types::{LearnedSecret, SecretExpectation};

impl Postgres {
    /// Whether a source expects a handshake to bring a secret.
    pub async fn expects_secret(&self, source: &str, now: Timestamp) -> Result<bool, StoreError> {
        Err(not_built())
    }
}

impl Operator {
    /// The secrets that sources have learned, by source.
    pub fn learned_secrets(&self) -> Result<Vec<LearnedSecret>, StoreError> {
        Err(not_built())
    }

    /// The sources that expect a secret, by name.
    pub fn secret_expectations(&self) -> Result<Vec<SecretExpectation>, StoreError> {
        Err(not_built())
    }
}

impl Reader {
    /// The secrets that sources have learned, by source.
    pub fn learned_secrets(&self) -> Result<Vec<LearnedSecret>, StoreError> {
        Err(not_built())
    }
}
