use proptest::prelude::*;

use super::*;

/// The error of a body, or `fine`.
fn message(body: &str) -> String {
    match CreateRequest::parse(&Bytes::copy_from_slice(body.as_bytes())) {
        Ok(_) => "fine".to_owned(),
        Err(error) => format!("{error:?}"),
    }
}

/// A body of these members.
fn body(members: &[&str]) -> String {
    format!("{{{}}}", members.join(","))
}

const TYPE: &str = r#""eventType":"a""#;
const TO: &str = r#""destination":{"type":"webhook","url":"http://example.com/"}"#;
const PAYLOAD: &str = r#""payload":{}"#;

fn assert_message(body: &str, expected: &str) {
    let message = message(body);
    assert!(message.contains(expected), "{body}\n{message}");
}

#[test]
fn an_error_names_the_member_and_the_expectation() {
    let twice = r#""eventType":"a","eventType":"b""#;
    for (body, expected) in [
        (String::new(), "the body: expected a JSON object"),
        ("[]".to_owned(), "the body: expected a JSON object"),
        (body(&[TYPE, TO, PAYLOAD]), "fine"),
        (body(&[TO, PAYLOAD]), "eventType: missing"),
        (
            body(&[r#""eventType":5"#, TO, PAYLOAD]),
            "eventType: expected a string",
        ),
        (
            body(&[r#""eventType":" ""#, TO, PAYLOAD]),
            "eventType: expected 1 to 128",
        ),
        (body(&[twice, TO, PAYLOAD]), "eventType: expected once"),
        (
            body(&[TYPE, TO, r#""payload":[]"#]),
            "payload: expected a JSON object",
        ),
        (body(&[TYPE, TO]), "payload: missing"),
        (
            body(&[TYPE, TO, PAYLOAD, r#""extra":1"#]),
            "extra: unknown member; expected eventType, destination, payload, metadata",
        ),
        (
            format!("{} x", body(&[TYPE, TO, PAYLOAD])),
            "trailing characters",
        ),
    ] {
        assert_message(&body, expected);
    }
}

#[test]
fn an_error_in_metadata_names_the_path() {
    for (metadata, expected) in [
        (r#"{"k":1}"#, "metadata.k: expected a string"),
        ("[]", "metadata: expected a JSON object"),
        ("null", "metadata: expected a JSON object"),
        (r#"{"k":"1","k":"2"}"#, "metadata.k: expected once"),
        (r#"{"k":1,"k":"2"}"#, "metadata.k: expected a string"),
    ] {
        let metadata = format!(r#""metadata":{metadata}"#);
        assert_message(&body(&[TYPE, TO, PAYLOAD, &metadata]), expected);
    }
}

#[test]
fn an_error_in_the_destination_names_the_path() {
    for (destination, expected) in [
        (
            r#"["webhook","http://x/"]"#,
            "destination: expected a JSON object",
        ),
        (
            r#"{"type":"queue","url":"http://x/"}"#,
            "destination.type: expected",
        ),
        (
            r#"{"type":"webhook","url":"/x"}"#,
            "destination.url must be an absolute",
        ),
        (
            r#"{"type":"webhook","url":"http://x/","more":1}"#,
            "destination.more: unknown member; expected type, url",
        ),
    ] {
        let destination = format!(r#""destination":{destination}"#);
        assert_message(&body(&[TYPE, &destination, PAYLOAD]), expected);
    }
}

#[test]
fn a_deeply_nested_payload_is_accepted() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let payload = format!(r#""payload":{{"a":{deep}}}"#);
    assert_eq!(message(&body(&[TYPE, TO, &payload])), "fine");
}

proptest! {
    #[test]
    fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = CreateRequest::parse(&Bytes::from(body));
    }
}
