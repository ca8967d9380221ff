//! Relays as the API shows them.

use tokio_postgres::Row;

use crate::clock::Timestamp;
use crate::model::{DeliveryState, IntentId};
use crate::store::error::StoreError;
use crate::store::postgres::columns::intent_id;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::queries::others::UNSETTLED;
use crate::store::postgres::values::{maybe_number, maybe_text, number, text};
use crate::store::types::{IntentRow, RelayCursor, RelaysPage, StoredRelay};

/// Relays with the delivery that stands for each: the one to the origin of its URL. An operator may
/// have sent it to other destinations besides, or moved it to another one. Their claims are read
/// once for all of them.
macro_rules! select {
    ($which:literal, $claims:literal) => {
        concat!(
            "WITH claimed AS MATERIALIZED (SELECT u.* FROM relay.claimed u WHERE ",
            $claims,
            ")
             SELECT i.id, i.random, i.label, i.url, i.body, i.metadata, i.created_at,
                    d.state, d.updated_at, d.last_error, d.made_at
             FROM relay.intents i CROSS JOIN LATERAL (
                 SELECT x.state, x.updated_at, x.last_error, c.made_at
                 FROM (SELECT destination_id, state, history, updated_at, last_error, true AS waits
                       FROM relay.waiting WHERE intent_id = i.id
                       UNION ALL
                       SELECT destination_id, state, history, updated_at, last_error, false
                       FROM relay.ended WHERE intent_id = i.id) x
                      CROSS JOIN LATERAL (
                          SELECT name FROM relay.destinations
                          WHERE id = x.destination_id OFFSET 0) AS t
                      CROSS JOIN LATERAL (
                          SELECT max(u.made_at) AS made_at
                          FROM claimed u
                          WHERE x.waits AND u.intent_id = i.id
                            AND u.destination_id = x.destination_id AND u.history = x.history) c
                 ORDER BY strpos(t.name, '://') = 0, x.destination_id LIMIT 1) d
             WHERE i.surface = 0 AND ",
            $which,
            " ORDER BY i.id"
        )
    };
}

const SELECT_ONE: &str = select!("i.id = $1 AND i.random = $2", "u.intent_id = $1");
pub const SELECT_SOME: &str = select!(
    "i.id = ANY($1)",
    "(u.intent_id IN (SELECT unnest($1::int8[]))) IS TRUE"
);

/// The next relays after $1, below $3 while another node lives, each with the bytes of its payload
/// and metadata: these are not read yet.
pub const SELECT_SIZES: &str = "SELECT i.id, coalesce(length(i.body), 0)::bigint
            + coalesce(octet_length(i.metadata), 0)
     FROM relay.intents i
     WHERE i.surface = 0 AND i.id > $1
       AND (i.id < $3 OR NOT EXISTS (SELECT 1 FROM relay.nodes OFFSET 1))
     ORDER BY i.id LIMIT $2";

/// The total size of payloads and metadata at which a page ends: a slow client keeps its page in
/// memory for as long as it reads.
const PAGE_BYTES: i64 = 1024 * 1024;

fn find(sql: &mut Connection, id: IntentId) -> Result<Option<StoredRelay>, Failure> {
    let found = sql.first(SELECT_ONE, &[&id.row(), &id.random()])?;
    found.as_ref().map(read).transpose()
}

/// Up to `limit` relays after the cursor. Large ones end a page early, at [`PAGE_BYTES`].
fn page(
    sql: &mut Connection,
    after: Option<RelayCursor>,
    limit: u32,
    now: Timestamp,
) -> Result<RelaysPage, Failure> {
    let after = after.map_or(-1, |cursor| cursor.0);
    let before = IntentRow::first_at(now.minus(UNSETTLED));
    // One more than asked for tells whether there is a next page.
    let sizes = sql.rows(SELECT_SIZES, &[&after, &i64::from(limit + 1), &before])?;
    let (mut ids, mut bytes, mut has_more) = (Vec::new(), 0, false);
    for row in &sizes {
        if ids.len() == limit as usize || bytes >= PAGE_BYTES {
            has_more = true;
            break;
        }
        bytes += number::<i64>(row, 1)?;
        ids.push(row.try_get::<_, i64>(0)?);
    }
    let rows = sql.rows(SELECT_SOME, &[&ids])?;
    Ok(RelaysPage {
        relays: rows.iter().map(read).collect::<Result<_, _>>()?,
        next: ids.last().copied().map(RelayCursor).filter(|_| has_more),
    })
}

fn read(row: &Row) -> Result<StoredRelay, Failure> {
    let mut relay = StoredRelay {
        id: intent_id(row, 0)?,
        event_type: text(row, 2)?,
        url: row.try_get(3)?,
        payload: row.try_get(4)?,
        metadata: row.try_get(5)?,
        created_at: row.try_get(6)?,
        state: row.try_get(7)?,
        updated_at: row.try_get(8)?,
        last_error: maybe_text(row, 9)?,
    };
    if let Some(claimed_at) = maybe_number(row, 10)? {
        relay.state = DeliveryState::Processing;
        relay.updated_at = Timestamp::from_millis(claimed_at);
    }
    Ok(relay)
}

impl Postgres {
    /// The relay of this id.
    pub async fn relay(&self, id: IntentId) -> Result<Option<StoredRelay>, StoreError> {
        self.read_async(move |sql| find(sql, id)).await
    }

    /// Up to `limit` relays after the cursor, oldest first. Large ones end a page early. While
    /// another node lives, the last page ends shortly before now: what another node commits late
    /// must not appear before the cursor.
    pub async fn relays_page(
        &self,
        after: Option<RelayCursor>,
        limit: u32,
    ) -> Result<RelaysPage, StoreError> {
        let now = self.shared().clock.now();
        self.read_async(move |sql| page(sql, after, limit, now))
            .await
    }
}
