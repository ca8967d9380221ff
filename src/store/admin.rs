//! The operations of the operator's API.

use std::sync::{Arc, Mutex};

use super::types::{
    BulkId, BulkPreview, ConfigState, DeliveryCount, DestinationsPage, DestinationsQuery,
    ListQuery, Listing, NewBulk, NodeState, OperationCreation, OperationsPage, OperationsQuery,
    Pause, Resumed, Routing, StoredIntent, StoredOperation, TailCursor, TailPage, TailQuery,
    UnroutedPage, UnroutedQuery,
};
use super::{Engine, Store, StoreError};
use crate::clock::Timestamp;
use crate::config;
use crate::model::IntentId;

impl Store {
    /// A page of the deliveries that match, latest first.
    pub async fn deliveries_page(&self, query: ListQuery) -> Result<Listing, StoreError> {
        on_engine!(&self.engine, |engine| engine.deliveries_page(query).await)
    }

    /// A page of the unrouted events that match, latest first.
    pub async fn unrouted_page(&self, query: UnroutedQuery) -> Result<UnroutedPage, StoreError> {
        on_engine!(&self.engine, |engine| engine.unrouted_page(query).await)
    }

    /// Counts the deliveries that match, up to `most`.
    #[allow(dead_code, reason = "a build without the console counts none")]
    pub async fn count_deliveries(
        &self,
        query: ListQuery,
        most: usize,
    ) -> Result<DeliveryCount, StoreError> {
        on_engine!(&self.engine, |engine| engine
            .count_deliveries(query, most)
            .await)
    }

    /// Counts the unrouted events that match, up to `most`.
    #[allow(dead_code, reason = "a build without the console counts none")]
    pub async fn count_unrouted_events(
        &self,
        query: UnroutedQuery,
        most: usize,
    ) -> Result<DeliveryCount, StoreError> {
        on_engine!(&self.engine, |engine| engine
            .count_unrouted_events(query, most)
            .await)
    }

    /// The configuration that runs, and the last attempt to take one over.
    pub async fn config_state(&self) -> Result<ConfigState, StoreError> {
        on_engine!(&self.engine, |engine| engine.config_state().await)
    }

    /// The nodes, by slot. A file has one: the process that these settings name.
    pub async fn nodes(&self, own: &config::Node) -> Result<Vec<NodeState>, StoreError> {
        on_engine!(&self.engine, |engine| engine.nodes(own).await)
    }

    /// The relay or event of this id, with its deliveries and their histories.
    pub async fn intent_of_any_surface(
        &self,
        id: IntentId,
    ) -> Result<Option<StoredIntent>, StoreError> {
        on_engine!(&self.engine, |engine| engine
            .intent_of_any_surface(id)
            .await)
    }

    /// A page of the destinations that are configured, and of those with waiting deliveries or an
    /// obstacle.
    pub async fn destinations_page(
        &self,
        query: DestinationsQuery,
    ) -> Result<DestinationsPage, StoreError> {
        on_engine!(&self.engine, |engine| engine.destinations_page(query).await)
    }

    /// Pauses a destination. Returns the pause that it was in before, which stays.
    pub async fn pause(
        &self,
        destination: String,
        reason: String,
    ) -> Result<Option<Pause>, StoreError> {
        on_engine!(&self.engine, |engine| engine
            .pause(destination, reason)
            .await)
    }

    /// Resumes a destination; only from the pause of `paused_at`, if given.
    pub async fn resume(
        &self,
        destination: String,
        paused_at: Option<Timestamp>,
    ) -> Result<Resumed, StoreError> {
        on_engine!(&self.engine, |engine| engine
            .resume(destination, paused_at)
            .await)
    }

    /// Lets a destination's circuit breaker probe now, and ends a `Retry-After`; whether either
    /// kept deliveries back.
    pub async fn probe_now(&self, destination: String) -> Result<bool, StoreError> {
        on_engine!(&self.engine, |engine| engine.probe_now(destination).await)
    }

    /// Whether anything was ever sent to a destination of this name.
    pub async fn is_destination(&self, name: String) -> Result<bool, StoreError> {
        on_engine!(&self.engine, |engine| engine.is_destination(name).await)
    }

    /// The first of these ids that names no relay and no event.
    pub async fn first_unknown(&self, ids: Vec<IntentId>) -> Result<Option<IntentId>, StoreError> {
        on_engine!(&self.engine, |engine| engine.first_unknown(ids).await)
    }

    /// Counts the acts of an operation up to a bound, and shows the first.
    pub async fn preview_operation(
        &self,
        new: NewBulk,
        routing: impl Routing + Send + 'static,
    ) -> Result<BulkPreview, StoreError> {
        on_engine!(&self.engine, |engine| engine
            .preview_operation(new, routing)
            .await)
    }

    /// Creates an operation, unless its nonce names one. One that selects nothing has ended.
    pub async fn create_operation(&self, new: NewBulk) -> Result<OperationCreation, StoreError> {
        on_engine!(&self.engine, |engine| engine.create_operation(new).await)
    }

    /// Ends an operation before it is done. Returns whether it was under way, and how it stands;
    /// none if there is no such operation.
    pub async fn cancel_operation(
        &self,
        id: BulkId,
    ) -> Result<Option<(bool, StoredOperation)>, StoreError> {
        on_engine!(&self.engine, |engine| engine.cancel_operation(id).await)
    }

    /// An operation by its number, or by that of one of its jobs.
    pub async fn operation(&self, id: BulkId) -> Result<Option<StoredOperation>, StoreError> {
        on_engine!(&self.engine, |engine| engine.operation(id).await)
    }

    /// A page of operations, the latest first.
    pub async fn operations_page(
        &self,
        query: OperationsQuery,
    ) -> Result<OperationsPage, StoreError> {
        on_engine!(&self.engine, |engine| engine.operations_page(query).await)
    }

    /// The entries of a tail since the look before. The cursor is the caller's alone.
    pub async fn tail(
        &self,
        query: TailQuery,
        cursor: Arc<Mutex<TailCursor>>,
    ) -> Result<TailPage, StoreError> {
        on_engine!(&self.engine, |engine| engine.tail(query, cursor).await)
    }
}
