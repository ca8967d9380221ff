//! One attempt at a delivery: its body before, its completion after.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::delivery::outcome::Outcome;
use crate::delivery::target::Target;
use crate::store::{Claim, ClaimId, IntentRow, OutboundMessage};

/// The longest that a quick attempt takes. Nothing is prefetched for a destination whose attempts
/// take longer, and its prefetched deliveries are released: a queue of them would keep their
/// workers from other destinations for many times as long.
pub(in crate::delivery) const QUICK: Duration = Duration::from_millis(100);

/// A claimed delivery.
#[derive(Clone)]
pub(in crate::delivery) struct Attempt {
    pub intent: IntentRow,
    pub target: Arc<Target>,
    pub claim: ClaimId,
    /// Its number in the current retry budget, from 1.
    pub number: u32,
    /// Attempts in the history before it, over the delivery's whole life.
    pub history: u32,
    pub body: Body,
}

/// The body that an attempt sends.
#[derive(Clone)]
pub(in crate::delivery) enum Body {
    Loaded(Arc<OutboundMessage>),
    /// Too large to be kept in memory while it waits: its worker loads it.
    Stored,
    /// It can't be loaded, for this reason.
    Unreadable(Arc<str>),
}

/// An attempt as its receiver sees it.
#[allow(dead_code, reason = "only the transport over HTTP has receivers")]
pub(in crate::delivery) struct Sent<'a> {
    /// The message's id.
    pub id: String,
    /// Its number in the current retry budget, from 1.
    pub number: u32,
    pub target: &'a Target,
}

impl Attempt {
    /// This attempt as its receiver sees it.
    #[allow(dead_code, reason = "only the transport over HTTP has receivers")]
    pub fn sent(&self, message: &OutboundMessage) -> Sent<'_> {
        Sent {
            id: message.public_id(),
            number: self.number,
            target: &self.target,
        }
    }

    pub fn claim(&self) -> Claim {
        Claim {
            intent: self.intent,
            destination: self.target.id,
            id: self.claim,
        }
    }

    /// The public id, for the log; empty unless the body is loaded.
    pub fn event_id(&self) -> String {
        match &self.body {
            Body::Loaded(message) => message.public_id(),
            Body::Stored | Body::Unreadable(_) => String::new(),
        }
    }

    pub fn accepted_at(&self) -> Option<Timestamp> {
        match &self.body {
            Body::Loaded(message) => Some(message.created_at),
            Body::Stored | Body::Unreadable(_) => None,
        }
    }
}

/// A worker's report of an attempt, or a prefetched delivery that comes back without one.
pub(in crate::delivery) struct Completion {
    pub attempt: Attempt,
    pub started_at: Timestamp,
    pub took: Duration,
    /// None if no attempt was made.
    pub outcome: Option<Outcome>,
    /// The prefetched delivery that the worker went on with.
    pub followed_by: Option<Claim>,
}

impl Completion {
    /// A delivery of which no attempt was made.
    pub fn not_begun(attempt: Attempt) -> Self {
        Self {
            attempt,
            started_at: Timestamp::from_millis(0),
            took: Duration::ZERO,
            outcome: None,
            followed_by: None,
        }
    }

    /// Whether a prefetched delivery to the same destination may begin in its place: the attempt
    /// was quick, and the destination would take another.
    pub fn leaves_place(&self) -> bool {
        let outcome = self.outcome.as_ref();
        outcome.is_some_and(Outcome::invites_another) && self.took <= QUICK
    }
}
