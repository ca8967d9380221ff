//! Relays and events, whole.

use crate::model::IntentId;
use crate::store::error::StoreError;
use crate::store::postgres::handle::{Postgres, not_built};
use crate::store::postgres::operator::Operator;
use crate::store::types::{IntentRow, StoredIntent};

impl Postgres {
    /// The webhook event of this id, with its deliveries and their histories.
    pub async fn event(&self, id: IntentId) -> Result<Option<StoredIntent>, StoreError> {
        Err(not_built())
    }

    /// The relay or event of this id, with its deliveries and their histories.
    pub async fn intent_of_any_surface(
        &self,
        id: IntentId,
    ) -> Result<Option<StoredIntent>, StoreError> {
        Err(not_built())
    }

    /// The first of these ids that names no relay and no event.
    pub async fn first_unknown(&self, ids: Vec<IntentId>) -> Result<Option<IntentId>, StoreError> {
        Err(not_built())
    }
}

impl Operator {
    /// The row of an id; none if there is no such relay or event.
    pub fn row_of(&self, id: IntentId) -> Result<Option<IntentRow>, StoreError> {
        Err(not_built())
    }

    /// The relay or event of this id, with its deliveries and their histories.
    pub fn intent(&self, id: IntentId) -> Result<Option<StoredIntent>, StoreError> {
        Err(not_built())
    }
}

#[cfg(test)]
impl Postgres {
    /// The relay or event of this id, with its deliveries and their histories.
    pub fn intent(&self, id: IntentId) -> Result<Option<StoredIntent>, StoreError> {
        Err(not_built())
    }
}
