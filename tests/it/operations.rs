//! Operations on many relays and events, asked for at the admin API.

use std::sync::Arc;
use std::time::Duration;

use relay::clock::{FakeClock, Timestamp};
use serde_json::{Value, json};

use crate::support::{Client, Reply, TestRelay, config, event_id, off, until};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const PATH: &str = "/api/operations";
const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn post(admin: &Client, path: &str, key: Option<&str>, body: &Value) -> Reply {
    let mut headers = vec![JSON];
    headers.extend(key.map(|key| ("Idempotency-Key", key)));
    admin.send("POST", path, &headers, body.to_string().as_bytes())
}

/// A relay that delivers nothing, with a second destination and three events that wait.
fn three_waiting() -> (TestRelay, Client, Vec<String>) {
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let mut settings = config(directory.path(), "http://127.0.0.1:9/");
    off(&mut settings);
    let other = settings.destinations["orders"].clone();
    settings.destinations.insert("audit".to_owned(), other);
    let clock = Arc::new(FakeClock::at(START));
    let relay = TestRelay::start_in(directory, settings, Some(Arc::clone(&clock)));
    let ids = (0..3)
        .map(|at| event_id(&relay.client.hook(&format!("k{at}"), b"{}")))
        .collect();
    let admin = relay.admin();
    // An operation leaves out all that is accepted in its own millisecond.
    clock.advance(Duration::from_millis(2));
    (relay, admin, ids)
}

/// Waits for the end of an operation.
fn ended(admin: &Client, operation: &Value) -> Value {
    let path = format!("{PATH}/{}", operation["id"]);
    until("the operation ends", || {
        let operation = admin.get(&path).json();
        (operation["state"] != "running").then_some(operation)
    })
}

fn deliveries(admin: &Client, query: &str) -> usize {
    let page = admin.get(&format!("/api/deliveries?{query}")).json();
    page["items"].as_array().expect("items").len()
}

#[test]
fn an_operation_is_made_once_for_its_key_and_shows_its_progress() {
    let (_relay, admin, ids) = three_waiting();
    let body = json!({ "kind": "discard", "pending": true, "source": "github" });
    let mut dry = body.clone();
    dry["dry_run"] = true.into();
    let preview = post(&admin, PATH, Some("k1"), &dry);
    assert_eq!(preview.status, 200, "{}", preview.text());
    let preview = preview.json();
    assert_eq!(
        (&preview["total"], &preview["is_exact"]),
        (&json!(3), &json!(true))
    );
    assert_eq!(preview["first"][0]["id"], ids[0].as_str());
    assert_eq!(deliveries(&admin, "status=queued"), 3, "nothing was done");

    let created = post(&admin, PATH, Some("k1"), &body);
    assert_eq!(created.status, 202, "{}", created.text());
    let location = created.header("location").expect("a location").to_owned();
    let created = created.json();
    assert_eq!(location, format!("{PATH}/{}", created["id"]));
    let done = ended(&admin, &created);
    assert_eq!(
        (&done["state"], &done["done"]),
        (&json!("done"), &json!(3)),
        "{done}"
    );
    assert_eq!(
        (&done["kind"], &done["actor"]),
        (&json!("discard"), &json!("loopback"))
    );
    assert_eq!(done["filter"]["source"], "github");
    assert_eq!(deliveries(&admin, "status=queued"), 0);

    // The same request again, with an age that means another time.
    let again = post(&admin, PATH, Some("k1"), &body);
    assert_eq!((again.status, &again.json()["id"]), (202, &created["id"]));
    let other = json!({ "kind": "retry", "all": true });
    assert_eq!(post(&admin, PATH, Some("k1"), &other).status, 409);
    let empty = post(&admin, PATH, Some("k2"), &other).json();
    assert_eq!(
        (&empty["state"], &empty["total"]),
        (&json!("done"), &json!(0))
    );
    assert_ne!(empty["id"], created["id"]);

    let list = admin.get(&format!("{PATH}?limit=1")).json();
    assert_eq!(list["items"][0]["id"], empty["id"], "the latest first");
    let next = list["next"].as_str().expect("another page");
    let list = admin.get(&format!("{PATH}?limit=1&after={next}")).json();
    assert_eq!(list["items"][0]["id"], created["id"]);
    assert_eq!(admin.get(&format!("{PATH}/4711")).status, 404);
    assert_eq!(admin.get(&format!("{PATH}/nothing")).status, 404);
    let cancel = format!("{PATH}/{}/cancel", created["id"]);
    let cancelled = post(&admin, &cancel, None, &json!({})).json();
    assert_eq!(
        (&cancelled["is_changed"], &cancelled["state"]),
        (&json!(false), &json!("done"))
    );
}

#[test]
fn ids_select_in_place_of_filters() {
    let (_relay, admin, ids) = three_waiting();
    let body = json!({ "kind": "discard", "pending": true, "ids": [ids[0], ids[2]] });
    let mut dry = body.clone();
    dry["dry_run"] = true.into();
    assert_eq!(post(&admin, PATH, None, &dry).json()["total"], 2);
    let created = post(&admin, PATH, Some("k"), &body).json();
    let done = ended(&admin, &created);
    assert_eq!(
        (&done["done"], &done["filter"]["ids"]),
        (&json!(2), &json!(2)),
        "{done}"
    );
    let left = admin.get("/api/deliveries?status=queued").json();
    assert_eq!(left["items"].as_array().expect("items").len(), 1);
    assert_eq!(left["items"][0]["id"], ids[1].as_str());
    // Other ids are another request.
    let other = json!({ "kind": "discard", "pending": true, "ids": [ids[1]] });
    assert_eq!(post(&admin, PATH, Some("k"), &other).status, 409);
    let unknown = json!({ "kind": "retry", "ids": ["evt_0197b2f0-0000-7000-8000-000000000001"] });
    let refused = post(&admin, PATH, None, &unknown);
    assert_eq!(refused.status, 400);
    assert!(
        refused.text().contains("there is no relay or event"),
        "{}",
        refused.text()
    );
}

#[test]
fn events_are_sent_elsewhere_and_what_waits_is_moved() {
    let (_relay, admin, ids) = three_waiting();
    let to = json!({ "kind": "replay", "to": "audit", "ids": [ids[0]] });
    let done = ended(&admin, &post(&admin, PATH, None, &to).json());
    assert_eq!(
        (&done["done"], &done["to"]),
        (&json!(1), &json!("audit")),
        "{done}"
    );
    assert_eq!(deliveries(&admin, "destination=audit"), 1);
    let moved = json!({ "kind": "reroute", "from": "orders", "to": "audit" });
    let done = ended(&admin, &post(&admin, PATH, None, &moved).json());
    assert_eq!(
        (&done["done"], &done["skipped"]),
        (&json!(2), &json!(1)),
        "{done}"
    );
    assert_eq!(deliveries(&admin, "destination=audit"), 3);
}

#[test]
fn a_wrong_request_names_its_member() {
    let (_relay, admin, _) = three_waiting();
    for (body, member, says) in [
        (json!({}), "kind", "expected one of"),
        (json!({ "kind": "replay" }), "all", "expected a filter"),
        (
            json!({ "kind": "retry", "statsu": "queued" }),
            "statsu",
            "unknown field",
        ),
        (
            json!({ "kind": "retry", "source": 1 }),
            "source",
            "expected a string",
        ),
        (
            json!({ "kind": "retry", "all": "true" }),
            "all",
            "expected a boolean",
        ),
        (
            json!({ "kind": "retry", "since": "soon" }),
            "since",
            "expected a time",
        ),
        (
            json!({ "kind": "retry", "destination": "nobody" }),
            "destination",
            "no such",
        ),
        (
            json!({ "kind": "reroute", "from": "orders", "to": "nobody" }),
            "to",
            "configured",
        ),
    ] {
        let reply = post(&admin, PATH, None, &body);
        assert_eq!(reply.status, 400, "{body}: {}", reply.text());
        let error = reply.json();
        assert_eq!(error["details"]["member"], member, "{body}: {error}");
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains(says), "{body}: {message}");
    }
    let long = "x".repeat(129);
    let body = json!({ "kind": "retry", "all": true });
    assert_eq!(post(&admin, PATH, Some(&long), &body).status, 400);
    assert_eq!(admin.send("DELETE", PATH, &[], b"").status, 405);
}

#[test]
fn events_that_no_route_wants_are_listed_by_pages() {
    let relay = TestRelay::start_with("http://127.0.0.1:9/", |config| {
        off(config);
        let route = "[[routes]]\nto = [\"orders\"]\nwhen = { body = { \"/a\" = [\"b\"] } }\n";
        let source = toml::from_str(route).expect("a source");
        config.sources.insert("routed".to_owned(), source);
    });
    let admin = relay.admin();
    let ids: Vec<_> = (0..3)
        .map(|at| {
            let key = format!("k{at}");
            let headers = [JSON, ("Idempotency-Key", key.as_str())];
            let reply = relay
                .client
                .send("POST", "/webhooks/routed", &headers, b"{}");
            event_id(&reply)
        })
        .collect();
    let first = admin.get("/api/deliveries?status=unrouted&limit=2").json();
    let shown = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().expect("items").iter();
        items
            .map(|item| item["id"].as_str().expect("an id").to_owned())
            .collect()
    };
    assert_eq!(shown(&first), [ids[2].as_str(), &ids[1]]);
    assert_eq!(first["items"][0]["status"], "unrouted");
    assert_eq!(first["items"][0]["destination"], Value::Null);
    let next = first["next"].as_str().expect("another page");
    let second = admin.get(&format!(
        "/api/deliveries?status=unrouted&limit=2&after={next}"
    ));
    assert_eq!(shown(&second.json()), [ids[0].as_str()]);
    assert_eq!(second.json()["next"], Value::Null);
    let full = admin.get("/api/deliveries?status=unrouted&limit=3").json();
    assert_eq!((shown(&full).len(), &full["next"]), (3, &Value::Null));
    let none = admin
        .get("/api/deliveries?status=unrouted&source=github")
        .json();
    assert_eq!(none["items"], json!([]));
    let refused = admin.get("/api/deliveries?status=unrouted&destination=orders");
    assert_eq!(refused.status, 400, "{}", refused.text());
}
