//! The agent of alerts: what it writes about a store, on a fake clock.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::clock::{Clock, FakeClock, Timestamp};
use crate::config::{Alerts, Config, Destination, Live, Resolved};
use crate::maintenance::Worker;
use crate::model::{BreakerChange, FailureKind, Level};
use crate::ops::notices::{Failure, Notices};
use crate::ops::rollup_counters::{AttemptResult, EndedAttempt, ErrorClass};
use crate::store::conformance::NewStore;
use crate::store::conformance::scene::{START, Scene, event};
use crate::store::types::{Claimed, DestinationChange, Settlement};

/// A store whose alerts go to `ops`, with the agent that writes them.
struct Told {
    scene: Scene,
    worker: Worker,
    config: Live,
    notices: Notices,
    seen: usize,
}

/// A configuration with alerts to `ops`, and with these destinations.
fn config(others: &[&str]) -> Resolved {
    let mut config = Config::default();
    // Without a level there are no alerts; these tests attempt nothing.
    config.delivery.level = Some(Level::Durable);
    for name in ["ops"].iter().chain(others) {
        let url = "http://127.0.0.1:9/".parse().expect("a URL");
        config
            .destinations
            .insert((*name).to_owned(), Destination::new(url));
    }
    config.alerts = Some(Alerts {
        destination: Some("ops".to_owned()),
        ..Alerts::default()
    });
    config.resolve()
}

fn agent(scene: &Scene, notices: &Notices) -> (Worker, Live) {
    let config = config(&["orders", "billing"]);
    let rollups = &scene.metrics.rollups;
    rollups.declare(config.counted_sources(), config.counted_destinations());
    let clock: Arc<dyn Clock> = Arc::<FakeClock>::clone(&scene.clock);
    let metrics = Arc::clone(&scene.metrics);
    let config = Live::from(config);
    let (store, notices) = (scene.store.clone(), notices.clone());
    let worker = Worker::new(store, config.clone(), clock, metrics, notices);
    (worker, config)
}

impl Told {
    fn new(new: NewStore) -> Self {
        let (scene, notices) = (Scene::new(new), Notices::default());
        let (worker, config) = agent(&scene, &notices);
        let mut told = Self {
            worker,
            config,
            scene,
            notices,
            seen: 0,
        };
        assert_eq!(told.after(2), Vec::<(String, Value)>::new());
        told
    }

    /// Lets seconds pass; returns the types and the data of the alerts since the last call.
    fn after(&mut self, seconds: u64) -> Vec<(String, Value)> {
        for _ in 0..seconds {
            self.scene.clock.advance(Duration::from_secs(1));
            for _ in 0..3 {
                self.worker.run_once().expect("a step");
            }
        }
        let listed = self.scene.list(None).into_iter().rev();
        let alerts: Vec<_> = listed.filter(|one| one.label == "relay").collect();
        let fresh = alerts[self.seen..].iter().map(|one| {
            assert_eq!(one.destination, "ops");
            let intent = self.scene.intent(one.id).expect("an event");
            let body: Value = serde_json::from_slice(&intent.payload).expect("JSON");
            assert!(!body.to_string().contains("secret"), "{body}");
            let kind = body["type"].as_str().expect("text").to_owned();
            (kind, body["data"].clone())
        });
        let fresh = fresh.collect();
        self.seen = alerts.len();
        fresh
    }

    fn types_after(&mut self, seconds: u64) -> Vec<String> {
        let alerts = self.after(seconds).into_iter();
        alerts.map(|(kind, _)| kind).collect()
    }

    /// A process that was killed, and started again.
    fn restart(&mut self) {
        self.scene.restart();
        (self.worker, self.config) = agent(&self.scene, &self.notices);
    }

    /// A reload, after which there are these destinations.
    fn reload(&self, others: &[&str]) {
        self.config.replace(Arc::new(config(others)));
    }

    /// Gives up this many events to a destination, with an answer that nobody else may see.
    fn give_up(&mut self, destination: &str, count: usize) {
        self.scene
            .accept_all((0..count).map(|_| event(destination)));
        let id = self.scene.destination(destination);
        let claimed = self.scene.claim(id, count);
        let dead = |claimed| self.scene.dead_letter(claimed, "answered 500: secret");
        let settlements = claimed.into_iter().map(dead).collect();
        self.scene.settle(settlements);
    }

    /// Attempts a waiting delivery, with a change of the destination's breaker.
    fn attempt(&mut self, destination: &str, is_success: bool, breaker: Option<BreakerChange>) {
        let id = self.scene.destination(destination);
        let claimed = self.scene.claim(id, 1);
        let settlement = settlement(&self.scene, claimed[0], is_success, breaker);
        self.scene.settle(vec![settlement]);
        let result = if is_success {
            AttemptResult::Delivered(Duration::ZERO)
        } else {
            AttemptResult::Failed {
                is_dead: false,
                error: ErrorClass {
                    kind: FailureKind::Status,
                    status_code: Some(503),
                },
            }
        };
        self.scene.metrics.rollups.attempt(EndedAttempt {
            destination: Some(destination),
            result,
            at: self.scene.now(),
        });
    }
}

fn settlement(
    scene: &Scene,
    claimed: Claimed,
    is_success: bool,
    breaker: Option<BreakerChange>,
) -> Settlement {
    let change = DestinationChange {
        breaker,
        ..DestinationChange::default()
    };
    if is_success {
        let record = scene.record(&claimed, None);
        return Settlement::delivered(claimed.claim(), record, change);
    }
    let record = scene.record(&claimed, Some("answered 503: secret"));
    Settlement::retry(claimed.claim(), record, scene.now(), change)
}

pub fn thirty_dead_letters_make_one_digest_and_later_ones_the_next(new: NewStore) {
    let mut told = Told::new(new);
    told.give_up("orders", 20);
    assert_eq!(
        told.types_after(5),
        Vec::<String>::new(),
        "they are collected"
    );
    told.give_up("billing", 10);
    let alerts = told.after(20);
    let [(kind, data)] = &alerts[..] else {
        panic!("{alerts:?}");
    };
    assert_eq!(kind, "delivery.dead_lettered");
    assert_eq!(
        (&data["count"], &data["is_exact"]),
        (&30.into(), &true.into())
    );
    assert_eq!(data["event_ids"].as_array().map(Vec::len), Some(10));
    assert!(
        data["event_ids"][0]
            .as_str()
            .expect("text")
            .starts_with("evt_")
    );
    assert_eq!(data["reasons"][0]["reason"], "answered 500");
    assert_eq!(data["destinations"][0]["destination"], "orders");
    // Five minutes pass between two digests.
    told.give_up("orders", 1);
    assert_eq!(told.types_after(200), Vec::<String>::new());
    let alerts = told.after(120);
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert_eq!(alerts[0].1["count"], 1);
    told.restart();
    assert_eq!(told.types_after(400), Vec::<String>::new());
    told.scene.stop();
}

pub fn dead_letters_of_a_killed_process_are_told_by_the_next(new: NewStore) {
    let mut told = Told::new(new);
    told.give_up("orders", 3);
    told.restart();
    let alerts = told.after(15);
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert_eq!(alerts[0].1["count"], 3);
    told.restart();
    assert_eq!(told.types_after(400), Vec::<String>::new());
    told.scene.stop();
}

pub fn a_destination_that_breaks_and_heals_is_told_twice(new: NewStore) {
    let mut told = Told::new(new);
    told.scene.accept_all((0..3).map(|_| event("orders")));
    let wait = Duration::from_secs(30);
    told.attempt("orders", false, Some(BreakerChange::Open(wait)));
    let alerts = told.after(4);
    let [(kind, data)] = &alerts[..] else {
        panic!("{alerts:?}");
    };
    assert_eq!(kind, "destination.failing");
    assert_eq!(data["reason"], "breaker_open");
    assert_eq!(data["last_error"], "answered 503");
    assert_eq!(data["waiting"], 3);
    told.restart();
    assert_eq!(told.types_after(60), Vec::<String>::new());
    told.attempt("orders", true, Some(BreakerChange::Closed));
    assert_eq!(told.types_after(110), Vec::<String>::new());
    assert_eq!(told.types_after(20), ["destination.recovered"]);
    told.restart();
    assert_eq!(told.types_after(200), Vec::<String>::new());
    told.scene.stop();
}

pub fn a_destination_that_a_reload_took_away_is_told_of_anew_when_it_comes_back(new: NewStore) {
    let mut told = Told::new(new);
    told.scene.accept(event("orders"));
    let wait = Duration::from_secs(3600);
    told.attempt("orders", false, Some(BreakerChange::Open(wait)));
    assert_eq!(told.types_after(4), ["destination.failing"]);
    told.reload(&["billing"]);
    assert_eq!(told.types_after(4), Vec::<String>::new());
    told.reload(&["orders", "billing"]);
    assert_eq!(told.types_after(4), ["destination.failing"]);
    told.restart();
    assert_eq!(told.types_after(10), Vec::<String>::new());
    told.scene.stop();
}

pub fn nothing_is_told_about_the_destination_of_alerts(new: NewStore) {
    let mut told = Told::new(new);
    told.give_up("ops", 5);
    told.scene.accept(event("ops"));
    let wait = Duration::from_secs(3600);
    told.attempt("ops", false, Some(BreakerChange::Open(wait)));
    told.scene.operator().pause("ops", "quiet").expect("paused");
    assert_eq!(told.types_after(700), Vec::<String>::new());
    told.scene.stop();
}

pub fn a_pause_and_an_old_backlog_are_told_once(new: NewStore) {
    let mut told = Told::new(new);
    let reason = "moving to\u{202e} another\nhost";
    told.scene
        .operator()
        .pause("billing", reason)
        .expect("paused");
    let alerts = told.after(10);
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert_eq!(alerts[0].0, "destination.paused");
    assert_eq!(alerts[0].1["reason"], reason);
    told.scene.operator().resume("billing").expect("resumed");
    assert_eq!(told.types_after(10), Vec::<String>::new());
    told.scene.accept(event("orders"));
    assert_eq!(told.types_after(590), Vec::<String>::new());
    assert_eq!(told.types_after(120), ["backlog.old"]);
    told.scene.deliver_due();
    told.restart();
    assert_eq!(told.types_after(300), Vec::<String>::new());
    told.scene.stop();
}

pub fn a_set_clock_and_a_refused_reload_are_told_once(new: NewStore) {
    let mut told = Told::new(new);
    told.notices.failed(Failure::ConfigReload, "a bad value");
    assert_eq!(told.types_after(10), ["config.reload_failed"]);
    told.notices
        .failed(Failure::ConfigReload, "another bad value");
    assert_eq!(told.types_after(10), Vec::<String>::new());
    told.notices.succeeded(Failure::ConfigReload);
    assert_eq!(told.types_after(10), Vec::<String>::new());
    told.notices.failed(Failure::ConfigReload, "a bad value");
    assert_eq!(told.types_after(10), ["config.reload_failed"]);
    let ahead = START.plus(Duration::from_secs(3600));
    told.scene
        .clock
        .set_wall(Timestamp::from_millis(ahead.as_millis()));
    assert_eq!(told.types_after(10), ["clock.jumped"]);
    told.restart();
    assert_eq!(told.types_after(20), Vec::<String>::new());
    told.scene.stop();
}

pub fn dead_letters_that_other_processes_gave_up_are_told(new: NewStore) {
    let mut told = Told::new(new);
    if told.scene.store.is_shared() {
        assert_eq!(told.types_after(20), Vec::<String>::new());
        for (destination, silent) in [("orders", 0), ("billing", 200)] {
            told.scene.accept(event(destination));
            told.scene.dead_letter_due("answered 400");
            // Only the process that gave it up notes it.
            told.scene.store.take_newly_dead();
            assert_eq!(told.types_after(silent), Vec::<String>::new());
            assert_eq!(told.types_after(80), ["delivery.dead_lettered"]);
        }
    }
    told.scene.stop();
}
