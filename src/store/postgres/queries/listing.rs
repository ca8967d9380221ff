//! Lists of deliveries, and their number.

use crate::store::error::StoreError;
use crate::store::postgres::handle::{Postgres, not_built};
use crate::store::postgres::operator::Operator;
use crate::store::types::{DeliveryCount, ListQuery, ListedDelivery, Listing};

impl Postgres {
    /// A page of the deliveries that match, latest first.
    pub async fn deliveries_page(&self, query: ListQuery) -> Result<Listing, StoreError> {
        Err(not_built())
    }

    /// Counts the deliveries that match, up to `most`.
    #[allow(dead_code, reason = "a build without the console counts none")]
    pub async fn count_deliveries(
        &self,
        query: ListQuery,
        most: usize,
    ) -> Result<DeliveryCount, StoreError> {
        Err(not_built())
    }
}

impl Operator {
    /// The latest deliveries that match, latest first.
    pub fn list(&self, query: &ListQuery) -> Result<Vec<ListedDelivery>, StoreError> {
        Err(not_built())
    }
}

#[cfg(test)]
impl Postgres {
    /// All deliveries that match, latest first.
    pub fn list(&self, query: &ListQuery) -> Result<Vec<ListedDelivery>, StoreError> {
        Err(not_built())
    }
}
