//! When a certificate is asked for. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ops::notices::Validity;

/// The wait after the first failure; it doubles with each further one, up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_secs(6 * 3600);
/// The wait after an authority has said that there were too many requests, and not until when: its
/// limits are counted by the hour or the week.
const LIMITED_WAIT: Duration = Duration::from_secs(3600);
/// The longest wait that an authority may ask for. Its limits are counted by the week at most, and
/// a certificate of 90 days has a month left when its renewal is tried first.
const LONGEST_LIMIT: Duration = Duration::from_secs(7 * 86_400);
/// The age, by its first date, at which a certificate may be renewed because the authority advises
/// so. An authority whose advice is always in the past would be asked for one certificate after the
/// other.
const LEAST_AGE: Duration = Duration::from_secs(6 * 3600);

/// The tries so far. Written before each try, so that a process that ends in the middle, again and
/// again, waits as if the try had failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tries {
    /// When the last one began, in milliseconds of the system's clock; none before the first.
    last_at: Option<i64>,
    /// Failures since the last certificate.
    failures: u32,
    /// Whether the authority limits the rate.
    #[serde(default)]
    is_limited: bool,
    /// The seconds to wait, if the authority has named them.
    #[serde(default)]
    limited_for: Option<u64>,
}

/// The end of a try that brought no certificate of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Most often the next try may succeed.
    Ordinary,
    /// The authority limits the rate, and may have said for how long.
    Limited(Option<Duration>),
    /// The certificate came, and by the system's clock it is not valid or is due for renewal at
    /// once. Each further one would be the same, and authorities limit duplicates by the week.
    OutOfTime,
}

impl Tries {
    /// A try begins: until it ends well it counts as a failure.
    pub fn begin(&mut self, now: Timestamp) {
        self.last_at = Some(now.as_millis());
        self.failures = self.failures.saturating_add(1);
        self.is_limited = false;
        self.limited_for = None;
    }

    /// The try has brought a certificate.
    pub fn succeed(&mut self) {
        self.failures = 0;
    }

    /// The try has brought none.
    pub fn fail(&mut self, failure: Failure) {
        match failure {
            Failure::Ordinary => {}
            Failure::Limited(wait) => {
                self.is_limited = true;
                self.limited_for = wait.map(|wait| wait.as_secs());
            }
            // The longest wait at once.
            Failure::OutOfTime => self.failures = self.failures.max(u32::BITS),
        }
    }

    /// Failures since the last certificate.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// How long to wait, given the certificate that there is, and the time at which the authority
    /// advises to renew it. Advice makes a renewal earlier and never later.
    pub fn wait(
        &self,
        certificate: Option<Validity>,
        advised: Option<Timestamp>,
        now: Timestamp,
    ) -> Duration {
        let wanted = certificate.map_or(Duration::ZERO, |validity| {
            let least = validity.not_before.plus(LEAST_AGE);
            let advised = advised.map(|at| at.max(least));
            let at = renew_at(validity);
            advised.map_or(at, |advised| at.min(advised)).since(now)
        });
        wanted.max(self.pause(now))
    }

    /// The rest of the pause since the last try. A try that lies in the future was made before the
    /// clock was set back: when it was is unknown, and no reason to wait for that future.
    fn pause(&self, now: Timestamp) -> Duration {
        let Some(last_at) = self.last_at.map(Timestamp::from_millis) else {
            return Duration::ZERO;
        };
        if last_at > now {
            return Duration::ZERO;
        }
        let doubled =
            FIRST_WAIT.checked_mul(1_u32.checked_shl(self.failures.max(1) - 1).unwrap_or(0));
        let wait = match doubled {
            Some(wait) if !wait.is_zero() => wait.min(LONGEST_WAIT),
            _ => LONGEST_WAIT,
        };
        let wait = if self.is_limited {
            let limit = self.limited_for.map_or(LIMITED_WAIT, Duration::from_secs);
            wait.max(limit.min(LONGEST_LIMIT))
        } else {
            wait
        };
        last_at.plus(wait).since(now)
    }
}

/// When a certificate is renewed: with a third of its lifetime left, which is a month of three, and
/// two days of six.
pub(super) fn renew_at(validity: Validity) -> Timestamp {
    validity.not_after.minus(validity.lifetime() / 3)
}

/// Whether a certificate that has just come is of use by this clock.
pub(super) fn is_in_time(validity: Validity, now: Timestamp) -> bool {
    validity.not_before <= now && now < renew_at(validity)
}

#[cfg(test)]
mod tests;
