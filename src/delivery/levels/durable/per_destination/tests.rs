mod limits;
mod shares;

use super::*;
use crate::clock::{Clock as _, FakeClock, Timestamp};
use crate::config::{Config, RateLimit};
use crate::delivery::attempt::QUICK;
use crate::delivery::levels::durable::limits::MIN_STREAK;
use crate::delivery::outcome::Class;
use crate::model::{BreakerChange, FailureKind, Level};

struct Scene {
    clock: FakeClock,
    limits: PerDestination,
    config: Resolved,
    /// The reputations with which attempts in flight began, by destination.
    in_flight: HashMap<i64, Vec<Reputation>>,
    occupancy: Occupancy,
    /// Attempts of the destination with the fewest that was refused one more for a reserve.
    fewest: usize,
}

impl Scene {
    fn new(workers: usize, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.delivery.workers = workers;
        config.delivery.level = Some(Level::Durable);
        change(&mut config);
        let config = config.resolve();
        Self {
            limits: PerDestination::new(&config),
            clock: FakeClock::at(Timestamp::from_millis(0)),
            config,
            in_flight: HashMap::new(),
            occupancy: Occupancy::default(),
            fewest: usize::MAX,
        }
    }

    /// A destination that is taken up. One with a negative id is named.
    fn target(&mut self, id: i64) -> Target {
        self.remembered(id, Remembered::default())
    }

    fn remembered(&mut self, id: i64, remembered: Remembered) -> Target {
        let name = if id < 0 {
            format!("named{id}")
        } else {
            format!("http://{id}.example")
        };
        let target = Target::new(DestinationId::of_test(id), &name, &self.config, true);
        self.limits
            .take_up(&target, remembered, self.clock.monotonic());
        target
    }

    fn admit(&mut self, target: &Target, planned: usize) -> Result<(), Refusal> {
        let in_flight = self.count(target.id.number());
        let occupancy = self.occupancy;
        self.limits.admit(&Request {
            target,
            in_flight,
            planned,
            occupancy: &occupancy,
            now: self.clock.monotonic(),
        })
    }

    /// Begins as many attempts as are admitted, up to `at_most`.
    fn begin(&mut self, id: i64, at_most: usize) -> usize {
        let target = self.target(id);
        let (is_named, now) = (target.is_named(), self.clock.monotonic());
        let reputation = self.limits.reputation(&target);
        let before = self.count(id);
        self.fewest = usize::MAX;
        let mut begun = 0;
        while begun < at_most {
            match self.admit(&target, begun) {
                Ok(()) => self.occupancy.add(is_named, reputation),
                Err(Refusal::Reserved) => {
                    self.fewest = self.fewest.min(before + begun);
                    break;
                }
                Err(_) => break,
            }
            begun += 1;
        }
        if at_most > 0 {
            self.limits.resume(&target, before, now);
        }
        for _ in 0..begun {
            self.limits.spend(&target, now);
        }
        let all = self.in_flight.entry(id).or_default();
        all.extend(std::iter::repeat_n(reputation, begun));
        begun
    }

    fn count(&self, id: i64) -> usize {
        self.in_flight.get(&id).map_or(0, Vec::len)
    }

    fn suspects(&self) -> usize {
        self.occupancy.count(false, &[Suspect])
    }

    fn end(&mut self, id: i64, outcome: &Outcome) -> Option<BreakerChange> {
        self.end_after(id, outcome, Duration::from_millis(5))
    }

    fn end_after(&mut self, id: i64, outcome: &Outcome, took: Duration) -> Option<BreakerChange> {
        self.withdraw(id);
        let (target, now) = (self.target(id), self.clock.monotonic());
        self.limits.ended(&target, outcome, took, now).breaker
    }

    /// An attempt comes back without having been made.
    fn withdraw(&mut self, id: i64) {
        let began = self.in_flight.get_mut(&id).and_then(Vec::pop);
        self.occupancy.remove(id < 0, began.expect("it began"));
    }

    fn all_end(&mut self, id: i64, outcome: &Outcome) {
        for _ in 0..self.count(id) {
            self.end(id, outcome);
        }
    }

    /// Deliveries that may be prefetched for a destination that doesn't yield to others.
    fn max_prefetched(&mut self, id: i64) -> usize {
        let target = self.target(id);
        if self.count(id) > self.fewest.saturating_add(1) {
            0
        } else {
            self.limits.max_prefetched(&target)
        }
    }
}

fn timeout() -> Outcome {
    Outcome::failed(Class::Transient, FailureKind::Timeout, "slow")
}

fn refuses_one_event() -> Outcome {
    Outcome::failed(Class::Permanent, FailureKind::Status, "answered 422")
}

fn refused() -> Outcome {
    Outcome::failed(Class::Transient, FailureKind::Refused, "down")
}
