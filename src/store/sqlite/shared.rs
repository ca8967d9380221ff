//! The state that the writer's thread and the handles share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
#[cfg(test)]
use std::time::Duration;

use super::counts::Counts;
use crate::clock::Clock;
use crate::ops::metrics::Metrics;
use crate::stop::Stop;
use crate::store::budget::Budget;
use crate::store::context::{OnBroken, OnOutsideWrite, OnWork, StoreContext};
use crate::store::health::WriterHealth;
use crate::store::newly_dead::NewlyDeadDestinations;

pub struct Shared {
    pub path: PathBuf,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    /// Once it is asked, nothing more is sent, and the writer ends when its queue is empty.
    pub stop: Stop,
    pub on_work: OnWork,
    pub on_outside_write: OnOutsideWrite,
    pub on_broken: OnBroken,
    pub low_space: AtomicBool,
    /// Whether the last write that failed found a quota used up.
    pub is_over_quota: AtomicBool,
    /// Whether nothing is sent, since a backup was restored.
    pub is_held: AtomicBool,
    /// Free bytes of the disk, without those that the next checkpoint needs; `u64::MAX` until they
    /// are known.
    pub free_bytes: AtomicU64,
    /// Whether the database has its second guard. False in tests, for a system without abstract
    /// sockets.
    pub has_second_guard: bool,
    pub budget: Budget,
    pub health: WriterHealth,
    pub counts: Counts,
    pub newly_dead: NewlyDeadDestinations,
    /// Clients' operations in the queue: at most [`crate::store::limits::QUEUE`].
    pub queued: AtomicUsize,
    /// When a batch last held a client's operation, in milliseconds of the monotonic clock; zero if
    /// none did.
    pub clients_wrote_at: AtomicU64,
    /// The transactions committed so far.
    #[cfg(test)]
    pub transactions: std::sync::Mutex<Vec<Transaction>>,
    /// Real time, for tests with another clock.
    #[cfg(test)]
    pub stopwatch: crate::clock::SystemClock,
}

impl Shared {
    pub fn new(path: PathBuf, context: StoreContext) -> Self {
        let StoreContext {
            clock,
            metrics,
            stop,
            on_work,
            on_outside_write,
            on_broken,
            node: _,
        } = context;
        Self {
            path,
            clock,
            metrics,
            stop,
            on_work,
            on_outside_write,
            on_broken,
            low_space: AtomicBool::new(false),
            is_over_quota: AtomicBool::new(false),
            is_held: AtomicBool::new(false),
            free_bytes: AtomicU64::new(u64::MAX),
            has_second_guard: true,
            budget: Budget::default(),
            health: WriterHealth::default(),
            counts: Counts::default(),
            newly_dead: NewlyDeadDestinations::default(),
            queued: AtomicUsize::new(0),
            clients_wrote_at: AtomicU64::new(0),
            #[cfg(test)]
            transactions: std::sync::Mutex::default(),
            #[cfg(test)]
            stopwatch: crate::clock::SystemClock::new(),
        }
    }
}

/// The cost of a transaction.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub struct Transaction {
    /// Rows that it changed, those deleted by a cascade included.
    pub rows: u64,
    /// From its beginning until its commit was durable.
    pub took: Duration,
}
