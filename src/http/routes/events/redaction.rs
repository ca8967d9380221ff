//! The state of a delivery as clients without an API key may see it: states, counts, times and
//! status codes. All fields are named, so that a new one can't be shown without a decision.

use crate::model::FailureKind;
use crate::store::{InLine, StoredAttempt, StoredDelivery};

/// Shown for an error whose class isn't recorded.
const UNKNOWN_CLASS: &str = "failed";

/// A delivery without its error texts, its pause's reason, the id of the event before it, and its
/// attempts' answers and addresses.
pub(super) fn redact(row: StoredDelivery) -> StoredDelivery {
    let StoredDelivery {
        destination,
        state,
        attempts,
        next_attempt_at,
        in_line,
        updated_at,
        last_error,
        paused,
        held_until,
        probe_at,
        discarded_at,
        history,
    } = row;
    let history: Vec<_> = history.into_iter().map(redact_attempt).collect();
    let last_class = if discarded_at.is_some() {
        Some("discarded".to_owned())
    } else {
        history.iter().rev().find_map(|entry| entry.error.clone())
    };
    StoredDelivery {
        destination,
        state,
        attempts,
        next_attempt_at,
        // The id of an event is the right to read its payload.
        in_line: match in_line {
            InLine::Behind(_) => InLine::Behind(None),
            InLine::Free | InLine::Blocks => in_line,
        },
        updated_at,
        last_error: last_error.map(|_| last_class.unwrap_or_else(|| UNKNOWN_CLASS.to_owned())),
        // The reason is text that an operator wrote.
        paused: paused.map(|_| String::new()),
        held_until,
        probe_at,
        discarded_at,
        history,
    }
}

fn redact_attempt(row: StoredAttempt) -> StoredAttempt {
    let StoredAttempt {
        attempt,
        started_at,
        duration_ms,
        outcome,
        status_code,
        error,
        response: _,
        failure,
        address: _,
        resolve_ms,
        connect_ms,
        tls_ms,
        first_byte_ms,
        next: _,
    } = row;
    let class = match failure.as_deref().and_then(FailureKind::from_name) {
        Some(failure) => failure.class(status_code),
        // An interruption has no kind of failure.
        None if outcome == "interrupted" => outcome.to_owned(),
        None => UNKNOWN_CLASS.to_owned(),
    };
    StoredAttempt {
        attempt,
        started_at,
        duration_ms,
        outcome,
        status_code,
        error: error.map(|_| class),
        response: None,
        failure,
        address: None,
        resolve_ms,
        connect_ms,
        tls_ms,
        first_byte_ms,
        next: None,
    }
}
