//! The gauges of destinations, by their names.

use metrics::{Key, Label, Recorder as _};

use super::{METADATA, Metrics, NO_PANIC};

impl Metrics {
    /// Sets the names that are counted apart. The series of names that are no longer there are
    /// left out from now on.
    pub(crate) fn declare<'a>(
        &self,
        sources: impl Iterator<Item = &'a str>,
        destinations: impl Iterator<Item = &'a str>,
    ) {
        let (sources, destinations): (Vec<_>, Vec<_>) = (sources.collect(), destinations.collect());
        self.names.declare(&sources, &destinations);
        let (sources, destinations) = (sources.into_iter(), destinations.into_iter());
        self.rollups.declare(sources, destinations);
    }

    /// Sets whether a destination is in a state (`active`, `held`, `paused`, `unknown`).
    pub fn destination_state(&self, destination: &str, state: &'static str, is: bool) {
        let labels = vec![
            Label::new("destination", destination.to_owned()),
            Label::new("state", state),
        ];
        self.recorder
            .register_gauge(
                &Key::from_parts("relay_destination_state", labels),
                &METADATA,
            )
            .set(f64::from(u8::from(is)));
    }

    /// Sets the number of each destination's dead letters that block the deliveries behind them.
    /// Destinations that are left out have none any more.
    pub fn ordering_blocked<'a>(&self, counts: impl Iterator<Item = (&'a str, i64)>) {
        let mut known = self.blocked.lock().expect(NO_PANIC);
        let mut left = std::mem::take(&mut *known);
        for (destination, count) in counts {
            self.set_ordering_blocked(destination, count);
            left.remove(destination);
            known.insert(destination.to_owned());
        }
        for destination in left {
            self.set_ordering_blocked(&destination, 0);
        }
    }

    fn set_ordering_blocked(&self, destination: &str, count: i64) {
        let labels = vec![Label::new("destination", destination.to_owned())];
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 rows")]
        self.recorder
            .register_gauge(
                &Key::from_parts("relay_ordering_blocked", labels),
                &METADATA,
            )
            .set(count as f64);
    }
}
