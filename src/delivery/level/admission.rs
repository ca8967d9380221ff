use std::time::Duration;

use super::super::target::Target;

/// Who may go now, besides who is due.
pub(in super::super) trait Admission: Send {
    /// How many attempts to `target` may begin now, of `wanted`, while `in_flight` are under way.
    fn admit(&mut self, target: &Target, in_flight: usize, wanted: usize) -> Admitted;

    /// Of those admitted last, so many did not begin.
    fn give_back(&mut self, target: &Target, unused: usize);

    /// Forgets what it knows of a destination.
    fn forget(&mut self, target: i64);
}

/// What an admission says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Admitted {
    pub count: usize,
    /// When it is fewer than wanted for want of tokens: how long until there is one. What waits for
    /// an attempt to end is woken by that.
    pub wait: Option<Duration>,
}

/// As many as there are workers.
pub(in super::super) struct Unlimited;

impl Admission for Unlimited {
    fn admit(&mut self, _target: &Target, _in_flight: usize, wanted: usize) -> Admitted {
        Admitted {
            count: wanted,
            wait: None,
        }
    }

    fn give_back(&mut self, _target: &Target, _unused: usize) {}

    fn forget(&mut self, _target: i64) {}
}
