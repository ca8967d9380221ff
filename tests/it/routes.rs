//! Routes through a real relay: by type, header and body; events that no route wants.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use relay::Config;
use relay::clock::{Clock as _, FakeClock, SystemClock};
use relay::config::{Destination, EventTypeAt, Source};
use relay::model::Level;
use serde_json::{Value, json};

use crate::support::engine::is_postgres;
use crate::support::{Process, Reply, TestRelay, config, event_id, off, until};

/// Destinations that nothing delivers to, and a source with a route of each kind.
const ROUTES: &str = r#"
    destinations = ["audit"]
    event_type = { header = "X-Event" }
    [[routes]]
    to = ["billing"]
    when.type = ["invoice.*"]
    [[routes]]
    to = ["audit", "crm"]
    when.headers."X-Account" = ["acct_1"]
    [[routes]]
    to = ["crm", "big"]
    when.body."/data/amount" = [{ min = 1000 }]
    when.body."/data/status" = ["paid", "open"]
"#;

fn routed(config: &mut Config, source: &str) {
    off(config);
    for name in ["audit", "billing", "crm", "big"] {
        let url = "http://127.0.0.1:9/".parse().expect("a URL");
        config
            .destinations
            .insert(name.to_owned(), Destination::new(url));
    }
    let source: Source = toml::from_str(source).expect("a source");
    config.sources.insert("stripe".to_owned(), source);
}

fn send(relay: &TestRelay, key: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut all = vec![("Idempotency-Key", key)];
    all.extend_from_slice(headers);
    relay.client.send("POST", "/webhooks/stripe", &all, body)
}

/// The destinations of an event, by name. Read from the database, because a payload may be too deep
/// for the parser of a test.
fn destinations(relay: &TestRelay, id: &str) -> Vec<String> {
    let row = id.replace("evt_", "").replace('-', "");
    // 48 bits of milliseconds, the version, and a counter of 12 bits.
    let row = i64::from_str_radix(&format!("{}{}", &row[..12], &row[13..16]), 16);
    let row = row.expect("an id");
    relay.peek_rows(&format!(
        "SELECT t.name FROM deliveries d JOIN destinations t ON t.id = d.destination_id
         WHERE d.intent_id = {row} ORDER BY t.name"
    ))
}

#[test]
fn an_event_goes_to_the_destinations_of_its_source_and_of_the_routes_that_match() {
    let relay = TestRelay::start_with("http://127.0.0.1:9/", |config| routed(config, ROUTES));
    let large = format!(
        r#"{{"data":{{"status":"draft","amount":1}},"fill":"{}","data":{{"amount":1e3,"status":"paid"}}}}"#,
        "x".repeat(300_000)
    );
    let deep = format!(
        r#"{{"deep":{}1{},"data":{{"amount":1000.0,"status":"open"}}}}"#,
        "[".repeat(300),
        "]".repeat(300)
    );
    let invoice = ("X-Event", "invoice.paid");
    let account = ("X-Account", "acct_1");
    for (at, (headers, body, expected)) in [
        (&[][..], "{}", &["audit"][..]),
        (&[invoice], "{}", &["audit", "billing"]),
        (&[("X-Event", "invoices")], "{}", &["audit"]),
        // A header that is there twice matches by any of its values.
        (&[("X-Account", "acct_0"), account], "{}", &["audit", "crm"]),
        (&[invoice, account], "{}", &["audit", "billing", "crm"]),
        (
            &[],
            r#"{"data":{"amount":1000,"status":"paid"}}"#,
            &["audit", "big", "crm"],
        ),
        (
            &[],
            r#"{"data":{"amount":"1000","status":"paid"}}"#,
            &["audit"],
        ),
        (
            &[],
            r#"{"data":{"amount":999.9,"status":"paid"}}"#,
            &["audit"],
        ),
        // Named by `destinations` and by two routes: one delivery each.
        (
            &[account],
            r#"{"data":{"amount":1e4,"status":"open"}}"#,
            &["audit", "big", "crm"],
        ),
        (&[], large.as_str(), &["audit", "big", "crm"]),
        (&[], deep.as_str(), &["audit", "big", "crm"]),
    ]
    .into_iter()
    .enumerate()
    {
        let id = event_id(&send(&relay, &at.to_string(), headers, body.as_bytes()));
        assert_eq!(
            destinations(&relay, &id),
            expected,
            "{headers:?} {}",
            &body[..body.len().min(80)]
        );
    }
}

#[test]
fn a_body_that_is_not_json_matches_no_line_of_the_body() {
    let relay = TestRelay::start_with("http://127.0.0.1:9/", |config| {
        routed(config, ROUTES);
        let source = config.sources.get_mut("stripe").expect("a source");
        source.accept_any_content = true;
        let missing = "to = ['big']\nwhen.body.'/a' = [{ exists = false }]";
        source.routes = vec![toml::from_str(missing).expect("a route")];
    });
    for (body, expected) in [
        (&b"a=1&b=2"[..], &["audit"][..]),
        (b"{}", &["audit", "big"]),
    ] {
        let id = event_id(&send(&relay, &body.len().to_string(), &[], body));
        assert_eq!(destinations(&relay, &id), expected);
    }
}

#[test]
fn the_order_of_a_destination_holds_for_the_events_that_a_route_brings() {
    let relay = TestRelay::start_with("http://127.0.0.1:9/", |config| {
        routed(config, ROUTES);
        let crm = config.destinations.get_mut("crm").expect("a destination");
        let ordered = "url = 'http://127.0.0.1:9/'\nordering = { by = '/data/customer' }";
        *crm = toml::from_str(ordered).expect("a destination");
    });
    let body = br#"{"data":{"amount":1000,"status":"paid","customer":"c"}}"#;
    event_id(&send(&relay, "1", &[], body));
    let ordered: String = relay.peek(
        "SELECT t.name FROM deliveries d JOIN destinations t ON t.id = d.destination_id
         WHERE d.order_key IS NOT NULL",
    );
    assert_eq!(ordered, "crm");
}

/// A source without destinations of its own.
const ONLY_ROUTES: &str = r#"
    event_type = { json_pointer = "/type" }
    on_redelivery = "replay_dead"
    [[routes]]
    to = ["billing"]
    when.type = ["invoice.*"]
"#;

#[test]
fn an_event_that_no_route_wants_is_accepted_finished_counted_and_deleted_after_its_time() {
    let clock = Arc::new(FakeClock::at(SystemClock::new().wall()));
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let mut config = config(directory.path(), "http://127.0.0.1:9/");
    routed(&mut config, ONLY_ROUTES);
    config.retention.delivered = Some(Duration::from_secs(7200));
    config.retention.dead_lettered = Some(Duration::from_secs(7200));
    let relay = TestRelay::start_in(directory, config, Some(Arc::clone(&clock)));
    let metrics = || relay.admin().get("/metrics").text();
    assert!(metrics().contains("relay_unrouted_total{source=\"stripe\"} 0"));

    let body = br#"{"type":"push"}"#;
    let reply = send(&relay, "1", &[], body);
    let id = event_id(&reply);
    assert_eq!(reply.json()["status"], "accepted");
    let event = relay.client.get(&format!("/events/{id}")).json();
    assert_eq!(
        (&event["status"], &event["deliveries"], &event["attempts"]),
        (&json!("delivered"), &json!([]), &json!(0))
    );
    assert_eq!(
        event["status_description"],
        "No route of its source wants it: it is kept, and delivered to nobody."
    );
    assert_eq!(event["payload"], json!({"type": "push"}));
    let wanted = event_id(&send(&relay, "2", &[], br#"{"type":"invoice.paid"}"#));
    assert!(metrics().contains("relay_unrouted_total{source=\"stripe\"} 1"));

    // A duplicate is a duplicate, and not counted again.
    for body in [&body[..], br#"{"type":"invoice.paid"}"#] {
        let again = send(&relay, "1", &[], body);
        assert_eq!(
            (event_id(&again), &again.json()["status"]),
            (id.clone(), &json!("duplicate"))
        );
    }
    let event = relay.client.get(&format!("/events/{id}")).json();
    assert_eq!(event["deliveries"], json!([]));
    assert!(metrics().contains("relay_unrouted_total{source=\"stripe\"} 1"));

    // Counted from its acceptance.
    clock.advance(Duration::from_secs(7100));
    assert_eq!(relay.client.get(&format!("/events/{id}")).status, 200);
    clock.advance(Duration::from_secs(200));
    until("it is deleted", || {
        clock.advance(Duration::from_secs(60));
        (relay.client.get(&format!("/events/{id}")).status == 404).then_some(())
    });
    let pending = relay.client.get(&format!("/events/{wanted}"));
    assert_eq!(pending.status, 200, "a pending one stays");
}

/// The same source as a file.
const TOML: &str = "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = ''\n\
    [database]\nmin_free_bytes = '0'\n[api]\nkeys = ['test-key']\n[delivery]\nlevel = 'off'\n\
    [destinations.audit]\nurl = 'http://127.0.0.1:9/'\n\
    [destinations.billing]\nurl = 'http://127.0.0.1:9/'\n\
    [sources.stripe]\nevent_type = { header = 'X-Event' }\n\
    [[sources.stripe.routes]]\nto = ['billing']\nwhen.type = ['invoice.*']\n\
    when.body.'/amount' = [{ min = 1000 }]\n\
    [[sources.stripe.routes]]\nto = ['billing', 'audit']\nwhen.headers.X-Account = ['acct_1']\n";

/// Runs a command that must succeed; returns its standard output.
fn output_of(directory: &Path, args: &[&str]) -> String {
    let output = Process::command(directory).args(args).output();
    let output = output.expect("the binary runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {error}");
    String::from_utf8(output.stdout).expect("text")
}

fn json_of(directory: &Path, args: &[&str]) -> Value {
    let text = output_of(directory, args);
    serde_json::from_str(&text).expect("one JSON document")
}

#[test]
fn unrouted_events_are_listed_shown_counted_and_matched_by_commands() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let server = Process::serve(path, TOML);
    let send = |key: &str, headers: &[(&str, &str)], body: &[u8]| {
        let mut all = vec![("Idempotency-Key", key)];
        all.extend_from_slice(headers);
        event_id(&server.client.send("POST", "/webhooks/stripe", &all, body))
    };
    let small = send("1", &[("X-Event", "invoice.paid")], br#"{"amount":999}"#);
    let other = send("2", &[("X-Event", "push")], b"{}");
    let wanted = send("3", &[("X-Event", "invoice.paid")], br#"{"amount":1000}"#);

    let listed = output_of(path, &["list", "--unrouted", "--json"]);
    let listed: Vec<Value> = listed
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let ids: Vec<_> = listed.iter().map(|line| &line["id"]).collect();
    assert_eq!(ids, [&json!(other), &json!(small)], "the latest first");
    assert_eq!(
        (
            &listed[1]["label"],
            &listed[1]["event_type"],
            &listed[1]["destination"]
        ),
        (&json!("stripe"), &json!("invoice.paid"), &json!(null))
    );
    let count = |args: &[&str]| {
        let all = [&["list", "--unrouted", "--json"], args].concat();
        output_of(path, &all).lines().count()
    };
    assert_eq!(count(&["--source", "stripe", "--since", "1h"]), 2);
    assert_eq!(count(&["--source", "github"]), 0);
    assert_eq!(count(&["--limit", "1"]), 1);
    let text = output_of(path, &["list", "--unrouted"]);
    assert!(
        text.contains(&small) && text.contains("invoice.paid"),
        "{text}"
    );
    assert!(
        !output_of(path, &["list"]).contains(&small),
        "it has no delivery"
    );

    let shown = output_of(path, &["show", &small]);
    let reason = "No route of its source wants it: it is kept, and delivered to nobody.";
    assert!(shown.contains(reason), "{shown}");
    let shown = json_of(path, &["show", "--json", &small]);
    assert_eq!(
        (&shown["unrouted"], &shown["deliveries"]),
        (&json!(true), &json!([]))
    );
    assert_eq!(
        json_of(path, &["show", "--json", &wanted])["unrouted"],
        false
    );
    assert_eq!(json_of(path, &["stats", "--json"])["unrouted"], 2);
    assert!(output_of(path, &["stats"]).contains("2 events that no route wanted"));

    // A stored event is matched by its own headers and body.
    let matched = json_of(path, &["match", "stripe", &small, "--json"]);
    assert_eq!(matched["unrouted"], true);
    assert_eq!(matched["event_type"], "invoice.paid");
    let billing = &matched["destinations"][0];
    assert_eq!(
        billing["routes"],
        json!([
            {
                "route": "routes[0]",
                "matches": false,
                "failed": {
                    "rule": "body./amount", "expected": "{ min = 1000 }", "found": "999"
                }
            },
            {
                "route": "routes[1]",
                "matches": false,
                "failed": {
                    "rule": "headers.x-account", "expected": "\"acct_1\"", "found": null
                }
            }
        ])
    );
    let text = output_of(path, &["match", "stripe", &wanted]);
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert!(
        lines.contains(&vec!["billing", "yes", "routes[0]"]),
        "{text}"
    );
    let no =
        "audit        no       routes[1]: headers.x-account: found nothing, expected \"acct_1\"";
    assert!(text.contains(no), "{text}");
    server.signal("-TERM");
    assert!(server.wait().0.success());
}

#[test]
fn a_file_is_matched_without_a_server_a_database_or_secrets() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    // The variable isn't there: no secret is wanted.
    let toml =
        format!("{TOML}[sources.other]\nsecrets_env = 'NO_SUCH'\ndestinations = ['audit']\n");
    std::fs::write(path.join("relay.toml"), toml).expect("writing relay.toml");
    std::fs::write(path.join("push.json"), r#"{"amount":1e3}"#).expect("writing the body");
    let matched = |args: &[&str]| {
        let all = [&["match", "stripe", "push.json", "--json"], args].concat();
        json_of(path, &all)
    };
    let wanted = |outcome: &Value| {
        let all = outcome["destinations"].as_array().expect("a list").iter();
        let wanted = all.filter(|one| one["matches"] == true);
        let names = wanted.map(|one| one["destination"].as_str().expect("a name").to_owned());
        names.collect::<Vec<_>>()
    };
    let invoice = matched(&["--header", "X-Event: invoice.paid"]);
    assert_eq!(wanted(&invoice), ["billing"]);
    assert_eq!(
        (&invoice["event"], &invoice["unrouted"]),
        (&json!(null), &json!(false))
    );
    let account = matched(&[
        "--header",
        "X-Account: acct_0",
        "--header",
        "x-account:acct_1",
    ]);
    assert_eq!(wanted(&account), ["billing", "audit"]);
    assert_eq!(account["destinations"][1]["by"], "routes[1]");
    assert_eq!(matched(&[])["unrouted"], true);
    let text = output_of(path, &["match", "stripe", "push.json"]);
    assert!(text.contains("no route wants it"), "{text}");
    std::fs::write(path.join("text"), "no JSON").expect("writing the body");
    assert!(!path.join("relay.db").exists(), "no row, and no database");

    for (args, says) in [
        (
            &["match", "gone", "push.json"][..],
            "there is no source \"gone\"",
        ),
        (&["match", "stripe", "gone.json"], "gone.json: "),
        (
            &["match", "stripe", "text"],
            "the relay would refuse it: the body is not JSON",
        ),
        (
            &[
                "match",
                "stripe",
                "evt_01923456-789a-7000-8000-000000000000",
            ],
            if is_postgres() {
                "relay has no tables here"
            } else {
                "relay.db: there is no database here"
            },
        ),
        (
            &["match", "stripe", "push.json", "--header", "X"],
            "expected a header such as",
        ),
    ] {
        let output = Process::command(path).args(args).output();
        let output = output.expect("the binary runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && error.contains(says),
            "{args:?}: {error}"
        );
    }
}

#[test]
fn a_dry_run_of_a_request_names_the_destinations_of_its_routes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    std::fs::write(path.join("relay.toml"), TOML).expect("writing relay.toml");
    std::fs::write(path.join("push.json"), r#"{"amount":5000}"#).expect("writing the body");
    let send = ["send", "stripe", "push.json", "--dry-run"];
    let none = output_of(path, &send);
    assert!(
        none.contains("would go to no destination: no route wants it"),
        "{none}"
    );
    let all = [&send[..], &["--header", "X-Event: invoice.paid"]].concat();
    let billing = output_of(path, &all);
    assert!(billing.contains("would go to billing\n"), "{billing}");
    let checked = output_of(path, &["check"]);
    assert!(
        checked.contains("stripe -> by route billing, audit"),
        "{checked}"
    );
}

#[test]
fn a_type_in_the_body_is_routed_by() {
    let relay = TestRelay::start_with("http://127.0.0.1:9/", |config| {
        routed(config, ONLY_ROUTES);
        config.delivery.level = Some(Level::Off);
        let source = config.sources.get_mut("stripe").expect("a source");
        source.event_type = Some(EventTypeAt::JsonPointer("/type".to_owned()));
    });
    let id = event_id(&send(&relay, "1", &[], br#"{"type":"invoice.paid"}"#));
    let event = relay.client.get(&format!("/events/{id}")).json();
    assert_eq!(destinations(&relay, &id), ["billing"]);
    assert_eq!(event["status"], "queued");
}
