//! Finds the changes of states that alerts tell of, given the facts. Pure.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;

use super::alert::{Alert, AlertKind, Change};
use super::forecast::Forecast;
use super::gate::{Gate, Holding, Reading};
use super::health::{Condition, HealthWatch};
use super::look::{Facts, Look};
use crate::clock::Timestamp;
use crate::ops::durations::{Units, span, when_full};
use crate::ops::notices::{Failure, Renewer, Validity};
use crate::ops::rollup_counters::AttemptHealth;
use crate::store::DestinationFacts;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// A delivery that should be going out and has been due for so long makes the backlog old …
const BACKLOG_OLD: Duration = Duration::from_secs(10 * 60);
/// … and once none is due for longer than this it is no longer.
const BACKLOG_FRESH: Duration = Duration::from_secs(2 * 60);
/// After a start everything that came due meanwhile is old, and soon gone.
const BACKLOG_HOLDING: Holding = Holding {
    bad_for: MINUTE,
    good_for: Duration::from_secs(120),
};
/// At once while an alert can still be stored; and an end only once there is room for good.
const DISK_HOLDING: Holding = Holding {
    bad_for: Duration::ZERO,
    good_for: Duration::from_secs(600),
};
/// How far the clocks differ after a jump, and when they agree again.
const JUMPED: Duration = Duration::from_secs(10);
const AGREE: Duration = Duration::from_secs(1);

/// The memory between two looks. The database has the states that were told.
#[derive(Debug, Default)]
pub(super) struct Watch {
    destinations: HashMap<String, HealthWatch>,
    backlog: Gate,
    disk: Gate,
    forecast: Forecast,
}

impl Watch {
    /// The changes that the facts call for.
    pub fn changes(&mut self, facts: &Facts, look: &Look<'_>) -> Vec<Change> {
        let mut changes = Vec::new();
        // Of destinations that are gone nothing is remembered.
        let known = |name: &String| facts.destinations.iter().any(|(one, ..)| one == name);
        if self.destinations.len() > facts.destinations.len() {
            self.destinations.retain(|name, _| known(name));
        }
        for (name, stored, attempts) in &facts.destinations {
            changes.extend(self.health(name, stored, attempts, look));
            changes.extend(paused(name, stored, look));
            changes.extend(blocked(name, stored, look));
        }
        if !facts.is_part {
            changes.extend(self.backlog(facts, look));
            changes.extend(self.disk(facts, look));
        }
        changes.extend(clock(facts, look));
        changes.extend(failures(facts, look));
        for (name, &(validity, renewer)) in &facts.noticed.certificates {
            changes.extend(certificate(facts, name, (validity, renewer), look));
        }
        changes
    }

    fn health(
        &mut self,
        name: &str,
        stored: &DestinationFacts,
        attempts: &AttemptHealth,
        look: &Look<'_>,
    ) -> Option<Change> {
        let kind = AlertKind::DestinationFailing;
        let told = look.states.get(kind, name);
        let (condition, since) = told.map_or((Condition::Well, look.now), |(state, since)| {
            (Condition::from_name(state), since)
        });
        let watch = self.destinations.entry(name.to_owned()).or_default();
        let is_open = stored.is_breaker_open;
        let next = watch.look((condition, since), is_open, attempts, look.now)?;
        let alert = if next == Condition::Well {
            recovered(name, since, look)
        } else {
            failing(name, next, stored, attempts, look)
        };
        Some(look.change(kind, name, next.name(), Some(alert)))
    }

    fn backlog(&mut self, facts: &Facts, look: &Look<'_>) -> Option<Change> {
        let kind = AlertKind::BacklogOld;
        let age = facts.oldest_due?;
        let is_old = look.states.is(kind, "", "old");
        let reading = match age {
            age if age >= BACKLOG_OLD => Reading::Bad,
            age if age < BACKLOG_FRESH => Reading::Good,
            _ => Reading::Between,
        };
        let turns = self
            .backlog
            .turns(is_old, reading, BACKLOG_HOLDING, look.now);
        turns.then(|| {
            let alert = (!is_old).then(|| {
                let summary = format!(
                    "deliveries are late: the oldest that should be going out has been due for {}",
                    shown(age)
                );
                look.alert(
                    kind,
                    "",
                    summary,
                    json!({ "oldest_due_seconds": age.as_secs() }),
                )
            });
            look.change(kind, "", if is_old { "fresh" } else { "old" }, alert)
        })
    }

    fn disk(&mut self, facts: &Facts, look: &Look<'_>) -> Option<Change> {
        let kind = AlertKind::DiskLow;
        let (free, min_free) = (facts.free?, facts.min_free);
        self.forecast.sample(look.monotonic, free);
        let left = self.forecast.time_left(min_free);
        let is_low = look.states.is(kind, "", "low");
        let is_scarce = free < min_free.saturating_mul(2);
        let has_room = free >= min_free.saturating_mul(3);
        let reading = match left {
            _ if is_scarce => Reading::Bad,
            Some(left) if left < DAY => Reading::Bad,
            Some(left) if left < DAY * 2 => Reading::Between,
            _ if has_room => Reading::Good,
            _ => Reading::Between,
        };
        let turns = self.disk.turns(is_low, reading, DISK_HOLDING, look.now);
        turns.then(|| {
            let alert = (!is_low).then(|| {
                let when = left.map_or_else(
                    || "without a trend that tells when it is full".to_owned(),
                    |left| format!("full {} as it goes", when_full(left, Units::Long)),
                );
                let summary = format!(
                    "the database's disk has {} MiB free, and events are refused below {} MiB: {when}",
                    free >> 20,
                    min_free >> 20
                );
                let data = json!({
                    "free_bytes": free,
                    "min_free_bytes": min_free,
                    "full_in_seconds": left.map(|left| left.as_secs()),
                });
                look.alert(kind, "", summary, data)
            });
            look.change(kind, "", if is_low { "enough" } else { "low" }, alert)
        })
    }
}

fn failing(
    name: &str,
    condition: Condition,
    stored: &DestinationFacts,
    attempts: &AttemptHealth,
    look: &Look<'_>,
) -> Alert {
    let last_error = attempts
        .last_error
        .map(|error| error.kind.class(error.status_code));
    let (reason, why) = match condition {
        Condition::Open => ("breaker_open", "its circuit breaker is open"),
        _ => ("no_success", "nothing has succeeded for five minutes"),
    };
    let mut summary = format!("{name} is failing: {why}");
    if let Some(error) = &last_error {
        let _ = write!(summary, "; the last error: {error}");
    }
    if let Some(waiting) = stored.waiting {
        let _ = write!(summary, "; {waiting} deliveries wait");
    }
    let data = json!({
        "destination": name,
        "reason": reason,
        "failures": attempts.failures,
        "failing_since": attempts.failing_since,
        "last_error": last_error,
        "waiting": stored.waiting,
    });
    look.alert(AlertKind::DestinationFailing, name, summary, data)
}

fn recovered(name: &str, since: Timestamp, look: &Look<'_>) -> Alert {
    let lasted = look.now.since(since);
    let summary = format!("{name} has recovered, {} after it was told", shown(lasted));
    let data = json!({
        "destination": name,
        "failing_since": since,
        "seconds": lasted.as_secs(),
    });
    look.alert(AlertKind::DestinationRecovered, name, summary, data)
}

fn paused(name: &str, stored: &DestinationFacts, look: &Look<'_>) -> Option<Change> {
    let kind = AlertKind::DestinationPaused;
    let was_paused = look.states.is(kind, name, "paused");
    match &stored.paused {
        Some((since, reason)) if !was_paused => {
            let summary = format!(
                "{name} is paused: {reason}; nothing is sent there until relay resume {name}"
            );
            let data = json!({ "destination": name, "reason": reason, "paused_at": since });
            let alert = look.alert(kind, name, summary, data);
            Some(look.change(kind, name, "paused", Some(alert)))
        }
        None if was_paused => Some(look.change(kind, name, "running", None)),
        _ => None,
    }
}

fn blocked(name: &str, stored: &DestinationFacts, look: &Look<'_>) -> Option<Change> {
    let kind = AlertKind::DestinationBlocked;
    let was_blocked = look.states.is(kind, name, "blocked");
    match stored.blocking? {
        0 => was_blocked.then(|| look.change(kind, name, "flowing", None)),
        _ if was_blocked => None,
        letters => {
            let summary = format!(
                "{letters} dead letters to {name} keep the later deliveries of their ordering \
                 keys waiting: relay replay or relay discard lets them go"
            );
            let data = json!({ "destination": name, "dead_letters": letters });
            let alert = look.alert(kind, name, summary, data);
            Some(look.change(kind, name, "blocked", Some(alert)))
        }
    }
}

fn clock(facts: &Facts, look: &Look<'_>) -> Option<Change> {
    let (kind, subject) = (AlertKind::ClockJumped, facts.own_subject(""));
    let off = Duration::from_millis(facts.ahead.unsigned_abs());
    let has_jumped = look.states.is(kind, &subject, "off");
    if has_jumped {
        return (off < AGREE).then(|| look.change(kind, &subject, "right", None));
    }
    (off >= JUMPED).then(|| {
        let where_to = if facts.ahead > 0 {
            "behind"
        } else {
            "ahead of"
        };
        let summary = format!(
            "the system's clock was set: it is {} {where_to} relay's, which follows slowly",
            shown(off)
        );
        let data = json!({ "relay_ahead_seconds": facts.ahead / 1000 });
        facts.own_alert((kind, &subject, "off"), (summary, data), look)
    })
}

fn failures(facts: &Facts, look: &Look<'_>) -> Vec<Change> {
    let subject = facts.own_subject("");
    let watched = [
        (
            Failure::ConfigReload,
            AlertKind::ConfigReloadFailed,
            "a reload of the configuration was refused, and the one before it goes on",
        ),
        (Failure::Backup, AlertKind::BackupFailed, "a backup failed"),
    ];
    let changes = watched.into_iter().map(|(failure, kind, what)| {
        let was_failed = look.states.is(kind, &subject, "failed");
        match facts.noticed.failures.get(&failure) {
            Some(class) if !was_failed => {
                let text = (format!("{what}: {class}"), json!({ "reason": class }));
                Some(facts.own_alert((kind, &subject, "failed"), text, look))
            }
            None if was_failed => Some(look.change(kind, &subject, "fine", None)),
            _ => None,
        }
    });
    changes.flatten().collect()
}

fn certificate(
    facts: &Facts,
    name: &str,
    (validity, renewer): (Validity, Renewer),
    look: &Look<'_>,
) -> Option<Change> {
    let (kind, subject) = (AlertKind::CertificateExpiring, facts.own_subject(name));
    let left = validity.not_after.since(look.wall);
    let is_expiring = validity.is_expiring(renewer, look.wall);
    let was_expiring = look.states.is(kind, &subject, "expiring");
    match (was_expiring, is_expiring) {
        (false, true) => {
            let when = if left.is_zero() {
                format!("expired at {}", validity.not_after)
            } else {
                format!("expires in {}", shown(left))
            };
            let summary = format!("the certificate of {name} {when}");
            let data = json!({
                "certificate": name,
                "not_after": validity.not_after,
                "seconds_left": left.as_secs(),
            });
            Some(facts.own_alert((kind, &subject, "expiring"), (summary, data), look))
        }
        (true, false) => Some(look.change(kind, &subject, "valid", None)),
        _ => None,
    }
}

fn shown(duration: Duration) -> String {
    span(duration, Units::Long)
}

#[cfg(test)]
mod tests;
