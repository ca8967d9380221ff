//! `database.max_bytes`: finished events make room, waiting deliveries never do.

use std::path::Path;

use serde_json::Value;

use crate::commands::output_of;
use crate::needs_a_file;
use crate::support::{Process, Reply, event_id, event_with_status, until};

/// Of the tests whose payloads are large.
const MAX: u64 = 8 << 20;

fn serve(path: &Path, max: u64) -> Process {
    let toml = format!(
        "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n\
         [database]\nmin_free_bytes = '0'\nmax_bytes = {max}\n[api]\nkeys = ['test-key']\n\
         [delivery]\nlevel = 'simulated'\nworkers = 4\nallow_networks = ['127.0.0.0/8']\n\
         simulated = {{ latency = '0s' }}\n[destinations.orders]\nurl = 'http://127.0.0.1:9/'\n\
         [sources.github]\ndestinations = ['orders']\n"
    );
    Process::serve(path, &toml)
}

fn post(server: &Process, key: &str, bytes: usize) -> Reply {
    let body = format!("{{\"f\":\"{}\"}}", "z".repeat(bytes));
    server.client.hook(key, body.as_bytes())
}

/// Posts until it is accepted: shedding may be a moment behind.
fn accepted(server: &Process, key: &str, bytes: usize) -> String {
    until("it is accepted", || {
        let reply = post(server, key, bytes);
        if reply.status == 503 {
            assert_eq!(reply.header("retry-after"), Some("1"));
            return None;
        }
        Some(event_id(&reply))
    })
}

fn metric(server: &Process, name: &str) -> f64 {
    let metrics = server
        .admin
        .as_ref()
        .expect("a listener")
        .get("/metrics")
        .text();
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.expect(name).parse().expect("a number")
}

/// Bytes of the database and its write-ahead log.
fn bytes_of(path: &Path) -> u64 {
    let size = |name: &str| path.join(name).metadata().map_or(0, |found| found.len());
    size("relay.db") + size("relay.db-wal")
}

#[test]
fn the_oldest_finished_events_make_room_and_their_keys_live_on() {
    needs_a_file!("the sizes of the file are under test");
    for (bytes, max) in [(500, 4 << 20), (20_000, MAX)] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path();
        let server = serve(path, max);
        output_of(path, &["pause", "orders"]);
        let waiting = accepted(&server, "waits", bytes);
        let other = accepted(&server, "replayed later", bytes);
        output_of(path, &["resume", "orders"]);
        for id in [&waiting, &other] {
            event_with_status(&server.client, id, "delivered");
        }
        let first = accepted(&server, "first", bytes);
        event_with_status(&server.client, &first, "delivered");
        let number = 5 * usize::try_from(max).expect("small") / (2 * bytes + 1_500);
        std::thread::scope(|scope| {
            for part in 0..8 {
                let server = &server;
                scope.spawn(move || {
                    for n in (part..number).step_by(8) {
                        accepted(server, &format!("{n}"), bytes);
                    }
                });
            }
        });
        assert!(metric(&server, "relay_shed_total") > 100.0);
        let used = metric(&server, "relay_database_used_bytes");
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let bound = max as f64;
        assert!(used < 1.1 * bound, "{used}");
        assert!(bytes_of(path) < max * 2, "{}", bytes_of(path));
        let shown = server.client.get(&format!("/events/{first}")).json();
        assert_eq!(
            (&shown["payload"], &shown["status"]),
            (&Value::Null, &"delivered".into())
        );
        let says = shown["status_description"].as_str().expect("a text");
        assert!(says.contains("Its payload was shed at 20"), "{says}");
        assert_eq!(accepted(&server, "first", bytes), first, "its key lives on");
        // The last one is there, whole.
        let last = accepted(&server, &format!("{}", number - 1), bytes);
        let shown = server.client.get(&format!("/events/{last}")).json();
        assert!(shown["payload"].is_object());
        let stats: Value =
            serde_json::from_str(&output_of(path, &["stats", "--json"])).expect("JSON");
        assert_eq!(stats["database_max_bytes"], max);
        assert!(stats["database_used_bytes"].as_u64() > Some(0));
    }
}

#[test]
fn pending_work_and_dead_letters_are_kept_and_new_events_are_refused() {
    needs_a_file!("the sizes of the file are under test");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let server = serve(path, MAX);
    let mut kept = Vec::new();
    for n in 0..20 {
        let body = format!(
            "{{\"simulate_failure\":true,\"n\":{n},\"f\":\"{}\"}}",
            "z".repeat(20_000)
        );
        kept.push(event_id(
            &server.client.hook(&format!("dead {n}"), body.as_bytes()),
        ));
    }
    for id in &kept {
        event_with_status(&server.client, id, "dead_lettered");
    }
    output_of(path, &["pause", "orders"]);
    let mut refused = 0;
    for n in 0.. {
        let reply = post(&server, &format!("{n}"), 20_000);
        if reply.status == 503 {
            refused += 1;
            assert_eq!(reply.header("retry-after"), Some("1"));
            assert!(
                reply.text().contains("database.max_bytes"),
                "{}",
                reply.text()
            );
            if refused == 20 {
                break;
            }
        } else {
            kept.push(event_id(&reply));
        }
        assert!(n < 5_000, "it is never full");
    }
    let ready = server.client.get("/readyz");
    assert!(ready.status == 503 && ready.text().contains("database.max_bytes"));
    until("it is shown as full", || {
        (metric(&server, "relay_database_full_seconds") < 1.0).then_some(())
    });
    let admin = server.admin.as_ref().expect("a listener");
    assert_eq!(admin.get("/api/overview").json()["full_in_seconds"], 0);
    for id in &kept {
        let shown = server.client.get(&format!("/events/{id}")).json();
        assert!(shown["payload"].is_object(), "{shown}");
    }
    assert!(metric(&server, "relay_shed_total") < 1.0);
    // The waiting ones are delivered, and then make room.
    output_of(path, &["resume", "orders"]);
    accepted(&server, "after all", 20_000);
    for id in &kept[..20] {
        event_with_status(&server.client, id, "dead_lettered");
        assert!(server.client.get(&format!("/events/{id}")).json()["payload"].is_object());
    }
}

#[test]
fn a_reload_changes_the_bound() {
    needs_a_file!("the sizes of the file are under test");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let server = serve(path, MAX);
    let overview = || {
        server
            .admin
            .as_ref()
            .expect("a listener")
            .get("/api/overview")
            .json()
    };
    assert_eq!(overview()["database_max_bytes"], MAX);
    let toml = std::fs::read_to_string(path.join("relay.toml")).expect("the file");
    let without = toml.replace(&format!("max_bytes = {MAX}\n"), "");
    std::fs::write(path.join("relay.toml"), without).expect("the file");
    output_of(path, &["reload"]);
    until("the bound is gone", || {
        overview()["database_max_bytes"].is_null().then_some(())
    });
}
