//! A clock that tests move by hand.

use std::fmt;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::clock::contract::Clock;
use crate::clock::slewed::{MILLI, SlewedClock, nanos};
use crate::clock::timestamp::Timestamp;

/// A clock that advances only when told to: for tests and examples that must not wait.
pub struct FakeClock {
    state: Mutex<FakeState>,
    on_jump: Mutex<Vec<Box<dyn Fn() + Send + Sync>>>,
}

struct FakeState {
    slewed: SlewedClock,
    wall: Timestamp,
    monotonic: Duration,
}

impl FakeClock {
    /// A clock that stands at `now`.
    pub fn at(now: Timestamp) -> Self {
        Self {
            state: Mutex::new(FakeState {
                slewed: SlewedClock::starting_at(now.as_millis().saturating_mul(MILLI)),
                wall: now,
                monotonic: Duration::ZERO,
            }),
            on_jump: Mutex::new(Vec::new()),
        }
    }

    /// Advances the wall clock and the monotonic clock, and runs the registered calls.
    pub fn advance(&self, by: Duration) {
        {
            let mut state = lock(&self.state);
            state.wall = state.wall.plus(by);
            state.monotonic = state.monotonic.saturating_add(by);
        }
        self.notify();
    }

    /// Sets the wall clock alone, as an operator or NTP would.
    pub fn set_wall(&self, to: Timestamp) {
        // The time until now passed on the old wall clock.
        self.now();
        lock(&self.state).wall = to;
        self.notify();
    }

    fn notify(&self) {
        for call in lock(&self.on_jump).iter() {
            call();
        }
    }
}

impl fmt::Debug for FakeClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FakeClock").field(&self.now()).finish()
    }
}

impl FakeState {
    /// The monotonic clock and the wall clock, in nanoseconds.
    fn clocks(&self) -> (i64, i64) {
        (
            nanos(self.monotonic),
            self.wall.as_millis().saturating_mul(MILLI),
        )
    }

    fn read(&mut self) -> i64 {
        let (elapsed, wall) = self.clocks();
        self.slewed.follow(elapsed, wall).0
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(lock(&self.state).read().div_euclid(MILLI))
    }

    fn wall(&self) -> Timestamp {
        lock(&self.state).wall
    }

    fn ahead(&self) -> i64 {
        let mut state = lock(&self.state);
        state.read();
        state.slewed.ahead() / MILLI
    }

    fn resume(&self, now: Timestamp) {
        let mut state = lock(&self.state);
        let (elapsed, wall) = state.clocks();
        let now = now.as_millis().saturating_mul(MILLI);
        state.slewed.resume(elapsed, wall, now);
    }

    fn monotonic(&self) -> Duration {
        lock(&self.state).monotonic
    }

    fn on_jump(&self, call: Box<dyn Fn() + Send + Sync>) {
        lock(&self.on_jump).push(call);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of a clock's lock panics")
}
