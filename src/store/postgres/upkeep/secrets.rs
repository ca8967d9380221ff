//! Learns, expects and forgets secrets of sources.

use crate::clock::Timestamp;
use crate::config::Secret;
use crate::store::error::StoreError;
use crate::store::postgres::handle::{Postgres, not_built};
use crate::store::postgres::operator::Operator;
use crate::store::types::{ExpectOutcome, LearnedSecretId};

impl Postgres {
    /// Learns a secret that a handshake brought, if the source expects one now; resolves once that
    /// is durable. Whether it was learned: the source expects none afterwards.
    pub async fn learn_secret(&self, source: &str, secret: Secret) -> Result<bool, StoreError> {
        Err(not_built())
    }
}

impl Operator {
    /// Makes a source expect that a handshake brings a secret, until this time. `is_addition` if
    /// the source keeps the secrets that it has learned; otherwise it must have none.
    pub fn expect_secret(
        &mut self,
        source: &str,
        until: Timestamp,
        is_addition: bool,
    ) -> Result<ExpectOutcome, StoreError> {
        Err(not_built())
    }

    /// Forgets learned secrets of a source: these, or all and its expectation. Returns how many of
    /// them there were.
    pub fn forget_secrets(
        &mut self,
        source: &str,
        ids: Option<Vec<LearnedSecretId>>,
    ) -> Result<usize, StoreError> {
        Err(not_built())
    }
}
