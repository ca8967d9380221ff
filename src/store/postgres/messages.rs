//! The content that deliveries send, and earlier attempts.

use tokio_postgres::Row;

use super::values::{is_any_damaged, maybe_text, text};
use crate::clock::Timestamp;
use crate::model::{FailureKind, IntentId, Surface};
use crate::store::error::StoreError;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::reader::Reader;
use crate::store::types::{Checksum, DestinationId, GoneReason, IntentRow, OutboundMessage};

/// The messages of the intents $1, in their order; without the body of one with more than $2 bytes
/// of headers and body.
const MESSAGES: &str = "
SELECT a.o, i.id, i.random, i.surface, i.label, i.url, i.created_at, i.headers,
       CASE WHEN octet_length(i.headers) + octet_length(i.body) <= $2::int8 THEN i.body END,
       i.event_type, i.query, i.checksum, i.gone
FROM unnest($1::int8[]) WITH ORDINALITY AS a(id, o)
CROSS JOIN LATERAL (SELECT * FROM relay.intents x WHERE x.id = a.id OFFSET 0) AS i";

/// Whether an attempt has failed as $3 says since the last replay (outcome 4).
const HAS_FAILED: &str = "
SELECT EXISTS (
    SELECT 1 FROM relay.attempts
    WHERE intent_id = $1::int8 AND destination_id = $2::int4 AND failure = $3::text
      AND entry > coalesce((SELECT max(entry) FROM relay.attempts
           WHERE intent_id = $1::int8 AND destination_id = $2::int4 AND outcome = 4), 0))";

fn message_of(row: &Row) -> Result<Option<OutboundMessage>, Failure> {
    let Some(body) = row.try_get(8)? else {
        return Ok(None);
    };
    let random: i64 = row.try_get(2)?;
    let gone: Option<i16> = row.try_get(12)?;
    let gone = gone.map(|number| {
        let mut all = GoneReason::ALL.into_iter();
        let found = all.find(|one| *one as i64 == i64::from(number));
        found.ok_or_else(|| Failure::unexpected(format!("no payload is gone for reason {number}")))
    });
    Ok(Some(OutboundMessage {
        id: IntentId::new(row.try_get(1)?, random.cast_unsigned()),
        surface: Surface::from_number(i64::from(row.try_get::<_, i16>(3)?)),
        label: text(row, 4)?,
        event_type: maybe_text(row, 9)?,
        url: row.try_get(5)?,
        query: maybe_text(row, 10)?,
        created_at: Timestamp::from_millis(row.try_get(6)?),
        headers: row.try_get(7)?,
        body,
        has_damaged_text: is_any_damaged(row, &[4, 9, 10])?,
        checksum: row.try_get::<_, Option<i64>>(11)?.map(Checksum),
        gone: gone.transpose()?,
    }))
}

impl Reader {
    /// The messages of these intents, each loaded or not by itself; none of a message with more
    /// than `max` bytes of headers and body.
    pub fn messages(
        &self,
        intents: impl Iterator<Item = IntentRow>,
        max: i64,
    ) -> Result<Vec<Result<Option<OutboundMessage>, StoreError>>, StoreError> {
        let ids: Vec<i64> = intents.map(|intent| intent.0).collect();
        self.read(|connection| {
            let missing =
                |id: &i64| Err(StoreError::Unexpected(format!("no intent has the id {id}")));
            let mut messages: Vec<_> = ids.iter().map(missing).collect();
            for row in connection.rows(MESSAGES, &[&ids, &max])? {
                let nth = usize::try_from(row.try_get::<_, i64>(0)? - 1).unwrap_or(usize::MAX);
                if let Some(place) = messages.get_mut(nth) {
                    *place = message_of(&row).map_err(StoreError::from);
                }
            }
            Ok(messages)
        })
    }

    /// The message of an intent, whatever its size.
    pub fn message(&self, intent: IntentRow) -> Result<OutboundMessage, StoreError> {
        let mut found = self.messages([intent].into_iter(), i64::MAX)?;
        found
            .pop()
            .transpose()?
            .flatten()
            .ok_or_else(|| StoreError::Unexpected("a body that is longer than any".to_owned()))
    }

    /// Whether an attempt of the delivery has failed so since its last replay.
    pub fn has_failed_with(
        &self,
        intent: IntentRow,
        destination: DestinationId,
        failure: FailureKind,
    ) -> Result<bool, StoreError> {
        let destination = i32::try_from(destination.0).unwrap_or(0);
        self.read(|connection| {
            let row = connection.one(HAS_FAILED, &[&intent.0, &destination, &failure.name()])?;
            Ok(row.try_get(0)?)
        })
    }
}
