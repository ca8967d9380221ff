//! Decides which deliveries are attempted next: one thread, one tick at a time.
//!
//! [`Dispatcher::tick`] is the algorithm. Its parts:
//!
//! - `adopt`: adopts the configuration of a reload.
//! - `completions`: turns the completions of workers into settlements and releases.
//! - `waiting`: keeps the `schedule` up to date. `schedule`: which destination is looked at, when.
//! - `planner`: makes the `plan` of what is claimed; pure. `look`: reads the facts that it needs.
//! - `commit`: the transactions of a tick. `dispatch`: hands claimed deliveries to workers.
//! - `ledger`: the counts of all that is claimed. `targets`: the destinations that are known.
//! - `gauges`: the states that metrics show. `shutdown`: the end.

mod adopt;
mod commit;
mod completions;
mod dispatch;
mod gauges;
pub(super) mod ledger;
mod look;
pub(super) mod plan;
pub(super) mod planner;
pub(super) mod schedule;
mod shutdown;
mod targets;
pub(super) mod waiting;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

#[cfg(test)]
pub(super) use dispatch::MAX_PRELOADED;
use gauges::StateGauges;
use ledger::Ledger;
#[cfg(test)]
pub(super) use ledger::PREFETCH_DEPTH;
use plan::{LOOK_EVERY, Plan};
use schedule::Schedule;
use targets::Targets;

use crate::clock::Timestamp;
use crate::config::Resolved;
use crate::delivery::admission::Admission;
use crate::delivery::context::Context;
use crate::delivery::levels::LevelParts;
use crate::delivery::outage_log::Outages;
use crate::delivery::pool::Pool;
use crate::ops::series::Series;
use crate::store::{
    ClaimId, DestinationId, Reader, Release, ReplacedDestinations, ScanCursor, Settlement,
};

/// The pause after the store refused a commit: nothing is claimed while outcomes can't be recorded.
const REFUSED_PAUSE: Duration = Duration::from_millis(500);

pub(super) struct Dispatcher {
    context: Context,
    /// The configuration of the tick under way.
    config: Arc<Resolved>,
    reader: Reader,
    admission: Box<dyn Admission>,
    pool: Pool,
    ledger: Ledger,
    targets: Targets,
    schedule: Schedule,
    gauges: StateGauges,
    outages: Outages,
    /// Destinations that became due, and whose lane isn't known yet.
    newcomers: HashSet<DestinationId>,
    /// The scan under way continues here.
    scan: Option<ScanCursor>,
    /// When the last scan began, by the monotonic clock.
    scanned_at: Duration,
    /// Outcomes that are known and not yet durable. They are kept until they are.
    unsettled: Vec<Settlement>,
    /// Deliveries that the coming commit may make due, by destination: each follows one in
    /// `unsettled` in its order.
    successors: HashMap<DestinationId, usize>,
    /// Destinations that a reload replaced, until the database has forgotten what is outdated.
    replaced: ReplacedDestinations,
    /// Claims that are given back, and not yet durably.
    releases: Vec<Release>,
    next_claim: ClaimId,
    /// Destinations that the last tick looked at.
    looked_at: usize,
    /// Whether the last plan prefetched anything.
    has_prefetched: bool,
    /// Whether the last commit was refused, so that it is logged once.
    is_refused: bool,
    /// Reads that failed: each tick tries again.
    failed_reads: Series,
    /// Reloads that can't be recorded: each tick tries again.
    failed_records: Series,
    /// Payloads that were found to be damaged: where one is, there may be thousands.
    damaged: Series,
    /// Whether nothing can be recorded any more: the store has stopped or is broken.
    is_over: bool,
}

/// The result of a tick.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tick {
    pub claimed: usize,
    pub settled: usize,
    /// When the next tick is due, unless something happens before.
    pub look_again: Option<Duration>,
}

impl Dispatcher {
    pub fn new(context: Context, parts: LevelParts, pool: Pool) -> Self {
        Self {
            gauges: StateGauges::new(Arc::clone(&context.metrics)),
            reader: context.store.reader(),
            targets: Targets::new(context.clock.now()),
            config: context.config.current(),
            ledger: Ledger::new(pool.workers()),
            context,
            admission: parts.admission,
            pool,
            outages: Outages::default(),
            schedule: Schedule::default(),
            newcomers: HashSet::new(),
            scan: Some(ScanCursor::START),
            scanned_at: Duration::ZERO,
            unsettled: Vec::new(),
            successors: HashMap::new(),
            replaced: ReplacedDestinations::default(),
            releases: Vec::new(),
            next_claim: ClaimId::first(),
            looked_at: 0,
            has_prefetched: false,
            is_refused: false,
            failed_reads: Series::default(),
            failed_records: Series::default(),
            damaged: Series::default(),
            is_over: false,
        }
    }

    /// Ticks until told to stop, then stops in order.
    pub fn run(&mut self) {
        let mut wait = Duration::ZERO;
        loop {
            self.context.wake.wait(wait);
            if let Some(deadline) = self.context.stop.deadline() {
                return self.shut_down(&deadline);
            }
            let tick = self.tick();
            if self.is_over {
                return;
            }
            wait = tick.look_again.unwrap_or(LOOK_EVERY).min(LOOK_EVERY);
        }
    }

    /// One tick: takes in completions and new work, claims the deliveries that may begin, and hands
    /// them to workers.
    pub fn tick(&mut self) -> Tick {
        self.context.pulse.beat(self.context.clock.monotonic());
        let is_adopted = self.adopt_configuration();
        self.recall_stalled();
        self.collect_completions();
        self.log_due_outages();
        let is_refreshed = self.refresh();
        let (plan, look_again) = self.plan();
        let look_again = self.next_look(look_again, is_refreshed);
        let expected = self.successors.len();
        let committed = self.commit(&plan.claims, plan.made_at);
        self.free_unclaimed(&plan.claims);
        let Some(committed) = committed else {
            return Tick {
                look_again: Some(REFUSED_PAUSE),
                ..Tick::default()
            };
        };
        let is_due = self.leaves_work(&plan, committed.claimed, expected);
        Tick {
            claimed: committed.claimed,
            settled: committed.settled,
            look_again: if is_due || !is_adopted {
                Some(Duration::ZERO)
            } else {
                look_again
            },
        }
    }

    /// When to look again: for what the plan left, for the retries and releases of the coming
    /// commit, of which the plan knows nothing, or at the time of the schedule.
    fn next_look(&self, look_again: Option<Duration>, is_refreshed: bool) -> Option<Duration> {
        if !is_refreshed {
            return Some(REFUSED_PAUSE);
        }
        if self.scan.is_some() {
            return Some(Duration::ZERO);
        }
        let now = self.context.clock.now();
        let until = |at: Timestamp| at.since(now);
        let retries = self
            .unsettled
            .iter()
            .filter_map(Settlement::next_attempt_at);
        let released = self
            .releases
            .iter()
            .map(|release| until(release.due_at(now)));
        let scheduled = self.schedule.next_look().map(until);
        let all = [
            look_again,
            retries.min().map(until),
            released.min(),
            scheduled,
        ];
        all.into_iter().flatten().min()
    }

    /// Whether the next tick has something to do at once. The plan expected successors for as many
    /// destinations as `expected`.
    fn leaves_work(&self, plan: &Plan, claimed: usize, expected: usize) -> bool {
        let has_more = plan.is_cut_short && claimed > 0 && self.ledger.room() > 0;
        // A claim was refused by what this very commit wrote: its worker is free for another.
        // So is one that was kept for a successor which isn't there.
        let leaves_some = plan.leaves_unseen || (expected > 0 && plan.leaves_wanting());
        let has_unseen = leaves_some && self.ledger.free_workers() > 0;
        has_more || has_unseen || !self.releases.is_empty()
    }

    /// Outcomes that are known and not yet durable.
    #[cfg(test)]
    pub fn unsettled(&self) -> usize {
        self.unsettled.len()
    }

    /// Whether nothing is claimed.
    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        self.ledger.is_empty()
    }
}
