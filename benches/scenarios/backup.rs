//! `relay backup` makes a copy of the database while events are accepted.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use relay::Relay;
use relay::model::Level;
use serde_json::json;

use super::beside::{self, Beside};
use super::load::steady_for;
use super::support::seed::{Backlog, Skew, seed};
use super::support::{self, median, runtime, sample};
use super::vacuum::{REST, during};
use super::{Outcome, rounds, rows};

const BINARY: &str = env!("CARGO_BIN_EXE_relay");

/// The command copies at a pace that leaves the disk to the server, and then verifies the copy.
pub fn run() -> Outcome {
    let client = runtime(1);
    let directory = support::directory();
    let config = beside::config(directory.path(), Level::Durable);
    let events = support::rows_by_form(300_000, 1_200_000);
    seed(
        &config,
        &Backlog {
            events,
            destinations: &["sink".to_owned()],
            skew: Skew::Even,
            body: support::body().as_bytes(),
            keys: 0,
            due_in: Some(Duration::from_secs(4 * 3_600)),
        },
    );
    let path = config.database.path.clone();
    rows::pause(&path, "sink");
    let bytes = path.metadata().expect("the database").len();
    let file = directory.path().join("relay.toml");
    let text = format!(
        "[database]\npath = '{}'\nmin_free_bytes = 0\n",
        path.display()
    );
    std::fs::write(&file, text).expect("room");
    let copy = directory.path().join("copy.db");
    let relay = Relay::start(config).expect("the relay starts");
    steady_for(&client, relay.address(), sample() / 4);
    let mut beside = Beside::default();
    let mut took = Vec::new();
    for _ in 0..rounds() {
        let calm = steady_for(&client, relay.address(), sample());
        beside.calm.push(calm);
        let (busy, seconds) = during(&client, &relay, || back_up(&file, &copy));
        beside.busy.push(busy);
        took.push(seconds);
        for made in std::fs::read_dir(directory.path()).expect("a directory") {
            let made = made.expect("a file").path();
            let name = made.file_name().and_then(|name| name.to_str());
            if name.is_some_and(|name| name.starts_with("copy.db")) {
                std::fs::remove_file(&made).expect("the copy");
            }
        }
        std::thread::sleep(REST);
    }
    relay.stop().expect("the relay stops");
    let seconds = median(took);
    let megabytes = bytes / 1_000_000;
    println!("relay backup of {megabytes} MB, which takes {seconds:.1} s");
    beside.outcome(
        &format!("relay backup of {megabytes} MB"),
        json!({ "bytes": bytes, "seconds": seconds }),
    )
}

fn back_up(config: &Path, to: &Path) {
    let status = Command::new(BINARY)
        .arg("backup")
        .arg("--config")
        .args([config, to])
        .stdout(Stdio::null())
        .status()
        .expect("the binary runs");
    assert!(status.success(), "{status}");
}
