use std::time::Duration;

use super::super::outcome::Outcome;
use super::super::target::Target;
use crate::model::BreakerChange;

/// Who may go now, besides who is due. What isn't overridden has no opinion.
pub(in super::super) trait Admission: Send {
    /// A new round begins: what was admitted and not begun since is void.
    fn new_round(&mut self) {}

    /// Lets one more attempt to `target` begin now, while `in_flight` are under way, and spends a
    /// token on it. An error says how long until there may be one; none if an attempt has to end
    /// first.
    fn admit(&mut self, _target: &Target, _in_flight: usize) -> Result<(), Option<Duration>> {
        Ok(())
    }

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

    /// An attempt has ended after so long. What that changed about the breaker is to be remembered.
    fn ended(
        &mut self,
        _target: &Target,
        _outcome: &Outcome,
        _took: Duration,
    ) -> Option<BreakerChange> {
        None
    }

    /// The breaker was left open, in this process or an earlier one: the next probe is due in
    /// `probe_in`, after a wait of `wait`. Whether there is a breaker at all.
    fn reopen(&mut self, _target: &Target, _probe_in: Duration, _wait: Duration) -> bool {
        false
    }

    /// Forgets what it knows of a destination.
    fn forget(&mut self, _target: i64) {}
}

/// As many as there are workers.
pub(in super::super) struct Unlimited;

impl Admission for Unlimited {}
