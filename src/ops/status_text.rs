//! The state of a delivery in words, for the event API and the command line.

use crate::clock::Timestamp;
use crate::config::Resolved;
use crate::model::{DeliveryState, Level};
use crate::store::{GonePayload, GoneReason, InLine, StoredDelivery};

/// The state of an event that has no delivery because no route wanted it.
pub(crate) const UNROUTED: &str =
    "No route of its source wants it: it is kept, and delivered to nobody.";

/// Why an event has no payload whose deliveries were all discarded.
pub(crate) const DISCARDED: &str =
    "Its payload was deleted when all of its deliveries were discarded.";

/// The relay as far as it decides what a delivery waits for.
#[derive(Clone, Copy)]
pub(crate) struct RelayState<'a> {
    pub config: &'a Resolved,
    pub now: Timestamp,
    /// Whether nothing is sent, since a backup was restored.
    pub is_held: bool,
}

/// The time of the next attempt of a failed delivery: its own, or later if its destination is held.
pub(crate) fn next_retry_at(row: &StoredDelivery) -> Option<Timestamp> {
    if row.state != DeliveryState::Retrying {
        return None;
    }
    row.next_attempt_at.max(row.held_until)
}

/// The attempts that a delivery gets: those of its schedule, unless that was longer before, or an
/// operator has asked for one more.
pub(crate) fn max_attempts(row: &StoredDelivery, config: &Resolved) -> u32 {
    let scheduled = config.destination(&row.destination).retry.max_attempts();
    scheduled.max(last_attempt(row.state, row.attempts))
}

/// The number of the last attempt that was begun, or that a delivery waits for.
fn last_attempt(state: DeliveryState, attempts: u32) -> u32 {
    let waits = matches!(state, DeliveryState::Queued | DeliveryState::Retrying);
    attempts + u32::from(waits)
}

/// Says that a destination is no longer configured, and how to mend that. Begins a sentence.
pub(crate) fn not_configured(destination: &str) -> String {
    format!(
        "{destination} is no longer configured: add [destinations.{destination}] to the \
         configuration again, and run relay reload"
    )
}

/// Says that a payload was deleted, and when.
pub(crate) fn payload_gone(gone: GonePayload) -> String {
    let GonePayload { reason, at } = gone;
    match reason {
        GoneReason::Erased => format!("Its payload was erased at {at}."),
        GoneReason::Shed => {
            format!("Its payload was shed at {at}, to make room under database.max_bytes.")
        }
    }
}

/// The state of a delivery of an event whose payload may be gone, in one or two sentences.
pub(crate) fn describe_with_payload(
    row: &StoredDelivery,
    gone: Option<GonePayload>,
    relay: RelayState<'_>,
) -> String {
    let Some(gone) = gone else {
        return describe(row, relay);
    };
    let (to, error) = (&row.destination, row.last_error.as_deref());
    let gone = payload_gone(gone);
    if row.state == DeliveryState::DeadLettered {
        let error = error.unwrap_or("no reason recorded");
        return format!("Given up on {to}: {error}. {gone}");
    }
    format!("{} {gone}", describe(row, relay))
}

/// The state of a delivery in one sentence: for a waiting one, the reason and the time.
fn describe(row: &StoredDelivery, relay: RelayState<'_>) -> String {
    let RelayState { config, now, .. } = relay;
    let to = &row.destination;
    let error = row.last_error.as_deref().unwrap_or("no reason recorded");
    let number = row.attempts + 1;
    let is_waiting = matches!(row.state, DeliveryState::Queued | DeliveryState::Retrying);
    let is_deliverable = config.is_deliverable(to);
    if is_waiting && let Some(obstacle) = obstacle(row, relay) {
        return obstacle;
    }
    match (row.state, row.next_attempt_at) {
        (DeliveryState::Retrying, Some(at)) if at > now => {
            format!("Waits until {at} for attempt {number} to {to}; the last one failed: {error}.")
        }
        (DeliveryState::Queued | DeliveryState::Retrying, _) => format!(
            "Waits for its turn to begin attempt {number} to {to}: for a free worker, or for the \
             rate or the number at once that {to} may have."
        ),
        (DeliveryState::Processing, _) => {
            format!("Attempt {} to {to} is under way.", row.attempts)
        }
        (DeliveryState::Delivered, _) => format!("Delivered to {to} at {}.", row.updated_at),
        (DeliveryState::DeadLettered, _) if row.discarded_at.is_some() => {
            format!("Given up for good at {}: {error}.", row.updated_at)
        }
        (DeliveryState::DeadLettered, _) if !is_deliverable => format!(
            "Given up on {to} after attempt {}: {error}. {} before a replay, or discard it.",
            row.attempts,
            not_configured(to)
        ),
        (DeliveryState::DeadLettered, _) if row.in_line == InLine::Blocks => format!(
            "Given up on {to} after attempt {}: {error}. Later ones of its order wait until it is \
             replayed or discarded.",
            row.attempts
        ),
        (DeliveryState::DeadLettered, _) => format!(
            "Given up on {to} after attempt {}: {error}. A replay sends it once more.",
            row.attempts
        ),
    }
}

/// Why a waiting delivery isn't attempted, in one sentence; none if nothing but its time and a free
/// worker are missing.
fn obstacle(row: &StoredDelivery, relay: RelayState<'_>) -> Option<String> {
    let RelayState { config, now, .. } = relay;
    let to = &row.destination;
    if !config.is_deliverable(to) {
        return Some(format!(
            "Waits, for {} to deliver it. Or move it with relay reroute --from {to}, or give it up \
             with relay discard --pending.",
            not_configured(to)
        ));
    }
    if config.level() == Level::Off {
        return Some(format!(
            "Recorded for {to}; this relay delivers nothing (delivery.level is off or not \
             compiled in)."
        ));
    }
    if relay.is_held {
        return Some(
            "Waits until relay resume --all: this relay is held, since a backup was restored, and \
             sends nothing."
                .to_owned(),
        );
    }
    if let InLine::Behind(before) = row.in_line {
        let before = before.map_or_else(
            || "an earlier one".to_owned(),
            |(id, surface)| surface.public_id(id),
        );
        return Some(format!(
            "Its turn at {to} has not come: it waits behind {before} in its order."
        ));
    }
    if let Some(reason) = &row.paused {
        let reason = if reason.is_empty() {
            String::new()
        } else {
            format!(": {reason}")
        };
        return Some(format!(
            "Waits until {to} is resumed; it is paused{reason}."
        ));
    }
    // Of several reasons the one that lasts longest is shown.
    let due = row.next_attempt_at.unwrap_or(now);
    if let Some(until) = row.held_until.filter(|&until| until > now && until >= due) {
        return Some(format!(
            "Waits until {until}: {to} asked to be left alone (Retry-After)."
        ));
    }
    if let Some(probe_at) = row.probe_at.filter(|&probe_at| due <= probe_at.max(now)) {
        return Some(format!(
            "Waits until {to} is well again: its circuit breaker is open, and spends no \
             attempt of this one; the next look at it is due at {probe_at}."
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_that_waits_gets_another_attempt_after_those_that_were_made() {
        for (state, expected) in [
            (DeliveryState::Queued, 5),
            (DeliveryState::Retrying, 5),
            (DeliveryState::Processing, 4),
            (DeliveryState::Delivered, 4),
            (DeliveryState::DeadLettered, 4),
        ] {
            assert_eq!(last_attempt(state, 4), expected, "{state}");
        }
    }
}
