//! The texts of the entries that acts leave in histories. Both engines write the same.

/// The next step of a delivered delivery that is sent once more.
pub const REPLAYED_DELIVERED: &str = "attempt 1, with a fresh budget: it had been delivered";
/// The next step of a dead letter that is sent once more.
pub const REPLAYED_DEAD: &str = "attempt 1, with a fresh budget";
/// The next step of a delivery that an operator has created.
pub const SENT_HERE: &str = "attempt 1: sent here by an operator after the event was accepted";
pub const DISCARDED: &str = "discarded by an operator";
/// The next step of a delivery that was discarded.
pub const GIVEN_UP: &str = "given up for good";
/// Precedes the last error of a delivery that was discarded.
pub const DISCARDED_BEFORE: &str = "discarded: ";
/// Stands for the last error of a delivery that was never attempted.
pub const NEVER_ATTEMPTED: &str = "it waited for its first attempt";
/// The reason of a delivery whose event was erased while it waited.
pub const ERASED: &str = "payload_erased: an operator erased its payload";
/// The next step of such a delivery.
pub const NOTHING_TO_SEND: &str = "given up: there is nothing to send";
/// The last error of a dead letter whose event was erased.
pub const REASON_ERASED: &str = "the reason was erased";
/// The same of a delivery that had been discarded.
pub const DISCARDED_REASON_ERASED: &str = "discarded; the reason was erased";

/// The next step of a retry, before and behind the attempt's number.
pub const RETRIED: (&str, &str) = ("attempt ", ", now: retried by an operator");
/// The next step of a delivery that was moved, before the name of its destination until then.
pub const REROUTED_FROM: &str = "attempt 1, with a fresh budget: rerouted from ";

/// The next step of a retry: the attempt of this number.
pub fn retried(attempt: i64) -> String {
    let (before, behind) = RETRIED;
    format!("{before}{attempt}{behind}")
}

/// The next step of a delivery that was moved from a destination.
pub fn rerouted_from(destination: &str) -> String {
    format!("{REROUTED_FROM}{destination}")
}
