use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_800_000_000_000;

fn record() -> Value {
    json!({
        "id": "evt_01890a5d-ac96-774b-bcce-b302099a8057",
        "accepted_at": "2023-06-30T00:00:00.000Z",
        "label": "github",
        "headers": "content-type: application/json\r\n",
        "payload": "{}",
        "deliveries": [{
            "destination": "orders", "status": "dead_lettered", "attempts": 1, "entries": 1,
            "updated_at": "2023-06-30T00:00:01.000Z", "last_error": "answered 410",
            "history": [{
                "entry": 1, "attempt": 1, "started_at": "2023-06-30T00:00:01.000Z",
                "duration_ms": 3, "outcome": "permanent", "status_code": 410,
            }],
        }],
    })
}

fn check(record: Value) -> Result<ImportedEvent, String> {
    let record = serde_json::from_value(record).map_err(|error| error.to_string())?;
    ImportedEvent::check(record, Timestamp::from_millis(NOW))
}

#[test]
fn a_record_that_is_whole_is_taken() {
    let taken = check(record()).expect("it is whole");
    assert!(taken.is_event);
    assert_eq!(taken.size(), (6, 34));
}

#[test]
fn a_wrong_record_is_refused_with_its_field_and_the_expectation() {
    let with = |change: fn(&mut Value)| {
        let mut record = record();
        change(&mut record);
        check(record).expect_err("it is wrong")
    };
    for (refused, expected) in [
        (with(|one| one["id"] = json!("evt_1")), "id: not an id"),
        (
            with(|one| one["accepted_at"] = json!("2099-01-01T00:00:00Z")),
            "expected a time before now",
        ),
        (with(|one| one["url"] = json!("http://a/")), "url: expected"),
        (
            with(|one| one["metadata"] = json!("\0")),
            "metadata: expected no NUL",
        ),
        (
            with(|one| one["deliveries"][0]["destination"] = json!("http://a\0")),
            "expected the name of a destination",
        ),
        (
            with(|one| one["deliveries"][0]["history"][0]["address"] = json!("\0")),
            "address: expected no NUL",
        ),
        (with(|one| one["more"] = json!(1)), "unknown field `more`"),
        (
            with(|one| one["deliveries"][0]["destination"] = json!("a b")),
            "expected the name of a destination",
        ),
        (
            with(|one| one["deliveries"][0]["status"] = json!("lost")),
            "unknown variant `lost`",
        ),
        (
            with(|one| one["deliveries"][0]["last_error"] = Value::Null),
            "last_error: expected",
        ),
        (
            with(|one| one["deliveries"][0]["entries"] = json!(0)),
            "history: expected",
        ),
        (
            with(|one| {
                let twice = one["deliveries"][0].clone();
                one["deliveries"]
                    .as_array_mut()
                    .expect("a list")
                    .push(twice);
            }),
            "is there twice",
        ),
        (
            with(|one| one["key"] = json!({ "key": "k", "request_digest": "short" })),
            "expected 32 bytes",
        ),
    ] {
        assert!(refused.contains(expected), "{refused}");
    }
}

#[test]
fn headers_and_queries_that_no_request_has_are_refused() {
    let malformed = "headers: expected `name: value` and CRLF";
    for (headers, expected) in [
        ("nonsense\r\n", malformed),
        ("x-a: b", malformed),
        ("x a: b\r\n", malformed),
        ("x-a: b\r\n\r\nGET /smuggled HTTP/1.1\r\n", malformed),
        ("x-a: b\nx-evil: 1\r\n", malformed),
        (
            "relay-verified: stripe\r\n",
            "headers: relay-verified: expected none",
        ),
        (
            "relay_attempt: 1\r\n",
            "headers: relay_attempt: expected none",
        ),
        (
            "Relay-Event-Id: 1\r\n",
            "headers: relay-event-id: expected none",
        ),
    ] {
        let mut record = record();
        record["headers"] = json!(headers);
        let refused = check(record.clone()).expect_err(headers);
        assert!(refused.contains(expected), "{headers:?}: {refused}");
        // Damaged headers, and those of a payload that is gone, are exported and never sent.
        record["checksum"] = json!(1);
        check(record.clone()).expect("it is damaged");
        record["checksum"] = Value::Null;
        record["payload_gone"] = json!({ "reason": "shed", "at": "2023-07-30T00:00:00.000Z" });
        check(record).expect("it is gone");
    }
    for headers in [
        "",
        "x-a: b\r\nX-B: \u{fc}\r\n",
        "x-a: \r\n",
        "relay-query: a=1\r\nrelay-verified: github\r\n",
    ] {
        let mut record = record();
        record["headers"] = json!(headers);
        check(record).expect(headers);
    }
    let mut damaged = record();
    damaged["label"] = json!("gi\u{fffd}hub");
    damaged["headers"] = json!("relay-verified: github\r\n");
    check(damaged).expect("its label is damaged");
    for query in ["a=b\r\nX: y", "a=b c", "a#b", "a\0"] {
        let mut record = record();
        record["query"] = json!(query);
        let refused = check(record).expect_err(query);
        assert!(
            refused.contains("query: expected neither"),
            "{query:?}: {refused}"
        );
    }
    for query in ["", "a=b&c=%20", "a=\u{fffd}"] {
        let mut record = record();
        record["query"] = json!(query);
        check(record).expect(query);
    }
}

#[test]
fn a_count_that_the_next_attempt_would_overflow_is_refused() {
    for (place, count, expected) in [
        ("/deliveries/0/entries", u32::MAX, "entries: 4294967295: "),
        ("/deliveries/0/attempts", 1_000_001, "attempts: 1000001: "),
        (
            "/deliveries/0/history/0/attempt",
            2_147_483_647,
            "history: attempt: 2147483647: ",
        ),
    ] {
        let mut record = record();
        *record.pointer_mut(place).expect("it is there") = json!(count);
        let refused = check(record).expect_err("it is wrong");
        let expected = format!("{expected}expected at most 1000000");
        assert!(refused.contains(&expected), "{refused}");
    }
}
