//! Operations as operators see them: the jobs that were created together are created and cancelled
//! together.

use rusqlite::params;

use crate::store::bulk::recorded_parts_of;
use crate::store::error::StoreError;
use crate::store::limits::STEP_ROWS;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::ops::bulk::create::CreateBulk;
use crate::store::sqlite::queries::{BulkReader, operation_named_by, read_operation};
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::WriteOp;
use crate::store::types::{BulkId, Counting, NewBulk, OperationCreation, StoredOperation};

/// Ends some of the jobs of an operation before they are done; how many.
struct CancelJobs(BulkId);

impl WriteOp for CancelJobs {
    type Out = usize;

    fn apply(&self, tx: &Tx<'_>) -> Result<usize, StoreError> {
        tx.execute(
            "UPDATE jobs SET ended_at = ?2, is_cancelled = 1
             WHERE id IN (SELECT id FROM jobs
                          WHERE operation = ?1 AND ended_at IS NULL LIMIT ?3)",
            params![self.0, tx.now, i64::try_from(STEP_ROWS).unwrap_or(i64::MAX)],
        )
    }

    fn rows(&self) -> usize {
        STEP_ROWS
    }
}

impl Sqlite {
    /// Creates an operation, unless its nonce names one. One that selects nothing has ended.
    pub async fn create_operation(&self, new: NewBulk) -> Result<OperationCreation, StoreError> {
        self.run_blocking(move |store| store.create(&new)).await
    }

    fn create(&self, new: &NewBulk) -> Result<OperationCreation, StoreError> {
        let now = self.shared().clock.now();
        if let Some(nonce) = new.nonce.clone()
            && let Some(before) = self.read_blocking(move |sql| operation_named_by(sql, &nonce))?
        {
            return Ok(if before.is_asked_for_by(new, now) {
                OperationCreation::Before(before)
            } else {
                OperationCreation::Conflict
            });
        }
        let parts = self.read_blocking(|sql| {
            recorded_parts_of(&mut BulkReader(sql), new, now, Counting::Bounded)
        })?;
        let mut create = CreateBulk::new(new.clone(), parts);
        self.write_steps(&mut create)?;
        // The destinations, ad hoc origins, may have been deleted meanwhile.
        let first = create.created.first().copied();
        let first = first.ok_or(StoreError::Busy)?;
        let created = self.read_blocking(move |sql| read_operation(sql, first))?;
        let created = created.ok_or(StoreError::Busy)?;
        // Another request may have taken the nonce meanwhile.
        Ok(if created.is_asked_for_by(new, now) {
            OperationCreation::New(created)
        } else {
            OperationCreation::Conflict
        })
    }

    /// Ends an operation before it is done. Returns whether it was under way, and how it stands.
    pub async fn cancel_operation(
        &self,
        id: BulkId,
    ) -> Result<Option<(bool, StoredOperation)>, StoreError> {
        self.run_blocking(move |store| store.cancel(id)).await
    }

    fn cancel(&self, id: BulkId) -> Result<Option<(bool, StoredOperation)>, StoreError> {
        let Some(operation) = self.read_blocking(move |sql| read_operation(sql, id))? else {
            return Ok(None);
        };
        let mut is_changed = false;
        while self.write_blocking(CancelJobs(operation.id))? > 0 {
            is_changed = true;
        }
        let now = self.read_blocking(move |sql| read_operation(sql, id))?;
        Ok(now.map(|operation| (is_changed, operation)))
    }
}
