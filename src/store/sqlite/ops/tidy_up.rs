//! The end of a sweep of retention.

use rusqlite::params;

use crate::store::error::StoreError;
use crate::store::limits::{ENDED_DELETED_A_STEP, OPERATIONS_KEPT, STEP_ROWS};
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::WriteOp;

/// Pages given back to the file system in one step: 1 MiB.
const VACUUM: i64 = 256;

/// Deletes bulk operations that ended long ago, and gives free pages back while they are more than
/// a quarter of the file, or a tenth under `database.max_bytes`. Fewer are used again soon: a file
/// that shrinks only to grow again gains nothing. Returns how many pages and operations are left
/// for further steps.
struct TidyUp {
    /// One of so many pages may be free.
    one_free_of: i64,
}

impl WriteOp for TidyUp {
    type Out = i64;

    fn apply(&self, tx: &Tx<'_>) -> Result<i64, StoreError> {
        let deleted = tx.execute(
            "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE ended_at < ?1 LIMIT ?2)",
            params![tx.now.minus(OPERATIONS_KEPT), ENDED_DELETED_A_STEP],
        )?;
        if deleted > 0 {
            return Ok(1);
        }
        let number = |pragma: &str| -> Result<i64, StoreError> {
            Ok(tx.sql.query_row(pragma, [], |row| row.get(0))?)
        };
        let free = number("PRAGMA freelist_count")?;
        let pages = number("PRAGMA page_count")?;
        let excess = (free - pages / self.one_free_of).max(0);
        if excess > 0 {
            let now = excess.min(VACUUM);
            let mut statement = tx
                .sql
                .prepare(&format!("PRAGMA incremental_vacuum({now})"))?;
            let mut rows = statement.query([])?;
            while rows.next()?.is_some() {}
        }
        Ok((excess - VACUUM).max(0))
    }

    fn rows(&self) -> usize {
        STEP_ROWS
    }
}

impl Sqlite {
    /// Tidies up after a sweep, one step; whether steps are left. Blocks.
    pub fn tidy_up(&self) -> Result<bool, StoreError> {
        let is_bounded = self.shared().budget.is_bounded();
        let one_free_of = if is_bounded { 10 } else { 4 };
        Ok(self.write_blocking(TidyUp { one_free_of })? > 0)
    }
}
