//! The waiting deliveries in numbers.

use crate::store::error::StoreError;
use crate::store::postgres::handle::{Postgres, not_built};
use crate::store::postgres::reader::Reader;
use crate::store::types::Backlog;

impl Postgres {
    /// The waiting deliveries. `is_deliverable` tells whether a destination of this name can be
    /// delivered to.
    pub async fn backlog(
        &self,
        is_deliverable: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<Backlog, StoreError> {
        Err(not_built())
    }

    /// The waiting deliveries, read on a reader of the caller's. Blocks.
    pub fn backlog_on(
        &self,
        reader: &Reader,
        is_deliverable: impl Fn(&str) -> bool,
    ) -> Result<Backlog, StoreError> {
        Err(not_built())
    }
}
