//! The dispatcher's transaction: it settles finished attempts, releases claims, and claims due
//! deliveries.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::ids::{ClaimId, DestinationId, IntentRow};
use crate::clock::Timestamp;
use crate::model::{BreakerChange, OnDead, Transition};

/// The time in `next_attempt_at` of a delivery that waits behind another one in its line: later
/// than all times, so that no look at what is due meets it. It is no time, and nobody outside sees
/// it.
pub(in crate::store) const BLOCKED: Timestamp = Timestamp::from_millis(i64::MAX);

// Statements of both engines have its digits.
const _: () = assert!(BLOCKED.as_millis() == 9_223_372_036_854_775_807);

/// How long a released delivery waits that could not be loaded.
pub(in crate::store) const RELEASED_FOR: Duration = Duration::from_millis(250);

/// Settles finished attempts, releases claims whose attempts never began, and claims due
/// deliveries. It takes as many transactions as its rows need. Each claims in proportion to what it
/// settles, so that workers get their next deliveries after the first of them, and a thousand
/// attempts don't begin at once. Nothing is claimed while outcomes can't be recorded: the first
/// step that fails is the last.
pub(crate) struct SettleAndClaim {
    pub(in crate::store) settlements: Arc<Vec<Settlement>>,
    pub(in crate::store) releases: Arc<Vec<Release>>,
    /// Destinations whose circuit breaker was left open, and which have none any more.
    pub(in crate::store) without_breaker: Vec<DestinationId>,
    /// Settlements that come before the claims of a destination: one may stop it, or let the next
    /// delivery in its order go.
    pub(in crate::store) before_claims: HashMap<DestinationId, usize>,
    /// Marks the deliveries that this claims.
    pub(in crate::store) claim: ClaimId,
    pub(in crate::store) done: Progress,
    /// The progress once the step under way is durable.
    pub(in crate::store) next: Progress,
    /// Claimed, and not yet taken by the caller.
    pub(in crate::store) claimed: Vec<Claimed>,
}

/// How much of a [`SettleAndClaim`] is done.
#[derive(Clone, Debug)]
pub(in crate::store) struct Progress {
    pub settled: usize,
    pub released: usize,
    pub closed: usize,
    /// Claims that are still to be made.
    pub requests: Vec<ClaimRequest>,
}

impl SettleAndClaim {
    /// A change of which nothing is durable yet.
    pub fn new(
        settlements: Vec<Settlement>,
        releases: Vec<Release>,
        without_breaker: Vec<DestinationId>,
        requests: Vec<ClaimRequest>,
        claim: ClaimId,
    ) -> Self {
        let done = Progress {
            settled: 0,
            released: 0,
            closed: 0,
            requests,
        };
        let guiding = (1..)
            .zip(&settlements)
            .filter(|(_, one)| one.guides_claims());
        Self {
            before_claims: guiding
                .map(|(count, one)| (one.destination(), count))
                .collect(),
            settlements: Arc::new(settlements),
            releases: Arc::new(releases),
            without_breaker,
            claim,
            next: done.clone(),
            done,
            claimed: Vec::new(),
        }
    }

    /// The settlements and releases that are durable.
    pub fn durable(&self) -> (&[Settlement], &[Release]) {
        (
            &self.settlements[..self.done.settled],
            &self.releases[..self.done.released],
        )
    }

    /// The deliveries that were claimed since the last call; the claims are durable.
    pub fn take_claimed(&mut self) -> Vec<Claimed> {
        std::mem::take(&mut self.claimed)
    }

    /// After a failure: the settlements and releases that are not durable.
    pub fn into_unfinished(self) -> (Vec<Settlement>, Vec<Release>) {
        let settlements = Arc::unwrap_or_clone(self.settlements);
        let releases = Arc::unwrap_or_clone(self.releases);
        (
            settlements.into_iter().skip(self.done.settled).collect(),
            releases.into_iter().skip(self.done.released).collect(),
        )
    }
}

/// A claim on a delivery. A settlement is void if the claim is no longer the delivery's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Claim {
    pub intent: IntentRow,
    pub destination: DestinationId,
    pub id: ClaimId,
}

/// The record of an attempt, for the delivery's history.
#[derive(Clone, Debug)]
pub(crate) struct AttemptRecord {
    /// Its number in the current budget, from 1.
    pub attempt: u32,
    /// Entries that the history had before it.
    pub history: u32,
    pub started_at: Timestamp,
    pub took: Duration,
    pub status_code: Option<u16>,
    pub failure: Option<&'static str>,
    /// Whether a repetition may succeed, if the attempt failed.
    pub is_transient: bool,
    /// Why the attempt failed, as clients see it; none if it succeeded.
    pub error: Option<String>,
    /// The first bytes of the answer.
    pub response: Option<Vec<u8>>,
    pub address: Option<String>,
    pub resolve: Option<Duration>,
    pub connect: Option<Duration>,
    pub tls: Option<Duration>,
    pub first_byte: Option<Duration>,
    /// The next step and its reason, in words.
    pub next: String,
}

/// The changes that an attempt causes at its destination.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DestinationChange {
    /// Nothing is sent until then.
    pub hold_until: Option<Timestamp>,
    /// Why nothing more is sent until an operator resumes it.
    pub pause: Option<&'static str>,
    /// The state of its circuit breaker, if that changed.
    pub breaker: Option<BreakerChange>,
    /// Whether it is known to answer, if that changed.
    pub is_proven: Option<bool>,
}

/// The result of an attempt, to be recorded.
#[derive(Clone, Debug)]
pub(crate) struct Settlement {
    pub(in crate::store) claim: Claim,
    pub(in crate::store) record: AttemptRecord,
    pub(in crate::store) transition: Transition,
    pub(in crate::store) next_attempt_at: Option<Timestamp>,
    /// The fate of the deliveries behind it, if its destination has an order.
    pub(in crate::store) on_dead: Option<OnDead>,
    pub(in crate::store) change: DestinationChange,
}

impl Settlement {
    /// The delivery arrived.
    pub fn delivered(claim: Claim, record: AttemptRecord, change: DestinationChange) -> Self {
        Self {
            claim,
            record,
            transition: Transition::Deliver,
            next_attempt_at: None,
            on_dead: None,
            change,
        }
    }

    /// The attempt failed, and the next one is due at `at`.
    pub fn retry(
        claim: Claim,
        record: AttemptRecord,
        at: Timestamp,
        change: DestinationChange,
    ) -> Self {
        Self {
            transition: Transition::Retry,
            next_attempt_at: Some(at),
            ..Self::delivered(claim, record, change)
        }
    }

    /// The delivery is given up.
    pub fn dead_letter(claim: Claim, record: AttemptRecord, change: DestinationChange) -> Self {
        Self {
            transition: Transition::DeadLetter,
            ..Self::delivered(claim, record, change)
        }
    }

    /// The same, by the order of its destination.
    #[must_use]
    pub fn ordered(self, on_dead: Option<OnDead>) -> Self {
        Self { on_dead, ..self }
    }

    /// Leaves its destination as it is: a reload has put another server there.
    pub fn forget_change(&mut self) {
        self.change = DestinationChange::default();
    }

    pub fn destination(&self) -> DestinationId {
        self.claim.destination
    }

    /// Whether it decides which deliveries of its destination may be claimed.
    fn guides_claims(&self) -> bool {
        let DestinationChange {
            hold_until, pause, ..
        } = self.change;
        self.on_dead.is_some() || hold_until.is_some() || pause.is_some()
    }

    /// Whether the next delivery in its line may go.
    pub(in crate::store) fn leaves_its_line(&self) -> bool {
        match self.transition {
            Transition::Deliver => true,
            Transition::DeadLetter => self.on_dead != Some(OnDead::Block),
            _ => false,
        }
    }

    /// When the next attempt is due, if there is one.
    pub fn next_attempt_at(&self) -> Option<Timestamp> {
        self.next_attempt_at
    }
}

/// Gives up a claim without an attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Release {
    pub intent: IntentRow,
    pub destination: DestinationId,
    pub(in crate::store) claim: ClaimId,
    /// When the delivery is due again; none: shortly.
    pub(in crate::store) due: Option<Timestamp>,
}

impl Release {
    /// The delivery is due again when it was.
    pub fn untouched(delivery: &Claimed) -> Self {
        Self {
            intent: delivery.intent,
            destination: delivery.destination,
            claim: delivery.claim,
            due: Some(delivery.due),
        }
    }

    /// The claim that is given up.
    pub fn claim(&self) -> Claim {
        Claim {
            intent: self.intent,
            destination: self.destination,
            id: self.claim,
        }
    }

    /// The same, but the delivery could not begin for a reason that takes a moment to disappear: it
    /// is due again in [`RELEASED_FOR`].
    #[must_use]
    pub fn delayed(self) -> Self {
        Self { due: None, ..self }
    }

    /// When the delivery is due again, if it is released at `now`.
    pub fn due_at(&self, now: Timestamp) -> Timestamp {
        self.due.unwrap_or_else(|| now.plus(RELEASED_FOR))
    }
}

/// How many due deliveries of a destination may be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClaimRequest {
    pub destination: DestinationId,
    /// Those whose attempts begin at once.
    pub begin: usize,
    /// Prefetched ones, which wait behind an attempt.
    pub prefetch: usize,
}

/// A delivery that was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claimed {
    pub intent: IntentRow,
    pub destination: DestinationId,
    pub claim: ClaimId,
    /// When it was due.
    pub due: Timestamp,
    /// The number of the attempt in the current budget, from 1.
    pub attempt: u32,
    /// Entries of its history, over its whole life.
    pub history: u32,
}

#[cfg(test)]
impl Claimed {
    pub fn claim(&self) -> Claim {
        Claim {
            intent: self.intent,
            destination: self.destination,
            id: self.claim,
        }
    }
}
