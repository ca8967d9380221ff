use std::time::Duration;

use crate::stop::block_on;
use crate::store::PayloadProblem;
use crate::store::conformance::scene::{Scene, event_of, relay_to};
use crate::store::postgres::tests::support::{connection, new_store};

/// As on a file: its test reads more of what operators see.
#[test]
fn a_text_that_is_damaged_fails_no_page_and_its_delivery_is_not_sent() {
    let Some(new) = new_store() else {
        return;
    };
    let url = new.settings.url.clone().expect("a URL");
    let mut sql = connection(url.reveal(), Duration::from_secs(10));
    let mut scene = Scene::new(new);
    let event = scene.accept(event_of("source", "first", &["a"]));
    let relay = scene.accept(relay_to("key", "http://x"));
    sql.batch(
        "UPDATE relay.intents SET label = '\\xff'::bytea, idempotency_key = '\\xff'::bytea;
         UPDATE relay.waiting SET last_error = '\\xff'::bytea",
    )
    .expect("good SQL");
    for id in [event, relay] {
        let shown = scene.intent(id).expect("it is there");
        assert_eq!(shown.label, "\u{fffd}");
        let error = shown.deliveries[0].last_error.as_deref();
        assert_eq!(error, Some("\u{fffd}"));
    }
    let page = block_on(scene.store.relays_page(None, 10)).expect("a page");
    assert_eq!(page.relays.len(), 1);
    assert_eq!(scene.list(None).len(), 2);
    let claimed = scene.claim_due();
    let reader = scene.store.reader();
    for claimed in claimed {
        let message = reader.message(claimed.intent).expect("a message");
        assert_eq!(message.problem(), Some(PayloadProblem::Damaged));
    }
    scene.stop();
}
