//! Retention: deletes finished intents, idempotency keys and unused ad hoc origins after their
//! time, and gives free space back. One sweep after the other.

use std::sync::Arc;
use std::time::Duration;

use super::pauses::{REST, REST_FROM_LOOKING};
use crate::clock::Clock;
use crate::config::Live;
use crate::store::{
    Cutoffs, OriginsPassStep, Prune, PruneCursor, Reader, Store, StoreError, UnusedOrigins,
};

/// The time from one sweep to the next.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// The pause after a sweep, in lengths of its looks, if that is longer than the usual time: looking
/// through millions of rows takes a tenth of a reader's time at most. The time of deletions doesn't
/// count. There is more to delete after a longer pause, so that each would be longer than the one
/// before.
const PAUSE: u32 = 10;
/// The longest pause between sweeps.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// Sweeps through the finished intents.
pub(super) struct RetentionAgent {
    store: Store,
    reader: Reader,
    config: Live,
    clock: Arc<dyn Clock>,
    sweep: Option<Sweep>,
    /// The time that the sweep's looks have taken.
    looked: Duration,
    next_sweep: Duration,
    /// Found to be expired, and not yet deleted.
    pruning: Option<Prune>,
    unused_origins: UnusedOrigins,
}

/// How far a sweep has come.
#[derive(Clone, Copy)]
struct Sweep {
    cursor: PruneCursor,
    /// Whether the pass through ad hoc origins is over.
    is_origins_done: bool,
}

impl Sweep {
    const BEGINNING: Self = Self {
        cursor: PruneCursor::START,
        is_origins_done: false,
    };
}

/// The result of a step of a sweep.
enum SweepStep {
    Looked,
    Deleted,
    /// The sweep is over.
    Over,
}

impl RetentionAgent {
    pub fn new(store: Store, reader: Reader, config: Live, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            reader,
            config,
            clock,
            sweep: Some(Sweep::BEGINNING),
            looked: Duration::ZERO,
            next_sweep: Duration::ZERO,
            pruning: None,
            unused_origins: UnusedOrigins::new(),
        }
    }

    /// Makes a step; how long to rest after it, if a sweep is under way.
    pub fn run_once(&mut self) -> Result<Option<Duration>, StoreError> {
        if !self.store.leads() {
            // The process that leads sweeps; this one begins anew once it leads.
            self.sweep = Some(Sweep::BEGINNING);
            self.pruning = None;
            self.unused_origins = UnusedOrigins::new();
            return Ok(None);
        }
        let Some(sweep) = self.sweep else {
            if self.clock.monotonic() < self.next_sweep {
                return Ok(None);
            }
            self.sweep = Some(Sweep::BEGINNING);
            self.looked = Duration::ZERO;
            return Ok(Some(REST_FROM_LOOKING));
        };
        match self.step(sweep)? {
            SweepStep::Deleted => return Ok(Some(REST)),
            SweepStep::Looked => {}
            SweepStep::Over => {
                let pause = (self.looked * PAUSE).clamp(SWEEP_EVERY, LONGEST_PAUSE);
                self.sweep = None;
                self.next_sweep = self.clock.monotonic() + pause;
            }
        }
        Ok(Some(REST_FROM_LOOKING))
    }

    /// Whether a sweep is under way.
    #[cfg(test)]
    pub fn is_sweeping(&self) -> bool {
        self.sweep.is_some()
    }

    fn step(&mut self, sweep: Sweep) -> Result<SweepStep, StoreError> {
        if let Some(pruning) = &mut self.pruning {
            if self.store.prune(pruning)? {
                return Ok(SweepStep::Deleted);
            }
            self.pruning = None;
        }
        if !sweep.cursor.is_at_end() {
            return self.look(sweep);
        }
        if !sweep.is_origins_done {
            return self.forget_origins(sweep);
        }
        // The last step: free pages are given back to the file system.
        Ok(if self.store.tidy_up()? {
            SweepStep::Deleted
        } else {
            SweepStep::Over
        })
    }

    /// Looks for expired intents and keys. When the last ones were looked at and none of them has
    /// expired, goes on with ad hoc origins at once.
    fn look(&mut self, mut sweep: Sweep) -> Result<SweepStep, StoreError> {
        let now = self.clock.now();
        let config = self.config.current();
        let retention = &config.retention;
        let cutoffs = Cutoffs {
            delivered: retention.delivered.map(|kept| now.minus(kept)),
            dead_lettered: retention.dead_lettered.map(|kept| now.minus(kept)),
            keys: now.minus(config.longest_window()),
        };
        let began = self.clock.monotonic();
        let found = self.reader.expired(&cutoffs, sweep.cursor);
        self.looked += self.clock.monotonic().saturating_sub(began);
        let found = found?;
        sweep.cursor = found.next;
        self.sweep = Some(sweep);
        if found.count() != (0, 0) {
            self.pruning = Some(Prune::new(found));
            return Ok(SweepStep::Looked);
        }
        if sweep.cursor.is_at_end() {
            return self.step(sweep);
        }
        Ok(SweepStep::Looked)
    }

    fn forget_origins(&mut self, mut sweep: Sweep) -> Result<SweepStep, StoreError> {
        let now = self.clock.now();
        let (pass, reader) = (&mut self.unused_origins, &self.reader);
        let began = self.clock.monotonic();
        let step = self.store.forget_unused_origins(pass, reader, now)?;
        if step != OriginsPassStep::Deleted {
            self.looked += self.clock.monotonic().saturating_sub(began);
        }
        sweep.is_origins_done = step == OriginsPassStep::Over;
        self.sweep = Some(sweep);
        Ok(if step == OriginsPassStep::Deleted {
            SweepStep::Deleted
        } else {
            SweepStep::Looked
        })
    }
}
