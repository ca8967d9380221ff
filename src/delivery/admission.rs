//! The limits on attempts: the contract between the dispatcher and a level.
//!
//! A plan asks [`Admission::admit`], which changes nothing. Only a claim that has succeeded spends
//! a token, and only a completion changes a destination's limits.

use std::time::Duration;

use crate::config::Resolved;
use crate::delivery::outcome::Outcome;
use crate::delivery::target::Target;
use crate::model::BreakerChange;
use crate::store::DestinationId;

/// Why no further attempt may begin now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::delivery) enum Refusal {
    /// For this long: the breaker is open, or the token bucket is empty.
    For(Duration),
    /// The destination has as many attempts in flight as it may have.
    UntilAnAttemptEnds,
    /// No worker is left in a part of the pool that the destination shares with others.
    NoShare,
    /// The remaining workers are reserved for destinations with nothing in flight.
    Reserved,
}

/// How a destination has answered so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::delivery) enum Reputation {
    /// No attempt has completed yet.
    Fresh,
    /// The last completed attempt got an answer.
    Proven,
    /// The last completed attempt timed out, or took nearly as long: it may occupy a worker for
    /// long.
    Suspect,
}

/// Workers in use, by kind of destination: in flight, or assigned by the plan being made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::delivery) struct Occupancy {
    named: [usize; 3],
    adhoc: [usize; 3],
}

impl Occupancy {
    pub fn add(&mut self, is_named: bool, reputation: Reputation) {
        self.of(is_named)[reputation as usize] += 1;
    }

    pub fn remove(&mut self, is_named: bool, reputation: Reputation) {
        self.of(is_named)[reputation as usize] -= 1;
    }

    /// Workers busy with destinations of one kind, and of any of these reputations.
    pub fn count(&self, is_named: bool, reputations: &[Reputation]) -> usize {
        let counts = if is_named { &self.named } else { &self.adhoc };
        let of = reputations.iter().map(|reputation| *reputation as usize);
        of.map(|at| counts[at]).sum()
    }

    /// Workers busy with the origins of ad hoc URLs.
    pub fn adhoc(&self) -> usize {
        self.adhoc.iter().sum()
    }

    pub fn total(&self) -> usize {
        self.named.iter().sum::<usize>() + self.adhoc()
    }

    fn of(&mut self, is_named: bool) -> &mut [usize; 3] {
        if is_named {
            &mut self.named
        } else {
            &mut self.adhoc
        }
    }
}

/// A question whether one more attempt may begin.
pub(in crate::delivery) struct Request<'a> {
    pub target: &'a Target,
    /// Attempts to the target in flight.
    pub in_flight: usize,
    /// Attempts to the target that the plan has assigned already.
    pub planned: usize,
    /// All workers in use, with those that the plan has assigned.
    pub occupancy: &'a Occupancy,
    /// The monotonic time of the plan.
    pub now: Duration,
}

/// The database's memory of a destination.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::delivery) struct Remembered {
    pub is_proven: bool,
    /// Deliveries have been waiting for a while: the bucket may have been emptied shortly before,
    /// by another process.
    pub has_backlog: bool,
    /// The breaker was left open: the next probe is due in this time, after a wait of this length.
    pub open_breaker: Option<(Duration, Duration)>,
}

/// The changes to a destination that a completion makes, for the database to remember.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::delivery) struct Change {
    pub breaker: Option<BreakerChange>,
    /// Whether the destination is proven, if that is new.
    pub is_proven: Option<bool>,
}

/// The way in which a reload has replaced a destination's policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::delivery) enum Replaced {
    /// Its URL leads to another server: everything learned is about the one before.
    Moved,
    /// A setting of its own: the cause of an outage may be gone with it.
    Changed,
    /// The settings of all ad hoc origins, or of a name that is no longer configured.
    Defaults,
}

/// A level's limits. A method that isn't overridden limits nothing. Each `now` is monotonic.
pub(in crate::delivery) trait Admission: Send {
    /// Takes up a destination, before anything else is asked about it. Returns whether it has a
    /// breaker.
    fn take_up(&mut self, _target: &Target, _remembered: Remembered, _now: Duration) -> bool {
        false
    }

    /// A reload has replaced the configuration.
    fn reconfigure(&mut self, _config: &Resolved) {}

    /// A reload has replaced the policy of `target`. Returns whether its breaker is open.
    fn replace(&mut self, _target: &Target, _replaced: Replaced, _now: Duration) -> bool {
        false
    }

    /// The database wants the next probe of a breaker in this time: somebody brought it forward, if
    /// that is earlier than the breaker itself wants it.
    fn probe_in(&mut self, _target: &Target, _wait: Duration, _now: Duration) {}

    /// Whether a destination would be taken up again as it is now, but for the attempts at once
    /// that it has earned.
    fn has_nothing_to_lose(&self, _target: DestinationId, _now: Duration) -> bool {
        true
    }

    /// Drops a destination with nothing in flight.
    fn forget(&mut self, _target: DestinationId) {}

    fn reputation(&self, _target: &Target) -> Reputation {
        Reputation::Proven
    }

    /// The rounds that an attempt to `target` costs: a slow destination lets others go first.
    fn cost(&self, _target: &Target) -> u64 {
        1
    }

    /// The reputation of a destination that may not be taken up yet, given whether the database
    /// remembers it as proven.
    fn reputation_of(&self, _target: DestinationId, _is_proven: bool) -> Reputation {
        Reputation::Proven
    }

    /// Whether any destination of this kind may have a worker. If none may, none is looked at.
    fn has_room(&self, _is_named: bool, _reputation: Reputation, _occupancy: &Occupancy) -> bool {
        true
    }

    /// Whether one more attempt may begin.
    fn admit(&self, _request: &Request<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    /// Deliveries that may be prefetched, each to begin in the place that an attempt leaves.
    fn max_prefetched(&self, _target: &Target) -> usize {
        0
    }

    /// A plan has asked for `target`: if it rested, it starts again slowly.
    fn resume(&mut self, _target: &Target, _in_flight: usize, _now: Duration) {}

    /// An attempt was claimed and begins: it spends a token.
    fn spend(&mut self, _target: &Target, _now: Duration) {}

    /// A pause or a hold keeps deliveries from `target`.
    fn rest(&mut self, _target: &Target) {}

    /// The prefetched deliveries of `target` waited for too long, and are released.
    fn prefetch_stalled(&mut self, _target: &Target) {}

    /// An attempt has ended after `took`.
    fn ended(
        &mut self,
        _target: &Target,
        _outcome: &Outcome,
        _took: Duration,
        _now: Duration,
    ) -> Change {
        Change::default()
    }
}

/// Limits nothing: any destination may have all workers.
pub(in crate::delivery) struct Unlimited;

impl Admission for Unlimited {}
