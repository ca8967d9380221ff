//! How an attempt is made: the contract between a worker and a level.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::config::Resolved;
use crate::delivery::attempt::{Attempt, Sent};
use crate::delivery::outcome::Outcome;
use crate::store::OutboundMessage;

/// A transport's part of a reload, not yet in effect.
#[derive(Default)]
pub(crate) struct Prepared {
    /// Named destinations with the same settings and other contents of a file that these name.
    pub renewed: Vec<String>,
    commit: Option<Box<dyn FnOnce() + Send>>,
}

impl Prepared {
    #[allow(dead_code, reason = "only the transport over HTTP opens files")]
    pub(in crate::delivery) fn new(
        renewed: Vec<String>,
        commit: impl FnOnce() + Send + 'static,
    ) -> Self {
        Self {
            renewed,
            commit: Some(Box::new(commit)),
        }
    }

    /// Lets attempts from now on be made under the new configuration.
    pub fn commit(self) {
        if let Some(commit) = self.commit {
            commit();
        }
    }
}

pub(in crate::delivery) trait Transport: Send + Sync {
    /// Sends `message`, and returns by the destination's timeout. `wall` is the time as the
    /// receiver knows it.
    fn send(&self, message: &OutboundMessage, attempt: &Attempt, wall: Timestamp) -> Outcome;

    /// Sends a test in the same way; none if this transport contacts nobody.
    fn ping(
        &self,
        _message: &OutboundMessage,
        _sent: &Sent<'_>,
        _wall: Timestamp,
    ) -> Option<Outcome> {
        None
    }

    /// Prepares for the configuration of a reload: opens the files that it names. An error says
    /// which can't be used. Nothing changes before [`Prepared::commit`].
    fn prepare(&self, _config: &Arc<Resolved>) -> std::io::Result<Prepared> {
        Ok(Prepared::default())
    }

    /// Cuts short the attempts in flight. Their outcomes are ignored.
    fn abort(&self);
}
