//! Without the delivery feature no destination is contacted, and every delivery stays queued.

use crate::support::{Answer, Receiver, TestRelay, relay_to};

#[test]
fn intents_are_recorded_and_no_destination_is_contacted() {
    let receiver = Receiver::start(|_| Answer::status(200));
    let mut relay = TestRelay::start_with(&receiver.url("/hook"), |_| {});
    let event = relay.client.hook("1", b"{}").json();
    let created = relay
        .client
        .create(&[], &relay_to(&receiver.url("/x"), "{}"))
        .json();
    let id = event["event_id"].as_str().expect("an id");
    let shown = relay.client.get(&format!("/events/{id}")).json();
    assert_eq!(shown["status"], "queued");
    assert!(
        shown["status_description"]
            .as_str()
            .is_some_and(|text| text.contains("delivers nothing"))
    );
    let id = created["id"].as_str().expect("an id");
    assert_eq!(
        relay.client.get(&format!("/v1/relays/{id}")).json()["status"],
        "queued"
    );
    // After the stop nothing more can arrive.
    relay.stop();
    assert!(receiver.next_within(std::time::Duration::ZERO).is_none());
}
