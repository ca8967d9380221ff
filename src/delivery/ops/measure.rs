//! For the benchmark `claim`: what a pass of the dispatcher asks of the database, with no disk in it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::config::Config;
use crate::delivery::admission::{Occupancy, Reputation, Unlimited};
use crate::delivery::dispatcher::ledger::Counts;
use crate::delivery::dispatcher::plan::{Found, Inputs, Look};
use crate::delivery::dispatcher::planner::Planner;
use crate::delivery::dispatcher::schedule::Schedule;
use crate::delivery::dispatcher::waiting::SCAN_STEP;
use crate::delivery::lane::Origin;
use crate::delivery::ops::{Due, Turn};
use crate::delivery::target::Target;
use crate::store::sqlite::{MAX_ROWS, open};
use crate::store::{LongWrite as _, OpenError, StoreError, Tx, WriteOp as _};

/// A database from which is claimed, and then everything is put back.
pub struct Claims {
    sql: Connection,
    clock: SystemClock,
    targets: HashMap<i64, Arc<Target>>,
    schedule: Schedule,
    looked_at: usize,
}

/// One claim.
pub struct Claim {
    /// How many deliveries were claimed.
    pub rows: usize,
    /// What it took to see what is due, and to share workers out.
    pub look: Duration,
    /// What it took to claim.
    pub claim: Duration,
}

impl Claims {
    /// Opens the database as the writer does. No server may be using it.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Ok(Self {
            sql: open::writer(path, &|| 0)?,
            clock: SystemClock::new(),
            targets: HashMap::new(),
            schedule: Schedule::default(),
            looked_at: 0,
        })
    }

    /// Reads which destinations have something waiting, as a start does; how many there are.
    pub fn scan(&mut self) -> Result<usize, StoreError> {
        let found = Origin::waiting(&self.sql, 0, usize::MAX)?;
        let count = found.len();
        for (origin, at) in found {
            self.schedule.insert(origin, at);
        }
        Ok(count)
    }

    /// Reads them anew, as the dispatcher does once a minute, in its steps: how long each took.
    pub fn scan_in_steps(&mut self) -> Result<Vec<Duration>, StoreError> {
        let mut took = Vec::new();
        let mut after = Some(0);
        while let Some(last) = after {
            let start = self.clock.monotonic();
            let found = Origin::waiting(&self.sql, last, SCAN_STEP)?;
            after = found
                .last()
                .filter(|_| found.len() == SCAN_STEP)
                .map(|(origin, _)| origin.id);
            for (origin, at) in found {
                self.schedule.insert(origin, at);
            }
            self.schedule.advance(self.clock.now());
            took.push(self.clock.monotonic().saturating_sub(start));
        }
        Ok(took)
    }

    /// So many claims, one after the other, for `free` workers each, in a transaction that is rolled
    /// back. Each sees what those before it have left.
    pub fn run(&mut self, claims: usize, free: usize) -> Result<Vec<Claim>, StoreError> {
        let sql = Transaction::new_unchecked(&self.sql, TransactionBehavior::Immediate)?;
        let mut done = Vec::with_capacity(claims);
        for _ in 0..claims {
            let start = self.clock.monotonic();
            let now = self.clock.now();
            self.schedule.advance(now);
            let inputs = Inputs {
                free_workers: free,
                room: free,
                occupancy: Occupancy::default(),
                max_adhoc: free,
                looked_at: self.looked_at,
                now,
                monotonic: start,
            };
            let mut planner = Planner::new(&self.schedule, inputs);
            while let Some(origins) = planner.next_looks(&self.schedule, &Unlimited) {
                let counted = planner.counted();
                let looks = look(&sql, &mut self.targets, &origins, now, counted)?;
                planner.take(looks, &Unlimited);
            }
            let plan = planner.finish(&self.schedule, &Unlimited);
            plan.reschedule(&mut self.schedule, now);
            self.looked_at = plan.looks;
            let wants = plan.claims;
            let mut turn = Turn::new(Vec::new(), Vec::new(), Vec::new(), wants, 1);
            let looked = self.clock.monotonic();
            while let Some(step) = turn.next_step(MAX_ROWS) {
                turn.committed(step.apply(&Tx::of_operator(&sql, now))?);
            }
            done.push(Claim {
                rows: turn.into_claimed().len(),
                look: looked.saturating_sub(start),
                claim: self.clock.monotonic().saturating_sub(looked),
            });
        }
        // Dropped, the transaction is rolled back: destinations that had run dry wait again.
        drop(sql);
        self.scan()?;
        Ok(done)
    }
}

/// Reads destinations as the dispatcher does.
fn look(
    sql: &Connection,
    targets: &mut HashMap<i64, Arc<Target>>,
    origins: &[Origin],
    now: Timestamp,
    counted: usize,
) -> Result<Vec<Look>, StoreError> {
    let mut looks = Vec::with_capacity(origins.len());
    for origin in origins {
        let due = Due::read(sql, origin.id, now, counted)?;
        let waiting = due.and_then(|due| due.next_attempt_at.map(|at| (due, at)));
        let found = waiting.map(|(due, next_attempt_at)| {
            let target = targets.entry(origin.id).or_insert_with(|| {
                let config = Config::default().resolve();
                Arc::new(Target::new(origin.id, &due.name, &config, true))
            });
            Found {
                target: Arc::clone(target),
                reputation: Reputation::Proven,
                counts: Counts::default(),
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
