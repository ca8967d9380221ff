//! Keeps the schedule up to date with what waits in the store.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::delivery::dispatcher::{Dispatcher, Origin};
use crate::delivery::ops::{HANDED_BACK_FOR, HandBack, Kept, Settlement, Want};
use crate::store::StoreError;

/// How often all waiting destinations are read anew, whatever was heard of them: nothing may sit
/// due and untouched, be it for a fault of this dispatcher's.
const SCAN_EVERY: Duration = Duration::from_secs(60);
/// Destinations that one tick reads of a scan, some 3 ms: 100 000 are through after 100 ticks, and
/// no tick is held up by them.
pub(in crate::delivery) const SCAN_STEP: usize = 1000;

impl Dispatcher {
    /// Takes in what became due, and a part of a scan. Returns whether the store could be read.
    pub(super) fn refresh(&mut self) -> bool {
        let now = self.context.clock.now();
        let even = self.context.clock.monotonic();
        let schedule = &mut self.schedule;
        let due = self.context.wake.take_due();
        self.newcomers
            .extend(due.into_iter().filter(|id| !schedule.look_now(*id)));
        let is_outdated = even.saturating_sub(self.scanned_at) >= SCAN_EVERY;
        if self.context.wake.take_outside_write() || is_outdated {
            (self.scan, self.scanned_at) = (Some(0), even);
        }
        let is_read = match self.read_waiting(now) {
            Ok(()) => true,
            Err(error) => {
                log::warn!(error:% = error; "waiting destinations can't be read");
                false
            }
        };
        self.schedule.advance(now);
        self.gauges.advance(now);
        self.adhoc_room = self.most_for_adhoc().saturating_sub(self.adhoc_in_flight);
        is_read
    }

    fn read_waiting(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let (states, schedule) = (&self.states, &mut self.schedule);
        let known = |id: &i64| states.get(id).map(|state| state.origin);
        self.newcomers.retain(|id| {
            let known = known(id);
            if let Some(origin) = known {
                schedule.insert(origin, now);
            }
            known.is_none()
        });
        if self.newcomers.is_empty() && self.scan.is_none() {
            return Ok(());
        }
        let (newcomers, scan) = (&self.newcomers, self.scan);
        let labels = match scan {
            Some(0) => self.labels(),
            _ => Vec::new(),
        };
        let (new, waiting, kept) = self.reader.read(|sql| {
            let new = newcomers.iter().map(|id| Origin::read(sql, *id));
            let new = new.collect::<Result<Vec<_>, _>>()?;
            let waiting = match scan {
                Some(after) => Origin::waiting(sql, after, SCAN_STEP)?,
                None => Vec::new(),
            };
            let kept = labels.iter().map(|label| Kept::read(sql, label));
            Ok((new, waiting, kept.collect::<Result<Vec<_>, _>>()?))
        })?;
        self.newcomers.clear();
        let new = new.into_iter().flatten().map(|origin| (origin, now));
        let found = new.chain(waiting.iter().copied());
        for (mut origin, at) in found {
            origin.is_proven = self.admission.is_proven(origin.id, origin.is_proven);
            // A named destination may be configured no longer: the first look says so, long before
            // anything is due.
            let is_new = origin.is_named && !self.states.contains_key(&origin.id);
            self.schedule
                .insert(origin, if is_new { at.min(now) } else { at });
        }
        if scan.is_some() {
            let is_over = waiting.len() < SCAN_STEP;
            let last = waiting.last().map(|(origin, _)| origin.id);
            self.scan = last.filter(|_| !is_over);
        }
        for (label, kept) in labels.iter().zip(kept) {
            let is_known = self.context.config.is_deliverable(label);
            self.gauges
                .see(label, is_known, kept.unwrap_or(Kept::NOTHING), now);
        }
        Ok(())
    }

    /// Destinations whose state is shown: those of relay.toml, and what was seen besides.
    fn labels(&self) -> Vec<String> {
        let configured = self.context.config.destinations.keys().cloned();
        let mut labels = self.gauges.labels();
        labels.extend(configured);
        labels.sort_unstable();
        labels.dedup();
        labels
    }

    /// Workers that the origins of ad hoc URLs may have together: three quarters, if there are
    /// destinations in relay.toml for which to keep the rest.
    fn most_for_adhoc(&self) -> usize {
        let workers = self.pool.workers();
        if self.context.config.destinations.is_empty() {
            workers
        } else {
            (workers - workers.div_ceil(4)).max(1)
        }
    }

    /// What was settled or handed back, and waits again, has its time.
    pub(super) fn schedule_again(&mut self, settlements: &[Settlement], hand_backs: &[HandBack]) {
        let now = self.context.clock.now();
        let retries = settlements
            .iter()
            .filter_map(|settled| Some((settled.destination, settled.next_attempt_at?)));
        let handed_back = hand_backs.iter().map(|back| {
            let at = back.due.unwrap_or_else(|| now.plus(HANDED_BACK_FOR));
            (back.destination, at)
        });
        for (id, at) in retries.chain(handed_back) {
            if let Some(state) = self.states.get(&id) {
                self.schedule.insert(state.origin, at);
            } else if !self.schedule.look_now(id) {
                self.newcomers.insert(id);
            }
        }
    }

    /// A destination for which nothing was claimed after all has no attempt whose end would make
    /// it ready.
    pub(super) fn release(&mut self, wants: &[Want]) {
        for want in wants {
            let state = self.states.get(&want.destination);
            if state.is_none_or(|state| state.in_flight == 0) {
                self.schedule.is_free(want.destination);
            }
        }
    }
}
