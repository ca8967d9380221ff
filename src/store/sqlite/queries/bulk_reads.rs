//! The reads that bulk operations make.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::clock::Timestamp;
use crate::model::{DeliveryState, IntentId, OrderKey, Surface};
use crate::store::bulk::{
    Access, BulkReads, CountBudget, Cursor, IntentOrigin, KeptBack, Page, Selected, Selection,
    SelectionCount, UnderWay,
};
use crate::store::error::StoreError;
use crate::store::limits::MAX_HISTORY;
use crate::store::sqlite::columns::{BLOCKED, intent_id, stored_ids, text};
use crate::store::sqlite::ops::line;
use crate::store::sqlite::queries::messages::find_message;
use crate::store::types::{
    BulkId, DestinationId, GoneReason, IntentRow, OutboundMessage, StateSet,
};

/// Reads for bulk operations on a connection.
pub struct BulkReader<'a>(pub &'a Connection);

/// The id of a destination, if anything was ever sent there.
pub fn destination_id(sql: &Connection, name: &str) -> Result<Option<DestinationId>, StoreError> {
    Ok(sql
        .prepare_cached("SELECT id FROM destinations WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?)
}

/// The condition that a destination `t` has deliveries that are found in this way.
fn has_any(access: Access) -> &'static str {
    if access == Access::Dead {
        "EXISTS (SELECT 1 FROM deliveries d INDEXED BY dead
                 WHERE d.destination_id = t.id AND d.state = 4 AND d.discarded_at IS NULL)"
    } else {
        "(EXISTS (SELECT 1 FROM deliveries d INDEXED BY due
                  WHERE d.destination_id = t.id AND d.next_attempt_at IS NOT NULL)
          OR t.id IN (SELECT d.destination_id FROM deliveries d INDEXED BY claimed
                      WHERE d.claim IS NOT NULL))"
    }
}

fn read_under_way(row: &Row<'_>, now: Timestamp) -> rusqlite::Result<UnderWay> {
    let begun_at: Option<Timestamp> = row.get(9)?;
    let ids = stored_ids(row, 17)?;
    let rows = ids.iter().map(|id| IntentRow::of(*id)).collect();
    Ok(UnderWay {
        id: row.get(0)?,
        selection: Selection {
            action: row.get(1)?,
            destination: row.get(2)?,
            target: row.get(3)?,
            states: StateSet(row.get(4)?),
            ids: (!ids.is_empty()).then_some(rows),
            source: row.get(5)?,
            event_type: row.get(6)?,
            reason: row.get(7)?,
            since: row.get(8)?,
            begun_at: begun_at.unwrap_or(now),
            until: row.get(10)?,
        },
        target: row.get(11)?,
        cursor: Cursor {
            at: row.get(12)?,
            intent: row.get(13)?,
            more: row.get(14)?,
        },
        look_again_at: row.get(15)?,
        is_first_pass: row.get(16)?,
        is_erased: row.get(18)?,
    })
}

impl BulkReads for BulkReader<'_> {
    type Error = StoreError;

    fn destination_id(&mut self, name: &str) -> Result<Option<DestinationId>, StoreError> {
        destination_id(self.0, name)
    }

    fn destination_name(&mut self, id: DestinationId) -> Result<Option<String>, StoreError> {
        let sql = "SELECT name FROM destinations WHERE id = ?1";
        let mut statement = self.0.prepare_cached(sql)?;
        Ok(statement.query_row([id], |row| text(row, 0)).optional()?)
    }

    fn destinations_with(
        &mut self,
        access: Access,
        name: Option<&str>,
    ) -> Result<Vec<(DestinationId, String)>, StoreError> {
        let mut statement = self.0.prepare(&format!(
            "SELECT t.id, t.name FROM destinations t
             WHERE (?1 IS NULL OR t.name = ?1) AND {} ORDER BY t.name",
            has_any(access)
        ))?;
        let rows = statement.query_map([name], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn kept_back(
        &mut self,
        id: DestinationId,
        now: Timestamp,
    ) -> Result<Option<KeptBack>, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT paused_at IS NOT NULL,
                    coalesce(held_until, 0) > ?2 OR probe_at IS NOT NULL
             FROM destinations WHERE id = ?1",
        )?;
        let found = statement.query_row(params![id, now], |row| {
            Ok(KeptBack {
                is_paused: row.get(0)?,
                is_held: row.get(1)?,
            })
        });
        Ok(found.optional()?)
    }

    fn count_due(
        &mut self,
        id: DestinationId,
        now: Timestamp,
        most: i64,
    ) -> Result<i64, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM deliveries
             WHERE destination_id = ?1 AND next_attempt_at <= ?2 LIMIT ?3)",
        )?;
        Ok(statement.query_row(params![id, now, most], |row| row.get(0))?)
    }

    fn is_crowded(
        &mut self,
        id: DestinationId,
        key: OrderKey,
        many: i64,
    ) -> Result<bool, StoreError> {
        line::is_crowded(self.0, id, key, many)
    }

    fn page(
        &mut self,
        selection: &Selection,
        after: Cursor,
        wanted: usize,
    ) -> Result<Page, StoreError> {
        selection.page_of(self.0, after, wanted)
    }

    fn count(
        &mut self,
        selection: &Selection,
        budget: &mut CountBudget,
    ) -> Result<SelectionCount, StoreError> {
        selection.count_of(self.0, budget)
    }

    fn in_flight(&mut self, selection: &Selection) -> Result<i64, StoreError> {
        selection.in_flight_of(self.0)
    }

    fn under_way(
        &mut self,
        after: Option<BulkId>,
        most: i64,
        now: Timestamp,
    ) -> Result<Vec<UnderWay>, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT j.id, j.kind, j.destination_id, j.target_id, j.states, j.source, j.event_type,
                    j.reason, j.since, j.begun_at, j.until, t.name, j.cursor_at, j.cursor_intent,
                    j.cursor_more, j.look_again_at, j.look_until IS NULL, j.ids,
                    j.erased_at IS NOT NULL
             FROM jobs j LEFT JOIN destinations t ON t.id = j.target_id
             WHERE j.ended_at IS NULL AND j.id > ?1 ORDER BY j.id LIMIT ?2",
        )?;
        let after = after.unwrap_or(BulkId(0));
        let rows = statement.query_map(params![after, most], |row| read_under_way(row, now))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn size_of(&mut self, id: IntentId) -> Result<Option<u32>, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT length(headers) + length(body) FROM intents WHERE id = ?1 AND random = ?2",
        )?;
        let size = statement.query_row(params![id.row(), id.random()], |row| row.get(0));
        Ok(size.optional()?)
    }

    fn deliveries_of(
        &mut self,
        event: &Selected,
        destination: Option<DestinationId>,
        now: Timestamp,
    ) -> Result<Vec<Selected>, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT destination_id, state, updated_at, max(0, min(history, ?3)),
                    (next_attempt_at <= ?4 OR next_attempt_at = ?5) IS TRUE
             FROM deliveries
             WHERE intent_id = ?1 AND (?2 IS NULL OR destination_id = ?2) AND discarded_at IS NULL
             ORDER BY destination_id",
        )?;
        let rows = statement.query_map(
            params![event.intent, destination, MAX_HISTORY, now, BLOCKED],
            |row| {
                Ok(Selected {
                    destination: Some(row.get(0)?),
                    state: row.get(1)?,
                    updated_at: row.get(2)?,
                    history: row.get(3)?,
                    is_skipped: row.get(4)?,
                    ..event.clone()
                })
            },
        )?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn delivery_rows(&mut self, intent: IntentRow) -> Result<usize, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT coalesce(sum(2 + max(0, min(history, ?2))), 0)
             FROM deliveries WHERE intent_id = ?1",
        )?;
        let rows: u32 = statement.query_row(params![intent, MAX_HISTORY], |row| row.get(0))?;
        Ok(rows as usize)
    }

    fn message(&mut self, intent: IntentRow) -> Result<Option<OutboundMessage>, StoreError> {
        find_message(self.0, intent)
    }

    fn has_delivery(
        &mut self,
        intent: IntentRow,
        destination: DestinationId,
    ) -> Result<bool, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT 1 FROM deliveries WHERE intent_id = ?1 AND destination_id = ?2",
        )?;
        Ok(statement.exists(params![intent, destination])?)
    }

    fn is_kept(&mut self, intent: IntentRow) -> Result<bool, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT NOT EXISTS (SELECT 1 FROM deliveries WHERE intent_id = ?1)
                 OR EXISTS (SELECT 1 FROM deliveries
                            WHERE intent_id = ?1 AND discarded_at IS NULL)",
        )?;
        Ok(statement.query_row([intent], |row| row.get(0))?)
    }

    fn gone(&mut self, intent: IntentRow) -> Result<Option<GoneReason>, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT iif(length(body) + length(headers) = 0, gone, NULL) FROM intents WHERE id = ?1",
        )?;
        // Retention may have deleted it since it was found.
        let found: Option<Option<GoneReason>> =
            statement.query_row([intent], |row| row.get(0)).optional()?;
        Ok(found.flatten())
    }

    fn is_in_flight(&mut self, intent: IntentRow) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM deliveries WHERE intent_id = ?1 AND state = ?2";
        let mut statement = self.0.prepare_cached(sql)?;
        Ok(statement.exists(params![intent, DeliveryState::Processing])?)
    }

    fn origin_of(&mut self, intent: IntentRow) -> Result<Option<IntentOrigin>, StoreError> {
        let sql = "SELECT id, random, surface, created_at FROM intents WHERE id = ?1";
        let mut statement = self.0.prepare_cached(sql)?;
        let found = statement.query_row([intent], |row| {
            Ok(IntentOrigin {
                id: intent_id(row, 0)?,
                surface: Surface::from_number(row.get(2)?),
                created_at: row.get(3)?,
            })
        });
        Ok(found.optional()?)
    }
}
