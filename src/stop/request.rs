use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::stop::deadline::Deadline;
use crate::stop::token::Token;

/// The request to one agent to end, and the deadline that comes with it. Clones share it. By
/// default it has not been made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    token: Token,
    /// Set before the token is cancelled.
    deadline: Arc<OnceLock<Deadline>>,
}

impl Stop {
    /// Makes the request. Only the first call counts.
    pub fn ask(&self, deadline: Deadline) {
        self.deadline.get_or_init(|| deadline);
        self.token.cancel();
    }

    /// Whether the request was made. One atomic load.
    pub fn is_asked(&self) -> bool {
        self.token.is_cancelled()
    }

    /// The deadline, once the request was made.
    pub fn deadline(&self) -> Option<Deadline> {
        self.deadline.get().copied()
    }

    /// Resolves with the deadline once the request was made.
    pub async fn asked(&self) -> Deadline {
        self.token.cancelled().await;
        self.deadline().unwrap_or_else(Deadline::now)
    }

    /// Blocks until the request is made, for at most `limit`. Returns whether it was made.
    pub fn wait(&self, limit: Duration) -> bool {
        self.token.wait(limit)
    }

    /// Runs `call` once the request is made, on the thread that makes it; at once if it was made.
    /// For an agent whose threads wait for something else, too: `call` wakes them, so that they
    /// look at the request. It must not block.
    pub fn on_ask(&self, call: impl FnOnce() + Send + 'static) {
        self.token.on_cancel(call);
    }
}
