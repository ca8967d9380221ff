use super::{destinations_of, import, insert};
use crate::clock::Timestamp;
use crate::model::{DeliveryState, IntentId, Surface};
use crate::store::Operator;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::tests::support::database;
use crate::store::types::{
    ByteText, DeliveryRecord, DestinationId, EventRecord, ImportTally, ImportedEvent, KeyRecord,
};

const AT: i64 = 1_700_000_000_000;

/// An event of this second with a delivery to `d`, in the line 7.
fn event(second: i64, status: DeliveryState) -> ImportedEvent {
    let millis = AT + second * 1_000;
    let at = Timestamp::from_millis(millis);
    let id = IntentId::new(IntentId::first_row_at(millis), 1);
    let delivery = DeliveryRecord {
        destination: "d".to_owned(),
        owner: None,
        status,
        attempts: 0,
        entries: 0,
        next_attempt_at: Some(at),
        updated_at: at,
        last_error: status.is_final().then(|| "e\0".to_owned()),
        order_key: Some(7),
        is_in_line: true,
        discarded_at: None,
        history: Vec::new(),
    };
    let record = EventRecord {
        id: Surface::Event.public_id(id),
        accepted_at: at,
        label: "s".to_owned(),
        event_type: None,
        url: None,
        query: None,
        metadata: None,
        key: Some(KeyRecord {
            key: second.to_string(),
            scope: None,
            request_digest: None,
        }),
        headers: ByteText(Vec::new()),
        payload: ByteText(b"{}".to_vec()),
        checksum: None,
        payload_gone: None,
        is_unrouted: false,
        deliveries: vec![delivery],
    };
    ImportedEvent::check(record, Timestamp::from_millis(AT * 2)).expect("an event")
}

fn number(sql: &mut Connection, query: &str) -> i64 {
    let row = sql.one(query, &[]).expect("a row");
    row.try_get(0).expect("a number")
}

#[test]
fn events_keep_their_order_and_are_imported_once() {
    const DUE: &str = "SELECT intent_id >> 12 FROM relay.waiting
        WHERE next_attempt_at < 9223372036854775807";
    let Some((database, mut sql)) = database() else {
        return;
    };
    let mut operator = Operator::importing(&database.settings()).expect("an operator");
    // The older one comes later, and makes the newer one step back.
    for second in [2, 1] {
        let events = vec![event(second, DeliveryState::Queued)];
        let tally = operator.import(events, true).expect("imported");
        assert_eq!(tally.imported, 1);
        assert_eq!(number(&mut sql, DUE), AT + second * 1_000);
    }
    let both = || [2, 1].map(|second| event(second, DeliveryState::Queued));
    let again = operator.import(both().into(), true).expect("an answer");
    assert_eq!((again.imported, again.skipped), (0, 2));
    assert_eq!(
        number(&mut sql, "SELECT count(*) FROM relay.idempotency"),
        2
    );
}

#[test]
fn an_event_whose_destination_was_forgotten_is_left_and_the_others_are_imported() {
    let Some((_database, mut sql)) = database() else {
        return;
    };
    let there = event(1, DeliveryState::Delivered);
    let mut left = event(2, DeliveryState::Delivered);
    "forgotten".clone_into(&mut left.record.deliveries[0].destination);
    let mut known = destinations_of(&mut sql, &[&there]).expect("a destination");
    known.insert("forgotten", DestinationId(999));
    let mut tally = ImportTally::default();
    let rest = insert(&mut sql, &[&there, &left], known, true, &mut tally).expect("an answer");
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].public_id(), left.public_id());
    assert_eq!((tally.imported, tally.taken), (1, 0));
    for table in ["intents", "ended", "idempotency"] {
        let count = format!("SELECT count(*) FROM relay.{table}");
        assert_eq!(number(&mut sql, &count), 1, "{table}");
    }
    let tally = import(&mut sql, &[there, left], true).expect("imported");
    assert_eq!((tally.imported, tally.skipped), (1, 1));
}

#[test]
fn an_imported_dead_letter_blocks_and_pending_ones_are_given_up() {
    let Some((database, mut sql)) = database() else {
        return;
    };
    let mut operator = Operator::importing(&database.settings()).expect("an operator");
    let events = vec![
        event(1, DeliveryState::DeadLettered),
        event(2, DeliveryState::Retrying),
    ];
    let tally = operator.import(events, false).expect("imported");
    let expected = ImportTally {
        imported: 2,
        given_up: 1,
        ..ImportTally::default()
    };
    assert_eq!(tally, expected);
    let count = "SELECT count(*) FROM relay.ended WHERE place IS NOT NULL";
    assert_eq!(number(&mut sql, count), 1);
    assert_eq!(number(&mut sql, "SELECT count(*) FROM relay.ended"), 2);
    let events = vec![event(3, DeliveryState::Queued)];
    operator.import(events, true).expect("imported");
    let blocked = "SELECT count(*) FROM relay.waiting WHERE next_attempt_at = 9223372036854775807";
    assert_eq!(number(&mut sql, blocked), 1);
}
