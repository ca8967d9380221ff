//! The deliveries of each destination in numbers.

use crate::store::error::StoreError;
use crate::store::postgres::handle::not_built;
use crate::store::postgres::operator::Operator;
use crate::store::types::DestinationStats;

impl Operator {
    /// The deliveries of each destination in numbers, by name.
    pub fn stats(&self) -> Result<Vec<DestinationStats>, StoreError> {
        Err(not_built())
    }
}
