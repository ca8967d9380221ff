//! Facts for alerts.

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::postgres::handle::{Postgres, not_built};
use crate::store::postgres::reader::Reader;
use crate::store::types::{
    AlertState, DeadLetterDigest, DeadLetterQuery, DestinationFacts, DestinationId, NewlyDead,
};

impl Postgres {
    /// A time that no later change is older than. Blocks.
    pub fn settled_until(&self) -> Result<Timestamp, StoreError> {
        Err(not_built())
    }

    /// The destinations to which something was given up since the last call.
    pub fn take_newly_dead(&self) -> NewlyDead {
        self.shared().newly_dead.take()
    }

    /// The facts about these destinations, in the same order. Blocks.
    pub fn destination_facts(
        &self,
        reader: &Reader,
        names: &[String],
    ) -> Result<Vec<DestinationFacts>, StoreError> {
        Err(not_built())
    }
}

impl Reader {
    /// The states of alerts.
    pub fn alert_states(&self) -> Result<Vec<AlertState>, StoreError> {
        Err(not_built())
    }

    /// Dead letters in a time, in numbers.
    pub fn dead_letter_digest(
        &self,
        query: &DeadLetterQuery<'_>,
    ) -> Result<DeadLetterDigest, StoreError> {
        Err(not_built())
    }

    /// The destinations with a dead letter since a time.
    pub fn with_dead_letters(&self, since: Timestamp) -> Result<Vec<DestinationId>, StoreError> {
        Err(not_built())
    }
}
