//! The statement that inserts an event from elsewhere.

use sha2::{Digest as _, Sha256};

use crate::clock::Timestamp;
use crate::model::{DeliveryState, OrderKey, Surface};
use crate::store::postgres::acts::making::enter;
use crate::store::postgres::acts::selection::CLAIMED;
use crate::store::postgres::connection::Param;
use crate::store::postgres::text::Text;
use crate::store::types::{
    AttemptEntry, ByteText, Checksum, DeliveryRecord, DestinationId, ImportedEvent, IntentRow,
    PayloadDigest,
};

/// Inserts an event with its key, its deliveries and their histories, unless its row is there. A
/// dead letter that blocks its line does so unless another one, or an attempt that was made, stands
/// before it; later events make room for it, in whatever order they come. Nothing is inserted
/// unless all of its destinations, which are locked, are there.
///
/// Returns whether it was inserted, and the random bits of the event that was there.
const IMPORT: &str = concat!(
    "
inserted AS (
    INSERT INTO relay.intents (id, random, surface, created_at, label, url, scope, idempotency_key,
                               request_digest, metadata, headers, body, event_type, query,
                               unrouted, checksum, gone, gone_at)
    SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18
    WHERE (SELECT count(*) FROM relay.destinations WHERE id = ANY($20::int4[]))
          = cardinality($20::int4[])
    ON CONFLICT (id) DO NOTHING RETURNING id),
named AS (
    INSERT INTO relay.idempotency (digest, intent_id, created_at)
    SELECT $19::text::uuid, $1, $4 WHERE $19::text::uuid IS NOT NULL AND EXISTS (SELECT 1 FROM inserted)
    ON CONFLICT (digest) DO NOTHING),
input AS MATERIALIZED (
    SELECT * FROM unnest($20::int4[], $21::int2[], $22::int4[], $23::int4[], $24::int8[],
                         $25::int8[], $26::bytea[], $27::int8[], $28::bool[], $29::int8[])
        AS u(d, state, attempts, history, due, updated_at, last_error, k, in_line, discarded_at)
    WHERE EXISTS (SELECT 1 FROM inserted)),
entering AS (SELECT $1::int8 AS i, d, k FROM input WHERE in_line),",
    enter!(),
    "
waits AS (
    INSERT INTO relay.waiting (destination_id, next_attempt_at, intent_id, state, attempts, history,
                               updated_at, last_error, order_key, place)
    SELECT i.d, CASE WHEN i.in_line AND NOT g.is_due THEN 9223372036854775807 ELSE i.due END,
           $1, i.state, i.attempts, i.history, i.updated_at, i.last_error, i.k,
           CASE WHEN i.in_line THEN $1 END
    FROM input i LEFT JOIN goes g ON g.d = i.d
    WHERE i.state IN (0, 2)),
ends AS (
    INSERT INTO relay.ended (intent_id, destination_id, state, attempts, history, updated_at,
                             last_error, order_key, place, discarded_at)
    SELECT $1, i.d, i.state, i.attempts, i.history, i.updated_at, i.last_error, i.k,
           CASE WHEN i.in_line AND g.is_due THEN $1 END, i.discarded_at
    FROM input i LEFT JOIN goes g ON g.d = i.d
    WHERE i.state IN (3, 4)),
entries AS (
    INSERT INTO relay.attempts (destination_id, entry, attempt, started_at, duration_ms, outcome,
                                status_code, error, response, failure, address, resolve_ms,
                                connect_ms, first_byte_ms, next, tls_ms, intent_id)
    SELECT u.*, $1
    FROM unnest($30::int4[], $31::int4[], $32::int4[], $33::int8[], $34::int8[], $35::int2[],
                $36::int4[], $37::bytea[], $38::bytea[], $39::text[], $40::text[], $41::int8[],
                $42::int8[], $43::int8[], $44::bytea[], $45::int8[]) AS u
    WHERE EXISTS (SELECT 1 FROM inserted))
SELECT EXISTS (SELECT 1 FROM inserted),
       (SELECT x.random FROM relay.intents x WHERE x.id = $1)"
);

/// The digest of a key as the table has it: 128 bits of SHA-256 over its parts, each preceded by
/// its length, in hexadecimal digits. A relay's key has a scope, an event's a source.
fn digest_of(scope: Option<i64>, source: &str, key: &str) -> String {
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    };
    if let Some(scope) = scope {
        add(b"relay");
        add(&scope.to_be_bytes());
    } else {
        add(b"event");
        add(source.as_bytes());
    }
    add(key.as_bytes());
    let whole = <[u8; 32]>::from(hash.finalize());
    let half: [u8; 16] = *whole.first_chunk().expect("32 bytes hold 16");
    format!("{:032x}", u128::from_be_bytes(half))
}

pub fn statement() -> String {
    format!("WITH {CLAIMED}, {IMPORT}")
}

/// The parameters of an event.
pub struct Columns<'a> {
    event: &'a ImportedEvent,
    id: (i64, i64, i16),
    texts: [Option<Text<'a>>; 4],
    scope: Option<i64>,
    request_digest: Option<&'a ByteText>,
    unrouted: Option<i16>,
    checksum: Option<Checksum>,
    gone: (Option<i16>, Option<Timestamp>),
    digest: Option<String>,
    deliveries: Deliveries<'a>,
    entries: Entries<'a>,
}

#[derive(Default)]
struct Deliveries<'a> {
    destinations: Vec<DestinationId>,
    states: Vec<DeliveryState>,
    attempts: Vec<i32>,
    histories: Vec<i32>,
    due: Vec<Option<Timestamp>>,
    updated_at: Vec<Timestamp>,
    last_errors: Vec<Option<Text<'a>>>,
    keys: Vec<Option<OrderKey>>,
    in_line: Vec<bool>,
    discarded_at: Vec<Option<Timestamp>>,
}

#[derive(Default)]
struct Entries<'a> {
    destinations: Vec<DestinationId>,
    numbers: Vec<i32>,
    attempts: Vec<i32>,
    started_at: Vec<Timestamp>,
    durations: Vec<i64>,
    outcomes: Vec<i16>,
    status_codes: Vec<Option<i32>>,
    errors: Vec<Option<Text<'a>>>,
    responses: Vec<Option<&'a [u8]>>,
    failures: Vec<Option<&'a str>>,
    addresses: Vec<Option<&'a str>>,
    times: [Vec<Option<i64>>; 4],
    next: Vec<Option<Text<'a>>>,
}

fn small(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

impl<'a> Columns<'a> {
    /// An event whose deliveries go to these destinations, in its order. Also how many of them come
    /// in as dead letters because they waited.
    pub fn of(
        event: &'a ImportedEvent,
        destinations: &[DestinationId],
        keeps_pending: bool,
    ) -> (Self, usize) {
        let (id, record) = (event.id, &event.record);
        let surface = if event.is_event {
            Surface::Event
        } else {
            Surface::Relay
        };
        let gone = record.payload_gone.as_ref();
        let made = || PayloadDigest::of(&record.headers.0, &record.payload.0);
        // The checksum that came along: bytes that were damaged before the export are so here.
        let checksum = record.checksum.map(Checksum);
        let checksum = checksum.unwrap_or_else(|| made().in_row(IntentRow::of(id)));
        let label = if event.is_event {
            record.label.as_str()
        } else {
            ""
        };
        let key = record.key.as_ref();
        let mut columns = Self {
            event,
            id: (id.row(), id.random(), surface as i16),
            texts: [
                Some(Text::from(&record.label)),
                key.map(|key| Text::from(&key.key)),
                record.event_type.as_ref().map(Text::from),
                record.query.as_ref().map(Text::from),
            ],
            scope: key.and_then(|key| key.scope),
            request_digest: key.and_then(|key| key.request_digest.as_ref()),
            unrouted: record.is_unrouted.then_some(1),
            checksum: gone.is_none().then_some(checksum),
            gone: (
                gone.map(|gone| gone.reason as i16),
                gone.map(|gone| gone.at),
            ),
            digest: key.map(|key| digest_of(key.scope, label, &key.key)),
            deliveries: Deliveries::default(),
            entries: Entries::default(),
        };
        let mut given_up = 0;
        for (delivery, destination) in record.deliveries.iter().zip(destinations) {
            let is_given_up = columns
                .deliveries
                .add(delivery, *destination, keeps_pending);
            given_up += usize::from(is_given_up);
            for entry in &delivery.history {
                columns.entries.add(*destination, entry);
            }
        }
        (columns, given_up)
    }

    pub fn bound(&self) -> Vec<Param<'_>> {
        let record = &self.event.record;
        let [label, key, event_type, query] = &self.texts;
        let mut bound: Vec<Param<'_>> = vec![
            &self.id.0,
            &self.id.1,
            &self.id.2,
            &record.accepted_at,
            label,
            &record.url,
            &self.scope,
            key,
            &self.request_digest,
            &record.metadata,
            &record.headers,
            &record.payload,
            event_type,
            query,
            &self.unrouted,
            &self.checksum,
            &self.gone.0,
            &self.gone.1,
            &self.digest,
        ];
        let of = &self.deliveries;
        bound.extend([
            &of.destinations as Param<'_>,
            &of.states,
            &of.attempts,
            &of.histories,
            &of.due,
            &of.updated_at,
            &of.last_errors,
            &of.keys,
            &of.in_line,
            &of.discarded_at,
        ]);
        let of = &self.entries;
        bound.extend([
            &of.destinations as Param<'_>,
            &of.numbers,
            &of.attempts,
            &of.started_at,
            &of.durations,
            &of.outcomes,
            &of.status_codes,
            &of.errors,
            &of.responses,
            &of.failures,
            &of.addresses,
            &of.times[0],
            &of.times[1],
            &of.times[2],
            &of.next,
            &of.times[3],
        ]);
        bound
    }
}

impl<'a> Deliveries<'a> {
    /// Adds a delivery; whether it comes in as a dead letter because it waited.
    fn add(
        &mut self,
        record: &'a DeliveryRecord,
        destination: DestinationId,
        keeps_pending: bool,
    ) -> bool {
        let key = record.order_key.map(OrderKey::from_number);
        let is_pending = !record.status.is_final();
        let is_given_up = is_pending && !keeps_pending;
        let is_kept = is_pending && keeps_pending;
        let blocks = record.is_in_line && record.status == DeliveryState::DeadLettered;
        let (mut state, mut last_error) =
            (record.status, record.last_error.as_ref().map(Text::from));
        if is_given_up {
            state = DeliveryState::DeadLettered;
            let before = record.last_error.as_ref();
            let before = before.map_or_else(String::new, |error| format!(": {error}"));
            let name = record.status.name();
            last_error = Some(format!("imported while {name}{before}").into());
        } else if state == DeliveryState::Processing {
            // An attempt under way is somebody else's.
            state = DeliveryState::Queued;
        }
        self.destinations.push(destination);
        self.states.push(state);
        self.attempts.push(small(record.attempts));
        self.histories.push(small(record.entries));
        let due = record.next_attempt_at.unwrap_or(record.updated_at);
        self.due.push(is_kept.then_some(due));
        self.updated_at.push(record.updated_at);
        self.last_errors.push(last_error);
        self.keys.push(key);
        self.in_line.push(key.is_some() && (is_kept || blocks));
        self.discarded_at.push(record.discarded_at);
        is_given_up
    }
}

impl<'a> Entries<'a> {
    fn add(&mut self, destination: DestinationId, entry: &'a AttemptEntry) {
        self.destinations.push(destination);
        self.numbers.push(small(entry.entry));
        self.attempts.push(small(entry.attempt));
        self.started_at.push(entry.started_at);
        self.durations.push(entry.duration_ms);
        self.outcomes.push(entry.outcome as i16);
        self.status_codes.push(entry.status_code.map(i32::from));
        self.errors.push(entry.error.as_ref().map(Text::from));
        self.responses
            .push(entry.response.as_ref().map(|bytes| bytes.0.as_slice()));
        self.failures.push(entry.failure.as_deref());
        self.addresses.push(entry.address.as_deref());
        let times = [
            entry.resolve_ms,
            entry.connect_ms,
            entry.first_byte_ms,
            entry.tls_ms,
        ];
        for (column, time) in self.times.iter_mut().zip(times) {
            column.push(time);
        }
        self.next.push(entry.next.as_ref().map(Text::from));
    }
}
