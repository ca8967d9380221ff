//! A state with two ends: it begins and ends only after a condition has held for a while. Pure.

use std::time::Duration;

use crate::clock::Timestamp;

/// A reading of what a gate watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Beyond the limit at which the trouble begins.
    Bad,
    /// Between the two limits: everything stays as it is.
    Between,
    /// Below the limit at which the trouble ends.
    Good,
}

/// How long a reading has to hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holding {
    pub bad_for: Duration,
    pub good_for: Duration,
}

/// Follows readings, and says when the state changes. The state itself is in the database.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate {
    /// The readings that would end the state, and since when there have been no others.
    held: Option<(Reading, Timestamp)>,
}

impl Gate {
    /// Takes a reading; whether the state `is_bad` ends with it.
    pub fn turns(
        &mut self,
        is_bad: bool,
        reading: Reading,
        holding: Holding,
        now: Timestamp,
    ) -> bool {
        let (turning, time) = if is_bad {
            (Reading::Good, holding.good_for)
        } else {
            (Reading::Bad, holding.bad_for)
        };
        if reading != turning {
            self.held = None;
            return false;
        }
        let held = self.held.filter(|(held, _)| *held == turning);
        let (_, since) = held.unwrap_or((turning, now));
        self.held = Some((turning, since));
        now.since(since) >= time
    }
}

#[cfg(test)]
mod tests;
