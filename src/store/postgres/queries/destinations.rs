//! Destinations, with their obstacles and their waiting deliveries.

use crate::store::error::StoreError;
use crate::store::postgres::handle::{Postgres, not_built};
use crate::store::postgres::operator::Operator;
use crate::store::postgres::reader::Reader;
use crate::store::types::{DestinationId, DestinationsPage, DestinationsQuery};

impl Postgres {
    /// A page of the destinations that are configured, and of those with waiting deliveries or an
    /// obstacle.
    pub async fn destinations_page(
        &self,
        query: DestinationsQuery,
    ) -> Result<DestinationsPage, StoreError> {
        Err(not_built())
    }

    /// Whether anything was ever sent to a destination of this name.
    pub async fn is_destination(&self, name: String) -> Result<bool, StoreError> {
        Err(not_built())
    }
}

impl Operator {
    /// Whether anything was ever sent to a destination of this name.
    pub fn is_destination(&self, name: &str) -> Result<bool, StoreError> {
        Err(not_built())
    }
}

impl Reader {
    /// The name of a destination.
    pub fn destination_name(&self, id: DestinationId) -> Result<Option<String>, StoreError> {
        Err(not_built())
    }
}
