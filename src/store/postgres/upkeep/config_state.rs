//! Records the configuration that runs, and what a reload replaces.

use crate::store::error::StoreError;
use crate::store::postgres::handle::{Postgres, not_built};
use crate::store::types::{ConfigAttempt, ReplacedDestinations};

impl Postgres {
    /// Records an attempt to take a configuration over. Blocks.
    pub fn record_config(&self, attempt: ConfigAttempt) -> Result<(), StoreError> {
        Err(not_built())
    }

    /// Forgets what is remembered of destinations that a reload has replaced. Blocks.
    pub fn replace_destinations(&self, replaced: ReplacedDestinations) -> Result<(), StoreError> {
        Err(not_built())
    }
}
