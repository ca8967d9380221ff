//! The system's clocks. No other file reads them.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::clock::contract::Clock;
use crate::clock::slewed::{MILLI, SlewedClock, nanos};
use crate::clock::timestamp::Timestamp;

/// The smallest difference between relay's clock and the system's that a start reports.
const REPORTED_SECONDS: i64 = 60;

/// The system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Stopwatch,
    boot_time_at_start: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    slewed: SlewedClock,
    /// How many nanoseconds the clock that is followed is ahead of the time since boot; none: the
    /// system's wall clock is followed.
    reference: Option<i64>,
}

impl State {
    /// The clock that is followed, in nanoseconds since the Unix epoch.
    fn wall(&self) -> i64 {
        match self.reference {
            Some(ahead) => nanos(boot_time()).saturating_add(ahead),
            None => wall_nanos(),
        }
    }

    fn whose(&self) -> &'static str {
        match self.reference {
            Some(_) => "the database's",
            None => "the system's",
        }
    }
}

impl SystemClock {
    /// A clock that begins at the wall clock's time.
    pub fn new() -> Self {
        Self {
            start: Stopwatch::start(),
            boot_time_at_start: Self::boot_time(),
            state: Mutex::new(State {
                slewed: SlewedClock::starting_at(wall_nanos()),
                reference: None,
            }),
        }
    }

    /// The time now and its lead over the wall clock, in nanoseconds.
    fn read(&self) -> (i64, i64) {
        let (now, ahead, jump, whose) = {
            let mut state = lock(&self.state);
            // Read under the lock, so that readings arrive in their order.
            let wall = state.wall();
            let (now, jump) = state.slewed.follow(self.elapsed(), wall);
            (now, state.slewed.ahead(), jump, state.whose())
        };
        if let Some(jump) = jump {
            let direction = if jump > 0 { "ahead" } else { "back" };
            let seconds = jump.unsigned_abs() / 1_000_000_000;
            log::warn!(
                "{whose} clock was set {direction} by {seconds} s: schedules and windows keep to \
                 the old time, and follow slowly"
            );
        }
        (now, ahead)
    }

    /// The time since boot: nobody can set it, and it advances while the machine sleeps.
    pub(crate) fn boot_time() -> Duration {
        boot_time()
    }

    fn elapsed(&self) -> i64 {
        nanos(Self::boot_time().saturating_sub(self.boot_time_at_start))
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.read().0 / MILLI)
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(lock(&self.state).wall() / MILLI)
    }

    fn ahead(&self) -> i64 {
        self.read().1 / MILLI
    }

    fn resume(&self, now: Timestamp) {
        let elapsed = self.elapsed();
        let now = now.as_millis().saturating_mul(MILLI);
        let wall = {
            let mut state = lock(&self.state);
            let wall = state.wall();
            state.slewed.resume(elapsed, wall, now);
            wall
        };
        let seconds = wall.saturating_sub(now) / 1_000_000_000;
        if seconds.abs() >= REPORTED_SECONDS {
            let direction = if seconds > 0 { "behind" } else { "ahead of" };
            log::warn!(
                "relay's clock goes on {} s {direction} the system's, and follows it slowly: that \
                 one was set, and what is stored was written by relay's; to follow at once, stop \
                 relay and run relay unlock --accept-data-loss",
                seconds.abs()
            );
        }
    }

    fn follow(&self, ahead_of_boot: i64) {
        let elapsed = self.elapsed();
        let mut state = lock(&self.state);
        let is_first = state.reference.replace(ahead_of_boot).is_none();
        if !is_first {
            return;
        }
        let wall = state.wall();
        state.slewed.resume(elapsed, wall, wall);
        drop(state);
        let seconds = wall_nanos().saturating_sub(wall) / 1_000_000_000;
        if seconds.abs() >= REPORTED_SECONDS {
            let direction = if seconds > 0 { "ahead of" } else { "behind" };
            log::warn!(
                "this machine's clock is {} s {direction} the database's, which relay follows",
                seconds.abs()
            );
        }
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Measures real time from its start. For deadlines: a clock that a test moves by hand must not
/// keep a process from ending.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Linux has a clock that counts on while the machine sleeps.
#[cfg(target_os = "linux")]
fn boot_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(time).expect("the time since boot isn't negative")
}

/// Without such a clock the relay catches up slowly with the time that the machine slept.
#[cfg(not(target_os = "linux"))]
fn boot_time() -> Duration {
    use std::sync::LazyLock;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

/// Nanoseconds since the Unix epoch; they reach to the year 2262. A clock beyond either end reads
/// as that end: ids and schedules stay in order.
fn wall_nanos() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, nanos)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of a clock's lock panics")
}
