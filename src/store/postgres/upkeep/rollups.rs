//! Adds to the counts by minute and hour.

use crate::store::error::StoreError;
use crate::store::postgres::handle::{Postgres, not_built};
use crate::store::types::RecordRollups;

impl Postgres {
    /// Makes the next step of adding counts to the rollups; whether there was one. Blocks.
    pub fn record_rollups(&self, counts: &mut RecordRollups) -> Result<bool, StoreError> {
        Err(not_built())
    }

    /// Deletes some of the rollups past their time; how many. Blocks.
    pub fn prune_rollups(&self) -> Result<usize, StoreError> {
        Err(not_built())
    }
}
