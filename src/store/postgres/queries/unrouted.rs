//! Events without deliveries.

use crate::store::error::StoreError;
use crate::store::postgres::handle::{Postgres, not_built};
use crate::store::postgres::operator::Operator;
use crate::store::types::{DeliveryCount, UnroutedEvent, UnroutedPage, UnroutedQuery};

impl Postgres {
    /// A page of the unrouted events that match, latest first.
    pub async fn unrouted_page(&self, query: UnroutedQuery) -> Result<UnroutedPage, StoreError> {
        Err(not_built())
    }

    /// Counts the unrouted events that match, up to `most`.
    #[allow(dead_code, reason = "a build without the console counts none")]
    pub async fn count_unrouted_events(
        &self,
        query: UnroutedQuery,
        most: usize,
    ) -> Result<DeliveryCount, StoreError> {
        Err(not_built())
    }
}

impl Operator {
    /// The latest unrouted events that match, latest first.
    pub fn unrouted(&self, query: &UnroutedQuery) -> Result<Vec<UnroutedEvent>, StoreError> {
        Err(not_built())
    }

    /// How many events no route wanted, of those that are still kept.
    pub fn count_unrouted(&self) -> Result<i64, StoreError> {
        Err(not_built())
    }
}
