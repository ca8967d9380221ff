//! Replays and discards dead letters of one intent.

use crate::model::IntentId;
use crate::store::error::StoreError;
use crate::store::postgres::handle::{Postgres, not_built};
#[cfg(test)]
use crate::store::postgres::operator::Operator;

impl Postgres {
    /// Replays the dead letters of an intent; how many there were. Blocks.
    pub fn replay(&self, id: IntentId) -> Result<usize, StoreError> {
        Err(not_built())
    }
}

#[cfg(test)]
impl Operator {
    /// Replays the dead letters of an intent; how many there were.
    pub fn replay(&mut self, id: IntentId) -> Result<usize, StoreError> {
        Err(not_built())
    }

    /// Discards the dead letters of an intent; how many there were.
    pub fn discard(&mut self, id: IntentId) -> Result<usize, StoreError> {
        Err(not_built())
    }
}
