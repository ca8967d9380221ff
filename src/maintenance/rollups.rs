//! Rollups: writes the counts since the last flush, and deletes those past their time.

use std::sync::Arc;
use std::time::Duration;

use super::pauses::REST;
use crate::clock::{Clock, Timestamp};
use crate::ops::metrics::Metrics;
use crate::store::{RecordRollups, RollupGrain, Store, StoreError};

/// The time from one flush to the next: a kill loses the counts of this time.
const FLUSH_EVERY: Duration = Duration::from_secs(10);

/// Flushes the counters of rollups.
pub(super) struct RollupAgent {
    store: Store,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    /// The time of the last look, by relay's clock, which never goes back: the counts of a minute
    /// are written under it at the first look after its end.
    looked_at: Timestamp,
    next_flush: Duration,
    /// Taken from the counters and not yet durable as a whole. Nothing more is taken before.
    flushing: Option<RecordRollups>,
    /// Whether rows may be past their time: once a minute.
    is_pruning: bool,
}

impl RollupAgent {
    pub fn new(store: Store, metrics: Arc<Metrics>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            metrics,
            looked_at: clock.now(),
            next_flush: clock.monotonic() + FLUSH_EVERY,
            clock,
            flushing: None,
            is_pruning: true,
        }
    }

    /// Makes a step; how long to rest after it, if there was one to make.
    pub fn run_once(&mut self) -> Result<Option<Duration>, StoreError> {
        self.look();
        if let Some(flushing) = &mut self.flushing {
            if self.store.record_rollups(flushing)? {
                return Ok(Some(REST));
            }
            self.flushing = None;
        }
        if self.is_pruning && self.store.leads() {
            self.is_pruning = self.store.prune_rollups()? > 0;
            return Ok(Some(REST));
        }
        Ok(None)
    }

    /// Writes what has been counted since the last flush, at the end.
    pub fn finish(&mut self) -> Result<(), StoreError> {
        self.next_flush = Duration::ZERO;
        // The first flush may have begun before the last counts.
        for _ in 0..2 {
            self.look();
            if let Some(flushing) = &mut self.flushing {
                while self.store.record_rollups(flushing)? {}
                self.flushing = None;
            }
            self.next_flush = Duration::ZERO;
        }
        Ok(())
    }

    /// Takes the counts, if a flush is due or the minute is over.
    fn look(&mut self) {
        let now = self.clock.now();
        let minute = |at| RollupGrain::Minute.begin(at);
        let is_over = minute(now) != minute(self.looked_at);
        self.is_pruning |= is_over;
        let monotonic = self.clock.monotonic();
        if self.flushing.is_some() || (monotonic < self.next_flush && !is_over) {
            return;
        }
        self.next_flush = monotonic + FLUSH_EVERY;
        let taken = self.metrics.rollups.take();
        let counted_at = std::mem::replace(&mut self.looked_at, now);
        if !taken.sources.is_empty() || !taken.destinations.is_empty() {
            self.flushing = Some(RecordRollups::new(
                counted_at,
                taken.sources,
                taken.destinations,
            ));
        }
    }
}
