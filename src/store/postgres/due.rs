//! Destinations with waiting deliveries, and what is due.

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::postgres::handle::not_built;
use crate::store::postgres::reader::Reader;
use crate::store::types::{DestinationBacklog, DestinationId, DueScan, DueScanned};

impl Reader {
    /// Looks for destinations with waiting deliveries.
    pub fn scan(&self, scan: &DueScan<'_>) -> Result<DueScanned, StoreError> {
        Err(not_built())
    }

    /// The waiting deliveries of these destinations, those due at `now` counted up to `counted`
    /// each; none of a destination that no longer exists.
    pub fn due(
        &self,
        destinations: impl Iterator<Item = DestinationId>,
        now: Timestamp,
        counted: usize,
    ) -> Result<Vec<Option<DestinationBacklog>>, StoreError> {
        Err(not_built())
    }
}
