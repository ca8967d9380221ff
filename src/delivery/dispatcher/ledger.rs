//! The counts of all that is claimed: per delivery, per destination, and by kind of destination.
//! Nothing else counts attempts in flight or prefetched deliveries.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use crate::delivery::admission::{Occupancy, Reputation};
use crate::store::{Claim, DestinationId, Release};

/// Deliveries that may be prefetched behind each attempt to a quick destination: enough to keep its
/// worker busy while commits go by that also carry what comes in. With three a pipeline under load
/// settled a ninth to a fifth less, and fell behind by half; more than eight brought nothing
/// (measured).
pub(in crate::delivery) const PREFETCH_DEPTH: usize = 8;

/// All that is claimed: at most `1 + PREFETCH_DEPTH` deliveries a worker.
pub(in crate::delivery) struct Ledger {
    workers: usize,
    /// A delivery may have two on PostgreSQL: this node lost the first one with its place, and has
    /// joined anew while the attempt went on.
    claims: HashMap<Claim, OpenClaim>,
    /// Destinations with a claim.
    by_destination: HashMap<DestinationId, ClaimCounts>,
    /// Attempts in flight.
    occupancy: Occupancy,
}

struct OpenClaim {
    /// Gives the claim back without an attempt.
    release: Release,
    is_named: bool,
    phase: ClaimPhase,
}

#[derive(Clone, Copy)]
enum ClaimPhase {
    Prefetched,
    /// The same for a server that the destination has left since: if it isn't recalled in time, it
    /// goes there.
    PrefetchedForFormerServer,
    /// With the reputation that the destination had when the attempt began.
    InFlight(Reputation),
    /// The same of an attempt to a server that the destination has left since.
    AtFormerServer(Reputation),
}

/// The claims of one destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::delivery) struct ClaimCounts {
    /// Attempts that workers are making, but for those at a former server.
    pub in_flight: usize,
    /// Attempts that workers are making at a server that the destination has left since.
    at_former_server: usize,
    /// Claimed deliveries, each to begin in the place of an attempt in flight.
    pub prefetched: usize,
    /// When a delivery was prefetched last, by the monotonic clock.
    prefetched_at: Duration,
}

/// A claim that is no longer counted.
#[derive(Debug)]
pub(in crate::delivery) struct Closed {
    pub release: Release,
    pub was_in_flight: bool,
}

impl Ledger {
    pub fn new(workers: usize) -> Self {
        Self {
            workers,
            claims: HashMap::new(),
            by_destination: HashMap::new(),
            occupancy: Occupancy::default(),
        }
    }

    /// A claimed delivery begins.
    pub fn start(&mut self, release: Release, is_named: bool, reputation: Reputation) {
        self.counts_of(release.destination).in_flight += 1;
        self.occupancy.add(is_named, reputation);
        self.open(release, is_named, ClaimPhase::InFlight(reputation));
    }

    /// A claimed delivery waits for an attempt to its destination to end.
    pub fn prefetch(&mut self, release: Release, is_named: bool, now: Duration) {
        let counts = self.counts_of(release.destination);
        counts.prefetched += 1;
        counts.prefetched_at = now;
        self.open(release, is_named, ClaimPhase::Prefetched);
    }

    /// A prefetched delivery begins.
    pub fn promote(&mut self, claim: Claim, reputation: Reputation) {
        let Some(open) = self.claims.get_mut(&claim) else {
            return;
        };
        let is_at_former_server = match open.phase {
            ClaimPhase::Prefetched => false,
            ClaimPhase::PrefetchedForFormerServer => true,
            ClaimPhase::InFlight(_) | ClaimPhase::AtFormerServer(_) => return,
        };
        open.phase = if is_at_former_server {
            ClaimPhase::AtFormerServer(reputation)
        } else {
            ClaimPhase::InFlight(reputation)
        };
        self.occupancy.add(open.is_named, reputation);
        let counts = self.counts_of(claim.destination);
        counts.prefetched -= 1;
        counts.at_former_server += usize::from(is_at_former_server);
        counts.in_flight += usize::from(!is_at_former_server);
    }

    /// A destination has moved to another server: its attempts in flight say nothing about how many
    /// that one takes.
    pub fn move_on(&mut self, destination: DestinationId) {
        let Some(counts) = self.by_destination.get_mut(&destination) else {
            return;
        };
        counts.at_former_server += std::mem::take(&mut counts.in_flight);
        let claims = self.claims.iter_mut();
        for (_, open) in claims.filter(|(claim, _)| claim.destination == destination) {
            open.phase = match open.phase {
                ClaimPhase::Prefetched => ClaimPhase::PrefetchedForFormerServer,
                ClaimPhase::InFlight(reputation) => ClaimPhase::AtFormerServer(reputation),
                phase => phase,
            };
        }
    }

    /// A delivery came back from the pool. None if it isn't claimed any more.
    pub fn close(&mut self, claim: Claim) -> Option<Closed> {
        let open = self.claims.remove(&claim)?;
        if let Entry::Occupied(mut entry) = self.by_destination.entry(claim.destination) {
            let counts = entry.get_mut();
            match open.phase {
                ClaimPhase::Prefetched | ClaimPhase::PrefetchedForFormerServer => {
                    counts.prefetched -= 1;
                }
                ClaimPhase::InFlight(_) => counts.in_flight -= 1,
                ClaimPhase::AtFormerServer(_) => counts.at_former_server -= 1,
            }
            if counts.is_none_left() {
                entry.remove();
            }
        }
        let began = match open.phase {
            ClaimPhase::Prefetched | ClaimPhase::PrefetchedForFormerServer => None,
            ClaimPhase::InFlight(with) | ClaimPhase::AtFormerServer(with) => Some(with),
        };
        if let Some(reputation) = began {
            self.occupancy.remove(open.is_named, reputation);
        }
        Some(Closed {
            release: open.release,
            was_in_flight: began.is_some(),
        })
    }

    /// Closes all claims.
    pub fn close_all(&mut self) -> Vec<Release> {
        let claims = std::mem::take(&mut self.claims);
        *self = Self::new(self.workers);
        claims.into_values().map(|open| open.release).collect()
    }

    /// The claims of a destination.
    pub fn counts(&self, destination: DestinationId) -> ClaimCounts {
        let counts = self.by_destination.get(&destination);
        counts.copied().unwrap_or_default()
    }

    /// Whether a destination has any claim.
    pub fn has(&self, destination: DestinationId) -> bool {
        self.by_destination.contains_key(&destination)
    }

    /// Workers in use, by kind of destination.
    pub fn occupancy(&self) -> Occupancy {
        self.occupancy
    }

    /// All claims, in flight and prefetched.
    pub fn claimed(&self) -> usize {
        self.claims.len()
    }

    /// Whether nothing is claimed, and nothing counts as if it were.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
            && self.by_destination.is_empty()
            && self.occupancy == Occupancy::default()
    }

    pub fn in_flight(&self) -> usize {
        self.occupancy.total()
    }

    pub fn free_workers(&self) -> usize {
        self.workers.saturating_sub(self.in_flight())
    }

    /// Deliveries that could still be claimed: for a free worker, or to be prefetched.
    pub fn room(&self) -> usize {
        ((1 + PREFETCH_DEPTH) * self.workers).saturating_sub(self.claims.len())
    }

    /// Destinations whose last prefetch was at least `after` ago, and that still have some.
    pub fn stalled(&self, now: Duration, after: Duration) -> impl Iterator<Item = DestinationId> {
        // Without prefetched deliveries the destinations need no look.
        let has_any = self.claims.len() > self.in_flight();
        let destinations = has_any.then_some(&self.by_destination);
        let all = destinations.into_iter().flatten();
        all.filter(move |(_, counts)| {
            counts.prefetched > 0 && now.saturating_sub(counts.prefetched_at) >= after
        })
        .map(|(destination, _)| *destination)
    }

    fn open(&mut self, release: Release, is_named: bool, phase: ClaimPhase) {
        let open = OpenClaim {
            release,
            is_named,
            phase,
        };
        self.claims.insert(release.claim(), open);
    }

    fn counts_of(&mut self, destination: DestinationId) -> &mut ClaimCounts {
        self.by_destination.entry(destination).or_default()
    }
}

impl ClaimCounts {
    fn is_none_left(self) -> bool {
        self.in_flight + self.at_former_server + self.prefetched == 0
    }
}

#[cfg(test)]
mod tests;
