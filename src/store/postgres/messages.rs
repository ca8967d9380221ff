//! The content that deliveries send, and earlier attempts.

use crate::model::FailureKind;
use crate::store::error::StoreError;
use crate::store::postgres::handle::not_built;
use crate::store::postgres::reader::Reader;
use crate::store::types::{DestinationId, IntentRow, OutboundMessage};

impl Reader {
    /// The messages of these intents, each loaded or not by itself; none of a message with more
    /// than `max` bytes of headers and body.
    pub fn messages(
        &self,
        intents: impl Iterator<Item = IntentRow>,
        max: i64,
    ) -> Result<Vec<Result<Option<OutboundMessage>, StoreError>>, StoreError> {
        Err(not_built())
    }

    /// The message of an intent, whatever its size.
    pub fn message(&self, intent: IntentRow) -> Result<OutboundMessage, StoreError> {
        Err(not_built())
    }

    /// Whether an attempt of the delivery has failed so since its last replay.
    pub fn has_failed_with(
        &self,
        intent: IntentRow,
        destination: DestinationId,
        failure: FailureKind,
    ) -> Result<bool, StoreError> {
        Err(not_built())
    }
}
