use std::thread;

use crate::clock::Timestamp;
use crate::store::conformance::scene::{Scene, event_of};
use crate::store::postgres::retry::CALL_LIMIT;
use crate::store::postgres::tests::support::{connection, new_store, until};
use crate::store::types::{AlertChange, AlertState, RaiseAlerts};
use crate::store::{Store, StoreError};

/// Tells that something is open, from the state that was known.
fn raise(store: &Store, since: i64, before: Option<i64>) -> Result<(), StoreError> {
    let state = AlertState {
        kind: "destination.failing".to_owned(),
        subject: "a".to_owned(),
        state: "open".to_owned(),
        since: Timestamp::from_millis(since),
    };
    let before = before.map(Timestamp::from_millis);
    store.raise_alerts(RaiseAlerts {
        changes: vec![AlertChange { state, before }],
        events: vec![event_of("relay", &since.to_string(), &["ops"])],
    })
}

#[test]
fn a_change_that_is_committed_after_its_call_has_ended_is_not_told_again() {
    let Some(new) = new_store() else {
        return;
    };
    let url = new.settings.url.clone().expect("a URL");
    let connect = || connection(url.reveal(), CALL_LIMIT);
    let scene = Scene::new(new);
    let store = &scene.store;
    let mut late = connect();
    late.batch(
        "BEGIN; INSERT INTO relay.alert_states (kind, subject, state, since)
         VALUES ('destination.failing', 'a', 'open', 1)",
    )
    .expect("good SQL");
    let again = thread::scope(|scope| {
        let again = scope.spawn(|| raise(store, 2, None));
        until(&mut connect(), "wait_event_type = 'Lock'");
        late.batch("COMMIT").expect("good SQL");
        again.join().expect("no panic")
    });
    let error = again.expect_err("it was told").to_string();
    assert!(error.contains("were changed meanwhile"), "{error}");
    assert_eq!(scene.list(None).len(), 0);
    // From the state that is there it is told.
    raise(store, 3, Some(1)).expect("told");
    assert_eq!(scene.list(None).len(), 1);
    assert!(raise(store, 4, Some(1)).is_err());
    assert_eq!(scene.list(None).len(), 1);
    scene.stop();
}
