//! Secrets that handshakes bring: a command makes a source expect one, and the next one that comes
//! is learned.

use rusqlite::params;

use crate::clock::Timestamp;
use crate::config::Secret;
use crate::store::error::StoreError;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::queries::count_learned_secrets;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::WriteOp;
use crate::store::types::{ExpectOutcome, LearnedSecretId, MAX_LEARNED_SECRETS};

/// Makes a source expect a secret, in place of an expectation that it may have.
pub struct ExpectSecret {
    pub source: String,
    pub until: Timestamp,
    /// Whether the source keeps the secrets that it has; otherwise it must have none.
    pub is_addition: bool,
}

impl WriteOp for ExpectSecret {
    type Out = ExpectOutcome;

    fn apply(&self, tx: &Tx<'_>) -> Result<ExpectOutcome, StoreError> {
        let count = count_learned_secrets(tx.sql, &self.source)?;
        if count >= MAX_LEARNED_SECRETS {
            return Ok(ExpectOutcome::HasMost);
        }
        if count > 0 && !self.is_addition {
            return Ok(ExpectOutcome::HasSecrets(count));
        }
        // Expectations that nothing met stay until the next command.
        tx.execute("DELETE FROM expected_secrets WHERE until <= ?1", [tx.now])?;
        tx.execute(
            "INSERT OR REPLACE INTO expected_secrets (source, until) VALUES (?1, ?2)",
            params![self.source, self.until],
        )?;
        Ok(ExpectOutcome::Until(self.until))
    }
}

/// Learns a secret, if the source expects one now. The source expects none afterwards. Returns
/// whether it was learned.
pub struct LearnSecret {
    pub source: String,
    pub secret: Secret,
}

impl WriteOp for LearnSecret {
    type Out = bool;

    fn apply(&self, tx: &Tx<'_>) -> Result<bool, StoreError> {
        let met = tx.execute(
            "DELETE FROM expected_secrets WHERE source = ?1 AND until > ?2",
            params![self.source, tx.now],
        )?;
        if met == 0 {
            return Ok(false);
        }
        tx.execute(
            "INSERT OR IGNORE INTO learned_secrets (source, secret, learned_at)
             VALUES (?1, ?2, ?3)",
            params![self.source, self.secret.reveal(), tx.now],
        )?;
        Ok(true)
    }
}

/// Forgets learned secrets of a source: these, or all and its expectation. Returns how many of them
/// there were.
pub struct ForgetSecrets {
    pub source: String,
    /// None: all.
    pub ids: Option<Vec<LearnedSecretId>>,
}

impl WriteOp for ForgetSecrets {
    type Out = usize;

    fn apply(&self, tx: &Tx<'_>) -> Result<usize, StoreError> {
        let Some(ids) = &self.ids else {
            let source = [&self.source];
            let expected = "DELETE FROM expected_secrets WHERE source = ?1";
            let learned = "DELETE FROM learned_secrets WHERE source = ?1";
            return Ok(tx.execute(expected, source)? + tx.execute(learned, source)?);
        };
        let mut forgotten = 0;
        for id in ids {
            forgotten += tx.execute(
                "DELETE FROM learned_secrets WHERE source = ?1 AND id = ?2",
                params![self.source, id],
            )?;
        }
        Ok(forgotten)
    }
}

impl Sqlite {
    /// Learns a secret if the source expects one now; whether it was learned.
    pub async fn learn_secret(&self, source: &str, secret: Secret) -> Result<bool, StoreError> {
        let source = source.to_owned();
        self.write(LearnSecret { source, secret }).await
    }
}

impl Operator {
    /// Makes a source expect a secret.
    pub fn expect_secret(
        &mut self,
        source: &str,
        until: Timestamp,
        is_addition: bool,
    ) -> Result<ExpectOutcome, StoreError> {
        self.write(&ExpectSecret {
            source: source.to_owned(),
            until,
            is_addition,
        })
    }

    /// Forgets learned secrets of a source; how many there were.
    pub fn forget_secrets(
        &mut self,
        source: &str,
        ids: Option<Vec<LearnedSecretId>>,
    ) -> Result<usize, StoreError> {
        self.erase_deleted()?;
        let source = source.to_owned();
        self.write(&ForgetSecrets { source, ids })
    }
}
