//! Bulk operations: created, cancelled and advanced.
//!
//! - `create`: stores an operation, or one for each of many destinations. `operation`: those that
//!   were created together, as one.
//! - `step`: makes a planned step, in the writer's transaction. `preview`: tells what an operation
//!   would do.

mod create;
mod operation;
mod preview;
mod step;

use rusqlite::params;

use create::CreateBulk;
use step::EndErasures;

use crate::store::bulk::{parts_of, plan};
use crate::store::error::StoreError;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::queries::BulkReader;
use crate::store::sqlite::readers::Reader;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::WriteOp;
use crate::store::types::{AdvanceBulk, BulkAdvance, BulkId, BulkPart, Counting, NewBulk};

/// Ends an operation before it is done; what it has done stays done. Returns whether it was under
/// way.
pub struct CancelBulk(pub BulkId);

impl WriteOp for CancelBulk {
    type Out = bool;

    fn apply(&self, tx: &Tx<'_>) -> Result<bool, StoreError> {
        let cancelled = tx.execute(
            "UPDATE jobs SET ended_at = ?2, is_cancelled = 1 WHERE id = ?1 AND ended_at IS NULL",
            params![self.0, tx.now],
        )?;
        Ok(cancelled > 0)
    }
}

impl Sqlite {
    /// Advances the bulk operations under way by one step: `reader` finds what to do, the writer
    /// does it. Blocks.
    pub fn advance_bulk(
        &self,
        reader: &Reader,
        step: &AdvanceBulk<'_>,
    ) -> Result<BulkAdvance, StoreError> {
        let now = self.shared().clock.now();
        let mut planned = reader.read(|sql| plan(&mut BulkReader(sql), step, now))?;
        let erased = std::mem::take(&mut planned.erased);
        let mut advance = if planned.parts.is_empty() {
            BulkAdvance {
                after: planned.after,
                ..BulkAdvance::default()
            }
        } else {
            self.write_blocking(planned)?
        };
        if !erased.is_empty() && self.empty_wal()? {
            self.write_blocking(EndErasures(erased))?;
            advance.has_advanced = true;
        }
        Ok(advance)
    }
}

impl Operator {
    /// The operations that a request makes: one for each destination that has matching deliveries,
    /// with their number, or one for all destinations.
    pub fn count_bulk(&self, new: &NewBulk) -> Result<Vec<BulkPart>, StoreError> {
        let now = self.now();
        self.read(|sql| parts_of(&mut BulkReader(sql), new, now, Counting::Indexed))
    }

    /// Creates the operations that were counted.
    pub fn create_bulk(
        &mut self,
        new: NewBulk,
        parts: Vec<BulkPart>,
    ) -> Result<Vec<BulkId>, StoreError> {
        let mut create = CreateBulk::new(new, parts);
        self.write_steps(&mut create)?;
        Ok(create.created)
    }

    /// Ends a bulk operation before it is done; whether it was under way.
    pub fn cancel_bulk(&mut self, id: BulkId) -> Result<bool, StoreError> {
        self.write(&CancelBulk(id))
    }

    /// Advances the bulk operations under way by one step, without a server.
    pub fn advance_bulk(&mut self, step: &AdvanceBulk<'_>) -> Result<BulkAdvance, StoreError> {
        let now = self.now();
        let planned = self.read(|sql| plan(&mut BulkReader(sql), step, now))?;
        let mut advance = BulkAdvance {
            after: planned.after,
            ..BulkAdvance::default()
        };
        if !planned.parts.is_empty() {
            advance = self.write(&planned)?;
        }
        if !planned.erased.is_empty() && self.empty_wal()? {
            self.write(&EndErasures(planned.erased))?;
            advance.has_advanced = true;
        }
        Ok(advance)
    }
}

#[cfg(test)]
impl Sqlite {
    /// Creates bulk operations. Blocks.
    pub fn create_bulk(&self, new: NewBulk) -> Result<Vec<BulkId>, StoreError> {
        let now = self.shared().clock.now();
        let parts =
            self.read_blocking(|sql| parts_of(&mut BulkReader(sql), &new, now, Counting::Indexed))?;
        let mut create = CreateBulk::new(new, parts);
        self.write_steps(&mut create)?;
        Ok(create.created)
    }
}
