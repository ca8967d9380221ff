//! The only place that asks the system for the time.
//!
//! [`Clock::now`] is what everything is stored and scheduled by: the wall clock as it was at the
//! start, carried on by a clock that nobody can set, and drawn back to the wall clock slowly. So a
//! wall clock that jumps by hours or years makes nothing expire, come early or wait for years.
//! [`Clock::wall`] is for what others compare with their own clocks. Intervals within the process
//! come from [`Clock::monotonic`].

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch; shown as RFC 3339 in UTC with a `Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch.
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The moment `by` later; stays at the end of time rather than overflowing.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(millis(by)))
    }

    /// The moment `by` earlier.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(millis(by)))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // jiff's range is years -9999 to 9999; a stored time beyond it is shown at the edge.
        let shown = jiff::Timestamp::from_millisecond(self.0).unwrap_or(if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        });
        write!(f, "{shown:.3}")
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where the time comes from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time to store and to schedule by. Never goes back while the process runs.
    fn now(&self) -> Timestamp;

    /// What the wall clock says: for signatures, dates from outside, and probes.
    fn wall(&self) -> Timestamp;

    /// Time since an arbitrary start, never going back.
    fn monotonic(&self) -> Duration;

    /// How far [`Clock::now`] is ahead of the wall clock, in milliseconds: by one look at both.
    fn ahead(&self) -> i64;

    /// Goes on from `now`, where an earlier process left off. For the start alone.
    fn resume(&self, now: Timestamp);

    /// Asks to be called whenever the time is moved by hand. The system's clock never calls:
    /// whoever waits on it bounds its waits instead.
    fn on_jump(&self, _call: Box<dyn Fn() + Send + Sync>) {}
}

/// How much faster or slower than real time we go until we agree with the wall clock again: one part
/// in twenty. A decision: every wait and window stays within 5 % of what was promised, a clock that
/// was a minute wrong is followed within 20 minutes and one that was two hours wrong within two days.
const SLEW: i64 = 20;
/// A millisecond, in nanoseconds.
const MILLI: i64 = 1_000_000;
/// A disagreement that is worth a line in the log when it comes.
const JUMP: i64 = 1_000_000_000;

/// A time that goes on evenly while the wall clock is being set. All in nanoseconds.
#[derive(Debug)]
struct Steady {
    now: i64,
    /// The even clock at the last look.
    elapsed: i64,
    /// How far the wall clock was ahead at the last look.
    gap: i64,
}

impl Steady {
    fn starting_at(wall: i64) -> Self {
        Self {
            now: wall,
            elapsed: 0,
            gap: 0,
        }
    }

    fn resume(&mut self, elapsed: i64, wall: i64, now: i64) {
        *self = Self {
            now,
            elapsed,
            gap: wall.saturating_sub(now),
        };
    }

    /// The time now, and by how much the wall clock was set since the last look, if it was. Saturates
    /// at the end of time, as everything here does.
    fn follow(&mut self, elapsed: i64, wall: i64) -> (i64, Option<i64>) {
        let passed = elapsed.saturating_sub(self.elapsed).max(0);
        self.elapsed = self.elapsed.saturating_add(passed);
        let gap = wall.saturating_sub(self.now.saturating_add(passed));
        let jump = gap.saturating_sub(self.gap);
        let slew = gap.clamp(-passed / SLEW, passed / SLEW);
        let went = passed.saturating_add(slew);
        self.now = self.now.saturating_add(went);
        self.gap = gap.saturating_sub(slew);
        (self.now, (jump.saturating_abs() >= JUMP).then_some(jump))
    }

    /// How far ahead of the wall clock this was at the last look.
    fn ahead(&self) -> i64 {
        self.gap.saturating_neg()
    }
}

/// The system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
    even_start: Duration,
    steady: Mutex<Steady>,
}

impl SystemClock {
    /// A clock that begins at what the wall clock says now.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            even_start: even(),
            steady: Mutex::new(Steady::starting_at(wall_nanos())),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

/// A clock that nobody sets, and that goes on while the machine sleeps.
#[cfg(target_os = "linux")]
fn even() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(time).expect("the time since boot isn't negative")
}

/// Where there is no such clock, the time asleep is caught up with slowly.
#[cfg(not(target_os = "linux"))]
fn even() -> Duration {
    use std::sync::LazyLock;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

/// Nanoseconds since the Unix epoch, which reach to the year 2262. A clock outside of that reads as
/// its end: what matters is that ids and schedules stay ordered.
fn wall_nanos() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, nanos)
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

impl SystemClock {
    /// The time now and how far it is ahead, in nanoseconds.
    fn look(&self) -> (i64, i64) {
        let (now, ahead, jump) = {
            let mut steady = lock(&self.steady);
            // Read under the lock, so that no two looks come in the wrong order.
            let elapsed = nanos(even().saturating_sub(self.even_start));
            let (now, jump) = steady.follow(elapsed, wall_nanos());
            (now, steady.ahead(), jump)
        };
        if let Some(jump) = jump {
            let direction = if jump > 0 { "ahead" } else { "back" };
            let seconds = jump.unsigned_abs() / 1_000_000_000;
            log::warn!(
                "the system's clock was set {direction} by {seconds} s: schedules and windows keep to the old time, and follow slowly"
            );
        }
        (now, ahead)
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.look().0 / MILLI)
    }

    fn wall(&self) -> Timestamp {
        Timestamp(wall_nanos() / MILLI)
    }

    fn ahead(&self) -> i64 {
        self.look().1 / MILLI
    }

    fn resume(&self, now: Timestamp) {
        let elapsed = nanos(even().saturating_sub(self.even_start));
        let wall = wall_nanos();
        let now = now.0.saturating_mul(MILLI);
        lock(&self.steady).resume(elapsed, wall, now);
        let seconds = wall.saturating_sub(now) / 1_000_000_000;
        if seconds.abs() >= 60 {
            let direction = if seconds > 0 { "behind" } else { "ahead of" };
            log::warn!(
                "relay's clock goes on {} s {direction} the system's, and follows it slowly: that one was set, and what is stored was written by relay's; to follow at once, stop relay and run relay unlock --accept-data-loss",
                seconds.abs()
            );
        }
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that moves only when told to: for tests and examples that must not wait.
pub struct FakeClock {
    state: Mutex<Faked>,
    on_jump: Mutex<Vec<Box<dyn Fn() + Send + Sync>>>,
}

struct Faked {
    steady: Steady,
    wall: Timestamp,
    monotonic: Duration,
}

impl FakeClock {
    /// A clock that stands at `now`.
    pub fn at(now: Timestamp) -> Self {
        Self {
            state: Mutex::new(Faked {
                steady: Steady::starting_at(now.0.saturating_mul(MILLI)),
                wall: now,
                monotonic: Duration::ZERO,
            }),
            on_jump: Mutex::new(Vec::new()),
        }
    }

    /// Lets `by` pass, on the wall and on the monotonic side, and wakes whoever waits.
    pub fn advance(&self, by: Duration) {
        {
            let mut state = lock(&self.state);
            state.wall = state.wall.plus(by);
            state.monotonic = state.monotonic.saturating_add(by);
        }
        self.wake();
    }

    /// Sets the wall clock alone, as an operator or NTP would.
    pub fn set_wall(&self, to: Timestamp) {
        // The time that passed until now passed on the old clock.
        self.now();
        lock(&self.state).wall = to;
        self.wake();
    }

    fn wake(&self) {
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

impl Faked {
    /// What the even clock and the wall clock say, in nanoseconds.
    fn clocks(&self) -> (i64, i64) {
        (nanos(self.monotonic), self.wall.0.saturating_mul(MILLI))
    }

    fn look(&mut self) -> i64 {
        let (elapsed, wall) = self.clocks();
        self.steady.follow(elapsed, wall).0
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp(lock(&self.state).look().div_euclid(MILLI))
    }

    fn wall(&self) -> Timestamp {
        lock(&self.state).wall
    }

    fn ahead(&self) -> i64 {
        let mut state = lock(&self.state);
        state.look();
        state.steady.ahead() / MILLI
    }

    fn resume(&self, now: Timestamp) {
        let mut state = lock(&self.state);
        let (elapsed, wall) = state.clocks();
        let now = now.0.saturating_mul(MILLI);
        state.steady.resume(elapsed, wall, now);
    }

    fn monotonic(&self) -> Duration {
        lock(&self.state).monotonic
    }

    fn on_jump(&self, call: Box<dyn Fn() + Send + Sync>) {
        lock(&self.on_jump).push(call);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no holder of a clock's lock panics")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_rfc_3339_in_utc_with_milliseconds() {
        assert_eq!(
            Timestamp::from_millis(1_700_000_000_007).to_string(),
            "2023-11-14T22:13:20.007Z"
        );
        assert_eq!(
            Timestamp::from_millis(0).to_string(),
            "1970-01-01T00:00:00.000Z"
        );
    }

    #[test]
    fn arithmetic_saturates() {
        let end = Timestamp::from_millis(i64::MAX);
        assert_eq!(end.plus(Duration::MAX), end);
        assert_eq!(Timestamp::from_millis(5).since(end), Duration::ZERO);
        assert!(end.to_string().starts_with("9999-12-30"));
    }

    #[test]
    fn a_fake_clock_moves_only_when_told_and_tells_who_waits() {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicU32, Ordering};

        let clock = FakeClock::at(Timestamp::from_millis(1_000));
        let woken = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&woken);
        clock.on_jump(Box::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        }));
        clock.advance(Duration::from_secs(2));
        clock.set_wall(Timestamp::from_millis(500));
        assert_eq!(clock.wall(), Timestamp::from_millis(500));
        assert_eq!(clock.now(), Timestamp::from_millis(3_000));
        assert_eq!(clock.monotonic(), Duration::from_secs(2));
        assert_eq!(woken.load(Ordering::Relaxed), 2);
    }

    const SECOND: i64 = 1_000_000_000;
    const YEAR: i64 = 365 * 24 * 3600 * SECOND;

    #[test]
    fn a_wall_clock_that_is_set_is_followed_slowly_and_told_of_once() {
        for jump in [7_200 * SECOND, -7_200 * SECOND, 10 * YEAR, -10 * YEAR] {
            let start = 50 * YEAR;
            let mut steady = Steady::starting_at(start);
            assert_eq!(
                steady.follow(SECOND, start + SECOND),
                (start + SECOND, None)
            );
            let (mut now, told) = steady.follow(SECOND, start + SECOND + jump);
            assert_eq!((now, told), (start + SECOND, Some(jump)));
            // An hour later it is within 5 % of an hour later, on the wall's side.
            for second in 2..=3_601 {
                let wall = start + second * SECOND + jump;
                let (next, told) = steady.follow(second * SECOND, wall);
                assert_eq!(told, None);
                assert!(next > now);
                now = next;
            }
            let passed = now - start - SECOND;
            assert_eq!(passed, (3_600 + 180 * jump.signum()) * SECOND);
        }
    }

    #[test]
    fn a_small_disagreement_is_made_up_at_once_and_never_overshot() {
        let mut steady = Steady::starting_at(0);
        let (now, told) = steady.follow(SECOND, SECOND + SECOND / 100);
        assert_eq!((now, told), (SECOND + SECOND / 100, None));
        // A minute off is made up within twenty.
        steady.follow(2 * SECOND, 62 * SECOND);
        let (now, _) = steady.follow(1_202 * SECOND, 1_262 * SECOND);
        assert_eq!(now, 1_262 * SECOND);
    }

    #[test]
    fn the_systems_clock_agrees_with_the_wall_when_nobody_sets_it() {
        let clock = SystemClock::new();
        let apart = clock.now().as_millis().abs_diff(clock.wall().as_millis());
        assert!(apart < 60_000, "{apart} ms");
    }

    proptest::proptest! {
        #[test]
        fn time_never_overflows_nor_goes_back(
            resumed: (i64, i64, i64),
            looks in proptest::collection::vec(proptest::prelude::any::<(i64, i64)>(), 1..20)
        ) {
            let (elapsed, wall, mut now) = resumed;
            let mut steady = Steady::starting_at(wall);
            steady.resume(elapsed, wall, now);
            for (elapsed, wall) in looks {
                let (next, _) = steady.follow(elapsed, wall);
                proptest::prop_assert!(next >= now);
                now = next;
                steady.ahead();
            }
        }

        #[test]
        fn time_never_goes_back_nor_strays_from_real_time(
            steps in proptest::collection::vec((0..10 * SECOND, -20 * YEAR..20 * YEAR), 1..50)
        ) {
            let mut steady = Steady::starting_at(30 * YEAR);
            let mut elapsed = 0;
            let mut now = 30 * YEAR;
            for (passed, wall) in steps {
                elapsed += passed;
                let (next, _) = steady.follow(elapsed, 30 * YEAR + wall);
                let went = next - now;
                proptest::prop_assert!(went >= passed - passed / SLEW);
                proptest::prop_assert!(went <= passed + passed / SLEW);
                now = next;
            }
        }
    }
}
