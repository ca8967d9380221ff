//! The reads that bulk operations make.

use tokio_postgres::Row;

use super::selection::{self, CLAIMED};
use crate::clock::Timestamp;
use crate::model::{IntentId, OrderKey, Surface};
use crate::store::bulk::{
    Access, BulkReads, CountBudget, Cursor, IntentOrigin, KeptBack, Page, Selected, Selection,
    SelectionCount, UnderWay,
};
use crate::store::limits::MAX_HISTORY;
use crate::store::postgres::columns::intent_id;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::text::Wanted;
use crate::store::postgres::values::{is_any_damaged, maybe_text, number, text};
use crate::store::types::{
    BulkId, DestinationId, GoneReason, IntentRow, OutboundMessage, StateSet,
};

/// The ids of a stored list.
pub fn stored_ids(text: Option<&str>) -> Result<Vec<IntentId>, Failure> {
    let ids = text.unwrap_or_default().split_ascii_whitespace();
    ids.map(|id| {
        let id: Result<IntentId, _> = id.parse();
        id.map_err(|error| Failure::unexpected(format!("the list of an operation: {error}")))
    })
    .collect()
}

fn read_under_way(row: &Row, now: Timestamp) -> Result<UnderWay, Failure> {
    let begun_at: Option<Timestamp> = row.try_get(9)?;
    let ids = stored_ids(row.try_get(17)?)?;
    let rows = ids.iter().map(|id| IntentRow::of(*id)).collect();
    Ok(UnderWay {
        id: row.try_get(0)?,
        selection: Selection {
            action: row.try_get(1)?,
            destination: row.try_get(2)?,
            target: row.try_get(3)?,
            states: StateSet(row.try_get(4)?),
            ids: (!ids.is_empty()).then_some(rows),
            source: maybe_text(row, 5)?,
            event_type: maybe_text(row, 6)?,
            reason: maybe_text(row, 7)?,
            since: row.try_get(8)?,
            begun_at: begun_at.unwrap_or(now),
            until: row.try_get(10)?,
        },
        target: row.try_get(11)?,
        cursor: Cursor {
            at: row.try_get(12)?,
            intent: row.try_get(13)?,
            more: row.try_get(14)?,
        },
        look_again_at: row.try_get(15)?,
        is_first_pass: row.try_get(16)?,
        is_erased: row.try_get(18)?,
    })
}

impl BulkReads for Connection {
    type Error = Failure;

    fn destination_id(&mut self, name: &str) -> Result<Option<DestinationId>, Failure> {
        let found = self.first(
            "SELECT id FROM relay.destinations WHERE name = $1",
            &[&Wanted(name)],
        )?;
        Ok(found.map(|row| row.try_get(0)).transpose()?)
    }

    fn destination_name(&mut self, id: DestinationId) -> Result<Option<String>, Failure> {
        let found = self.first("SELECT name FROM relay.destinations WHERE id = $1", &[&id])?;
        Ok(found.map(|row| row.try_get(0)).transpose()?)
    }

    fn destinations_with(
        &mut self,
        access: Access,
        name: Option<&str>,
    ) -> Result<Vec<(DestinationId, String)>, Failure> {
        let has_any = if access == Access::Dead {
            "EXISTS (SELECT 1 FROM relay.ended e WHERE e.destination_id = t.id AND e.state = 4
                                                   AND e.discarded_at IS NULL OFFSET 0)"
        } else {
            "EXISTS (SELECT 1 FROM relay.waiting w WHERE w.destination_id = t.id OFFSET 0)"
        };
        let select = |of: &str| {
            format!(
                "SELECT t.id, t.name FROM relay.destinations t WHERE {of} {has_any}
                 ORDER BY t.name COLLATE \"C\""
            )
        };
        let rows = match name {
            Some(name) => self.rows(&select("t.name = $1::text AND"), &[&Wanted(name)])?,
            None => self.rows(&select(""), &[])?,
        };
        let rows = rows.into_iter();
        rows.map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect()
    }

    fn kept_back(
        &mut self,
        id: DestinationId,
        now: Timestamp,
    ) -> Result<Option<KeptBack>, Failure> {
        let found = self.first(
            "SELECT paused_at IS NOT NULL,
                    coalesce(held_until, 0) > $2::int8 OR probe_at IS NOT NULL
             FROM relay.destinations WHERE id = $1",
            &[&id, &now],
        )?;
        let Some(row) = found else {
            return Ok(None);
        };
        Ok(Some(KeptBack {
            is_paused: row.try_get(0)?,
            is_held: row.try_get(1)?,
        }))
    }

    fn count_due(&mut self, id: DestinationId, now: Timestamp, most: i64) -> Result<i64, Failure> {
        let row = self.one(
            &format!(
                "WITH {CLAIMED}
                 SELECT count(*) FROM (
                     SELECT 1 FROM relay.waiting w
                     WHERE w.destination_id = $1 AND w.next_attempt_at <= $2
                       AND (w.intent_id, w.destination_id, w.history)
                           NOT IN (SELECT i, d, h FROM claimed)
                     LIMIT $3) due"
            ),
            &[&id, &now, &most],
        )?;
        Ok(row.try_get(0)?)
    }

    fn is_crowded(&mut self, id: DestinationId, key: OrderKey, many: i64) -> Result<bool, Failure> {
        let row = self.one(
            "SELECT (SELECT count(*) FROM (
                         SELECT 1 FROM relay.waiting
                         WHERE destination_id = $1 AND order_key = $2 AND place IS NOT NULL
                         LIMIT $3) w) >= $3
                    AND NOT EXISTS (
                        SELECT 1 FROM relay.ended
                        WHERE destination_id = $1 AND order_key = $2 AND place IS NOT NULL)",
            &[&id, &key, &many],
        )?;
        Ok(row.try_get(0)?)
    }

    fn page(
        &mut self,
        selection: &Selection,
        after: Cursor,
        wanted: usize,
    ) -> Result<Page, Failure> {
        selection::page(self, selection, after, wanted)
    }

    fn count(
        &mut self,
        selection: &Selection,
        budget: &mut CountBudget,
    ) -> Result<SelectionCount, Failure> {
        selection::count(self, selection, budget)
    }

    fn in_flight(&mut self, selection: &Selection) -> Result<i64, Failure> {
        selection::in_flight(self, selection)
    }

    fn under_way(
        &mut self,
        after: Option<BulkId>,
        most: i64,
        now: Timestamp,
    ) -> Result<Vec<UnderWay>, Failure> {
        let rows = self.rows(
            "SELECT j.id, j.kind, j.destination_id, j.target_id, j.states, j.source, j.event_type,
                    j.reason, j.since, j.begun_at, j.until, t.name, j.cursor_at, j.cursor_intent,
                    j.cursor_more, j.look_again_at, j.look_until IS NULL, j.ids,
                    j.erased_at IS NOT NULL
             FROM relay.jobs j LEFT JOIN relay.destinations t ON t.id = j.target_id
             WHERE j.ended_at IS NULL AND j.id > $1 ORDER BY j.id LIMIT $2",
            &[&after.unwrap_or(BulkId(0)), &most],
        )?;
        rows.iter().map(|row| read_under_way(row, now)).collect()
    }

    fn size_of(&mut self, id: IntentId) -> Result<Option<u32>, Failure> {
        let found = self.first(
            "SELECT octet_length(headers) + octet_length(body) FROM relay.intents
             WHERE id = $1 AND random = $2",
            &[&id.row(), &id.random()],
        )?;
        found.map(|row| number(&row, 0)).transpose()
    }

    fn deliveries_of(
        &mut self,
        event: &Selected,
        destination: Option<DestinationId>,
        now: Timestamp,
    ) -> Result<Vec<Selected>, Failure> {
        let rows = self.rows(
            &format!(
                "WITH {CLAIMED}
                 SELECT w.destination_id,
                        CASE WHEN (w.intent_id, w.destination_id, w.history)
                                  IN (SELECT i, d, h FROM claimed)
                             THEN 1::int2 ELSE w.state END,
                        w.updated_at, least(w.history, {MAX_HISTORY}),
                        w.next_attempt_at <= $3 OR w.next_attempt_at = 9223372036854775807
                 FROM relay.waiting w
                 WHERE w.intent_id = $1 AND ($2::int4 IS NULL OR w.destination_id = $2)
                 UNION ALL
                 SELECT e.destination_id, e.state, e.updated_at, least(e.history, {MAX_HISTORY}),
                        false
                 FROM relay.ended e
                 WHERE e.intent_id = $1 AND ($2::int4 IS NULL OR e.destination_id = $2)
                   AND e.discarded_at IS NULL
                 ORDER BY 1"
            ),
            &[&event.intent, &destination, &now],
        )?;
        let delivery = |row: &Row| {
            Ok(Selected {
                destination: Some(row.try_get(0)?),
                state: row.try_get(1)?,
                updated_at: row.try_get(2)?,
                history: number(row, 3)?,
                is_skipped: row.try_get(4)?,
                ..event.clone()
            })
        };
        rows.iter().map(delivery).collect()
    }

    fn delivery_rows(&mut self, intent: IntentRow) -> Result<usize, Failure> {
        let row = self.one(
            &format!(
                "SELECT coalesce(sum(2 + least(history, {MAX_HISTORY})), 0)::int8
                 FROM (SELECT history FROM relay.waiting WHERE intent_id = $1
                       UNION ALL
                       SELECT history FROM relay.ended WHERE intent_id = $1) d"
            ),
            &[&intent],
        )?;
        number(&row, 0)
    }

    fn message(&mut self, intent: IntentRow) -> Result<Option<OutboundMessage>, Failure> {
        let found = self.first(
            "SELECT random, surface, label, url, created_at, headers, body, event_type, query,
                    checksum, gone
             FROM relay.intents WHERE id = $1",
            &[&intent],
        )?;
        let Some(row) = found else {
            return Ok(None);
        };
        let (random, surface): (i64, i16) = (row.try_get(0)?, row.try_get(1)?);
        Ok(Some(OutboundMessage {
            id: IntentId::new(intent.0, random.cast_unsigned()),
            surface: Surface::from_number(surface.into()),
            label: text(&row, 2)?,
            event_type: maybe_text(&row, 7)?,
            url: row.try_get(3)?,
            query: maybe_text(&row, 8)?,
            created_at: row.try_get(4)?,
            headers: row.try_get(5)?,
            body: row.try_get(6)?,
            has_damaged_text: is_any_damaged(&row, &[2, 7, 8])?,
            checksum: row.try_get(9)?,
            gone: row.try_get(10)?,
        }))
    }

    fn has_delivery(
        &mut self,
        intent: IntentRow,
        destination: DestinationId,
    ) -> Result<bool, Failure> {
        let row = self.one(
            "SELECT EXISTS (SELECT 1 FROM relay.waiting
                            WHERE intent_id = $1 AND destination_id = $2)
                 OR EXISTS (SELECT 1 FROM relay.ended
                            WHERE intent_id = $1 AND destination_id = $2)",
            &[&intent, &destination],
        )?;
        Ok(row.try_get(0)?)
    }

    fn is_kept(&mut self, intent: IntentRow) -> Result<bool, Failure> {
        let row = self.one(
            "SELECT EXISTS (SELECT 1 FROM relay.waiting WHERE intent_id = $1)
                 OR NOT EXISTS (SELECT 1 FROM relay.ended WHERE intent_id = $1)
                 OR EXISTS (SELECT 1 FROM relay.ended
                            WHERE intent_id = $1 AND discarded_at IS NULL)",
            &[&intent],
        )?;
        Ok(row.try_get(0)?)
    }

    fn gone(&mut self, intent: IntentRow) -> Result<Option<GoneReason>, Failure> {
        let found = self.first("SELECT gone FROM relay.intents WHERE id = $1", &[&intent])?;
        // Retention may have deleted it since it was found.
        let gone = found.map(|row| row.try_get::<_, Option<GoneReason>>(0));
        Ok(gone.transpose()?.flatten())
    }

    fn is_in_flight(&mut self, intent: IntentRow) -> Result<bool, Failure> {
        let row = self.one(
            &format!(
                "WITH {CLAIMED}
                 SELECT EXISTS (SELECT 1 FROM claimed c
                                    JOIN relay.waiting w ON w.intent_id = ANY(ARRAY[c.i])
                                         AND w.destination_id = ANY(ARRAY[c.d])
                                         AND w.history = c.h
                                WHERE c.i = $1)"
            ),
            &[&intent],
        )?;
        Ok(row.try_get(0)?)
    }

    fn origin_of(&mut self, intent: IntentRow) -> Result<Option<IntentOrigin>, Failure> {
        let found = self.first(
            "SELECT id, random, surface, created_at FROM relay.intents WHERE id = $1",
            &[&intent],
        )?;
        let Some(row) = found else {
            return Ok(None);
        };
        let surface: i16 = row.try_get(2)?;
        Ok(Some(IntentOrigin {
            id: intent_id(&row, 0)?,
            surface: Surface::from_number(surface.into()),
            created_at: row.try_get(3)?,
        }))
    }
}
