//! Remembers how much space was used, for a forecast.

use rusqlite::params;

use crate::store::error::StoreError;
use crate::store::limits::SAMPLES_KEPT;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::WriteOp;

/// Adds a sample, and deletes those past their time.
struct SampleSpace {
    used: u64,
}

impl WriteOp for SampleSpace {
    type Out = ();

    fn apply(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        tx.execute(
            "INSERT INTO space_samples (at, used) VALUES (?1, ?2)
             ON CONFLICT DO UPDATE SET used = excluded.used",
            params![tx.now, i64::try_from(self.used).unwrap_or(i64::MAX)],
        )?;
        tx.execute(
            "DELETE FROM space_samples WHERE at < ?1",
            [tx.now.minus(SAMPLES_KEPT)],
        )?;
        Ok(())
    }
}

impl Sqlite {
    /// Remembers how much space is used. Blocks.
    pub fn sample_space(&self, used: u64) -> Result<(), StoreError> {
        self.write_blocking(SampleSpace { used })
    }
}
