//! Level 1: all steps of an event, with an executor that answers itself. No destination is
//! contacted; the payload chooses the outcome.
//!
//! ```text
//! cargo run --features delivery-simulated --example level1_simulated
//! ```

#[path = "support/story.rs"]
mod story;

use std::time::Duration;

use relay::config::Destination;
use relay::model::Level;
use story::{Stage, Story, must};

fn main() -> Story {
    let url = "http://orders.example/hook".parse()?;
    let stage = Stage::set(Level::Simulated, |config| {
        config
            .destinations
            .insert("orders".to_owned(), Destination::new(url));
        config.delivery.simulated.latency = Duration::from_millis(20);
    })?;

    println!("\nAn event is accepted, and delivered as if somebody had answered 200:");
    let id = stage.event("a", r#"{"order":1}"#)?;
    let event = stage.until(&id, "delivered")?;
    let history = &event["deliveries"][0]["history"];
    must(
        history[0]["status_code"] == 200,
        "its history has the attempt",
    )?;
    println!("  {}", history[0]["response"].as_str().unwrap_or_default());

    println!("\nA relay goes the same way:");
    let id = stage.relay_to("https://example.com/hook", r#"{"order":2}"#)?;
    stage.until(&id, "delivered")?;

    println!("\nsimulate_failure: a permanent failure, given up at once:");
    let id = stage.event("b", r#"{"simulate_failure":true}"#)?;
    let event = stage.until(&id, "dead_lettered")?;
    must(event["attempts"] == 1, "after one attempt")?;

    println!(
        "\nsimulate_transient: fails twice. This level makes one attempt, so replays try again:"
    );
    let id = stage.event("c", r#"{"simulate_transient":true}"#)?;
    for replays in 1..=2 {
        stage.until(&id, "dead_lettered")?;
        must(stage.relay.replay(&id)? == 1, &format!("replay {replays}"))?;
    }
    let event = stage.until(&id, "delivered")?;
    let entries = event["deliveries"][0]["history"]
        .as_array()
        .map_or(0, Vec::len);
    must(
        entries == 5,
        "three attempts and two replays stand in its history",
    )?;

    stage.relay.stop()?;
    println!("\nAll as told.");
    Ok(())
}
