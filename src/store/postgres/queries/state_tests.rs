//! The states that rows stand for: a claim that a settlement or a release has ended counts no more.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{FakeClock, Timestamp};
use crate::config;
use crate::model::{DeliveryState, IntentId, Level};
use crate::ops::metrics::Metrics;
use crate::stop::{Stop, block_on};
use crate::store::StoreContext;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::tests::support::{Database, database};
use crate::store::types::{COUNTED_STATES, ListQuery};

/// Four deliveries to `d`, the first three of them claimed by one turn: the second was settled
/// since, the third released. A fifth one has ended.
const ROWS: &str = "
    INSERT INTO relay.destinations (name, bucket) VALUES ('d', 0);
    INSERT INTO relay.intents (id, random, surface, created_at, label, headers, body)
        SELECT n << 12, 7, 1, n, 's', '', '{}' FROM generate_series(1, 5) n;
    INSERT INTO relay.waiting (destination_id, next_attempt_at, intent_id, state, attempts, history,
                               updated_at, last_error)
        VALUES (1, 10, 1 << 12, 0, 0, 0, 1, NULL), (1, 20, 2 << 12, 2, 1, 1, 2, 'e'),
               (1, 30, 3 << 12, 0, 0, 0, 3, NULL), (1, 40, 4 << 12, 0, 0, 0, 4, NULL);
    INSERT INTO relay.ended (intent_id, destination_id, state, attempts, history, updated_at,
                             last_error)
        VALUES (5 << 12, 1, 4, 1, 1, 5, 'e');
    INSERT INTO relay.claims (epoch, turn, made_at, intents, destinations, attempts, histories,
                              begun)
        VALUES (1, 1, 6, ARRAY[1 << 12, 2 << 12, 3 << 12], ARRAY[1, 1, 1], ARRAY[1, 1, 0],
                ARRAY[0, 0, 0], 3);";

const EXPECTED: [DeliveryState; 5] = [
    DeliveryState::Processing,
    DeliveryState::Retrying,
    DeliveryState::Queued,
    DeliveryState::Queued,
    DeliveryState::DeadLettered,
];

fn store(database: &Database) -> Postgres {
    let settings = database.settings();
    let url = settings.url.clone().expect("a URL");
    let context = StoreContext {
        clock: Arc::new(FakeClock::at(Timestamp::from_millis(100))),
        node: config::Node::default(),
        metrics: Arc::new(Metrics::new(Level::Off)),
        stop: Stop::default(),
        on_work: Arc::new(|_| {}),
        on_outside_write: Arc::new(|| {}),
        on_broken: Arc::new(|why| panic!("{why}")),
    };
    let day = Duration::from_secs(86_400);
    Postgres::open(&url, &settings, day, context).expect("the store opens")
}

#[test]
fn a_claimed_delivery_is_processing_until_it_is_settled_or_released() {
    let Some((database, mut sql)) = database() else {
        return;
    };
    let store = store(&database);
    sql.batch(ROWS).expect("rows");
    let list = |state| {
        let query = ListQuery {
            state,
            limit: 10,
            ..ListQuery::default()
        };
        let mut found = store.list(&query).expect("a list");
        found.reverse();
        found
    };
    let states: Vec<_> = list(None).iter().map(|one| one.state).collect();
    assert_eq!(states, EXPECTED);
    for state in COUNTED_STATES {
        let expected = EXPECTED.iter().filter(|it| **it == state).count();
        let found = list(Some(state));
        assert_eq!(found.len(), expected, "{state}");
        assert!(found.iter().all(|one| one.state == state));
    }
    let processing = &list(Some(DeliveryState::Processing))[0];
    assert_eq!((processing.attempts, processing.next_attempt_at), (1, None));
    assert_eq!(processing.updated_at, Timestamp::from_millis(6));
    for (number, expected) in EXPECTED.into_iter().enumerate() {
        let row = (i64::try_from(number).expect("few") + 1) << 12;
        let intent = store.intent(IntentId::new(row, 7)).expect("a read");
        assert_eq!(intent.expect("it is there").deliveries[0].state, expected);
    }
    // Waits for the count, so that the first one to ask is told.
    block_on(store.recount_if_due());
    let counts = store.deliveries().expect("counted");
    assert_eq!(counts.map(|(_, count)| count), [2, 1, 1, 1]);
    let reader = store.reader();
    let backlog = store.backlog_on(&reader, |_| true).expect("a read");
    assert_eq!(backlog.oldest_due, Some(Timestamp::from_millis(20)));
    store.stop();
}
