//! Decides what a tick claims. Pure: a plan spends no token, reads no clock and asks no database.
//! The caller hands in the facts, and applies the plan once it is made:
//!
//! ```text
//! let mut planner = Planner::new(inputs);
//! while let Some(origins) = planner.next_looks(&schedule, admission) {
//!     planner.take(look(origins), &schedule, admission);
//! }
//! let plan = planner.finish(&schedule, admission);
//! ```

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::delivery::admission::{Admission, Occupancy, Refusal, Reputation, Request};
use crate::delivery::dispatcher::ledger::PREFETCH_DEPTH;
use crate::delivery::dispatcher::plan::{Inputs, LOOK_EVERY, Look, Plan, Postponed};
use crate::delivery::dispatcher::schedule::{Picks, Schedule};
use crate::delivery::fair_share::{Candidate, FairShare, Shares};
use crate::delivery::target::Target;
use crate::delivery::turn::Turn;
use crate::store::Origin;
use crate::store::{ClaimRequest, DestinationId};

/// Ready destinations that are always looked at, however few workers are free.
const MIN_LOOKS: usize = 32;

/// Looks in one tick: some 3 ms. The next tick, which comes at once, goes on.
const MAX_LOOKS: usize = 1024;

/// Workers of the pool for each delivery that is prefetched behind an attempt while others want a
/// worker. A decision: so one comes free some eight times while a worker makes an attempt and its
/// followers, and a small pool stays with turns of one attempt.
const WORKERS_A_FOLLOWER: usize = 8;

/// A plan in the making.
pub(in crate::delivery) struct Planner {
    inputs: Inputs,
    /// Workers in use, with those that the plan has assigned.
    occupancy: Occupancy,
    counted: usize,
    picks: Picks,
    shares: FairShare,
    next_looks: usize,
    looks: usize,
    postponed: Vec<Postponed>,
    /// Attempts in flight of the destination with the fewest that was refused one more, since the
    /// remaining workers are reserved.
    fewest_in_flight: usize,
}

impl Planner {
    pub fn new(inputs: Inputs) -> Self {
        let Inputs {
            free_workers,
            room,
            looked_at,
            has_prefetched,
            ..
        } = inputs;
        // A count of more than can be claimed is wasted, but for the least that shows whether
        // something can be prefetched.
        let wanted = if has_prefetched { room } else { free_workers };
        let least = (1 + PREFETCH_DEPTH).min(room);
        Self {
            inputs,
            occupancy: inputs.occupancy,
            // Counting costs as much as claiming, and among many destinations none gets much.
            counted: (2 * wanted).div_ceil(looked_at.max(1)).clamp(least, room),
            picks: Picks::default(),
            shares: FairShare::new(free_workers),
            // Each look costs some 3 µs (measured). If some have reached their limits, more follow.
            next_looks: free_workers.max(MIN_LOOKS),
            looks: 0,
            postponed: Vec::new(),
            fewest_in_flight: usize::MAX,
        }
    }

    /// The number up to which due deliveries are to be counted.
    pub fn counted(&self) -> usize {
        self.counted
    }

    /// The next destinations to look at. None once no worker is left, or no destination may have
    /// one.
    pub fn next_looks(
        &mut self,
        schedule: &Schedule,
        admission: &dyn Admission,
    ) -> Option<Vec<Origin>> {
        if self.next_looks == 0 {
            return None;
        }
        let mut picks = std::mem::take(&mut self.picks);
        let is_open = |is_named, reputation| self.is_open(is_named, reputation, admission);
        let origins = schedule.pick(&mut picks, self.next_looks, is_open);
        self.picks = picks;
        (!origins.is_empty()).then_some(origins)
    }

    /// Takes in looks, and assigns free workers.
    pub fn take(&mut self, looks: Vec<Look>, schedule: &Schedule, admission: &dyn Admission) {
        self.looks += looks.len();
        let candidates = looks.into_iter();
        let candidates = candidates.filter_map(|look| self.candidate(look, schedule, admission));
        let candidates: Vec<(Turn, Candidate)> = candidates.collect();
        self.shares.offer(candidates);
        self.assign(admission);
        let is_over = self.shares.free() == 0 || self.looks >= MAX_LOOKS;
        self.next_looks = if is_over {
            0
        } else {
            (2 * self.next_looks).min(MAX_LOOKS - self.looks)
        };
    }

    /// The plan, with what is prefetched beside.
    pub fn finish(self, schedule: &Schedule, admission: &dyn Admission) -> Plan {
        let is_open = |is_named, reputation| self.is_open(is_named, reputation, admission);
        let leaves_unseen = schedule.has_more(&self.picks, is_open);
        let none_is_free = self.shares.free() == 0;
        let Shares {
            mut candidates,
            mut served,
        } = self.shares.into_shares();
        let wanting = candidates.iter().filter(|one| one.share < one.ready);
        let is_contended = none_is_free && (leaves_unseen || wanting.count() > 1);
        let fewest = self.fewest_in_flight;
        let (mut claims, mut is_cut_short) = (Vec::with_capacity(candidates.len()), false);
        for candidate in &mut candidates {
            // Others want the workers of its part of the pool, though the pool has free ones.
            let is_contended = is_contended || candidate.refused == Some(Refusal::NoShare);
            let depth_if_contended = is_contended.then(|| self.inputs.depth_if_contended());
            // A destination with more attempts than another, which wants more, yields to it as
            // its attempts end.
            let yields = candidate.in_flight > fewest.saturating_add(1);
            let max_prefetched = if yields {
                0
            } else {
                admission.max_prefetched(&candidate.target)
            };
            let prefetch = candidate.prefetch(max_prefetched, depth_if_contended);
            if is_contended {
                candidate.follow(prefetch, &mut served);
            }
            let is_all = candidate.share + prefetch == candidate.ready;
            is_cut_short |= candidate.ready == self.counted && is_all;
            if candidate.share + prefetch > 0 {
                claims.push(ClaimRequest {
                    destination: candidate.target.id,
                    begin: candidate.share,
                    prefetch,
                });
            }
        }
        Plan {
            claims,
            candidates,
            postponed: self.postponed,
            looks: self.looks,
            is_cut_short,
            leaves_unseen,
            made_at: self.inputs.monotonic,
            served,
        }
    }

    /// Whether any destination of this kind may have a worker.
    fn is_open(&self, is_named: bool, reputation: Reputation, admission: &dyn Admission) -> bool {
        // With no worker free, the first looks find out whether something may be prefetched.
        if self.shares.free() == 0 {
            return true;
        }
        (is_named || self.occupancy.adhoc() < self.inputs.max_adhoc)
            && admission.has_room(is_named, reputation, &self.occupancy)
    }

    fn assign(&mut self, admission: &dyn Admission) {
        let Inputs {
            max_adhoc,
            monotonic,
            ..
        } = self.inputs;
        let (occupancy, fewest) = (&mut self.occupancy, &mut self.fewest_in_flight);
        self.shares.assign(|candidate| {
            let is_named = candidate.lane.is_named();
            if !is_named && occupancy.adhoc() >= max_adhoc {
                return Err(Refusal::NoShare);
            }
            let admitted = admission.admit(&Request {
                target: &candidate.target,
                in_flight: candidate.in_flight,
                planned: candidate.share,
                occupancy: &*occupancy,
                now: monotonic,
            });
            match admitted {
                Ok(()) => occupancy.add(is_named, candidate.reputation),
                Err(Refusal::Reserved) => *fewest = candidate.under_way().min(*fewest),
                Err(_) => {}
            }
            admitted
        });
    }

    /// The destination of a look as a candidate. None if nothing may go to it now.
    fn candidate(
        &mut self,
        look: Look,
        schedule: &Schedule,
        admission: &dyn Admission,
    ) -> Option<(Turn, Candidate)> {
        let id = look.origin.id;
        let Some(found) = look.found else {
            self.postpone(id, None, None, false);
            return None;
        };
        let (now, target) = (self.inputs.now, found.target);
        let is_paused = found.is_paused || self.inputs.is_held;
        let at_most = now.plus(LOOK_EVERY);
        let held_until = found.held_until.filter(|until| *until > now);
        let until = if is_paused || !target.is_known() {
            Some(at_most)
        } else if let Some(until) = held_until {
            Some(until.min(at_most))
        } else {
            (found.next_attempt_at > now).then_some(found.next_attempt_at)
        };
        if until.is_some() {
            let is_resting = is_paused || held_until.is_some();
            let has_prefetched = found.counts.prefetched > 0;
            self.postpone(id, until, is_resting.then_some(target), has_prefetched);
            return None;
        }
        let (lane, of_lane, turn) = schedule.turns(id)?;
        let candidate = Candidate {
            cost: admission.cost(&target),
            target,
            lane,
            turn,
            reputation: found.reputation,
            in_flight: found.counts.in_flight,
            prefetched: found.counts.prefetched,
            ready: found.ready,
            share: 0,
            refused: None,
        };
        Some((of_lane, candidate))
    }

    fn postpone(
        &mut self,
        id: DestinationId,
        until: Option<Timestamp>,
        resting: Option<Arc<Target>>,
        has_prefetched: bool,
    ) {
        self.postponed.push(Postponed {
            id,
            until,
            resting,
            has_prefetched,
        });
    }
}

impl Inputs {
    /// Deliveries to prefetch behind each attempt that begins while others want a worker.
    fn depth_if_contended(&self) -> usize {
        PREFETCH_DEPTH.min(self.workers / WORKERS_A_FOLLOWER)
    }
}

impl Candidate {
    /// Deliveries to prefetch. While others want a worker, only behind attempts that begin now, and
    /// the fewer the longer the last one took: if all are alike, the worker is free again within
    /// 0.24 s.
    fn prefetch(&self, at_most: usize, depth_if_contended: Option<usize>) -> usize {
        let (attempts, depth) = match depth_if_contended {
            Some(depth) => {
                let cost = usize::try_from(self.cost).unwrap_or(usize::MAX);
                (self.share, depth / cost.max(1))
            }
            None => (self.under_way(), PREFETCH_DEPTH),
        };
        (depth * attempts)
            .min(at_most)
            .saturating_sub(self.prefetched)
            .min(self.ready - self.share)
    }
}

#[cfg(test)]
mod tests;
