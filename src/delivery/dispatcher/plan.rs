//! A plan of what a tick claims: the facts that it begins with, and its result.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::delivery::admission::{Occupancy, Refusal, Reputation};
use crate::delivery::dispatcher::ledger::ClaimCounts;
use crate::delivery::dispatcher::schedule::Schedule;
use crate::delivery::fair_share::{Candidate, Served};
use crate::delivery::lane::Lane;
use crate::delivery::target::Target;
use crate::store::Origin;
use crate::store::{ClaimRequest, DestinationId};

/// The longest time between two looks at a paused or held destination, since another process may
/// resume it; and the longest pause of the dispatcher, since it notices this late that the wall
/// clock jumped.
pub(in crate::delivery) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The facts that a plan begins with.
#[derive(Clone, Copy, Debug)]
pub(in crate::delivery) struct Inputs {
    /// All workers of the pool.
    pub workers: usize,
    pub free_workers: usize,
    /// Deliveries that may be claimed, prefetched ones included; above zero.
    pub room: usize,
    /// Workers in use.
    pub occupancy: Occupancy,
    /// Workers that the origins of ad hoc URLs may have together.
    pub max_adhoc: usize,
    /// Destinations that the plan before looked at.
    pub looked_at: usize,
    /// Whether the plan before prefetched anything.
    pub has_prefetched: bool,
    /// Whether nothing is sent, since a backup was restored: all destinations rest.
    pub is_held: bool,
    pub now: Timestamp,
    pub monotonic: Duration,
}

/// A destination as the database and the ledger have it.
pub(in crate::delivery) struct Look {
    pub origin: Origin,
    /// None if nothing waits for it.
    pub found: Option<Found>,
}

/// A destination for which something waits.
pub(in crate::delivery) struct Found {
    pub target: Arc<Target>,
    pub reputation: Reputation,
    pub counts: ClaimCounts,
    pub next_attempt_at: Timestamp,
    /// Deliveries that are due, counted up to the number that the planner asks for.
    pub ready: usize,
    pub is_paused: bool,
    pub held_until: Option<Timestamp>,
}

/// A destination for which nothing is claimed now.
pub(in crate::delivery) struct Postponed {
    pub id: DestinationId,
    /// When it is looked at again. None if nothing waits for it.
    pub until: Option<Timestamp>,
    /// The destination, if a pause or a hold keeps deliveries from it.
    pub resting: Option<Arc<Target>>,
    pub has_prefetched: bool,
}

/// The claims of a tick, and the findings of its looks.
#[derive(Default)]
pub(in crate::delivery) struct Plan {
    pub claims: Vec<ClaimRequest>,
    /// All destinations with deliveries due, each with its share of the workers.
    pub candidates: Vec<Candidate>,
    pub postponed: Vec<Postponed>,
    /// Destinations that were looked at.
    pub looks: usize,
    /// Whether a destination gets all that was counted, and may have more.
    pub is_cut_short: bool,
    /// Whether ready destinations weren't looked at, since no worker was left.
    pub leaves_unseen: bool,
    /// The monotonic time of the plan.
    pub made_at: Duration,
    /// Lanes that were assigned workers.
    pub served: HashMap<Lane, Served>,
}

impl Plan {
    /// Tells the schedule when each destination is looked at again.
    pub fn reschedule(&self, schedule: &mut Schedule, now: Timestamp) {
        for postponed in &self.postponed {
            match postponed.until {
                Some(at) => schedule.look_at(postponed.id, at),
                None => schedule.remove(postponed.id),
            }
        }
        for candidate in &self.candidates {
            let id = candidate.target.id;
            if candidate.share > 0 {
                schedule.set_turn(id, candidate.turn);
            }
            match candidate.refused {
                Some(Refusal::For(wait)) => schedule.look_at(id, now.plus(wait)),
                Some(Refusal::UntilAnAttemptEnds) if candidate.under_way() > 0 => {
                    schedule.set_busy(id);
                }
                _ => {}
            }
        }
        for (lane, served) in &self.served {
            schedule.serve(*lane, served);
        }
    }

    /// Whether a destination would take more workers than the plan had for it.
    pub fn leaves_wanting(&self) -> bool {
        let mut all = self.candidates.iter();
        all.any(|candidate| candidate.share < candidate.ready && candidate.refused.is_none())
    }

    /// Whether anything is prefetched.
    pub fn prefetches(&self) -> bool {
        self.claims.iter().any(|claim| claim.prefetch > 0)
    }

    /// Destinations that asked for a worker, with one or without.
    pub fn asked(&self) -> impl Iterator<Item = &Candidate> {
        let all = self.candidates.iter();
        all.filter(|candidate| candidate.share > 0 || candidate.refused.is_some())
    }

    /// Destinations whose prefetched deliveries are to be released.
    pub fn recalls(&self) -> Vec<DestinationId> {
        let resting = self
            .postponed
            .iter()
            .filter(|one| one.resting.is_some() && one.has_prefetched);
        resting.map(|one| one.id).collect()
    }
}
