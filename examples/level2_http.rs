//! Level 2: attempts over HTTP to a receiver on loopback, with a few quick retries.
//!
//! ```text
//! cargo run --features delivery-http --example level2_http
//! ```

#[path = "support/receiver.rs"]
mod receiver;
#[path = "support/story.rs"]
mod story;

use std::sync::atomic::{AtomicU32, Ordering};

use receiver::{Answer, Receiver};
use relay::config::{Destination, IdempotencyKeyAt};
use relay::model::Level;
use story::{Stage, Story, must};

fn main() -> Story {
    let hits = AtomicU32::new(0);
    let receiver = Receiver::start(move |arrival| match arrival.path.as_str() {
        // Fails the first attempt only.
        "/flaky" if hits.fetch_add(1, Ordering::Relaxed) == 0 => Answer::status(503),
        "/strict" => Answer::status(422).body("no such order"),
        _ => Answer::status(200).body("thanks"),
    });
    let url = receiver.url("/hook").parse()?;
    let stage = Stage::set(Level::Http, |config| {
        config
            .destinations
            .insert("orders".to_owned(), Destination::new(url));
        if let Some(shop) = config.sources.get_mut("shop") {
            shop.idempotency = IdempotencyKeyAt::JsonPointer("/id".to_owned());
        }
    })?;

    deliver_a_webhook_once(&stage, &receiver)?;
    retry_a_transient_failure(&stage, &receiver)?;
    give_up_after_a_permanent_failure(&stage, &receiver)?;

    stage.relay.stop()?;
    println!("\nAll as told.");
    Ok(())
}

fn deliver_a_webhook_once(stage: &Stage, receiver: &Receiver) -> Story {
    println!("\nA webhook event arrives byte for byte:");
    let body = r#"{"id": "o-1",  "total": 10.00, "name": "Zoë"}"#;
    let id = stage.event("unused", body)?;
    let arrival = receiver.next();
    must(arrival.body == body.as_bytes(), "the same bytes")?;
    must(arrival.header("webhook-id") == id, "under its id")?;
    must(
        arrival.header("relay-attempt") == "1",
        "at the first attempt",
    )?;
    let event = stage.until(&id, "delivered")?;
    must(
        event["deliveries"][0]["history"][0]["response"] == "thanks",
        "what the receiver answered is kept",
    )?;

    println!("\nThe same key again is the same event:");
    must(
        stage.event("unused", r#"{"id":"o-1"}"#)? == id,
        "no second delivery",
    )
}

fn retry_a_transient_failure(stage: &Stage, receiver: &Receiver) -> Story {
    println!("\nA receiver that is down for a moment gets it a little later:");
    let id = stage.relay_to(&receiver.url("/flaky"), r#"{"n":1}"#)?;
    must(
        receiver.next().header("relay-attempt") == "1",
        "answered 503",
    )?;
    must(
        receiver.next().header("relay-attempt") == "2",
        "tried again",
    )?;
    stage.until(&id, "delivered")?;
    Ok(())
}

fn give_up_after_a_permanent_failure(stage: &Stage, receiver: &Receiver) -> Story {
    println!("\nA receiver that will never take it isn't bothered again:");
    let id = stage.relay_to(&receiver.url("/strict"), r#"{"n":2}"#)?;
    receiver.next();
    let relay = stage.until(&id, "failed")?;
    must(
        relay["failureReason"] == "answered 422 Unprocessable Entity",
        "the reason is shown",
    )
}
