//! Relays as the API shows them.

use crate::model::IntentId;
use crate::store::error::StoreError;
use crate::store::postgres::handle::{Postgres, not_built};
use crate::store::types::{RelayCursor, RelaysPage, StoredRelay};

impl Postgres {
    /// The relay of this id.
    pub async fn relay(&self, id: IntentId) -> Result<Option<StoredRelay>, StoreError> {
        Err(not_built())
    }

    /// Up to `limit` relays after the cursor, oldest first. Large ones end a page early.
    pub async fn relays_page(
        &self,
        after: Option<RelayCursor>,
        limit: u32,
    ) -> Result<RelaysPage, StoreError> {
        Err(not_built())
    }
}
