//! How long the answer to a reload is waited for.

use std::time::Duration;

/// How long the server may take. A reload takes some 100 ms, or a second while the file changes.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The pause between two looks for its answer.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);
/// When the server is asked once more: another command's reload may have taken the place of this
/// one in the database before it was seen.
pub const ASK_AGAIN: Duration = Duration::from_secs(2);
