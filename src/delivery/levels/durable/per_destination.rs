//! The admission of level 3: each destination's limits, and the parts of the pool that unproven and
//! suspect destinations share.

use std::collections::HashMap;
use std::time::Duration;

use crate::config::Resolved;
use crate::delivery::admission::{
    Admission, Change, Occupancy, Refusal, Remembered, Replaced, Reputation, Request,
};
use crate::delivery::levels::durable::limits::Limits;
use crate::delivery::levels::durable::pool_share::PoolShare;
use crate::delivery::outcome::Outcome;
use crate::delivery::target::Target;

use crate::store::DestinationId;
use Reputation::{Fresh, Proven, Suspect};

pub(in crate::delivery::levels) struct PerDestination {
    workers: usize,
    known: HashMap<DestinationId, Limits>,
    shares: Shares,
}

/// The parts of the pool.
struct Shares {
    /// Workers for destinations that aren't proven.
    unproven: PoolShare,
    /// Workers for suspect destinations, among those.
    suspect: PoolShare,
    /// Once these workers are in use, a destination gets but one.
    all: PoolShare,
}

impl Shares {
    fn new(config: &Resolved) -> Self {
        let workers = config.delivery.workers;
        let share = |workers, of| {
            let share = PoolShare::new(workers, of);
            if config.destinations.is_empty() {
                share
            } else {
                share.half_for_adhoc()
            }
        };
        // However many destinations hang, most workers are for proven ones; and no more than a
        // quarter is for suspect ones, so that fresh ones get a chance, also in a pool of four.
        let unproven = (workers.saturating_sub(1) / 2).max((workers * 3 / 4).min(3));
        Self {
            unproven: share(unproven, &[Fresh, Suspect]),
            suspect: share(workers / 4, &[Suspect]),
            // Proven destinations may begin to hang all at once: an eighth of the workers is for
            // destinations with nothing in flight.
            all: PoolShare::new(workers - workers / 8, &[Fresh, Proven, Suspect]),
        }
    }
}

impl PerDestination {
    pub fn new(config: &Resolved) -> Self {
        let workers = config.delivery.workers;
        Self {
            known: HashMap::new(),
            shares: Shares::new(config),
            workers,
        }
    }

    fn limits(&mut self, target: &Target) -> &mut Limits {
        let workers = self.workers;
        let limits = self.known.entry(target.id);
        limits.or_insert_with(|| Limits::new(target, workers))
    }

    /// Whether the parts of the pool that a destination shares with others have a worker left.
    fn admit_by_shares(
        &self,
        reputation: Reputation,
        request: &Request<'_>,
    ) -> Result<(), Refusal> {
        let (is_named, occupancy) = (request.target.is_named(), request.occupancy);
        if !self.has_room(is_named, reputation, occupancy) {
            return Err(Refusal::NoShare);
        }
        let has_one = request.in_flight + request.planned > 0;
        if has_one && self.shares.all.is_spent(is_named, occupancy) {
            return Err(Refusal::Reserved);
        }
        Ok(())
    }
}

impl Admission for PerDestination {
    fn take_up(&mut self, target: &Target, remembered: Remembered, now: Duration) -> bool {
        let limits = self.limits(target);
        if remembered.has_backlog {
            limits.leave_one_token(now);
        }
        if let Some((probe_in, wait)) = remembered.open_breaker {
            limits.reopen(now, probe_in, wait);
        }
        if remembered.is_proven && limits.reputation == Fresh {
            limits.reputation = Proven;
        }
        limits.has_breaker()
    }

    fn reconfigure(&mut self, config: &Resolved) {
        self.shares = Shares::new(config);
    }

    fn replace(&mut self, target: &Target, replaced: Replaced, now: Duration) -> bool {
        let workers = self.workers;
        let limits = self.limits(target);
        limits.replace(target, replaced, workers, now);
        limits.is_breaker_open()
    }

    fn probe_in(&mut self, target: &Target, wait: Duration, now: Duration) {
        self.limits(target).probe_in(wait, now);
    }

    fn has_nothing_to_lose(&self, target: DestinationId, now: Duration) -> bool {
        let known = self.known.get(&target);
        known.is_none_or(|limits| limits.has_nothing_to_lose(now))
    }

    fn forget(&mut self, target: DestinationId) {
        self.known.remove(&target);
    }

    fn reputation(&self, target: &Target) -> Reputation {
        let known = self.known.get(&target.id);
        known.map_or(Fresh, |limits| limits.reputation)
    }

    fn cost(&self, target: &Target) -> u64 {
        let known = self.known.get(&target.id);
        known.map_or(1, |limits| limits.cost)
    }

    fn reputation_of(&self, target: DestinationId, is_proven: bool) -> Reputation {
        let known = self.known.get(&target);
        let remembered = if is_proven { Proven } else { Fresh };
        known.map_or(remembered, |limits| limits.reputation)
    }

    fn has_room(&self, is_named: bool, reputation: Reputation, occupancy: &Occupancy) -> bool {
        let shares = match reputation {
            Proven => &[][..],
            Fresh => &[&self.shares.unproven][..],
            Suspect => &[&self.shares.unproven, &self.shares.suspect][..],
        };
        !shares
            .iter()
            .any(|share| share.is_spent(is_named, occupancy))
    }

    fn admit(&self, request: &Request<'_>) -> Result<(), Refusal> {
        let limits = self.known.get(&request.target.id);
        let limits = limits.expect("a destination is taken up before it is asked about");
        limits.admit_by_window(request)?;
        self.admit_by_shares(limits.reputation, request)?;
        limits.admit_by_rate(request)
    }

    fn max_prefetched(&self, target: &Target) -> usize {
        let known = self.known.get(&target.id);
        known.map_or(0, Limits::max_prefetched)
    }

    fn resume(&mut self, target: &Target, in_flight: usize, now: Duration) {
        self.limits(target).resume(in_flight, now);
    }

    fn spend(&mut self, target: &Target, now: Duration) {
        self.limits(target).spend(now);
    }

    fn rest(&mut self, target: &Target) {
        self.limits(target).rest();
    }

    fn prefetch_stalled(&mut self, target: &Target) {
        self.limits(target).end_streak();
    }

    fn ended(
        &mut self,
        target: &Target,
        outcome: &Outcome,
        took: Duration,
        now: Duration,
    ) -> Change {
        let limits = self.limits(target);
        let was_proven = limits.reputation == Proven;
        let breaker = limits.learn(outcome, took, now);
        let is_proven = limits.reputation == Proven;
        Change {
            breaker,
            is_proven: (was_proven != is_proven).then_some(is_proven),
        }
    }
}

#[cfg(test)]
mod tests;
