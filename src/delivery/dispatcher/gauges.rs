//! `relay_destination_state`: follows each change of a destination, whether or not a delivery waits
//! for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::delivery::target::Target;
use crate::ops::metrics::Metrics;
use crate::store::DestinationStatus;

/// The state of each destination with a label of its own: those of relay.toml, and the first few
/// origins. The others share a label, and have no state in common.
pub(super) struct StateGauges {
    metrics: Arc<Metrics>,
    by_label: HashMap<String, Shown>,
    /// When the first hold that is shown ends.
    first_end: Option<Timestamp>,
}

/// The shortest time between two log lines about holds of a destination: one that answers each
/// attempt with `Retry-After: 1` is held once a second.
const LOG_HOLDS_EVERY: Duration = Duration::from_secs(300);

struct Shown {
    is_known: bool,
    kept: DestinationStatus,
    state: &'static str,
    /// Holds since the last log line about them.
    holds: u64,
    holds_logged_at: Option<Timestamp>,
}

impl Shown {
    /// Counts a hold. Returns the number since the last log line, if the next one is due.
    fn count_hold(&mut self, now: Timestamp) -> Option<u64> {
        self.holds += 1;
        let is_too_soon = |at| now.since(at) < LOG_HOLDS_EVERY;
        if self.holds_logged_at.is_some_and(is_too_soon) {
            return None;
        }
        self.holds_logged_at = Some(now);
        Some(std::mem::take(&mut self.holds))
    }
}

impl StateGauges {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            by_label: HashMap::new(),
            first_end: None,
        }
    }

    /// Whether a destination's state is shown.
    pub fn shows(target: &Target) -> bool {
        target.label == target.name
    }

    pub fn labels(&self) -> Vec<String> {
        self.by_label.keys().cloned().collect()
    }

    /// Shows a destination as it is in the database.
    pub fn see(&mut self, label: &str, is_known: bool, kept: DestinationStatus, now: Timestamp) {
        let shown = match self.by_label.get_mut(label) {
            Some(shown) => shown,
            None => self.by_label.entry(label.to_owned()).or_insert(Shown {
                is_known,
                kept,
                state: "",
                holds: 0,
                holds_logged_at: None,
            }),
        };
        (shown.is_known, shown.kept) = (is_known, kept);
        self.first_end = self.first_end.into_iter().chain(kept.held_until).min();
        Self::show(&self.metrics, label, shown, now);
    }

    /// Shows a destination no longer, until a delivery is found to wait for it.
    pub fn forget(&mut self, label: &str) {
        if let Some(shown) = self.by_label.remove(label) {
            self.metrics.destination_state(label, shown.state, false);
        }
    }

    /// Changes a destination that is shown already.
    pub fn change(
        &mut self,
        label: &str,
        now: Timestamp,
        change: impl FnOnce(&mut DestinationStatus),
    ) {
        if let Some(shown) = self.by_label.get_mut(label) {
            change(&mut shown.kept);
            let until = shown.kept.held_until;
            self.first_end = self.first_end.into_iter().chain(until).min();
            Self::show(&self.metrics, label, shown, now);
        }
    }

    /// Ends the holds that are over.
    pub fn advance(&mut self, now: Timestamp) {
        if self.first_end.is_none_or(|end| end > now) {
            return;
        }
        for (label, shown) in &mut self.by_label {
            Self::show(&self.metrics, label, shown, now);
        }
        let ends = self
            .by_label
            .values()
            .filter_map(|shown| shown.kept.held_until);
        self.first_end = ends.filter(|end| *end > now).min();
    }

    fn show(metrics: &Metrics, label: &str, shown: &mut Shown, now: Timestamp) {
        let held_until = shown.kept.held_until.filter(|until| *until > now);
        // In the order of `Obstacles::reason`, by which commands and the API name the state.
        let state = match shown.kept {
            _ if !shown.is_known => "unknown",
            DestinationStatus {
                is_paused: true, ..
            } => "paused",
            _ if held_until.is_some() => "held",
            DestinationStatus {
                is_breaker_open: true,
                ..
            } => "open",
            _ => "active",
        };
        if state == shown.state {
            return;
        }
        match held_until {
            _ if state == "unknown" => {
                log::warn!(
                    destination = label;
                    "deliveries wait for a destination that is no longer configured: add it again, \
                     or use relay reroute or relay discard --pending"
                );
            }
            Some(until) if state == "held" => {
                if let Some(holds) = shown.count_hold(now) {
                    log::info!(
                        destination = label, until:% = until, holds;
                        "destination held (Retry-After)"
                    );
                }
            }
            _ => {}
        }
        if !shown.state.is_empty() {
            metrics.destination_state(label, shown.state, false);
        }
        metrics.destination_state(label, state, true);
        shown.state = state;
    }
}

#[cfg(test)]
mod tests;
