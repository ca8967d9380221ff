//! Bulk operations.

use crate::store::error::StoreError;
use crate::store::postgres::handle::{Postgres, not_built};
use crate::store::postgres::operator::Operator;
use crate::store::postgres::reader::Reader;
use crate::store::types::{
    AdvanceBulk, BulkAdvance, BulkId, BulkPart, BulkPreview, NewBulk, OperationCreation, Routing,
    StoredOperation,
};

impl Postgres {
    /// Advances the bulk operations under way by one step: `reader` finds what to do. Blocks.
    pub fn advance_bulk(
        &self,
        reader: &Reader,
        step: &AdvanceBulk<'_>,
    ) -> Result<BulkAdvance, StoreError> {
        Err(not_built())
    }

    /// Counts the acts of an operation up to a bound, and shows the first.
    pub async fn preview_operation(
        &self,
        new: NewBulk,
        routing: impl Routing + Send + 'static,
    ) -> Result<BulkPreview, StoreError> {
        Err(not_built())
    }

    /// Creates an operation, unless its nonce names one. One that selects nothing has ended.
    pub async fn create_operation(&self, new: NewBulk) -> Result<OperationCreation, StoreError> {
        Err(not_built())
    }

    /// Ends an operation before it is done. Returns whether it was under way, and how it stands;
    /// none if there is no such operation.
    pub async fn cancel_operation(
        &self,
        id: BulkId,
    ) -> Result<Option<(bool, StoredOperation)>, StoreError> {
        Err(not_built())
    }
}

impl Operator {
    /// Counts the acts of a bulk operation, and shows the first.
    pub fn preview_bulk(
        &self,
        new: &NewBulk,
        routing: &dyn Routing,
    ) -> Result<BulkPreview, StoreError> {
        Err(not_built())
    }

    /// The operations that a request makes: one for each destination that has matching deliveries,
    /// with their number, or one for all destinations. Counting takes a while, and nobody must wait
    /// for it.
    pub fn count_bulk(&self, new: &NewBulk) -> Result<Vec<BulkPart>, StoreError> {
        Err(not_built())
    }

    /// Creates the operations that were counted, but those whose destination is gone since.
    pub fn create_bulk(
        &mut self,
        new: NewBulk,
        parts: Vec<BulkPart>,
    ) -> Result<Vec<BulkId>, StoreError> {
        Err(not_built())
    }

    /// Ends a bulk operation before it is done; whether it was under way.
    pub fn cancel_bulk(&mut self, id: BulkId) -> Result<bool, StoreError> {
        Err(not_built())
    }

    /// Advances the bulk operations under way by one step, without a server.
    pub fn advance_bulk(&mut self, step: &AdvanceBulk<'_>) -> Result<BulkAdvance, StoreError> {
        Err(not_built())
    }
}
