//! For the benchmark `claim`: a tick of the dispatcher, without the disk.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::config::{Config, Resolved};
use crate::delivery::admission::{Occupancy, Reputation, Unlimited};
use crate::delivery::dispatcher::ledger::ClaimCounts;
use crate::delivery::dispatcher::plan::{Found, Inputs, Look};
use crate::delivery::dispatcher::planner::Planner;
use crate::delivery::dispatcher::schedule::Schedule;
use crate::delivery::dispatcher::waiting::SCAN_STEP;
use crate::delivery::target::Target;
use crate::store::{
    ClaimId, DestinationId, OpenError, Origin, ScanCursor, SettleAndClaim, StoreError, Unsaved,
    UnsavedTransaction,
};

/// A database whose deliveries are claimed, and then released by a rollback.
pub struct Claims {
    store: Unsaved,
    clock: SystemClock,
    config: Resolved,
    targets: HashMap<DestinationId, Arc<Target>>,
    schedule: Schedule,
    looked_at: usize,
}

/// One claim.
pub struct ClaimTimes {
    /// How many deliveries were claimed.
    pub rows: usize,
    /// The time to read the due deliveries, and to share workers out.
    pub look: Duration,
    /// The time to claim.
    pub claim: Duration,
}

impl Claims {
    /// Opens the database as the writer does. No server may be using it.
    pub fn open(config: &Config) -> Result<Self, OpenError> {
        Ok(Self {
            store: Unsaved::open(&config.database.path)?,
            clock: SystemClock::new(),
            config: config.resolve(),
            targets: HashMap::new(),
            schedule: Schedule::default(),
            looked_at: 0,
        })
    }

    /// Reads the destinations with waiting deliveries, as a start does; how many there are.
    pub fn scan(&mut self) -> Result<usize, StoreError> {
        let found = self.store.waiting(ScanCursor::START, usize::MAX)?.waiting;
        let count = found.len();
        for (origin, at) in found {
            self.schedule.insert(origin, Reputation::Proven, at);
        }
        Ok(count)
    }

    /// Reads them anew, as the dispatcher does once a minute, in its steps: how long each took.
    pub fn scan_in_steps(&mut self) -> Result<Vec<Duration>, StoreError> {
        let mut took = Vec::new();
        let mut cursor = Some(ScanCursor::START);
        while let Some(after) = cursor {
            let start = self.clock.monotonic();
            let found = self.store.waiting(after, SCAN_STEP)?;
            cursor = found.next;
            for (origin, at) in found.waiting {
                self.schedule.insert(origin, Reputation::Proven, at);
            }
            self.schedule.advance(self.clock.now());
            took.push(self.clock.monotonic().saturating_sub(start));
        }
        Ok(took)
    }

    /// Makes a number of claims, one after the other, for `free` workers each, in a transaction
    /// that is rolled back. Each sees the deliveries that those before it have left.
    pub fn run(&mut self, claims: usize, free: usize) -> Result<Vec<ClaimTimes>, StoreError> {
        let transaction = self.store.begin()?;
        let mut done = Vec::with_capacity(claims);
        for _ in 0..claims {
            let start = self.clock.monotonic();
            let now = self.clock.now();
            self.schedule.advance(now);
            let inputs = Inputs {
                is_held: false,
                workers: free,
                free_workers: free,
                room: free,
                occupancy: Occupancy::default(),
                max_adhoc: free,
                looked_at: self.looked_at,
                has_prefetched: false,
                now,
                monotonic: start,
            };
            let mut planner = Planner::new(inputs);
            while let Some(origins) = planner.next_looks(&self.schedule, &Unlimited) {
                let counted = planner.counted();
                let targets = &mut self.targets;
                let looks = look(&transaction, &self.config, targets, &origins, now, counted)?;
                planner.take(looks, &self.schedule, &Unlimited);
            }
            let plan = planner.finish(&self.schedule, &Unlimited);
            plan.reschedule(&mut self.schedule, now);
            self.looked_at = plan.looks;
            let (none, claim) = (Vec::new(), ClaimId::first());
            let mut change = SettleAndClaim::new(Vec::new(), Vec::new(), none, plan.claims, claim);
            let looked = self.clock.monotonic();
            transaction.settle_and_claim(&mut change, now)?;
            done.push(ClaimTimes {
                rows: change.take_claimed().len(),
                look: looked.saturating_sub(start),
                claim: self.clock.monotonic().saturating_sub(looked),
            });
        }
        // Dropped, the transaction is rolled back: destinations that had run dry wait again.
        drop(transaction);
        self.scan()?;
        Ok(done)
    }
}

/// Reads destinations as the dispatcher does.
fn look(
    transaction: &UnsavedTransaction<'_>,
    config: &Resolved,
    targets: &mut HashMap<DestinationId, Arc<Target>>,
    origins: &[Origin],
    now: Timestamp,
    counted: usize,
) -> Result<Vec<Look>, StoreError> {
    let mut looks = Vec::with_capacity(origins.len());
    for origin in origins {
        let due = transaction.due(origin.id, now, counted)?;
        let waiting = due.and_then(|due| due.next_attempt_at.map(|at| (due, at)));
        let found = waiting.map(|(due, next_attempt_at)| {
            let target = targets
                .entry(origin.id)
                .or_insert_with(|| Arc::new(Target::new(origin.id, &due.name, config, true)));
            Found {
                target: Arc::clone(target),
                reputation: Reputation::Proven,
                counts: ClaimCounts::default(),
                next_attempt_at,
                ready: due.ready,
                is_paused: due.is_paused,
                held_until: due.held_until,
            }
        });
        looks.push(Look {
            origin: *origin,
            found,
        });
    }
    Ok(looks)
}
