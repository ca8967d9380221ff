//! The state that the threads and the handles share.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config;
use crate::ops::metrics::Metrics;
use crate::stop::Stop;
use crate::store::budget::Budget;
use crate::store::context::{OnBroken, OnOutsideWrite, OnWork, StoreContext};
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
    /// This process among those that share the database, as it is configured.
    pub node: config::Node,
}

impl Shared {
    pub fn new(context: StoreContext) -> Self {
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
            node,
        }
    }
}
