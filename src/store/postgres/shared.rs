//! The state that the threads and the handles share.

use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::asked_reloads::AskedReloads;
use super::counts::Counts;
use super::destinations::{Destinations, Known, Named};
use super::failure::Failure;
use super::in_flight::InFlight;
use super::keys::ErasedKeys;
use super::nodes::Membership;
use super::own_node::OwnNode;
use super::pool::Pool;
use super::retry::{Connector, Link, Patience};
use crate::clock::Clock;
use crate::config;
use crate::ops::metrics::Metrics;
use crate::stop::Stop;
use crate::store::budget::Budget;
use crate::store::context::{OnBroken, OnOutsideWrite, OnWork, StoreContext};
use crate::store::error::StoreError;
use crate::store::health::WriterHealth;
use crate::store::newly_dead::NewlyDeadDestinations;

pub struct Shared {
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    /// Once it is asked, nothing more is sent, and the writer ends when its queue is empty.
    pub stop: Stop,
    pub on_work: OnWork,
    pub on_outside_write: OnOutsideWrite,
    pub on_broken: OnBroken,
    pub budget: Budget,
    pub health: WriterHealth,
    pub newly_dead: NewlyDeadDestinations,
    /// Clients' operations in the queue: at most [`crate::store::limits::QUEUE`].
    pub queued: AtomicUsize,
    /// This process among those that share the database, as it is configured.
    pub node_settings: config::Node,
    /// This process among those that share the database, as it lives.
    pub node: OwnNode,
    /// Reloads of the configuration that commands have asked for.
    pub reloads: AskedReloads,
    /// Bytes of the files of all tables, as they were measured last.
    pub stored_bytes: AtomicU64,
    pub destinations: Destinations,
    /// The deliveries that this node has claimed.
    pub in_flight: InFlight,
    pub connector: Arc<Connector>,
    /// Connections that requests share for reading.
    pub readers: Pool,
    /// The connection of changes that are neither the writer's nor the dispatcher's, one at a time.
    pub changes: Pool,
    /// The dispatcher's connection.
    pub turns: Mutex<Link>,
    /// Deliveries by state, as they were counted last.
    pub counts: Counts,
    pub erased_keys: ErasedKeys,
}

impl Shared {
    pub fn new(
        context: StoreContext,
        connector: &Arc<Connector>,
        readers: u32,
        membership: Membership,
        erased_keys: ErasedKeys,
    ) -> Self {
        let StoreContext {
            clock,
            node,
            metrics,
            stop,
            on_work,
            on_outside_write,
            on_broken,
        } = context;
        Self {
            clock,
            metrics,
            stop,
            on_work,
            on_outside_write,
            on_broken,
            budget: Budget::default(),
            health: WriterHealth::default(),
            newly_dead: NewlyDeadDestinations::default(),
            queued: AtomicUsize::new(0),
            node_settings: node,
            node: OwnNode::new(membership),
            reloads: AskedReloads::default(),
            stored_bytes: AtomicU64::new(0),
            destinations: Destinations::default(),
            in_flight: InFlight::default(),
            connector: Arc::clone(connector),
            readers: Pool::new(Arc::clone(connector), readers),
            changes: Pool::new(Arc::clone(connector), 1),
            turns: Mutex::new(connector.link()),
            counts: Counts::default(),
            erased_keys,
        }
    }

    /// The patience of a call that ends with the store.
    pub fn patience(&self, limit: Duration) -> Patience<'_> {
        Patience {
            limit,
            stop: &self.stop,
        }
    }

    /// The result of a call. A database that can't be trusted ends the process.
    pub fn result_of<T>(&self, called: Result<T, Failure>) -> Result<T, StoreError> {
        let result = called.map_err(StoreError::from);
        if let Err(StoreError::Broken(error)) = &result {
            let database = self.connector.url();
            (self.on_broken)(format!("{database}: {error}"));
        }
        result
    }

    /// Those of these destinations that other nodes deliver to. The destinations were met.
    pub fn of_others(&self, named: &[Named<'_>]) -> Vec<Known> {
        let own = self.node.buckets();
        let known = named
            .iter()
            .filter_map(|(name, _)| self.destinations.get(name));
        known.filter(|one| !own.contains(&one.bucket)).collect()
    }

    /// The name of this node, which no other living node has.
    pub fn node_name(&self) -> String {
        self.node_settings.own_name()
    }
}
