//! How an attempt is made: the contract between a worker and a level.

use crate::clock::Timestamp;
use crate::delivery::attempt::Attempt;
use crate::delivery::outcome::Outcome;
use crate::store::OutboundMessage;

pub(in crate::delivery) trait Transport: Send + Sync {
    /// Sends `message`, and returns by the destination's timeout. `wall` is the time as the
    /// receiver knows it.
    fn send(&self, message: &OutboundMessage, attempt: &Attempt, wall: Timestamp) -> Outcome;

    /// Cuts short the attempts in flight. Their outcomes are ignored.
    fn abort(&self);
}
