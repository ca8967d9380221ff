//! The connection ends while a batch is committed: each event is recorded once, and acknowledged.

use std::time::Duration;

use super::{Scene, started};
use crate::support::wire::{Cut, Wire, contains};
use crate::support::{event_id, relay_id, relay_to};

/// The body of the event whose connection is cut.
const MARKED: &[u8] = b"{\"is\":\"marked\"}";

/// Sends an event, or a relay without a key, whose connection is cut. Asserts that the client gets
/// its success, that there is one event, and that it is delivered once. Returns the messages of its
/// statement, and its row.
fn sent_once(cut: Cut, key: Option<&str>) -> Option<(Vec<Vec<u8>>, i64)> {
    let server = started()?;
    let wire = Wire::start(server.socket());
    let address = wire.address();
    let scene = Scene::new(server, |name| {
        format!("postgres://postgres@{address}/{name}")
    });
    let client = &scene.relay.client;
    event_id(&client.hook("an earlier one", b"\"earlier\""));
    scene.receiver.next();
    wire.cut("marked", cut);
    let id = if let Some(key) = key {
        event_id(&client.hook(key, MARKED))
    } else {
        let to = relay_to(
            &scene.receiver.url("/hook"),
            std::str::from_utf8(MARKED).expect("text"),
        );
        relay_id(&client.create(&[], &to))
    };
    assert_eq!(&scene.receiver.next().body[..], MARKED);
    let again = scene.receiver.next_within(Duration::from_millis(300));
    assert!(again.is_none(), "it was delivered twice");
    assert_eq!(scene.count("SELECT count(*) FROM intents"), 2);
    assert_eq!(scene.count("SELECT count(*) FROM ended WHERE state = 3"), 2);
    let sent = wire.sent();
    if let Some(key) = key {
        let duplicate = client.hook(key, MARKED).json();
        assert_eq!(duplicate["status"], "duplicate");
        assert_eq!(duplicate["event_id"], id);
    } else {
        assert_eq!(client.get(&format!("/v1/relays/{id}")).status, 200);
    }
    Some((sent, scene.count("SELECT max(id) FROM intents")))
}

#[test]
fn a_batch_whose_answer_is_lost_is_found_and_not_sent_again() {
    for key in [None, Some("a key")] {
        let Some((sent, _)) = sent_once(Cut::Answer, key) else {
            return;
        };
        assert_eq!(sent.len(), 1, "it was sent again");
    }
}

#[test]
fn a_batch_that_never_arrived_is_sent_again_under_the_same_ids() {
    for key in [None, Some("a key")] {
        let Some((sent, row)) = sent_once(Cut::Before, key) else {
            return;
        };
        assert_eq!(sent.len(), 2);
        let row = row.to_be_bytes();
        assert!(
            sent.iter().all(|message| contains(message, &row)),
            "{key:?}"
        );
    }
}

#[test]
fn a_batch_that_arrives_after_it_was_sent_again_is_refused() {
    for key in [None, Some("a key")] {
        let Some((sent, row)) = sent_once(Cut::Late, key) else {
            return;
        };
        let row = row.to_be_bytes();
        assert!(
            contains(&sent[0], &row) && contains(&sent[1], &row),
            "{key:?}"
        );
    }
}
