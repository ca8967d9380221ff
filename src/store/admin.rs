//! The operations of the operator's API.

use super::types::{
    ConfigState, DeliveryCount, DestinationsPage, DestinationsQuery, ListQuery, Listing, Pause,
    Resumed, StoredIntent,
};
use super::{Engine, Store, StoreError};
use crate::clock::Timestamp;
use crate::model::IntentId;

impl Store {
    /// A page of the deliveries that match, latest first.
    pub async fn deliveries_page(&self, query: ListQuery) -> Result<Listing, StoreError> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.deliveries_page(query).await,
        }
    }

    /// Counts the deliveries that match, up to `most`.
    #[allow(dead_code, reason = "a build without the console counts none")]
    pub async fn count_deliveries(
        &self,
        query: ListQuery,
        most: usize,
    ) -> Result<DeliveryCount, StoreError> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.count_deliveries(query, most).await,
        }
    }

    /// The configuration that runs, and the last attempt to take one over.
    pub async fn config_state(&self) -> Result<ConfigState, StoreError> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.config_state().await,
        }
    }

    /// The relay or event of this id, with its deliveries and their histories.
    pub async fn intent_of_any_surface(
        &self,
        id: IntentId,
    ) -> Result<Option<StoredIntent>, StoreError> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.intent_of_any_surface(id).await,
        }
    }

    /// A page of the destinations that are configured, and of those with waiting deliveries or an
    /// obstacle.
    pub async fn destinations_page(
        &self,
        query: DestinationsQuery,
    ) -> Result<DestinationsPage, StoreError> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.destinations_page(query).await,
        }
    }

    /// Pauses a destination. Returns the pause that it was in before, which stays.
    pub async fn pause(
        &self,
        destination: String,
        reason: String,
    ) -> Result<Option<Pause>, StoreError> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.pause(destination, reason).await,
        }
    }

    /// Resumes a destination; only from the pause of `paused_at`, if given.
    pub async fn resume(
        &self,
        destination: String,
        paused_at: Option<Timestamp>,
    ) -> Result<Resumed, StoreError> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.resume(destination, paused_at).await,
        }
    }
}
