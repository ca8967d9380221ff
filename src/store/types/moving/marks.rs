//! The marks of a move. A store with a mark isn't served: at any moment at most one of the two
//! stores of a move has none, so that nothing is delivered by both.

use serde::{Deserialize, Serialize};

/// In the target, from the beginning of a move until its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnfinishedMove {
    /// Tells one move from another.
    pub token: String,
    /// The source, without a password.
    pub from: String,
    /// In milliseconds since the Unix epoch, by the system's clock.
    pub begun_at: i64,
    /// Whether everything is there and was compared: only the marks are left to be changed.
    pub is_complete: bool,
}

/// In the source, from the moment on that the target is complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MovedAway {
    pub token: String,
    /// The target, without a password.
    pub to: String,
    /// In milliseconds since the Unix epoch, by the system's clock.
    pub at: i64,
}
