use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::clock::{Stopwatch, SystemClock};
use crate::config;
use crate::model::{Level, Surface};
use crate::ops::metrics::Metrics;
use crate::stop::{Deadline, Stop};
use crate::store::postgres::retry::CALL_LIMIT;
use crate::store::postgres::tests::own_server::own_server;
use crate::store::postgres::tests::support::{connection, settings};
use crate::store::types::{Accept, Accepted, IdempotencyKey};
use crate::store::{Store, StoreContext};

const CLIENTS: usize = 8;

fn context() -> StoreContext {
    StoreContext {
        clock: Arc::new(SystemClock::new()),
        node: config::Node::default(),
        metrics: Arc::new(Metrics::new(Level::Off)),
        stop: Stop::default(),
        on_work: Arc::new(|_| {}),
        on_outside_write: Arc::new(|| {}),
        on_broken: Arc::new(|reason| panic!("{reason}")),
    }
}

/// An event whose body tells it from all others.
fn event(body: String, key: Option<IdempotencyKey>) -> Accept {
    Accept {
        surface: Surface::Event,
        label: "source".to_owned(),
        event_type: None,
        url: None,
        query: None,
        destinations: ["orders".to_owned()].into_iter().collect(),
        order_keys: Vec::new(),
        owner: None,
        headers: Vec::new(),
        metadata: None,
        body: body.into(),
        key,
        window: Duration::from_secs(3600),
    }
}

/// Sends events until it is over; those that were acknowledged as new, by their bodies.
fn send(store: &Store, client: usize, is_over: &AtomicBool, acks: &AtomicUsize) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let body = format!("{client}/{number}");
        let is_keyed = number % 2 == 0;
        let key = is_keyed.then(|| IdempotencyKey::of_event("source", body.clone()));
        let accepted = store.accept_blocking(event(body.clone(), key));
        if matches!(accepted, Ok(Accepted::New(..))) {
            acks.fetch_add(1, Ordering::Relaxed);
            acknowledged.push(body);
        }
    }
    acknowledged
}

/// Waits until clients have had so many more answers.
fn wait_for_acknowledgements(acks: &AtomicUsize, more: usize) {
    let expected = acks.load(Ordering::Relaxed) + more;
    let clock = Stopwatch::start();
    while acks.load(Ordering::Relaxed) < expected {
        assert!(
            clock.elapsed() < Duration::from_secs(60),
            "nothing is accepted any more"
        );
        thread::yield_now();
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_recorded_twice_when_the_server_crashes() {
    let Some(mut server) = own_server() else {
        return;
    };
    server.tell("start");
    let url = server.url();
    let store = Store::open(&settings(&url), Duration::from_secs(3600), context());
    let store = store.expect("a store");
    let (is_over, acks) = (AtomicBool::new(false), AtomicUsize::new(0));
    let acknowledged: Vec<String> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (store, is_over, acks) = (&store, &is_over, &acks);
                scope.spawn(move || send(store, client, is_over, acks))
            })
            .collect();
        for mode in ["immediate", "fast", "immediate"] {
            wait_for_acknowledgements(&acks, 200);
            server.restart(mode);
        }
        wait_for_acknowledgements(&acks, 200);
        is_over.store(true, Ordering::Relaxed);
        let clients = clients.into_iter();
        clients
            .flat_map(|client| client.join().expect("no panic"))
            .collect()
    });
    store.begin_stop();
    assert!(
        store
            .ended()
            .wait(&Deadline::within(Duration::from_secs(60)))
    );

    let mut sql = connection(&url, CALL_LIMIT);
    let twice = "SELECT count(*) - count(DISTINCT body) FROM relay.intents";
    let twice: i64 = sql.one(twice, &[]).expect("a row").get(0);
    assert_eq!(twice, 0, "events that were recorded twice");
    let bodies: Vec<&[u8]> = acknowledged.iter().map(|body| body.as_bytes()).collect();
    let lost = "SELECT count(*) FROM unnest($1::bytea[]) b
         WHERE NOT EXISTS (SELECT 1 FROM relay.intents i JOIN relay.waiting w ON w.intent_id = i.id
                           WHERE i.body = b)";
    sql.batch("CREATE INDEX by_body ON relay.intents (body)")
        .expect("an index");
    let lost: i64 = sql.one(lost, &[&bodies]).expect("a row").get(0);
    assert_eq!(lost, 0, "of {} acknowledged events", bodies.len());
}
