//! How many alerts are sent: twenty a minute one by one, and the rest in a summary. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::json;

use super::alert::{Alert, AlertKind, Change};
use crate::clock::Timestamp;

/// Alerts in a minute at most, the summary included.
const A_MINUTE: usize = 20;
const MINUTE: Duration = Duration::from_secs(60);
/// How long alerts beyond the limit are collected for their summary.
const COLLECT: Duration = Duration::from_secs(10);
/// Subjects of a type that a summary names.
const NAMED: usize = 10;

/// Counts the alerts of the last minute.
#[derive(Clone, Debug, Default)]
pub(super) struct Quota {
    /// The times of the last alerts, at most [`A_MINUTE`].
    sent: VecDeque<Timestamp>,
    /// Since when alerts are withheld for a summary.
    withheld_since: Option<Timestamp>,
}

impl Quota {
    /// Chooses the changes to make now, at most `at_most`. The next look finds those that are left
    /// out again, since their states are not written. [`Self::made`] follows.
    pub fn admit(&mut self, changes: Vec<Change>, at_most: usize, now: Timestamp) -> Vec<Change> {
        while self.sent.front().is_some_and(|at| now.since(*at) >= MINUTE) {
            self.sent.pop_front();
        }
        let (mut loud, mut admitted): (Vec<_>, Vec<_>) =
            changes.into_iter().partition(|one| one.alert.is_some());
        admitted.truncate(at_most);
        loud.sort_by(|a, b| (a.kind, &a.subject).cmp(&(b.kind, &b.subject)));
        let room = A_MINUTE.saturating_sub(self.sent.len());
        if loud.len() > room || self.withheld_since.is_some() {
            // One place is the summary's.
            let singly = room.saturating_sub(1).min(loud.len());
            let mut rest = loud.split_off(singly);
            let since = *self.withheld_since.get_or_insert(now);
            let is_due = room > 0 && now.since(since) >= COLLECT;
            if rest.is_empty() {
                self.withheld_since = None;
            } else if is_due {
                rest.truncate(at_most.saturating_sub(admitted.len() + loud.len()));
                admitted.extend(summarise(rest, now));
                self.withheld_since = None;
            }
        }
        loud.truncate(at_most.saturating_sub(admitted.len()));
        admitted.extend(loud);
        admitted
    }

    /// The changes are durable, and their alerts on their way.
    pub fn made(&mut self, changes: &[Change], now: Timestamp) {
        let alerts = changes.iter().filter(|change| change.alert.is_some());
        self.sent.extend(alerts.map(|_| now));
        while self.sent.len() > A_MINUTE {
            self.sent.pop_front();
        }
    }
}

/// The same changes, with one alert for all of them.
fn summarise(mut changes: Vec<Change>, now: Timestamp) -> Vec<Change> {
    let mut types: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for change in &mut changes {
        if let Some(alert) = change.alert.take() {
            types
                .entry(alert.kind.name())
                .or_default()
                .push(alert.subject);
        }
    }
    let counts = types.iter().map(|(name, subjects)| {
        let subjects = subjects.len();
        format!("{subjects} × {name}")
    });
    let total: usize = types.values().map(Vec::len).sum();
    let counts: Vec<_> = counts.collect();
    let summary = format!("{total} more alerts in a short time: {}", counts.join(", "));
    let data = types.into_iter().map(|(name, subjects)| {
        let named: Vec<_> = subjects.iter().take(NAMED).collect();
        (
            name.to_owned(),
            json!({ "count": subjects.len(), "first": named }),
        )
    });
    let data = json!({ "count": total, "types": data.collect::<serde_json::Map<_, _>>() });
    if let Some(first) = changes.first_mut() {
        first.alert = Some(Alert {
            kind: AlertKind::Summarised,
            subject: String::new(),
            summary,
            data: data.as_object().cloned().unwrap_or_default(),
            at: now,
        });
    }
    changes
}

#[cfg(test)]
mod tests;
