//! The state that a reload keeps, and the state that it forgets, on the way to a destination.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use relay::Config;
use relay::clock::{FakeClock, Timestamp};
use relay::config::{Destination, RateLimit, Secret, Source};

use crate::support::certificates::self_signed;
use crate::support::raw::{answer, read_head, receiver};
use crate::support::{
    Answer, Client, Columns, Gate, Process, Receiver, TestRelay, config, event_id,
    event_with_status, every, off, orders, until,
};

/// A relay on a clock that stands still, and its configuration.
struct Scene {
    relay: TestRelay,
    clock: Arc<FakeClock>,
    config: Config,
    /// Takes the events of [`pass_dispatcher`].
    _fence: Receiver,
}

impl Scene {
    fn new(url: &str, change: impl FnOnce(&mut Config)) -> Self {
        let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        let clock = Arc::new(FakeClock::at(Timestamp::from_millis(1_700_000_000_000)));
        let mut config = config(directory.path(), url);
        orders(&mut config).retry = every(Duration::from_secs(3600), 20);
        let (fence, _) = counting(200);
        let to_fence = fence.url("/").parse().expect("a URL");
        let destination = Destination::new(to_fence);
        config.destinations.insert("fence".to_owned(), destination);
        let source = Source::to(["fence"]);
        config.sources.insert("fence".to_owned(), source);
        change(&mut config);
        let on_clock = Some(Arc::clone(&clock));
        Self {
            relay: TestRelay::start_in(directory, config.clone(), on_clock),
            clock,
            config,
            _fence: fence,
        }
    }

    /// Reloads the changed configuration.
    fn reload(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
        let relay = self.relay.relay.as_ref().expect("it runs");
        relay
            .reload(self.config.clone())
            .expect("a configuration that is fine");
    }

    fn hook(&self, key: &str) -> String {
        event_id(&self.relay.client.hook(key, b"{}"))
    }

    fn is_waiting_for(&self, id: &str, why: &str) {
        until(why, || {
            let event = self.relay.client.get(&format!("/events/{id}")).json();
            let says = event["status_description"].as_str()?;
            says.contains(why).then_some(())
        });
    }

    fn metrics(&self) -> String {
        self.relay.admin().send("GET", "/metrics", &[], b"").text()
    }

    fn count(&self, select: &str) -> i64 {
        self.relay.peek(select)
    }

    /// Waits until this many attempts at `orders` are settled.
    fn settles(&self, attempts: i64) {
        let settled = "SELECT count(*) FROM attempts JOIN destinations ON id = destination_id
                       WHERE name = 'orders'";
        until("the attempts are settled", || {
            (self.count(settled) == attempts).then_some(())
        });
    }

    /// Asserts that of the deliveries to `orders` that are due now no further attempt begins.
    fn makes_no_more_than(&self, attempts: i64) {
        pass_dispatcher(&self.relay.client);
        // Settled ones, and those in flight: prefetched deliveries have a negative claim.
        let begun = self.count(
            "SELECT (SELECT count(*) FROM attempts WHERE destination_id = t.id)
                  + (SELECT count(*) FROM deliveries WHERE destination_id = t.id AND claim > 0)
             FROM destinations t WHERE t.name = 'orders'",
        );
        assert_eq!(begun, attempts);
    }
}

/// Returns when the dispatcher has looked at everything that was due at the call, by the
/// configuration of that time. The first of two events is settled in a tick that began after the
/// call, and the second one is claimed after all that this tick has claimed.
fn pass_dispatcher(client: &Client) {
    static NEXT_KEY: AtomicUsize = AtomicUsize::new(0);
    for _ in 0..2 {
        let key = NEXT_KEY.fetch_add(1, Ordering::SeqCst).to_string();
        let headers = [
            ("Idempotency-Key", key.as_str()),
            ("Content-Type", "application/json"),
        ];
        let reply = client.send("POST", "/webhooks/fence", &headers, b"{}");
        event_with_status(client, &event_id(&reply), "delivered");
    }
}

/// A receiver that counts its requests and answers all of them alike.
fn counting(status: u16) -> (Receiver, Arc<AtomicUsize>) {
    let hits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&hits);
    let receiver = Receiver::start(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Answer::status(status)
    });
    (receiver, hits)
}

/// A relay whose breaker is open, with 12 deliveries waiting; the eleventh and twelfth were never
/// attempted.
fn with_open_breaker(receiver: &Receiver) -> (Scene, Vec<String>) {
    let scene = Scene::new(&receiver.url("/"), |_| {});
    let ids: Vec<_> = (0..12).map(|key| scene.hook(&key.to_string())).collect();
    scene.is_waiting_for(&ids[11], "circuit breaker is open");
    (scene, ids)
}

#[test]
fn a_new_url_lets_a_delivery_behind_an_open_breaker_go_at_once() {
    let (failing, hits) = counting(500);
    let (well, arrived) = counting(200);
    let (mut scene, ids) = with_open_breaker(&failing);
    assert_eq!(hits.load(Ordering::SeqCst), 10);
    // Another path of the same server is no new server: one probe goes, and no more.
    let path = failing.url("/other");
    scene.reload(|config| orders(config).url = path.parse().expect("a URL"));
    until("the probe", || {
        (hits.load(Ordering::SeqCst) == 11).then_some(())
    });
    scene.is_waiting_for(&ids[11], "circuit breaker is open");
    scene.reload(|config| orders(config).url = well.url("/").parse().expect("a URL"));
    // The others have failed once, and wait for their schedule.
    event_with_status(&scene.relay.client, &ids[11], "delivered");
    assert_eq!(hits.load(Ordering::SeqCst), 11);
    assert_eq!(arrived.load(Ordering::SeqCst), 1);
    until("the database has forgotten", || {
        let left = scene.count("SELECT count(*) FROM destinations WHERE probe_at > 0");
        (left == 0).then_some(())
    });
    until("it is shown", || {
        let line = "relay_destination_state{destination=\"orders\",state=\"active\"} 1";
        scene.metrics().contains(line).then_some(())
    });
}

#[test]
fn another_setting_lets_one_probe_of_an_open_breaker_go_at_once() {
    let (failing, hits) = counting(500);
    let (mut scene, ids) = with_open_breaker(&failing);
    // A source of its own is no change of the destination.
    scene.reload(|config| {
        config
            .sources
            .insert("other".to_owned(), Source::to(["orders"]));
    });
    scene.is_waiting_for(&ids[11], "circuit breaker is open");
    assert_eq!(hits.load(Ordering::SeqCst), 10);
    scene.reload(|config| orders(config).timeout = Some(Duration::from_secs(7)));
    until("the probe", || {
        (hits.load(Ordering::SeqCst) == 11).then_some(())
    });
    scene.is_waiting_for(&ids[11], "circuit breaker is open");
    scene.settles(11);
    // It failed: the next one is due after twice the time, a minute.
    scene.clock.advance(Duration::from_secs(59));
    scene.makes_no_more_than(11);
    scene.clock.advance(Duration::from_secs(1));
    until("the next", || {
        (hits.load(Ordering::SeqCst) == 12).then_some(())
    });
}

#[test]
fn a_hold_stays_with_the_server_that_asked_for_it() {
    let held = Receiver::start(|_| Answer::status(503).header("Retry-After", "600"));
    let (well, arrived) = counting(200);
    let mut scene = Scene::new(&held.url("/"), |_| {});
    scene.hook("1");
    held.next();
    let id = {
        until("it is held", || {
            let line = "relay_destination_state{destination=\"orders\",state=\"held\"} 1";
            scene.metrics().contains(line).then_some(())
        });
        scene.hook("2")
    };
    scene.reload(|config| orders(config).timeout = Some(Duration::from_secs(7)));
    // The hold stays.
    scene.makes_no_more_than(1);
    scene.reload(|config| orders(config).url = well.url("/").parse().expect("a URL"));
    event_with_status(&scene.relay.client, &id, "delivered");
    assert_eq!(arrived.load(Ordering::SeqCst), 1);
}

#[test]
fn an_attempt_that_hangs_at_the_server_before_delays_no_delivery_to_the_next_one() {
    let gate = Gate::closed();
    let hanging = Answer::status(200).behind(&gate);
    let old = Receiver::start(move |_| hanging.clone());
    let (well, arrived) = counting(200);
    let mut scene = Scene::new(&old.url("/"), |config| {
        orders(config).concurrency = Some(1);
    });
    let first = scene.hook("1");
    old.next();
    let kept_back = scene.hook("2");
    scene.makes_no_more_than(1);
    scene.reload(|config| orders(config).url = well.url("/").parse().expect("a URL"));
    event_with_status(&scene.relay.client, &kept_back, "delivered");
    assert_eq!(arrived.load(Ordering::SeqCst), 1);
    gate.open();
    event_with_status(&scene.relay.client, &first, "delivered");
}

#[test]
fn a_removed_destination_is_unknown_while_deliveries_wait_and_has_no_state_after_that() {
    let (failing, _) = counting(500);
    let mut scene = Scene::new(&failing.url("/"), |_| {});
    let id = scene.hook("1");
    event_with_status(&scene.relay.client, &id, "retrying");
    let admin = scene.relay.admin();
    let post = |path: &str, body: &[u8]| {
        let json = ("Content-Type", "application/json");
        let status = admin.send("POST", path, &[json], body).status;
        assert!(matches!(status, 200 | 202), "{path}: {status}");
    };
    let states = |scene: &Scene| {
        let metrics = scene.metrics();
        let lines = metrics.lines().filter(|line| {
            line.starts_with("relay_destination_state{destination=\"orders\"")
                && line.ends_with(" 1")
        });
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let is_in = |scene: &Scene, state: &str| {
        until(state, || {
            // Within a minute all destinations are read.
            scene.clock.advance(Duration::from_secs(1));
            let states = states(scene);
            (states.len() == 1 && states[0].contains(state)).then_some(())
        });
    };
    post("/api/destinations/orders/pause", b"{}");
    is_in(&scene, "paused");
    scene.reload(|config| {
        config.destinations.retain(|name, _| name == "fence");
        config.sources.retain(|name, _| name == "fence");
    });
    is_in(&scene, "unknown");
    let discard = br#"{"kind": "discard", "pending": true, "destination": "orders"}"#;
    post("/api/operations", discard);
    until("no state", || {
        scene.clock.advance(Duration::from_secs(1));
        states(&scene).is_empty().then_some(())
    });
}

#[test]
fn a_hold_ends_if_its_destination_is_removed_and_comes_back_with_another_server() {
    let held = Receiver::start(|_| Answer::status(503).header("Retry-After", "600"));
    let (well, arrived) = counting(200);
    let mut scene = Scene::new(&held.url("/"), |_| {});
    scene.hook("1");
    held.next();
    until("it is held", || {
        let line = "relay_destination_state{destination=\"orders\",state=\"held\"} 1";
        scene.metrics().contains(line).then_some(())
    });
    let id = scene.hook("2");
    let mut removed = orders(&mut scene.config).clone();
    scene.reload(|config| {
        config.destinations.retain(|name, _| name == "fence");
        config.sources.retain(|name, _| name == "fence");
    });
    // The dispatcher has seen that it is gone.
    scene.makes_no_more_than(1);
    // With the same server the hold stays.
    let same = removed.clone();
    scene.reload(|config| {
        config.destinations.insert("orders".to_owned(), same);
    });
    scene.makes_no_more_than(1);
    scene.reload(|config| config.destinations.retain(|name, _| name == "fence"));
    scene.makes_no_more_than(1);
    removed.url = well.url("/").parse().expect("a URL");
    scene.reload(|config| {
        config.destinations.insert("orders".to_owned(), removed);
    });
    event_with_status(&scene.relay.client, &id, "delivered");
    assert_eq!(arrived.load(Ordering::SeqCst), 1);
}

#[test]
fn a_token_bucket_of_a_destination_keeps_its_level() {
    let (receiver, arrived) = counting(200);
    let limit = |per_second, burst| Some(RateLimit { per_second, burst });
    let mut scene = Scene::new(&receiver.url("/"), |config| {
        orders(config).rate_limit = limit(0.01, 2);
    });
    let ids: Vec<_> = (0..4).map(|key| scene.hook(&key.to_string())).collect();
    let delivered = |scene: &Scene, number: usize| {
        until("the bucket's tokens are spent", || {
            (arrived.load(Ordering::SeqCst) >= number).then_some(())
        });
        scene.makes_no_more_than(i64::try_from(number).expect("few"));
    };
    delivered(&scene, 2);
    // Other settings, another limit, another server: the receiver has had two of two.
    scene.reload(|config| orders(config).timeout = Some(Duration::from_secs(7)));
    delivered(&scene, 2);
    scene.reload(|config| orders(config).rate_limit = limit(0.001, 200));
    delivered(&scene, 2);
    scene.reload(|config| orders(config).rate_limit = limit(0.01, 2));
    delivered(&scene, 2);
    // Not configured in between.
    let limited = orders(&mut scene.config).clone();
    scene.reload(|config| {
        config.destinations.retain(|name, _| name == "fence");
        config.sources.retain(|name, _| name == "fence");
    });
    scene.makes_no_more_than(2);
    scene.reload(|config| {
        config.destinations.insert("orders".to_owned(), limited);
    });
    delivered(&scene, 2);
    // It fills as it would have.
    scene.clock.advance(Duration::from_secs(100));
    delivered(&scene, 3);
    scene.reload(|config| orders(config).rate_limit = None);
    for id in &ids {
        event_with_status(&scene.relay.client, id, "delivered");
    }
}

#[test]
fn a_destination_that_is_removed_while_attempts_are_in_flight_waits_to_be_added_again() {
    let gate = Gate::closed();
    let behind = gate.clone();
    let receiver = Receiver::start(move |arrival| match arrival.header("relay-attempt") {
        "1" => Answer::status(500).behind(&behind),
        _ => Answer::status(200),
    });
    let mut scene = Scene::new(&receiver.url("/"), |config| {
        orders(config).retry = every(Duration::from_secs(1), 3);
    });
    let id = scene.hook("1");
    receiver.next();
    let removed = orders(&mut scene.config).clone();
    scene.reload(|config| {
        config.destinations.retain(|name, _| name == "fence");
        config.sources.retain(|name, _| name == "fence");
    });
    assert_eq!(scene.relay.client.hook("2", b"{}").status, 404);
    gate.open();
    // The attempt ends under the rules that it began with, and the next one waits.
    scene.is_waiting_for(&id, "no longer configured");
    scene.settles(1);
    // Nothing is due yet.
    until("its state", || {
        let line = "relay_destination_state{destination=\"orders\",state=\"unknown\"} 1";
        scene.metrics().contains(line).then_some(())
    });
    scene.clock.advance(Duration::from_secs(60));
    scene.makes_no_more_than(1);
    scene.is_waiting_for(&id, "no longer configured");
    scene.reload(|config| {
        config.destinations.insert("orders".to_owned(), removed);
    });
    event_with_status(&scene.relay.client, &id, "delivered");
}

#[test]
fn attempts_in_flight_are_settled_by_the_new_schedule() {
    let gate = Gate::closed();
    let behind = gate.clone();
    let receiver = Receiver::start(move |_| Answer::status(500).behind(&behind));
    let mut scene = Scene::new(&receiver.url("/"), |_| {});
    let id = scene.hook("1");
    receiver.next();
    scene.reload(|config| orders(config).retry = every(Duration::ZERO, 0));
    gate.open();
    event_with_status(&scene.relay.client, &id, "dead_lettered");
}

#[test]
fn the_outcome_of_a_server_that_was_replaced_is_not_held_against_the_new_one() {
    let gone = Answer::status(410);
    let held = Answer::status(503).header("Retry-After", "600");
    let (well, _) = counting(200);
    for answer in [gone, held] {
        let gate = Gate::closed();
        let answer = answer.behind(&gate);
        let old = Receiver::start(move |_| answer.clone());
        let mut scene = Scene::new(&old.url("/"), |_| {});
        scene.hook("1");
        old.next();
        scene.reload(|config| orders(config).url = well.url("/").parse().expect("a URL"));
        gate.open();
        scene.settles(1);
        let id = scene.hook("2");
        event_with_status(&scene.relay.client, &id, "delivered");
    }
}

#[test]
fn a_secret_that_is_rotated_signs_from_the_reload_on() {
    let receiver = Receiver::start(|_| Answer::status(200));
    let secret = |byte: char| Secret::new(format!("whsec_{}", byte.to_string().repeat(32)));
    let mut scene = Scene::new(&receiver.url("/"), |config| {
        orders(config).secrets = vec![secret('A')];
    });
    let verifies = |byte: char, arrival: &crate::support::Arrival| {
        let webhook = standardwebhooks::Webhook::new(secret(byte).reveal()).expect("a secret");
        let mut signed = standardwebhooks_headers(arrival);
        signed.retain(|(name, _)| name.starts_with("webhook-"));
        webhook
            .sign(
                &signed[0].1,
                signed[1].1.parse().expect("seconds"),
                &arrival.body,
            )
            .is_ok_and(|own| signed[2].1.split(' ').any(|theirs| theirs == own))
    };
    scene.hook("1");
    let before = receiver.next();
    scene.reload(|config| orders(config).secrets = vec![secret('B'), secret('A')]);
    scene.hook("2");
    let both = receiver.next();
    scene.reload(|config| orders(config).secrets = vec![secret('B')]);
    scene.hook("3");
    let after = receiver.next();
    let seen = [&before, &both, &after].map(|one| (verifies('A', one), verifies('B', one)));
    assert_eq!(seen, [(true, false), (true, true), (false, true)]);
}

/// The headers of Standard Webhooks: id, timestamp, signatures.
fn standardwebhooks_headers(arrival: &crate::support::Arrival) -> Vec<(String, String)> {
    ["webhook-id", "webhook-timestamp", "webhook-signature"]
        .map(|name| (name.to_owned(), arrival.header(name).to_owned()))
        .to_vec()
}

#[test]
fn connections_to_destinations_that_stay_the_same_are_used_again() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let url = receiver(None, move |stream, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        while read_head(stream).is_some() {
            answer(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let mut scene = Scene::new(&url, |_| {});
    for round in 0..5_u8 {
        let id = scene.hook(&round.to_string());
        event_with_status(&scene.relay.client, &id, "delivered");
        scene.reload(|config| {
            config
                .sources
                .insert(format!("s{round}"), Source::to(["orders"]));
            orders(config).timeout = Some(Duration::from_secs(10 + u64::from(round)));
        });
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[test]
fn a_certificate_that_is_replaced_in_its_file_counts_from_the_reload_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let (own, other) = (
        self_signed("127.0.0.1", |_| {}),
        self_signed("127.0.0.1", |_| {}),
    );
    let url = receiver(Some(own.server()), move |stream, _| {
        while read_head(stream).is_some() {
            answer(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let path = other.write(directory.path());
    let mut scene = Scene::new(&url, |config| orders(config).ca_file = Some(path));
    let id = scene.hook("1");
    until("it fails", || {
        let event = scene.relay.client.get(&format!("/events/{id}")).json();
        event["last_error"]
            .as_str()
            .filter(|error| !error.is_empty())
            .map(|_| ())
    });
    own.write(directory.path());
    scene.reload(|_| {});
    let id = scene.hook("2");
    event_with_status(&scene.relay.client, &id, "delivered");
    // A file that can't be used refuses the whole reload.
    std::fs::write(directory.path().join("certificate.pem"), "nothing").expect("writing");
    let relay = scene.relay.relay.as_ref().expect("it runs");
    let mut config = scene.config.clone();
    config.sources.clear();
    let error = relay
        .reload(config)
        .expect_err("no certificate")
        .to_string();
    assert!(error.contains("destinations.orders.ca_file"), "{error}");
    let id = scene.hook("3");
    event_with_status(&scene.relay.client, &id, "delivered");
}

/// The clock stands still, so no scan follows but the one that the change asks for.
#[test]
fn the_state_of_an_idle_destination_follows_each_change_at_once() {
    let held = Receiver::start(|_| Answer::status(503).header("Retry-After", "600"));
    let scene = Scene::new(&held.url("/"), |config| {
        orders(config).retry = every(Duration::ZERO, 0);
    });
    let shows = |state: &str| {
        let line = format!("relay_destination_state{{destination=\"orders\",state=\"{state}\"}} 1");
        until(state, || scene.metrics().contains(&line).then_some(()));
    };
    let change = |action: &str, body: &[u8]| {
        let path = format!("/api/destinations/orders/{action}");
        let json = [("Content-Type", "application/json")];
        let reply = scene.relay.admin().send("POST", &path, &json, body);
        assert_eq!(reply.status, 200, "{}", reply.text());
    };
    shows("active");
    for _ in 0..2 {
        change("pause", br#"{"reason":"moving"}"#);
        shows("paused");
        change("resume", b"{}");
        shows("active");
    }
    // Its delivery is a dead letter: nothing waits.
    let id = scene.hook("1");
    event_with_status(&scene.relay.client, &id, "dead_lettered");
    shows("held");
    change("probe", b"{}");
    shows("active");
}

#[test]
fn a_pause_stays_and_the_line_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let (first, second, fence) = (counting(200), counting(200), counting(200));
    let toml = |receiver: &Receiver| {
        format!(
            "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = ''\n[database]\nmin_free_bytes = 0\n\
             [destinations.orders]\nurl = '{}'\n[sources.github]\ndestinations = ['orders']\n\
             [destinations.fence]\nurl = '{}'\n[sources.fence]\ndestinations = ['fence']\n",
            receiver.url("/"),
            fence.0.url("/")
        )
    };
    let relay = Process::serve(path, &toml(&first.0));
    let run = |arguments: &[&str]| {
        let output = Process::command(path)
            .args(arguments)
            .output()
            .expect("it runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    event_with_status(
        &relay.client,
        &event_id(&relay.client.hook("1", b"{}")),
        "delivered",
    );
    run(&["pause", "orders"]);
    let id = event_id(&relay.client.hook("2", b"{}"));
    std::fs::write(path.join("relay.toml"), toml(&second.0)).expect("writing");
    let said = run(&["reload"]);
    assert!(
        said.contains("destination orders (another server, stays paused)"),
        "{said}"
    );
    pass_dispatcher(&relay.client);
    let history = relay.client.get(&format!("/events/{id}")).json();
    assert_eq!(history["attempts"], 0, "{history}");
    run(&["resume", "orders"]);
    event_with_status(&relay.client, &id, "delivered");
}

/// A random configuration: which names there are, and their settings.
fn configured(choice: (u8, u8, u8, u8), base: &Config) -> Config {
    let (destinations, sources, setting, limits) = choice;
    let mut config = base.clone();
    config.destinations.clear();
    config.sources.clear();
    let has = |bits: u8, at: usize| bits & (1 << at) != 0;
    for (at, name) in ["a", "b", "c"].into_iter().enumerate() {
        if has(destinations, at) {
            let port = 9 + (setting >> at & 1);
            let url = format!("http://127.0.0.1:{port}/");
            let mut to = Destination::new(url.parse().expect("a URL"));
            to.retry = every(
                Duration::from_secs(u64::from(setting)),
                usize::from(limits % 4),
            );
            config.destinations.insert(name.to_owned(), to);
        }
    }
    let names: Vec<_> = config.destinations.keys().cloned().collect();
    for (at, name) in ["s", "t", "*"].into_iter().enumerate() {
        if has(sources, at) && !names.is_empty() {
            let skipped = usize::from(limits >> at) % names.len();
            config
                .sources
                .insert(name.to_owned(), Source::to(names.iter().skip(skipped)));
        }
    }
    config.delivery.defaults.concurrency = Some(u32::from(limits % 8) + 1);
    config.api.idempotency_window = Duration::from_secs(60 + u64::from(limits));
    config
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// The deliveries of an accepted event, and when they are due, are fixed at its acceptance.
    #[test]
    fn a_reload_never_changes_what_an_accepted_event_owes(
        choices in prop::collection::vec((1..8_u8, 1..8_u8, any::<u8>(), any::<u8>()), 1..12),
    ) {
        let directory = Arc::new(tempfile::tempdir().expect("a directory"));
        let mut base = config(directory.path(), "http://127.0.0.1:9/");
        off(&mut base);
        let relay = TestRelay::start_in(Arc::clone(&directory), base.clone(), None);
        let running = relay.relay.as_ref().expect("it runs");
        let owed = || -> Vec<(i64, String, i64, i64, Option<i64>)> {
            let all = relay.peek_rows(
                "SELECT d.intent_id, t.name, d.state, d.attempts, d.next_attempt_at \
                 FROM deliveries d JOIN destinations t ON t.id = d.destination_id ORDER BY 1, 2",
            );
            all.into_iter().map(|Columns(row)| row).collect()
        };
        let mut accepted = Vec::new();
        for (round, choice) in choices.iter().enumerate() {
            running.reload(configured(*choice, &base)).expect("a fine configuration");
            let before = owed();
            for source in ["s", "t", "u"] {
                let key = format!("{source}-{round}");
                let json = ("Content-Type", "application/json");
                let headers = [("Idempotency-Key", key.as_str()), json];
                let path = format!("/webhooks/{source}");
                let reply = relay.client.send("POST", &path, &headers, b"{}");
                if reply.status == 202 {
                    accepted.push(event_id(&reply));
                }
            }
            let after = owed();
            prop_assert_eq!(&after[..before.len()], &before[..]);
        }
        let last = owed();
        running.reload(base).expect("a fine configuration");
        prop_assert_eq!(owed(), last);
        for id in &accepted {
            prop_assert_eq!(relay.client.get(&format!("/events/{id}")).status, 200);
        }
    }
}

#[test]
fn the_series_of_a_removed_destination_and_source_are_gone() {
    let (well, arrived) = counting(200);
    let mut scene = Scene::new(&well.url("/"), |_| {});
    let id = scene.hook("1");
    event_with_status(&scene.relay.client, &id, "delivered");
    assert_eq!(arrived.load(Ordering::SeqCst), 1);
    let has = |scene: &Scene| {
        let text = scene.metrics();
        let mut lines = text.lines();
        lines.any(|line| line.contains("\"orders\"") || line.contains("\"github\""))
    };
    until("its series", || has(&scene).then_some(()));
    let destination = orders(&mut scene.config).clone();
    let source = scene.config.sources["github"].clone();
    scene.reload(|config| {
        config.destinations.remove("orders");
        config.sources.remove("github");
    });
    until("they are gone", || (!has(&scene)).then_some(()));
    scene.reload(|config| {
        config.destinations.insert("orders".to_owned(), destination);
        config.sources.insert("github".to_owned(), source);
    });
    // The counter goes on from where it was.
    let counted = "relay_attempts_total{destination=\"orders\",outcome=\"delivered\"} 1";
    assert!(scene.metrics().contains(counted), "{}", scene.metrics());
}
