//! Again, now, elsewhere, never: `relay replay`, `retry`, `reroute` and `discard --pending`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::commands::{error_of, output_of};
use crate::support::{
    Answer, Process, Receiver, event_id, event_with_status, outcomes, relay_id, relay_to,
    relay_with_status, until,
};

const BASE: &str = "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = ''\n\
    [database]\nmin_free_bytes = '0'\n[api]\nkeys = ['test-key']\n";
const SOURCES: &str = "[sources.github]\ndestinations = ['orders']\n";

/// Level 1: everything is delivered, one after the other, `latency` each.
fn simulated(latency: &str, destinations: &[&str]) -> String {
    let destinations = destinations
        .iter()
        .map(|name| format!("[destinations.{name}]\nurl = 'http://127.0.0.1:9/'\n"));
    format!(
        "{BASE}[delivery]\nlevel = 'simulated'\nworkers = 1\nallow_networks = ['127.0.0.0/8']\n\
         simulated = {{ latency = '{latency}' }}\n{}",
        destinations.collect::<String>()
    )
}

/// Level 3, with a destination `orders` at a receiver that fails until it is told to be well.
fn failing(keys: &str) -> (Receiver, Arc<AtomicBool>, String) {
    let is_well = Arc::new(AtomicBool::new(false));
    let receiver = {
        let is_well = Arc::clone(&is_well);
        Receiver::start(move |_| {
            let is_well = is_well.load(Ordering::SeqCst);
            Answer::status(if is_well { 200 } else { 500 })
        })
    };
    let toml = format!(
        "{BASE}[delivery]\nlevel = 'durable'\nworkers = 4\nallow_networks = ['127.0.0.0/8']\n\
         [destinations.orders]\nurl = '{}'\nretry = {{ schedule = ['10h'] }}\n{keys}{SOURCES}",
        receiver.url("/")
    );
    (receiver, is_well, toml)
}

fn json_of(path: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&output_of(path, args)).expect("JSON")
}

fn event(server: &Process, id: &str) -> Value {
    server.client.get(&format!("/events/{id}")).json()
}

/// Waits until the server has taken in that a destination is paused.
fn pause(server: &Process, path: &Path, destination: &str) {
    output_of(path, &["pause", destination]);
    let mut key = 0;
    until("one is held", || {
        key += 1;
        let id = event_id(&server.client.hook(&format!("pause {key}"), b"{}"));
        let says = event(server, &id)["status_description"]
            .as_str()?
            .to_owned();
        output_of(path, &["discard", "--pending", "--reason", "none"]);
        says.contains("paused").then_some(())
    });
}

#[test]
fn a_delivered_event_is_sent_once_more_on_request_only() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let toml = simulated("0s", &["orders"]) + SOURCES;
    let server = Process::serve(path, &toml);
    let id = event_id(&server.client.hook("1", b"{}"));
    event_with_status(&server.client, &id, "delivered");
    let (text, code) = error_of(path, &["replay", &id]);
    assert_eq!(code, Some(1));
    assert!(
        text.contains("it was delivered: --status delivered sends it once more"),
        "{text}"
    );
    let (text, code) = error_of(path, &["replay", "--status", "delivered"]);
    assert!(text.contains("--all") && code == Some(1), "{text}");
    let again = ["replay", "--status", "delivered"];
    assert_eq!(
        output_of(path, &[&again[..], &[&id]].concat()),
        "replayed 1\n"
    );
    let delivered = |times: usize| {
        until("it is delivered again", || {
            let shown = event(&server, &id);
            let all = outcomes(&shown).into_iter();
            let arrivals = all.filter(|one| *one == "delivered").count();
            (arrivals == times && shown["status"] == "delivered").then_some(shown)
        })
    };
    assert_eq!(
        outcomes(&delivered(2)),
        ["delivered", "replayed", "delivered"]
    );
    // The same once more does it once more.
    for (times, filter) in [
        (3, &["--all"][..]),
        (4, &["--source", "github"]),
        (5, &["--since", "1h"]),
    ] {
        let counted = json_of(
            path,
            &[&again[..], filter, &["--dry-run", "--json"]].concat(),
        );
        assert_eq!(
            (&counted["total"], &counted["time"], &counted["is_exact"]),
            (&1.into(), &"accepted".into(), &true.into())
        );
        assert_eq!(counted["first"][0]["id"], id.as_str());
        assert_eq!(
            output_of(path, &[&again[..], filter].concat()),
            "replayed 1\n"
        );
        delivered(times);
    }
    // A relay reads as queued again, and is delivered at no time, until it has arrived.
    let relayed = relay_id(
        &server
            .client
            .create(&[], &relay_to("http://127.0.0.1:9/x", "{}")),
    );
    let shown = relay_with_status(&server.client, &relayed, "delivered");
    assert!(shown["deliveredAt"].is_string());
    output_of(path, &["pause", "http://127.0.0.1:9"]);
    assert_eq!(
        output_of(path, &[&again[..], &[&relayed]].concat()),
        "replayed 1\n"
    );
    until("it is queued or there again", || {
        let relay = server.client.get(&format!("/v1/relays/{relayed}")).json();
        let is_delivered = relay["status"] == "delivered";
        assert_eq!(relay["deliveredAt"].is_string(), is_delivered, "{relay}");
        (relay["status"] == "queued" || is_delivered).then_some(())
    });
    output_of(path, &["resume", "http://127.0.0.1:9"]);
    relay_with_status(&server.client, &relayed, "delivered");
    server.signal("-TERM");
    assert!(server.wait().0.success());
}

#[test]
fn a_retry_makes_an_event_due_that_waits_for_hours() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let (_receiver, is_well, toml) = failing("");
    let server = Process::serve(path, &toml);
    let ids = ["1", "2"].map(|key| event_id(&server.client.hook(key, b"{}")));
    for id in &ids {
        event_with_status(&server.client, id, "retrying");
    }
    is_well.store(true, Ordering::SeqCst);
    let (text, code) = error_of(path, &["replay", &ids[0]]);
    assert!(
        text.contains("relay retry makes it due now") && code == Some(1),
        "{text}"
    );
    assert_eq!(output_of(path, &["retry", &ids[0]]), "retried 1\n");
    let shown = event_with_status(&server.client, &ids[0], "delivered");
    assert_eq!(outcomes(&shown), ["transient", "replayed", "delivered"]);
    assert_eq!(shown["attempts"], 2, "it keeps its budget");
    assert_eq!(event(&server, &ids[1])["status"], "retrying");
    assert_eq!(
        output_of(path, &["retry", "--source", "github"]),
        "retried 1\n"
    );
    event_with_status(&server.client, &ids[1], "delivered");
    assert_eq!(output_of(path, &["retry", "--all"]), "retried 0\n");
    let (text, code) = error_of(path, &["retry"]);
    assert!(text.contains("--all") && code == Some(2), "{text}");
}

#[test]
fn a_retry_of_a_destination_lets_its_breaker_probe_at_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let keys = "breaker = { failures = 2, probe_after = '10h', probe_cap = '10h' }\n";
    let (_receiver, is_well, toml) = failing(keys);
    let server = Process::serve(path, &toml);
    let ids: Vec<String> = (0..5)
        .map(|key| event_id(&server.client.hook(&key.to_string(), b"{}")))
        .collect();
    until("the breaker is open", || {
        let shown = json_of(path, &["stats", "--json"]);
        let state = shown["destinations"][0]["state"].as_str()?.to_owned();
        state.contains("circuit breaker open").then_some(())
    });
    // A probe that fails leaves it open, and the next one waits again.
    output_of(path, &["retry", "--destination", "orders"]);
    let probed = |times: usize| {
        until("it is probed", || {
            let shown = ids.iter().map(|id| event(&server, id));
            let failures = shown.map(|event| {
                let all = outcomes(&event);
                all.into_iter().filter(|one| *one == "transient").count()
            });
            (failures.sum::<usize>() >= times).then_some(())
        });
    };
    probed(3);
    is_well.store(true, Ordering::SeqCst);
    output_of(path, &["retry", "--destination", "orders"]);
    for id in &ids {
        event_with_status(&server.client, id, "delivered");
    }
}

#[test]
fn a_waiting_event_is_given_up_and_its_key_still_names_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let toml = simulated("0s", &["orders"]) + SOURCES;
    let server = Process::serve(path, &toml);
    pause(&server, path, "orders");
    output_of(path, &["discard", "--pending"]);
    let ids = ["1", "2", "3"].map(|key| event_id(&server.client.hook(key, b"{}")));
    let (text, code) = error_of(path, &["discard", &ids[0]]);
    assert!(
        text.contains("--pending gives it up") && code == Some(1),
        "{text}"
    );
    assert_eq!(
        output_of(path, &["discard", "--pending", &ids[0]]),
        "discarded 1\n"
    );
    let shown = event(&server, &ids[0]);
    assert_eq!(shown["status"], "dead_lettered");
    assert_eq!(shown["payload"], Value::Null);
    let error = shown["last_error"].as_str().expect("text");
    assert!(error.starts_with("discarded: "), "{error}");
    assert_eq!(event_id(&server.client.hook("1", b"{}")), ids[0]);
    // It is no dead letter that a bulk operation would find.
    let counted = json_of(path, &["replay", "--dead", "--dry-run", "--json"]);
    assert_eq!(
        (&counted["total"], &counted["time"]),
        (&0.into(), &"given_up".into())
    );
    assert_eq!(
        output_of(path, &["discard", "--pending", "--destination", "orders"]),
        "discarded 2\n"
    );
    let stats = json_of(path, &["stats", "--json"]);
    let orders = &stats["destinations"][0];
    assert_eq!(
        (&orders["waiting"], &orders["dead_lettered"]),
        (&0.into(), &0.into())
    );
    assert!(orders["discarded"].as_i64() >= Some(3), "{orders}");
    // A relay keeps the contract's shape.
    output_of(path, &["pause", "http://127.0.0.1:9"]);
    let relayed = until("one is held", || {
        let id = relay_id(
            &server
                .client
                .create(&[], &relay_to("http://127.0.0.1:9/x", "{\"a\":1}")),
        );
        let relay = server.client.get(&format!("/v1/relays/{id}")).json();
        (relay["status"] == "queued").then_some(id)
    });
    output_of(path, &["discard", "--pending", &relayed]);
    let relay = server.client.get(&format!("/v1/relays/{relayed}")).json();
    assert_eq!(
        (&relay["payload"], &relay["status"]),
        (&serde_json::json!({}), &"failed".into())
    );
}

#[test]
fn a_removed_destinations_deliveries_are_rerouted_with_their_history() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let (_receiver, _, toml) = failing("");
    let server = Process::serve(path, &toml);
    let ids = ["1", "2", "3"].map(|key| event_id(&server.client.hook(key, b"{}")));
    for id in &ids {
        event_with_status(&server.client, id, "retrying");
    }
    server.signal("-TERM");
    assert!(server.wait().0.success());

    // Without a server and beside one.
    let toml = simulated("0s", &["audit"]) + "[sources.github]\ndestinations = ['audit']\n";
    std::fs::write(path.join("relay.toml"), &toml).expect("written");
    let shown = output_of(path, &["show", &ids[0]]);
    assert!(shown.contains("orders is no longer configured"), "{shown}");
    assert!(shown.contains("relay reroute --from orders"), "{shown}");
    let reroute = ["reroute", "--from", "orders", "--to", "audit"];
    let (text, code) = error_of(path, &["reroute", "--from", "orders", "--to", "nowhere"]);
    assert!(
        text.contains("\"nowhere\"") && text.contains("audit") && code == Some(1),
        "{text}"
    );
    let (text, code) = error_of(path, &["replay", &ids[0], "--to", "http://127.0.0.1:9"]);
    assert!(text.contains("a URL is none") && code == Some(1), "{text}");
    assert_eq!(
        output_of(path, &[&reroute[..], &[&ids[0]]].concat()),
        "rerouted 1\n"
    );
    let server = Process::serve(path, &toml);
    assert_eq!(
        output_of(path, &[&reroute[..], &["--json"]].concat()),
        "{\"rerouted\":2}\n"
    );
    for id in &ids {
        let shown = event_with_status(&server.client, id, "delivered");
        assert_eq!(shown["deliveries"].as_array().map(Vec::len), Some(1));
        assert_eq!(shown["deliveries"][0]["destination"], "audit");
        assert_eq!(outcomes(&shown), ["transient", "replayed", "delivered"]);
    }
    let shown = output_of(path, &["show", &ids[2]]);
    assert!(shown.contains("rerouted from orders"), "{shown}");
    assert_eq!(output_of(path, &reroute), "rerouted 0\n");
}

#[test]
fn stored_events_are_sent_to_a_new_destination_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let server = Process::serve(path, &(simulated("0s", &["orders"]) + SOURCES));
    let ids: Vec<String> = (0..30)
        .map(|key| event_id(&server.client.hook(&key.to_string(), b"{}")))
        .collect();
    for id in &ids {
        event_with_status(&server.client, id, "delivered");
    }
    server.signal("-TERM");
    assert!(server.wait().0.success());
    let routed = "[sources.github]\ndestinations = ['orders', 'audit']\n";
    let toml = simulated("0s", &["orders", "audit", "new"]) + routed;
    let server = Process::serve(path, &toml);
    let to_new = ["replay", "--to", "new", "--source", "github"];
    let counted = json_of(path, &[&to_new[..], &["--dry-run", "--json"]].concat());
    assert_eq!(counted["destinations"], serde_json::json!({ "new": 30 }));
    assert_eq!(counted["first"].as_array().map(Vec::len), Some(10));
    assert_eq!(output_of(path, &to_new), "replayed 30\n");
    assert_eq!(
        output_of(path, &to_new),
        "replayed 0, skipped 30 that the event has there already\n"
    );
    // By today's routes.
    assert_eq!(
        output_of(path, &["replay", "--route", &ids[0]]),
        "replayed 1\n"
    );
    assert_eq!(output_of(path, &["replay", "--route"]), "replayed 29\n");
    assert_eq!(output_of(path, &["replay", "--route"]), "replayed 0\n");
    for id in &ids {
        let shown = event_with_status(&server.client, id, "delivered");
        assert_eq!(shown["deliveries"].as_array().map(Vec::len), Some(3));
    }
}

#[test]
fn a_dry_run_by_ids_tells_what_the_command_would_do() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let server = Process::serve(path, &(simulated("0s", &["orders", "audit"]) + SOURCES));
    let id = event_id(&server.client.hook("1", b"{}"));
    event_with_status(&server.client, &id, "delivered");
    let with = |args: &[&str], more: &[&str]| output_of(path, &[args, more].concat());
    // An id that is given twice is one event.
    let to = ["replay", "--to", "audit", &id, &id];
    let dry_run = |args: &[&str]| {
        let told = with(args, &["--dry-run"]);
        let told = told.strip_prefix("nothing was done; it would be: ");
        told.expect("a dry run says so").to_owned()
    };
    assert_eq!(dry_run(&to), "replayed 1\n");
    assert_eq!(with(&to, &[]), "replayed 1\n");
    let skipped = "replayed 0, skipped 1 that the event has there already\n";
    assert_eq!(dry_run(&to), skipped);
    assert_eq!(with(&to, &[]), skipped);
    event_with_status(&server.client, &id, "delivered");
    let again = ["replay", "--status", "delivered", &id];
    assert_eq!(dry_run(&again), "replayed 2\n");
    assert_eq!(with(&["erase", &id], &[]), "erased 1\n");
    let gone = "replayed 0, left 2 whose payload is deleted\n";
    assert_eq!(dry_run(&again), gone);
    // Routes look at the payload.
    let (text, code) = error_of(path, &["match", "github", &id]);
    assert!(
        text.contains(&format!("{id}: Its payload was erased at ")) && code == Some(1),
        "{text}"
    );
    let (text, _) = error_of(path, &["match", "github", "evt_1"]);
    assert!(text.contains("evt_1: not an id of this relay"), "{text}");
    let (text, _) = error_of(path, &["replay", &id, "--to", "nowhere"]);
    assert!(
        text.contains("--to: \"nowhere\": expected the name"),
        "{text}"
    );
}

#[test]
fn a_retry_of_what_stands_behind_another_leaves_it_there_and_says_so() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let (_receiver, _, toml) = failing("ordering = 'all'\n");
    let server = Process::serve(path, &toml);
    let first = event_id(&server.client.hook("1", b"{}"));
    event_with_status(&server.client, &first, "retrying");
    let second = event_id(&server.client.hook("2", b"{}"));
    assert_eq!(
        output_of(path, &["retry", &second]),
        "retried 0, 1 due already, or behind others in their order\n"
    );
    let shown = event(&server, &second);
    let says = shown["status_description"].as_str().unwrap_or_default();
    assert!(
        says.contains(&format!("it waits behind {first}")),
        "{shown}"
    );
}

#[test]
fn a_job_goes_on_after_a_kill_and_replays_each_event_once_until_it_is_cancelled() {
    const EVENTS: usize = 450;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let toml = simulated("4ms", &["orders"]) + SOURCES;
    let server = Process::serve(path, &toml);
    let ids: Vec<String> = (0..EVENTS)
        .map(|key| event_id(&server.client.hook(&key.to_string(), b"{}")))
        .collect();
    let all_arrive = |server: &Process| {
        for id in &ids {
            event_with_status(&server.client, id, "delivered");
        }
    };
    all_arrive(&server);
    let jobs = || json_of(path, &["stats", "--json"])["jobs"].clone();
    let again = [
        "replay",
        "--status",
        "delivered",
        "--all",
        "--detach",
        "--json",
    ];
    let job = json_of(path, &again)["job"].to_string();
    until("it is in the middle", || {
        let done = jobs()[0]["done"].as_i64()?;
        (done >= 100).then_some(())
    });
    server.kill();
    let server = Process::serve(path, &toml);
    assert_eq!(jobs()[0]["job"].to_string(), job, "it is under way again");
    until("it ends", || {
        (jobs() == serde_json::json!([])).then_some(())
    });
    all_arrive(&server);
    for id in &ids {
        let shown = event(&server, id);
        let replays = outcomes(&shown)
            .into_iter()
            .filter(|one| *one == "replayed");
        assert_eq!(replays.count(), 1, "{shown}");
    }

    let job = json_of(path, &again)["job"].to_string();
    let cancelled = json_of(path, &["cancel", "--json", &job]);
    assert_eq!(cancelled["job"].to_string(), job, "{cancelled}");
    assert_eq!(jobs(), serde_json::json!([]));
    let (text, code) = error_of(path, &["cancel", &job]);
    assert!(
        text.contains("isn't under way") && code == Some(1),
        "{text}"
    );
}
