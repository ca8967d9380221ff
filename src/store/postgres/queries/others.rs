//! Other nodes: a read that goes on where it stopped must not pass over what they commit late.

use std::time::Duration;

/// How long before now a walk over new intents ends while another node lives. An id is chosen when
/// a request is accepted, and its batch is committed within this time unless the database is in
/// trouble.
pub const UNSETTLED: Duration = Duration::from_secs(2);

/// A change is committed within this time after it was dated, or not at all: the limit of a call,
/// as `connection` has it.
pub const LATEST_COMMIT: Duration = Duration::from_secs(10);
