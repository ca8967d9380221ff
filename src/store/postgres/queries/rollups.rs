//! Counts by minute and hour.

use crate::store::error::StoreError;
use crate::store::postgres::handle::{Postgres, not_built};
use crate::store::postgres::operator::Operator;
use crate::store::types::{RollupQuery, Rollups};

impl Postgres {
    /// The rollups of a time.
    pub async fn rollups(&self, query: RollupQuery) -> Result<Rollups, StoreError> {
        Err(not_built())
    }
}

impl Operator {
    /// The rollups of a time.
    pub fn rollups(&self, query: &RollupQuery) -> Result<Rollups, StoreError> {
        Err(not_built())
    }
}
