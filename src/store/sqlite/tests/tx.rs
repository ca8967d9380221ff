//! A change's use of its transaction.

use std::sync::Arc;
use std::time::Duration;

use super::{Insert, destinations, open};
use crate::model::Surface;
use crate::store::sqlite::tx::Tx;
use crate::store::types::{Accept, Accepted, Owner};

#[test]
fn a_row_may_be_read_with_the_help_of_another_query() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    let op = Insert("a", |tx: &Tx<'_>| {
        const NAMED: &str = "SELECT name FROM destinations WHERE name = ?1";
        // Within the statement: the same statement, and another one.
        let names = tx.rows(NAMED, ["a"], |row| {
            let name: String = row.get(0)?;
            let inner = tx.first(NAMED, [&name], |row| row.get::<_, String>(0));
            let changed = tx.execute("UPDATE destinations SET held_until = 7", []);
            Ok((inner.ok().flatten(), changed.ok()))
        })?;
        assert_eq!(names, [(Some("a".to_owned()), Some(1))]);
        // The first statement again.
        assert_eq!(tx.rows(NAMED, ["b"], |_| Ok(()))?, []);
        Ok(())
    });
    store.write_blocking(op).expect("committed");
    store.stop();
}

/// A relay of an API key that may have two waiting origins.
fn relay_of(key: &str, origin: &str) -> Accept {
    let mut owner = Owner::of(key);
    owner.max_waiting_origins = 2;
    Accept {
        surface: Surface::Relay,
        label: "a".to_owned(),
        url: Some(format!("{origin}/")),
        event_type: None,
        query: None,
        destinations: Arc::from([origin.to_owned()]),
        owner: Some(owner),
        headers: Vec::new(),
        metadata: None,
        body: b"{}".to_vec().into(),
        key: None,
        window: Duration::ZERO,
    }
}

#[test]
fn an_api_key_has_deliveries_waiting_for_a_bounded_number_of_origins() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    let accept = |key, origin| {
        store
            .write_blocking(relay_of(key, origin))
            .expect("an answer")
    };
    let is_new = |accepted| matches!(accepted, Accepted::New(..));
    assert!(is_new(accept("a", "http://one")));
    assert!(is_new(accept("a", "http://two")));
    assert_eq!(accept("a", "http://three"), Accepted::TooManyOrigins);
    assert!(!destinations(&store).contains(&"http://three".to_owned()));
    assert!(is_new(accept("a", "http://two")), "it waits already");
    assert!(is_new(accept("b", "http://three")), "another key's");
    let deliver = "UPDATE deliveries SET state = 3, next_attempt_at = NULL
                   WHERE destination_id = (SELECT id FROM destinations WHERE name = 'http://one')";
    let deliver = Insert("other", move |tx: &Tx<'_>| {
        tx.sql.execute(deliver, [])?;
        Ok(())
    });
    store.write_blocking(deliver).expect("delivered");
    store.stop();
    drop(store);
    // A start counts the waiting origins.
    let (store, _end) = open(&directory);
    let accept = |origin| {
        store
            .write_blocking(relay_of("a", origin))
            .expect("an answer")
    };
    assert!(is_new(accept("http://four")));
    assert_eq!(accept("http://five"), Accepted::TooManyOrigins);
    store.stop();
}
