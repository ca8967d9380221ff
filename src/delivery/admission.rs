use std::time::Duration;

use crate::delivery::outcome::Outcome;
use crate::delivery::target::Target;
use crate::model::BreakerChange;

/// Why no further attempt may begin now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    dead_code,
    reason = "levels below durable refuse for want of a share alone"
)]
pub(in crate::delivery) enum Refusal {
    /// None may for this long: the breaker is open, or the bucket empty.
    For(Duration),
    /// The destination has as many under way as it may have.
    UntilAnAttemptEnds,
    /// The part of the pool that it shares with others is spent.
    NoShare,
}

/// What an attempt's end changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::delivery) struct Change {
    pub breaker: Option<BreakerChange>,
    /// Whether the destination is known to answer, if that is new.
    pub is_proven: Option<bool>,
}

/// Who may go now, besides who is due. What isn't overridden has no opinion.
pub(in crate::delivery) trait Admission: Send {
    /// A new round begins: what was admitted and not begun since is void.
    fn new_round(&mut self) {}

    /// Lets one more attempt to `target` begin now, while `in_flight` are under way, and spends a
    /// token on it.
    fn admit(&mut self, _target: &Target, _in_flight: usize) -> Result<(), Refusal> {
        Ok(())
    }

    /// Whether any destination of this kind may have a worker: named or ad hoc, known to answer or
    /// not. If none may, none is looked at.
    fn has_room(&self, _is_named: bool, _is_proven: bool) -> bool {
        true
    }

    /// Whether a destination is known to answer, given what the database remembers of it.
    fn is_proven(&self, _target: i64, _is_remembered: bool) -> bool {
        true
    }

    /// What the database remembers of a destination: whether it answered the last time.
    fn restore(&mut self, _target: &Target, _is_proven: bool) {}

    /// How many may be claimed already, each to begin in the place of an attempt to `target` that went
    /// well and soon: none unless most do.
    fn may_wait(&mut self, _target: &Target) -> usize {
        0
    }

    /// What was claimed ahead for `target` waited for long, and is handed back.
    fn stuck(&mut self, _target: &Target) {}

    /// Nothing goes to `target` for now, for a reason that isn't this one's own.
    fn kept_waiting(&mut self, _target: &Target) {}

    /// An attempt that was admitted has begun.
    fn began(&mut self, _target: &Target) {}

    /// An attempt has ended after so long. What that changed is to be remembered.
    fn ended(&mut self, _target: &Target, _outcome: &Outcome, _took: Duration) -> Change {
        Change::default()
    }

    /// An attempt that had begun was not made, for a reason of ours: it says nothing.
    fn withdrawn(&mut self, _target: &Target) {}

    /// The breaker was left open, in this process or an earlier one: the next probe is due in
    /// `probe_in`, after a wait of `wait`. Whether there is a breaker at all.
    fn reopen(&mut self, _target: &Target, _probe_in: Duration, _wait: Duration) -> bool {
        false
    }

    /// Forgets what it knows of a destination.
    fn forget(&mut self, _target: i64) {}
}

/// As many as there are workers.
pub(in crate::delivery) struct Unlimited;

impl Admission for Unlimited {}
