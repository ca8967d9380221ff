//! Creates bulk operations.

use crate::clock::Timestamp;
use crate::model::IntentId;
use crate::store::bulk::selection_of;
use crate::store::error::StoreError;
use crate::store::postgres::acts::destination;
use crate::store::postgres::connection::{Connection, Param};
use crate::store::postgres::failure::{Class, Failure};
use crate::store::postgres::operator::Operator;
use crate::store::postgres::text::Text;
use crate::store::types::{BulkId, BulkPart, DestinationId, NewBulk};

/// Creates an operation for each of these destinations, but those that were deleted since they were
/// counted. The first one has the nonce. $1 to $3: destinations, totals, and whether nothing was
/// selected; $4 to $6: where each begins.
const CREATE: &str = "
WITH input AS MATERIALIZED (
    SELECT o.*, nextval('relay.jobs_id_seq') AS id
    FROM (SELECT u.* FROM unnest($1::int4[], $2::int8[], $3::bool[], $4::int8[], $5::int8[],
                                 $6::int8[])
              WITH ORDINALITY AS u(destination_id, total, is_empty, at, intent, more, n)
          WHERE u.destination_id IS NULL
             OR EXISTS (SELECT 1 FROM relay.destinations WHERE id = u.destination_id)
          ORDER BY u.n) o),
first AS MATERIALIZED (SELECT min(id) AS id FROM input)
INSERT INTO relay.jobs (id, operation, kind, destination_id, target_id, states, source, event_type,
                        reason, ids, since, until, total, cursor_at, cursor_intent, cursor_more,
                        nonce, actor, created_at, ended_at)
OVERRIDING SYSTEM VALUE
SELECT i.id, f.id, $7::int2, i.destination_id, $8::int4, $9::int8, $10::bytea, $11::bytea,
       $12::bytea, $13::text, $14::int8, $15::int8, i.total, i.at, i.intent, i.more,
       CASE WHEN i.id = f.id THEN $16::bytea END, $17::text, $18::int8,
       CASE WHEN i.is_empty THEN $18::int8 END
FROM input i, first f
RETURNING id";

/// The operations that a nonce names.
const NAMED: &str = "SELECT j.id FROM relay.jobs j JOIN relay.jobs f ON j.operation = f.id
     WHERE f.nonce = $1 ORDER BY j.id";

/// Ids as a list that is stored: separated by spaces. None: NULL.
fn ids_to_store(ids: &[IntentId]) -> Option<String> {
    let texts: Vec<String> = ids.iter().map(IntentId::to_string).collect();
    (!texts.is_empty()).then(|| texts.join(" "))
}

/// The nonce of a request, or one of its own: creating twice what was committed, and whose answer
/// was lost, creates it once.
pub fn nonce_of(new: &NewBulk) -> String {
    let own = || format!("{:032x}", rand::random::<u128>());
    new.nonce.clone().unwrap_or_else(own)
}

/// Creates operations, or finds those that the nonce named before.
pub fn create(
    sql: &mut Connection,
    (new, nonce): (&NewBulk, &str),
    parts: &[BulkPart],
    now: Timestamp,
) -> Result<Vec<BulkId>, Failure> {
    let before = named(sql, nonce)?;
    if !before.is_empty() {
        return Ok(before);
    }
    let target = new.target.as_deref();
    let target = target
        .map(|name| destination::ensure(sql, name))
        .transpose()?;
    match insert(sql, (new, nonce), (parts, target), now) {
        Err(failure) if failure.class() == Class::Duplicate => named(sql, nonce),
        created => created,
    }
}

fn named(sql: &mut Connection, nonce: &str) -> Result<Vec<BulkId>, Failure> {
    let rows = sql.rows(NAMED, &[&Text::from(nonce)])?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

fn insert(
    sql: &mut Connection,
    (new, nonce): (&NewBulk, &str),
    (parts, target): (&[BulkPart], Option<DestinationId>),
    now: Timestamp,
) -> Result<Vec<BulkId>, Failure> {
    let starts = parts
        .iter()
        .map(|part| selection_of(new, part.destination, target, now).start());
    let starts: Vec<_> = starts.collect();
    let of = |number: fn(&crate::store::bulk::Cursor) -> i64| -> Vec<i64> {
        starts.iter().map(number).collect()
    };
    let (at, intent, more) = (of(|one| one.at), of(|one| one.intent), of(|one| one.more));
    let ids: Vec<Option<DestinationId>> = parts.iter().map(|part| part.destination).collect();
    let totals: Vec<Option<i64>> = parts.iter().map(|part| part.total).collect();
    let empty: Vec<bool> = parts.iter().map(|part| part.is_empty).collect();
    let filter = &new.filter;
    let kind = new.action as i16;
    let source = filter.source.as_ref().map(Text::from);
    let event_type = filter.event_type.as_ref().map(Text::from);
    let reason = filter.reason.as_ref().map(Text::from);
    let only = ids_to_store(&filter.ids);
    let nonce = Text::from(nonce);
    let params: [Param<'_>; 18] = [
        &ids,
        &totals,
        &empty,
        &at,
        &intent,
        &more,
        &kind,
        &target,
        &filter.states.0,
        &source,
        &event_type,
        &reason,
        &only,
        &filter.since,
        &filter.until,
        &nonce,
        &new.actor,
        &now,
    ];
    let rows = sql.rows(CREATE, &params)?;
    let mut created: Vec<BulkId> = Vec::new();
    for row in rows {
        created.push(row.try_get(0)?);
    }
    created.sort_unstable();
    Ok(created)
}

impl Operator {
    /// Creates the operations that were counted, but those whose destination is gone since.
    pub fn create_bulk(
        &mut self,
        new: NewBulk,
        parts: Vec<BulkPart>,
    ) -> Result<Vec<BulkId>, StoreError> {
        let (now, nonce) = (self.now(), nonce_of(&new));
        self.change(|sql| create(sql, (&new, &nonce), &parts, now))
    }
}
