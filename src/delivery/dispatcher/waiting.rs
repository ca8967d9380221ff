//! Keeps the schedule up to date with the deliveries that wait in the store.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::delivery::dispatcher::Dispatcher;
use crate::store::{
    ClaimRequest, DestinationStatus, DueScan, Origin, Release, ScanCursor, Settlement, StoreError,
};

/// The time between two scans of all waiting destinations: no delivery may sit due and untouched,
/// be it for a fault of this dispatcher.
const SCAN_EVERY: Duration = Duration::from_secs(60);
/// Destinations that one tick reads of a scan, some 3 ms: 100 000 are read in 100 ticks, and none
/// of them is held up.
pub(in crate::delivery) const SCAN_STEP: usize = 1000;

impl Dispatcher {
    /// Takes in what became due, and a step of a scan. Returns whether the store could be read.
    pub(super) fn refresh(&mut self) -> bool {
        let now = self.context.clock.now();
        let monotonic = self.context.clock.monotonic();
        let schedule = &mut self.schedule;
        let due = self.context.wake.take_due();
        let unknown = due.into_iter().filter(|id| !schedule.look_now(*id));
        self.newcomers.extend(unknown);
        let is_outdated = monotonic.saturating_sub(self.scanned_at) >= SCAN_EVERY;
        if self.context.wake.take_outside_write() || is_outdated {
            (self.scan, self.scanned_at) = (Some(ScanCursor::START), monotonic);
        }
        let read = self.read_waiting(now);
        if let Err(error) = &read {
            self.failed_to_read(error);
        }
        self.schedule.advance(now);
        self.gauges.advance(now);
        read.is_ok()
    }

    fn read_waiting(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.schedule_known_newcomers(now);
        if self.newcomers.is_empty() && self.scan.is_none() {
            return Ok(());
        }
        let (newcomers, scan) = (&self.newcomers, self.scan);
        let labels = match scan {
            Some(ScanCursor::START) => self.labels(),
            _ => Vec::new(),
        };
        let found = self.reader.scan(&DueScan {
            newcomers,
            cursor: scan,
            at_most: SCAN_STEP,
            names: &labels,
        })?;
        self.newcomers.clear();
        for origin in found.newcomers {
            self.schedule_found(origin, now, now);
        }
        for (origin, at) in found.part.waiting {
            self.schedule_found(origin, at, now);
        }
        self.scan = found.part.next;
        for (label, kept) in labels.iter().zip(found.statuses) {
            let is_known = self.config.is_deliverable(label);
            let kept = kept.unwrap_or(DestinationStatus::ACTIVE);
            self.gauges.see(label, is_known, kept, now);
        }
        Ok(())
    }

    /// Newcomers that the dispatcher knows need not be read.
    fn schedule_known_newcomers(&mut self, now: Timestamp) {
        let (targets, schedule) = (&self.targets, &mut self.schedule);
        let admission = &self.admission;
        self.newcomers.retain(|id| {
            let known = targets.get(*id);
            if let Some(state) = known {
                let reputation = admission.reputation(&state.target);
                schedule.insert(state.origin, reputation, now);
            }
            known.is_none()
        });
    }

    fn schedule_found(&mut self, origin: Origin, at: Timestamp, now: Timestamp) {
        // A named destination may no longer be configured: the first look says so, long before
        // anything is due.
        let is_new = origin.is_named && self.targets.get(origin.id).is_none();
        let at = if is_new { at.min(now) } else { at };
        let reputation = self.admission.reputation_of(origin.id, origin.is_proven);
        self.schedule.insert(origin, reputation, at);
    }

    /// Destinations whose state is shown: those of relay.toml, and those seen besides.
    fn labels(&self) -> Vec<String> {
        let configured = self.config.destinations.keys().cloned();
        let mut labels = self.gauges.labels();
        labels.extend(configured);
        labels.sort_unstable();
        labels.dedup();
        labels
    }

    /// Schedules retries that were settled, and deliveries that were released.
    pub(super) fn schedule_again(&mut self, settlements: &[Settlement], releases: &[Release]) {
        let now = self.context.clock.now();
        let retries = settlements
            .iter()
            .filter_map(|settled| Some((settled.destination(), settled.next_attempt_at()?)));
        let due_again = releases
            .iter()
            .map(|release| (release.destination, release.due_at(now)));
        for (id, at) in retries.chain(due_again) {
            if let Some(state) = self.targets.get(id) {
                let reputation = self.admission.reputation(&state.target);
                // Of one that left the configuration the look says that deliveries wait, long
                // before any is due.
                let at = if state.target.is_known() {
                    at
                } else {
                    at.min(now)
                };
                self.schedule.insert(state.origin, reputation, at);
            } else if !self.schedule.look_now(id) {
                self.newcomers.insert(id);
            }
        }
    }

    /// Makes ready the destinations that a claim brought nothing: no attempt's end would.
    pub(super) fn free_unclaimed(&mut self, claims: &[ClaimRequest]) {
        for claim in claims {
            if self.ledger.counts(claim.destination).in_flight == 0 {
                self.schedule.set_free(claim.destination);
            }
        }
    }
}
