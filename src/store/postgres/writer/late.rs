//! Batches that are committed long after they were given their times.

use super::Writer;
use crate::clock::Timestamp;
use crate::store::postgres::destinations::Named;
use crate::store::postgres::in_flight::LATE;

/// The owners of buckets look from the beginning. $1: buckets.
const POKE: &str = "
UPDATE relay.buckets SET poked = poked + 1
WHERE bucket IN (SELECT b.bucket FROM relay.buckets b WHERE b.bucket = ANY($1::int2[])
                 ORDER BY b.bucket FOR NO KEY UPDATE)";

impl Writer {
    /// A batch for these destinations is there that was given this time. If that was long ago,
    /// deliveries may stand before others that were read already, where nobody looks.
    pub(super) fn came(&mut self, named: &[Named<'_>], at: Timestamp) {
        // Two nodes' clocks may differ by a little.
        if self.shared.clock.now().since(at) >= LATE / 2 {
            self.may_come_late(named);
        }
        self.tell_of_late_rows();
    }

    /// A batch for these destinations may be committed yet, though its clients were refused.
    pub(super) fn may_come_late(&mut self, named: &[Named<'_>]) {
        let known = named
            .iter()
            .filter_map(|(name, _)| self.shared.destinations.get(name));
        self.late.extend(known.map(|known| known.bucket));
    }

    /// Lets the owners of destinations with late rows look from the beginning. The next
    /// batch tells those that this one couldn't.
    pub(super) fn tell_of_late_rows(&mut self) {
        if self.late.is_empty() {
            return;
        }
        let buckets: Vec<i16> = self.late.iter().copied().collect();
        let patience = self.shared.patience(std::time::Duration::ZERO);
        let told = self
            .link
            .call(patience, |sql| sql.execute(POKE, &[&buckets]));
        if told.is_ok() {
            self.late.clear();
            (self.shared.on_outside_write)();
        }
    }
}
