//! The metrics of the space that the database uses.

use metrics::{Counter, Gauge};

use crate::store::SpaceUse;

/// The space that is used, and the events that made room.
pub(crate) struct SpaceMetrics {
    shed: Counter,
    used: Gauge,
    max: Gauge,
    full_in: Gauge,
}

/// The help of the counter.
pub(super) const COUNTER: (&str, &str) = (
    "relay_shed_total",
    "Finished events whose payload was deleted to make room.",
);

/// The help of the gauges.
pub(super) const GAUGES: [(&str, &str); 6] = [
    ("relay_database_bytes", "Size of the database file."),
    ("relay_wal_bytes", "Size of the write-ahead log."),
    (
        "relay_wal_unfinished_frames",
        "Pages in the write-ahead log that are not in the database yet; a reader that stays \
         keeps them there.",
    ),
    (
        "relay_database_used_bytes",
        "Space that the database uses: without its free pages, with the write-ahead log.",
    ),
    (
        "relay_database_max_bytes",
        "Space that the database may use (database.max_bytes); 0 if that is not bounded.",
    ),
    (
        "relay_database_full_seconds",
        "When the database or its disk will be full, by the trend of the last week; 0 while it is \
         full, infinite if it does not grow.",
    ),
];

impl SpaceMetrics {
    pub(super) fn new(shed: Counter, gauge: impl Fn(&'static str) -> Gauge) -> Self {
        Self {
            shed,
            used: gauge("relay_database_used_bytes"),
            max: gauge("relay_database_max_bytes"),
            full_in: gauge("relay_database_full_seconds"),
        }
    }

    /// Counts events that were shed.
    pub fn shed(&self, events: u64) {
        self.shed.increment(events);
    }

    /// Sets the gauges.
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 bytes")]
    pub fn set(&self, space: SpaceUse) {
        self.used.set(space.used as f64);
        self.max.set(space.max.unwrap_or(0) as f64);
        let full_in = space
            .full_in
            .map_or(f64::INFINITY, |left| left.as_secs_f64());
        self.full_in.set(full_in);
    }
}
