//! Settles finished attempts, releases claims and claims due deliveries.

use crate::store::error::StoreError;
use crate::store::postgres::handle::{Postgres, not_built};
use crate::store::types::SettleAndClaim;

impl Postgres {
    /// Settles finished attempts, releases claims and claims due deliveries, one step; false if
    /// none is left. After an error `change` knows which of it is durable. Blocks.
    pub fn settle_and_claim(&self, change: &mut SettleAndClaim) -> Result<bool, StoreError> {
        Err(not_built())
    }
}
