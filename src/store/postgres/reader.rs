//! A connection of one part's own: clients can't take its place.

use std::sync::{Arc, Mutex, PoisonError};

use super::connection::Connection;
use super::failure::Failure;
use super::retry::{CALL_LIMIT, Link};
use super::shared::Shared;
use crate::store::error::StoreError;
use crate::store::types::Claim;

/// A connection for the reads of one part; clones share it, one read at a time. It connects when it
/// is first needed. All methods block.
#[derive(Clone)]
pub struct Reader {
    shared: Arc<Shared>,
    link: Arc<Mutex<Link>>,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let link = Arc::new(Mutex::new(shared.connector.link()));
        Self { shared, link }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Whether a claimed delivery may be attempted now: not once the lease of the node's life that
    /// claimed it may be over.
    pub fn may_begin_attempt(&self, claim: Claim) -> bool {
        let holder = self.shared.in_flight.holder(claim);
        holder.is_some_and(|epoch| self.shared.node.may_begin(epoch))
    }

    /// Reads; on a new connection if this one is lost.
    pub(super) fn read<T>(
        &self,
        read: impl FnMut(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = &*self.shared;
        shared.result_of(link.call(shared.patience(CALL_LIMIT), read))
    }
}
