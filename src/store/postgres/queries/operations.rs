//! Bulk operations as operators see them.

use crate::store::error::StoreError;
use crate::store::postgres::handle::{Postgres, not_built};
use crate::store::postgres::operator::Operator;
use crate::store::postgres::reader::Reader;
use crate::store::types::{
    BulkId, BulkOperation, OperationsPage, OperationsQuery, StoredOperation,
};

impl Postgres {
    /// An operation by its number, or by that of one of its jobs.
    pub async fn operation(&self, id: BulkId) -> Result<Option<StoredOperation>, StoreError> {
        Err(not_built())
    }

    /// A page of operations, the latest first.
    pub async fn operations_page(
        &self,
        query: OperationsQuery,
    ) -> Result<OperationsPage, StoreError> {
        Err(not_built())
    }
}

impl Operator {
    /// The bulk operations under way.
    pub fn bulk_under_way(&self) -> Result<Vec<BulkOperation>, StoreError> {
        Err(not_built())
    }

    /// These bulk operations, as far as they exist.
    pub fn bulk_operations(&self, ids: &[BulkId]) -> Result<Vec<BulkOperation>, StoreError> {
        Err(not_built())
    }
}

impl Reader {
    /// Whether a bulk operation is under way.
    pub fn has_bulk_under_way(&self) -> Result<bool, StoreError> {
        Err(not_built())
    }
}
