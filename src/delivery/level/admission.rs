use std::time::Duration;

use super::super::target::Target;

/// Who may go now, besides who is due.
pub(in super::super) trait Admission: Send {
    /// Lets one more attempt to `target` begin now, while `in_flight` are under way, and spends a
    /// token on it. An error says how long until there may be one; none if an attempt has to end
    /// first.
    fn admit(&mut self, target: &Target, in_flight: usize) -> Result<(), Option<Duration>>;

    /// Forgets what it knows of a destination.
    fn forget(&mut self, target: i64);
}

/// As many as there are workers.
pub(in super::super) struct Unlimited;

impl Admission for Unlimited {
    fn admit(&mut self, _target: &Target, _in_flight: usize) -> Result<(), Option<Duration>> {
        Ok(())
    }

    fn forget(&mut self, _target: i64) {}
}
