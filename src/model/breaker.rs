use std::collections::VecDeque;
use std::time::Duration;

/// When a destination counts as broken, and how often it is then tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerRules {
    /// Failures in a row that open the breaker.
    pub failures: u32,
    /// The part of the attempts within `window` that opens it …
    pub ratio: f64,
    /// … if there were at least so many.
    pub min_attempts: u32,
    /// How far back `ratio` looks.
    pub window: Duration,
    /// When the first probe is made after it opened. Each failed probe doubles the wait …
    pub probe_after: Duration,
    /// … up to this.
    pub probe_cap: Duration,
}

impl Default for BreakerRules {
    /// The design's figures: ten failures end a blip's benefit of the doubt, five minutes see a
    /// receiver that fails most of the time, and a probe every ten minutes hurts nobody.
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

/// How an attempt ended, as far as the destination's health is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It answered as a destination does that is well, be it with a refusal of this one event.
    Well,
    /// It failed, or didn't answer.
    Failing,
    /// It says nothing about the destination's health, such as 429.
    Unknown,
}

/// What an attempt changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerChange {
    /// It opened, or a probe failed: the next probe is due after this long.
    Open(Duration),
    /// It closed.
    Closed,
}

/// Counting windows are cut into so many slices, each forgotten as a whole.
const SLICES: u32 = 10;

/// Keeps a broken destination from spending its deliveries' attempts: while it is open, one attempt
/// at a time goes out as a probe, further and further apart; the others wait and lose nothing.
///
/// Pure: times are monotonic and come from outside.
#[derive(Debug)]
pub struct Breaker {
    rules: BreakerRules,
    in_a_row: u32,
    /// Attempts and failures by slice of the window, the newest last.
    slices: VecDeque<Slice>,
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Slice {
    /// Which one, counted from the beginning of time.
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
    /// A closed one.
    pub fn new(rules: BreakerRules) -> Self {
        Self {
            rules,
            in_a_row: 0,
            slices: VecDeque::new(),
            open: None,
        }
    }

    /// Opens it as it was left: the next probe is due in `probe_in`, after a wait of `wait`. Neither
    /// is believed beyond the cap: the clock may have jumped meanwhile.
    pub fn reopen(&mut self, now: Duration, probe_in: Duration, wait: Duration) {
        let wait = wait.min(self.rules.probe_cap);
        self.open = Some(Open {
            probe_at: now.saturating_add(probe_in.min(wait)),
            wait,
        });
    }

    /// Whether another attempt may begin while `in_flight` are under way. An error says how long
    /// until one may; none if the one under way has to end first.
    pub fn admits(&self, now: Duration, in_flight: usize) -> Result<(), Option<Duration>> {
        match self.open {
            None => Ok(()),
            Some(open) if now < open.probe_at => Err(Some(open.probe_at.saturating_sub(now))),
            Some(_) if in_flight == 0 => Ok(()),
            Some(_) => Err(None),
        }
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Takes note of an attempt that ended.
    pub fn note(&mut self, health: Health, now: Duration) -> Option<BreakerChange> {
        match (health, self.open) {
            // A probe that tells nothing is made again after the same wait: it may have spent an attempt.
            (Health::Unknown, Some(open)) if now >= open.probe_at => {
                Some(self.open_for(now, open.wait))
            }
            (Health::Unknown, _) => None,
            (Health::Well, Some(_)) => {
                *self = Self::new(self.rules);
                Some(BreakerChange::Closed)
            }
            // One that began before the breaker opened tells nothing new.
            (Health::Failing, Some(open)) if now < open.probe_at => None,
            (Health::Failing, Some(open)) => {
                let wait = open.wait.saturating_mul(2).min(self.rules.probe_cap);
                Some(self.open_for(now, wait))
            }
            (Health::Well, None) => {
                self.in_a_row = 0;
                self.count(now, false);
                None
            }
            (Health::Failing, None) => {
                self.in_a_row = self.in_a_row.saturating_add(1);
                self.count(now, true);
                (self.in_a_row >= self.rules.failures || self.is_mostly_failing()).then(|| {
                    let wait = self.rules.probe_after;
                    self.open_for(now, wait)
                })
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
        let slice = (self.rules.window.as_nanos() / u128::from(SLICES)).max(1);
        let number = now.as_nanos() / slice;
        while let Some(oldest) = self.slices.front()
            && oldest.number + u128::from(SLICES) <= number
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

    fn is_mostly_failing(&self) -> bool {
        let sum = |of: fn(&Slice) -> u32| self.slices.iter().map(|s| f64::from(of(s))).sum::<f64>();
        let (attempts, failures) = (sum(|s| s.attempts), sum(|s| s.failures));
        attempts >= f64::from(self.rules.min_attempts) && failures >= attempts * self.rules.ratio
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn ten_failures_in_a_row_open_it_and_probes_are_further_and_further_apart() {
        let mut breaker = Breaker::new(BreakerRules::default());
        for n in 0..9 {
            // Well spread, so that only the row counts.
            assert_eq!(breaker.note(Health::Failing, at(n * 1000)), None);
        }
        assert_eq!(breaker.admits(at(8000), 5), Ok(()));
        let mut now = 9000;
        assert_eq!(
            breaker.note(Health::Failing, at(now)),
            Some(BreakerChange::Open(at(30)))
        );
        for wait in [30, 60, 120, 240, 480, 600, 600] {
            assert_eq!(breaker.admits(at(now), 0), Err(Some(at(wait))));
            // Attempts that were under way when it opened change nothing.
            assert_eq!(breaker.note(Health::Failing, at(now + 1)), None);
            now += wait;
            assert_eq!(breaker.admits(at(now), 0), Ok(()));
            assert_eq!(breaker.admits(at(now), 1), Err(None), "one probe at a time");
            let next = at((wait * 2).min(600));
            assert_eq!(
                breaker.note(Health::Failing, at(now)),
                Some(BreakerChange::Open(next))
            );
        }
        assert_eq!(
            breaker.note(Health::Well, at(now)),
            Some(BreakerChange::Closed)
        );
        assert_eq!(breaker.admits(at(now), 7), Ok(()));
        // A fresh start: what was before is forgotten.
        assert_eq!(breaker.note(Health::Failing, at(now)), None);
    }

    #[test]
    fn a_destination_that_mostly_fails_opens_it_too() {
        let mut breaker = Breaker::new(BreakerRules::default());
        // Three of ten succeed: 70 % fail, never many in a row.
        let pattern = [1, 0, 0, 1, 0, 0, 1, 0, 0, 0];
        let changes: Vec<_> = (0..)
            .zip(pattern)
            .map(|(n, well)| {
                let health = if well == 1 {
                    Health::Well
                } else {
                    Health::Failing
                };
                breaker.note(health, SECOND * n)
            })
            .collect();
        assert_eq!(changes[..9], [None; 9]);
        assert_eq!(changes[9], Some(BreakerChange::Open(at(30))));
        // The same over a longer time than the window opens nothing.
        let mut breaker = Breaker::new(BreakerRules::default());
        for (n, well) in (0..).zip(pattern.iter().cycle().take(100)) {
            let health = if *well == 1 {
                Health::Well
            } else {
                Health::Failing
            };
            assert_eq!(breaker.note(health, at(n * 60)), None);
        }
    }

    #[test]
    fn a_probe_that_tells_nothing_is_not_repeated_at_once() {
        let mut breaker = Breaker::new(BreakerRules::default());
        breaker.reopen(at(0), Duration::ZERO, at(120));
        assert_eq!(breaker.admits(at(0), 0), Ok(()));
        let again = Some(BreakerChange::Open(at(120)));
        assert_eq!(breaker.note(Health::Unknown, at(0)), again);
        assert_eq!(breaker.admits(at(1), 0), Err(Some(at(119))));
        // One that was under way before tells nothing either, and changes nothing.
        assert_eq!(breaker.note(Health::Unknown, at(1)), None);
    }

    #[test]
    fn what_was_left_open_is_not_believed_beyond_the_cap() {
        let mut breaker = Breaker::new(BreakerRules::default());
        breaker.reopen(at(5), Duration::MAX, Duration::MAX);
        assert_eq!(breaker.admits(at(5), 0), Err(Some(at(600))));
        breaker.reopen(at(5), Duration::ZERO, at(60));
        assert_eq!(breaker.admits(at(5), 0), Ok(()));
    }

    proptest! {
        #[test]
        fn it_always_admits_somebody_within_the_cap(
            events in prop::collection::vec((0u64..400, prop_oneof![
                Just(Health::Well), Just(Health::Failing), Just(Health::Unknown)
            ]), 0..200),
        ) {
            let rules = BreakerRules::default();
            let mut breaker = Breaker::new(rules);
            let mut now = Duration::ZERO;
            for (pass, health) in events {
                now += at(pass);
                let was_open = breaker.is_open();
                let change = breaker.note(health, now);
                match change {
                    Some(BreakerChange::Open(wait)) => {
                        prop_assert!(health != Health::Well && breaker.is_open());
                        prop_assert!(was_open || health == Health::Failing);
                        prop_assert!(wait >= rules.probe_after && wait <= rules.probe_cap);
                    }
                    Some(BreakerChange::Closed) => {
                        prop_assert!(health == Health::Well && was_open && !breaker.is_open());
                    }
                    None => prop_assert_eq!(was_open, breaker.is_open()),
                }
                if let Err(wait) = breaker.admits(now, 0) {
                    let wait = wait.expect("nothing is under way");
                    prop_assert!(wait <= rules.probe_cap);
                    prop_assert_eq!(breaker.admits(now + wait, 0), Ok(()));
                }
                if health == Health::Well {
                    prop_assert!(!breaker.is_open());
                }
            }
        }
    }
}
