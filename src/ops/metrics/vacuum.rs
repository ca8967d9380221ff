//! The gauges of dead rows in a database of PostgreSQL. Without one they are absent.

use metrics::{Key, Label, Recorder as _};

use super::{METADATA, Metrics};

impl Metrics {
    /// Sets the number of dead rows of a table.
    pub fn dead_tuples(&self, table: &str, count: i64) {
        let labels = vec![Label::new("table", table.to_owned())];
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 rows")]
        self.recorder
            .register_gauge(
                &Key::from_parts("relay_database_dead_tuples", labels),
                &METADATA,
            )
            .set(count as f64);
    }

    /// Sets the age of the oldest transaction, in seconds.
    pub fn oldest_xmin(&self, seconds: f64) {
        let key = Key::from_static_name("relay_database_oldest_xmin_seconds");
        self.recorder.register_gauge(&key, &METADATA).set(seconds);
    }
}
