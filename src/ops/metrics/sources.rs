//! Counters of events by their source, a bounded label: `*` stands for the names of the catch-all.

use metrics::{Key, Label, Recorder as _};

use super::{METADATA, Metrics};

impl Metrics {
    /// Counts a request that a source refused by `allow_ips` or `require`.
    pub(crate) fn refused(&self, source: &str, reason: &'static str) {
        let source = Label::new("source", source.to_owned());
        let labels = vec![source, Label::new("reason", reason)];
        self.recorder
            .register_counter(&Key::from_parts("relay_refused_total", labels), &METADATA)
            .increment(1);
    }

    /// Counts events that no route of their source wanted. No events make the counter show.
    pub(crate) fn unrouted(&self, source: &str, events: u64) {
        let labels = vec![Label::new("source", source.to_owned())];
        self.recorder
            .register_counter(&Key::from_parts("relay_unrouted_total", labels), &METADATA)
            .increment(events);
    }
}
