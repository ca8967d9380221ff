//! The only place that asks the system for the time.
//!
//! Wall time ([`Clock::now`]) is for what is stored and shown. Intervals come from
//! [`Clock::monotonic`], which a jump of the wall clock does not move.

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
    /// The wall clock.
    fn now(&self) -> Timestamp;

    /// Time since an arbitrary start, never going back.
    fn monotonic(&self) -> Duration;

    /// Asks to be called whenever the time is moved by hand. The system's clock never calls:
    /// whoever waits on it bounds its waits instead.
    fn on_jump(&self, _call: Box<dyn Fn() + Send + Sync>) {}
}

/// The system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic side starts now.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // A clock before 1970 reads as 1970: what matters is that ids and schedules stay ordered.
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Timestamp(millis(since_epoch))
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that moves only when told to: for tests and examples that must not wait.
pub struct FakeClock {
    state: Mutex<(Timestamp, Duration)>,
    on_jump: Mutex<Vec<Box<dyn Fn() + Send + Sync>>>,
}

impl FakeClock {
    /// A clock that stands at `now`.
    pub fn at(now: Timestamp) -> Self {
        Self {
            state: Mutex::new((now, Duration::ZERO)),
            on_jump: Mutex::new(Vec::new()),
        }
    }

    /// Lets `by` pass, on the wall and on the monotonic side, and wakes whoever waits.
    pub fn advance(&self, by: Duration) {
        {
            let mut state = lock(&self.state);
            state.0 = state.0.plus(by);
            state.1 += by;
        }
        for call in lock(&self.on_jump).iter() {
            call();
        }
    }

    /// Sets the wall clock alone, as an operator or NTP would.
    pub fn set_wall(&self, to: Timestamp) {
        lock(&self.state).0 = to;
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

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        lock(&self.state).0
    }

    fn monotonic(&self) -> Duration {
        lock(&self.state).1
    }

    fn on_jump(&self, call: Box<dyn Fn() + Send + Sync>) {
        lock(&self.on_jump).push(call);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("no holder of the fake clock's lock panics")
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
        assert_eq!(clock.now(), Timestamp::from_millis(500));
        assert_eq!(clock.monotonic(), Duration::from_secs(2));
        assert_eq!(woken.load(Ordering::Relaxed), 2);
    }
}
