//! The state of a delivery as clients without an API key may see it: states, counts, times and
//! status codes. All fields are named, so that a new one can't be shown without a decision.

use crate::model::FailureKind;
use crate::store::{InLine, StoredAttempt, StoredDelivery};

/// Shown for an error whose class isn't recorded.
const UNKNOWN_CLASS: &str = "failed";
/// Shown for a delivery that an operator has given up.
const DISCARDED: &str = "discarded";
/// The outcome of an attempt that a crash has ended, and its class: it has no kind of failure.
const INTERRUPTED: &str = "interrupted";

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
        Some(DISCARDED.to_owned())
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
    let kind = failure.as_deref().and_then(FailureKind::from_name);
    let class = class_of(kind, outcome, status_code);
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

/// The class of an entry's error. openapi.yaml lists them all.
fn class_of(kind: Option<FailureKind>, outcome: &str, status_code: Option<u16>) -> String {
    match (kind, status_code) {
        // An import may have brought no code.
        (Some(FailureKind::Status), None) => UNKNOWN_CLASS.to_owned(),
        (Some(kind), _) => kind.class(status_code),
        (None, _) if outcome == INTERRUPTED => INTERRUPTED.to_owned(),
        (None, _) => UNKNOWN_CLASS.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_contract_lists_each_class_of_an_error_and_no_other() {
        let contract = include_str!("../../../../openapi.yaml");
        let (_, rest) = contract.split_once("class of an error:").expect("the list");
        let (list, _) = rest.split_once(". States").expect("its end");
        let listed: BTreeSet<_> = list.split('`').skip(1).step_by(2).collect();
        let kinds = FailureKind::ALL.into_iter().map(Some).chain([None]);
        let codes = [None, Some(403)].into_iter();
        let classes: Vec<_> = codes
            .flat_map(|code| {
                kinds
                    .clone()
                    .map(move |kind| class_of(kind, INTERRUPTED, code))
            })
            .collect();
        let mut shown: BTreeSet<_> = classes.iter().map(String::as_str).collect();
        shown.extend([UNKNOWN_CLASS, DISCARDED]);
        assert_eq!(listed, shown);
    }
}
