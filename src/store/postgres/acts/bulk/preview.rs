//! Tells what a bulk operation would do.

use crate::store::bulk::{parts_of, preview};
use crate::store::error::StoreError;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::operator::Operator;
use crate::store::types::{BulkPart, BulkPreview, Counting, NewBulk, Routing};

impl Postgres {
    /// Counts the acts of an operation up to a bound, and shows the first.
    pub async fn preview_operation(
        &self,
        new: NewBulk,
        routing: impl Routing + Send + 'static,
    ) -> Result<BulkPreview, StoreError> {
        let now = self.shared().clock.now();
        self.read_async(move |sql| preview(sql, &new, &routing, (now, Counting::Bounded)))
            .await
    }
}

impl Operator {
    /// Counts the acts of a bulk operation, and shows the first.
    pub fn preview_bulk(
        &self,
        new: &NewBulk,
        routing: &dyn Routing,
    ) -> Result<BulkPreview, StoreError> {
        let now = self.now();
        self.read(|sql| preview(sql, new, routing, (now, Counting::Indexed)))
    }

    /// The operations that a request makes: one for each destination that has matching deliveries,
    /// with their number, or one for all destinations. Counting takes a while, and nobody must wait
    /// for it.
    pub fn count_bulk(&self, new: &NewBulk) -> Result<Vec<BulkPart>, StoreError> {
        let now = self.now();
        self.read(|sql| parts_of(sql, new, now, Counting::Indexed))
    }
}
