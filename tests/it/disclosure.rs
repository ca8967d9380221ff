//! Disclosure: a client without an API key sees the class of an error, and no answer.

use relay::config::Destination;
use serde_json::{Value, json};

use crate::support::{Answer, Receiver, TestRelay, event_id, event_with_status};

/// An internal service's error text.
const SECRET: &str = "db-7.internal: role app_rw may not read table payroll";

/// The event as a client without a key must see it: error classes instead of errors, no responses.
fn masked(mut event: Value, classes: &[(&str, &str)]) -> Value {
    let class = |name: &str| {
        let found = classes.iter().find(|(known, _)| *known == name);
        json!(found.expect("each destination has one").1)
    };
    for delivery in event["deliveries"].as_array_mut().expect("a list") {
        let class = class(delivery["destination"].as_str().expect("a name"));
        delivery["last_error"] = class.clone();
        for entry in delivery["history"].as_array_mut().expect("a list") {
            entry["error"] = class.clone();
            entry["response"] = Value::Null;
        }
    }
    event
}

#[test]
fn without_a_key_an_event_shows_error_classes_and_no_text_of_a_destination() {
    let inside = Receiver::start(|_| {
        Answer::status(403)
            .header("location", "http://db-7.internal/login")
            .body(SECRET)
    });
    let relay = TestRelay::start_with(&inside.url("/hooks/payroll"), |config| {
        let to = Destination::new("http://127.0.0.1:9/".parse().expect("a URL"));
        config.destinations.insert("closed".to_owned(), to);
        let source = config.sources.get_mut("github").expect("a source");
        source.destinations.push("closed".to_owned());
        for to in config.destinations.values_mut() {
            to.permanent_statuses = vec![403];
            to.retry.schedule = Some(vec![std::time::Duration::from_secs(3600)]);
        }
    });
    let id = event_id(&relay.client.hook("1", b"{\"amount\":7}"));
    let path = format!("/events/{id}");
    crate::support::until("both were attempted", || {
        let event = event_with_status(&relay.client, &id, "retrying");
        let all = event["deliveries"].as_array()?;
        all.iter()
            .all(|delivery| delivery["history"] != json!([]))
            .then_some(())
    });
    let full = relay.client.get(&path);
    assert!(full.text().contains(SECRET), "a key shows all");

    for keys in [
        &[][..],
        &[("X-API-Key", "wrong")],
        &[("X-API-Key", "test-key"), ("X-API-Key", "test-key")],
    ] {
        let reply = relay.client.send("GET", &path, keys, b"");
        assert_eq!(reply.status, 200, "the route stays public");
        assert_eq!(reply.header("vary"), Some("X-API-Key"));
        let text = reply.text();
        for secret in ["internal", "payroll", "127.0.0.1", "Forbidden", "http"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        let mut event = reply.json();
        assert_eq!(event["payload"], json!({"amount": 7}));
        assert_eq!(event["last_error"], "connection refused");
        let description = event["status_description"].take();
        let description = description.as_str().expect("text");
        assert!(
            description.ends_with("the last one failed: connection refused."),
            "{description}"
        );
        let classes = [("orders", "answered 403"), ("closed", "connection refused")];
        let mut expected = masked(full.json(), &classes);
        expected["last_error"] = json!("connection refused");
        expected["status_description"] = Value::Null;
        assert_eq!(
            event, expected,
            "states, counts, times and statuses are the same"
        );
    }
}
