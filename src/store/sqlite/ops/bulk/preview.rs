//! Tells what a bulk operation would do.

use crate::store::bulk::preview;
use crate::store::error::StoreError;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::queries::BulkReader;
use crate::store::types::{BulkPreview, Counting, NewBulk, Routing};

impl Operator {
    /// Counts the acts of a bulk operation, and shows the first.
    pub fn preview_bulk(
        &self,
        new: &NewBulk,
        routing: &dyn Routing,
    ) -> Result<BulkPreview, StoreError> {
        let now = self.now();
        self.read(|sql| {
            // One snapshot, so that each delivery found exists when it is read.
            let snapshot = sql.unchecked_transaction()?;
            let reads = &mut BulkReader(&snapshot);
            preview(reads, new, routing, (now, Counting::Indexed))
        })
    }
}

impl Sqlite {
    /// Counts the acts of an operation up to a bound, and shows the first.
    pub async fn preview_operation(
        &self,
        new: NewBulk,
        routing: impl Routing + Send + 'static,
    ) -> Result<BulkPreview, StoreError> {
        let now = self.shared().clock.now();
        self.read(move |sql| {
            let snapshot = sql.unchecked_transaction()?;
            let reads = &mut BulkReader(&snapshot);
            preview(reads, &new, &routing, (now, Counting::Bounded))
        })
        .await
    }
}
