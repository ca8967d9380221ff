//! Deletes expired intents and keys, and tidies up.

use crate::store::error::StoreError;
use crate::store::postgres::handle::{Postgres, not_built};
use crate::store::types::Prune;

impl Postgres {
    /// Deletes the next part of the expired intents and keys; false if there is none left. Blocks.
    pub fn prune(&self, prune: &mut Prune) -> Result<bool, StoreError> {
        Err(not_built())
    }

    /// Tidies up after a sweep of retention, one step; whether steps are left. Blocks.
    pub fn tidy_up(&self) -> Result<bool, StoreError> {
        Err(not_built())
    }
}
