//! Whether a destination is failing, with hysteresis. Pure.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::ops::rollup_counters::AttemptHealth;

/// Failing attempts without a success for this long make a destination failing where no breaker
/// has opened.
const FAILING_AFTER: Duration = Duration::from_secs(300);
/// A destination has recovered once it has been well for this long: one that flaps is failing.
const RECOVERED_AFTER: Duration = Duration::from_secs(120);

/// The state of a destination, as it was told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Well,
    /// Its circuit breaker opened.
    Open,
    /// Nothing has succeeded for a while.
    Failing,
}

impl Condition {
    const ALL: [Self; 3] = [Self::Well, Self::Open, Self::Failing];

    /// Its name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Open => "open",
            Self::Failing => "failing",
        }
    }

    /// The condition of this name; well for any other.
    pub fn from_name(name: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|one| one.name() == name).unwrap_or(Self::Well)
    }
}

/// Follows one destination. The condition itself is in the database.
#[derive(Clone, Debug, Default)]
pub(super) struct HealthWatch {
    /// Since when nothing has been wrong, while the condition is not well.
    well_since: Option<Timestamp>,
}

impl HealthWatch {
    /// Looks at a destination that is in `condition` since `since`. Returns its new condition, if
    /// that changes. Failing and well alternate.
    pub fn look(
        &mut self,
        (condition, since): (Condition, Timestamp),
        is_breaker_open: bool,
        attempts: &AttemptHealth,
        now: Timestamp,
    ) -> Option<Condition> {
        let is_failing = has_failed_for_long(attempts);
        if condition == Condition::Well {
            self.well_since = None;
            if is_breaker_open {
                return Some(Condition::Open);
            }
            return is_failing.then_some(Condition::Failing);
        }
        let is_well = match condition {
            // The breaker closed, which takes a success; the database remembers it over a restart.
            Condition::Open => true,
            // Nothing but a success shows it.
            _ => attempts.last_success_at.is_some_and(|at| at >= since),
        };
        if is_breaker_open || is_failing || !is_well {
            self.well_since = None;
            return None;
        }
        let well_since = *self.well_since.get_or_insert(now);
        (now.since(well_since) >= RECOVERED_AFTER).then_some(Condition::Well)
    }
}

/// Whether attempts have failed for a while without a success, and still do.
fn has_failed_for_long(attempts: &AttemptHealth) -> bool {
    let span = attempts.failing_since.zip(attempts.last_failure_at);
    span.is_some_and(|(first, last)| last.since(first) >= FAILING_AFTER)
}

#[cfg(test)]
mod tests;
