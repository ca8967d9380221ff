//! Deliveries by state, and destinations with dead letters that block.

use crate::model::DeliveryState;
use crate::store::error::StoreError;
use crate::store::postgres::handle::{Postgres, not_built};
use crate::store::types::{COUNTED_STATES, DestinationId};

impl Postgres {
    /// Deliveries by state; none until they are counted, soon after a start.
    pub fn deliveries(&self) -> Option<[(DeliveryState, i64); COUNTED_STATES.len()]> {
        None
    }

    /// The destinations that have, or had since the start, dead letters that block the deliveries
    /// behind them, each with their number; none until they are counted, soon after a start.
    pub fn blocking(&self) -> Option<Vec<(DestinationId, i64)>> {
        None
    }

    /// The same by name.
    pub async fn blocking_by_name(&self) -> Result<Option<Vec<(String, i64)>>, StoreError> {
        Err(not_built())
    }
}
