//! Level 3: an outage, backoff on a (shortened) schedule, recovery, a dead letter and its replay.
//! Deliveries are signed.
//!
//! ```text
//! cargo run --features delivery-durable --example level3_durable
//! ```

#[path = "support/receiver.rs"]
mod receiver;
#[path = "support/story.rs"]
mod story;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use receiver::{Answer, Receiver};
use relay::config::{Destination, RetrySettings, Secret};
use relay::model::Level;
use story::{Stage, Story, must};

fn main() -> Story {
    let status = Arc::new(AtomicU16::new(503));
    let receiver = {
        let status = Arc::clone(&status);
        Receiver::start(move |_| Answer::status(status.load(Ordering::Relaxed)))
    };
    let mut orders = Destination::new(receiver.url("/hook").parse()?);
    orders.secrets = vec![Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")];
    orders.retry = RetrySettings {
        schedule: Some([200, 1_000, 1_000].map(Duration::from_millis).to_vec()),
        jitter: Some(0.2),
        ..RetrySettings::default()
    };
    let stage = Stage::set(Level::Durable, |config| {
        config.destinations.insert("orders".to_owned(), orders);
    })?;

    outlast_an_outage(&stage, &receiver, &status)?;
    let id = give_up_after_the_schedule(&stage, &receiver, &status)?;
    replay_the_dead_letter(&stage, &receiver, &status, &id)?;

    stage.relay.stop()?;
    println!("\nAll as told.");
    Ok(())
}

fn outlast_an_outage(stage: &Stage, receiver: &Receiver, status: &AtomicU16) -> Story {
    println!("\nThe receiver is down (503). An event is accepted all the same:");
    let id = stage.event("a", r#"{"order":1}"#)?;
    let first = receiver.next();
    must(
        first.header("webhook-signature").starts_with("v1,"),
        "the attempt is signed",
    )?;
    let event = stage.until(&id, "retrying")?;
    must(
        event["last_error"] == "answered 503 Service Unavailable",
        "the last error is shown",
    )?;
    must(
        event["next_retry_at"].is_string(),
        "and when the next attempt is due",
    )?;

    println!("\nIt is well again before the schedule ends:");
    let second = receiver.next();
    status.store(200, Ordering::Relaxed);
    let third = receiver.next();
    must(
        second.header("relay-attempt") == "2" && third.header("relay-attempt") == "3",
        "attempts 2 and 3 came by themselves",
    )?;
    must(
        third.header("webhook-id") == first.header("webhook-id"),
        "under the same id, so that the receiver can tell",
    )?;
    stage.until(&id, "delivered")?;
    Ok(())
}

/// Returns the id of the dead letter's event.
fn give_up_after_the_schedule(
    stage: &Stage,
    receiver: &Receiver,
    status: &AtomicU16,
) -> Result<String, Box<dyn std::error::Error>> {
    println!("\nAn outage that outlasts the schedule ends in a dead letter:");
    status.store(500, Ordering::Relaxed);
    let id = stage.event("b", r#"{"order":2}"#)?;
    let event = stage.until(&id, "dead_lettered")?;
    must(
        event["attempts"] == 4,
        "after the first attempt and three retries",
    )?;
    for _ in 0..4 {
        receiver.next();
    }
    Ok(id)
}

fn replay_the_dead_letter(
    stage: &Stage,
    receiver: &Receiver,
    status: &AtomicU16,
    id: &str,
) -> Story {
    println!("\nThe receiver is mended, and the dead letter replayed:");
    status.store(200, Ordering::Relaxed);
    must(stage.relay.replay(id)? == 1, "one dead letter")?;
    must(
        receiver.next().header("relay-attempt") == "1",
        "with a fresh budget of attempts",
    )?;
    let event = stage.until(id, "delivered")?;
    let outcomes: Vec<_> = event["deliveries"][0]["history"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["outcome"].as_str())
        .collect();
    println!("  its history: {}", outcomes.join(", "));
    must(outcomes[4..] == ["replayed", "delivered"], "which says so")
}
