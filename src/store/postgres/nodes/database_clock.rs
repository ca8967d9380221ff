//! The database's clock, as this node follows it.
//!
//! An answer tells what the database's clock said at some moment between the request and the
//! answer: the shorter the round trip, the more exactly. So of the last minute's heartbeats the one
//! with the shortest round trip counts.

use std::collections::VecDeque;

use crate::clock::Clock;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::nodes::lease_clock::boot_nanos;

/// A heartbeat's answer counts for a minute: two clocks part by some milliseconds in that time.
const KEPT_NANOS: i64 = 60 * 1_000_000_000;

/// Looks at a start. The first one's statement is prepared in its time.
const FIRST_LOOKS: usize = 3;

/// Microseconds since the Unix epoch, by the database's clock.
const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8";

/// A look at the database's clock. All in nanoseconds; the first two are times since boot.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub sent: i64,
    pub answered: i64,
    pub database: i64,
}

impl Look {
    /// A look that an answer brought. `database`: microseconds since the Unix epoch.
    pub fn of(sent: i64, answered: i64, database: i64) -> Self {
        Self {
            sent,
            answered,
            database: database.saturating_mul(1_000),
        }
    }

    fn took(&self) -> i64 {
        self.answered - self.sent
    }

    /// How far the database's clock is ahead of the time since boot: off by half of the round trip
    /// at most.
    fn ahead_of_boot(&self) -> i64 {
        self.database - self.sent - self.took() / 2
    }
}

/// The looks of the last minute.
#[derive(Debug, Default)]
pub struct DatabaseClock(VecDeque<Look>);

impl DatabaseClock {
    /// Looks some times, at a start, and sets the clock.
    pub fn begin(sql: &mut Connection, clock: &dyn Clock) -> Result<Self, Failure> {
        let mut own = Self::default();
        for _ in 0..FIRST_LOOKS {
            let sent = boot_nanos();
            let database = sql.one(NOW, &[])?.try_get(0)?;
            own.0.push_back(Look::of(sent, boot_nanos(), database));
        }
        if let Some(ahead) = own.ahead_of_boot() {
            clock.follow(ahead);
        }
        Ok(own)
    }

    /// Takes a look in, and lets the clock follow.
    pub fn saw(&mut self, look: Look, clock: &dyn Clock) {
        self.0
            .retain(|one| look.answered - one.answered <= KEPT_NANOS);
        self.0.push_back(look);
        if let Some(ahead) = self.ahead_of_boot() {
            clock.follow(ahead);
        }
    }

    fn ahead_of_boot(&self) -> Option<i64> {
        let best = self.0.iter().min_by_key(|look| look.took());
        best.map(Look::ahead_of_boot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: i64 = 1_000_000;
    const SECOND: i64 = 1_000 * MILLI;

    #[test]
    fn the_shortest_round_trip_of_the_last_minute_counts() {
        let mut clock = DatabaseClock::default();
        let fake = crate::clock::FakeClock::at(crate::clock::Timestamp::from_millis(0));
        let mut saw = |at: i64, before: i64, after: i64, ahead: i64| {
            let (sent, answered) = (at - before, at + after);
            let database = (at + ahead) / 1_000;
            clock.saw(Look::of(sent, answered, database), &fake);
            clock.ahead_of_boot().expect("a look")
        };
        // 40 ms to the server and none back: off by half.
        assert_eq!(
            saw(SECOND, 40 * MILLI, 0, 5 * SECOND),
            5 * SECOND + 20 * MILLI
        );
        assert_eq!(saw(2 * SECOND, MILLI, MILLI, 5 * SECOND), 5 * SECOND);
        assert_eq!(saw(3 * SECOND, 0, 90 * MILLI, 5 * SECOND), 5 * SECOND);
        // The database's clock is set. After a minute it is believed.
        assert_eq!(
            saw(61 * SECOND, 2 * MILLI, 2 * MILLI, 65 * SECOND),
            5 * SECOND
        );
        assert_eq!(
            saw(63 * SECOND, 3 * MILLI, 3 * MILLI, 65 * SECOND),
            65 * SECOND
        );
    }
}
