//! The circuit breaker of a destination.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

/// When a breaker opens, and how often it then probes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerRules {
    /// Consecutive failures that open the breaker.
    pub failures: u32,
    /// The fraction of failed attempts within `window` that opens it.
    pub ratio: f64,
    /// The attempts within `window` from which on `ratio` counts.
    pub min_attempts: u32,
    /// The window of `ratio`.
    pub window: Duration,
    /// The wait from the opening to the first probe. Each failed probe doubles the wait.
    pub probe_after: Duration,
    /// The longest wait between two probes.
    pub probe_cap: Duration,
}

impl Default for BreakerRules {
    /// The design's figures: ten failures are more than a blip, five minutes reveal a receiver that
    /// fails most of the time, and a probe every ten minutes is no load.
    fn default() -> Self {
        Self {
            failures: 10,
            ratio: 0.7,
            min_attempts: 10,
            window: Duration::from_secs(5 * 60),
            probe_after: Duration::from_secs(30),
            probe_cap: Duration::from_secs(10 * 60),
        }
    }
}

/// The verdict of an attempt on the health of its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// The destination works: it answered, if only to refuse this one event.
    Well,
    /// The destination failed or didn't answer.
    Failing,
    /// The answer says nothing about the destination's health, such as 429.
    Unknown,
}

/// A change of the breaker's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerChange {
    /// The breaker opened, or a probe failed: the next probe is due after this wait.
    Open(Duration),
    /// The breaker closed.
    Closed,
}

/// The difference between two times of a probe that is none.
const PROBE_SLACK: Duration = Duration::from_secs(1);

/// Slices of the window. A slice expires as a whole, so that the counts are bounded.
const SLICES: u32 = 10;

/// The circuit breaker of one destination. While it is open only one attempt at a time is made,
/// as a probe, at growing intervals; the other deliveries wait without spending attempts.
///
/// Pure: times are monotonic and come from the caller.
#[derive(Debug)]
pub struct Breaker {
    rules: BreakerRules,
    consecutive_failures: u32,
    /// Attempts and failures by slice of the window, the newest last; at most [`SLICES`].
    slices: VecDeque<Slice>,
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Slice {
    /// The slice's index on the monotonic clock.
    number: u128,
    attempts: u32,
    failures: u32,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    probe_at: Duration,
    wait: Duration,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(rules: BreakerRules) -> Self {
        Self {
            rules,
            consecutive_failures: 0,
            slices: VecDeque::new(),
            open: None,
        }
    }

    /// Restores an open breaker: the next probe is due in `probe_in`, after a wait of `wait`.
    /// Both are capped at `probe_cap`: the clock may have jumped meanwhile.
    pub fn reopen(&mut self, now: Duration, probe_in: Duration, wait: Duration) {
        let wait = wait.min(self.rules.probe_cap);
        self.open = Some(Open {
            probe_at: now.saturating_add(probe_in.min(wait)),
            wait,
        });
    }

    /// Goes on under other rules. The counts of a window of another length are dropped.
    pub fn set_rules(&mut self, rules: BreakerRules) {
        if rules.window != self.rules.window {
            self.slices.clear();
        }
        if let Some(open) = &mut self.open {
            open.wait = open.wait.min(rules.probe_cap);
        }
        self.rules = rules;
    }

    /// Lets the next probe go at once, if the breaker is open.
    pub fn probe_now(&mut self, now: Duration) {
        if let Some(open) = &mut self.open {
            open.probe_at = open.probe_at.min(now);
        }
    }

    /// Whether another attempt may begin while `in_flight` are in flight. The error is the time
    /// until the next probe; none if the probe in flight has to end first.
    pub fn admits(&self, now: Duration, in_flight: usize) -> Result<(), Option<Duration>> {
        match self.open {
            None => Ok(()),
            Some(open) if now < open.probe_at => Err(Some(open.probe_at.saturating_sub(now))),
            Some(_) if in_flight == 0 => Ok(()),
            Some(_) => Err(None),
        }
    }

    /// Lets the next probe go at `at`, if the breaker is open and its next probe is due later than
    /// that by more than a second: two clocks agree on a time to some milliseconds only.
    pub fn bring_probe_forward(&mut self, at: Duration) {
        if let Some(open) = &mut self.open
            && at.saturating_add(PROBE_SLACK) < open.probe_at
        {
            open.probe_at = at;
        }
    }

    /// Whether the breaker is open.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether the breaker is closed, and counts no failure.
    pub fn has_no_failures(&self, now: Duration) -> bool {
        let number = self.slice_number(now);
        let mut counted = self.slices.iter().filter(|slice| !slice.is_over(number));
        self.open.is_none()
            && self.consecutive_failures == 0
            && counted.all(|slice| slice.failures == 0)
    }

    /// Records the end of an attempt.
    pub fn note(&mut self, health: Health, now: Duration) -> Option<BreakerChange> {
        match (health, self.open) {
            // An inconclusive probe is repeated after the same wait: it may have spent an attempt.
            (Health::Unknown, Some(open)) if now >= open.probe_at => {
                Some(self.open_for(now, open.wait))
            }
            (Health::Unknown, _) => None,
            (Health::Well, Some(_)) => {
                *self = Self::new(self.rules);
                Some(BreakerChange::Closed)
            }
            // An attempt that began before the breaker opened tells nothing new.
            (Health::Failing, Some(open)) if now < open.probe_at => None,
            (Health::Failing, Some(open)) => {
                let wait = open.wait.saturating_mul(2).min(self.rules.probe_cap);
                Some(self.open_for(now, wait))
            }
            (Health::Well, None) => {
                self.consecutive_failures = 0;
                self.count(now, false);
                None
            }
            (Health::Failing, None) => {
                self.consecutive_failures = self.consecutive_failures.saturating_add(1);
                self.count(now, true);
                let is_broken =
                    self.consecutive_failures >= self.rules.failures || self.is_mostly_failing();
                is_broken.then(|| self.open_for(now, self.rules.probe_after))
            }
        }
    }

    fn open_for(&mut self, now: Duration, wait: Duration) -> BreakerChange {
        self.open = Some(Open {
            probe_at: now.saturating_add(wait),
            wait,
        });
        BreakerChange::Open(wait)
    }

    fn count(&mut self, now: Duration, is_failure: bool) {
        let number = self.slice_number(now);
        while let Some(oldest) = self.slices.front()
            && oldest.is_over(number)
        {
            self.slices.pop_front();
        }
        if self.slices.back().is_none_or(|last| last.number != number) {
            self.slices.push_back(Slice {
                number,
                attempts: 0,
                failures: 0,
            });
        }
        if let Some(last) = self.slices.back_mut() {
            last.attempts = last.attempts.saturating_add(1);
            last.failures = last.failures.saturating_add(u32::from(is_failure));
        }
    }

    /// The slice that a time falls into.
    fn slice_number(&self, now: Duration) -> u128 {
        let slice = (self.rules.window.as_nanos() / u128::from(SLICES)).max(1);
        now.as_nanos() / slice
    }

    fn is_mostly_failing(&self) -> bool {
        let sum = |of: fn(&Slice) -> u32| self.slices.iter().map(|s| f64::from(of(s))).sum::<f64>();
        let (attempts, failures) = (sum(|s| s.attempts), sum(|s| s.failures));
        attempts >= f64::from(self.rules.min_attempts) && failures >= attempts * self.rules.ratio
    }
}

impl Slice {
    /// Whether the slice has left the window by the time of the slice `number`.
    fn is_over(&self, number: u128) -> bool {
        self.number + u128::from(SLICES) <= number
    }
}
