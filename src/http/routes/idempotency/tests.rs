use hyper::header::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

fn in_body(body: &str, pointer: &str) -> Option<String> {
    let document: &RawValue = serde_json::from_str(body).expect(body);
    event_key_in_body(document, pointer).ok()
}

#[test]
fn a_key_in_the_body_is_found_and_not_rounded() {
    assert_eq!(in_body(r#"{"id":"a b"}"#, "/id").as_deref(), Some("a b"));
    assert_eq!(
        in_body(r#"{"id":123456789012345678901234567890}"#, "/id").as_deref(),
        Some("123456789012345678901234567890")
    );
    assert_eq!(
        in_body(r#"{"a":[0,{"b/c":"x"}]}"#, "/a/1/b~1c").as_deref(),
        Some("x")
    );
    assert_eq!(in_body(r#"{"i\u0064":"x"}"#, "/id").as_deref(), Some("x"));
    assert_eq!(in_body(r#"{"id":true}"#, "/id").as_deref(), Some("true"));
    for (body, pointer) in [
        (r#"{"id":""}"#, "/id"),
        (r#"{"id":" "}"#, "/id"),
        (r#"{"id":"a\u0000"}"#, "/id"),
        (r#"{"id":null}"#, "/id"),
        (r#"{"id":{}}"#, "/id"),
        (r#"{"id":1}"#, "/other"),
        (r#"{"id":1}"#, "/id/x"),
        ("[1]", "/1"),
        ("5", "/id"),
    ] {
        assert_eq!(in_body(body, pointer), None, "{body} {pointer}");
    }
}

#[test]
fn a_repeated_member_is_no_key() {
    assert_eq!(in_body(r#"{"id":"a","id":"b"}"#, "/id"), None);
}

fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        let value = HeaderValue::from_str(value).expect("a value");
        headers.append(HeaderName::from_static(name), value);
    }
    headers
}

#[test]
fn a_quoted_key_and_a_bare_one_are_the_same() {
    let of = |value: &str| {
        relay_key(&headers("idempotency-key", &[value]))
            .ok()
            .flatten()
    };
    let (long, longer) = ("k".repeat(128), "k".repeat(129));
    for (value, key) in [
        ("order-42", Some("order-42")),
        ("\"order-42\"", Some("order-42")),
        (" \"order-42\" ", Some("order-42")),
        (r#""a\"b\\c""#, Some(r#"a"b\c"#)),
        ("a\"b", Some("a\"b")),
        ("a b", Some("a b")),
        (&long, Some(long.as_str())),
        (&format!("\"{long}\""), Some(long.as_str())),
        (&longer, None),
        (&format!("\"{longer}\""), None),
        ("", None),
        ("\"\"", None),
        ("\"", None),
        ("\"open", None),
        ("\"a\"b\"", None),
        (r#""a\"#, None),
        (r#""\n""#, None),
        ("a\tb", None),
    ] {
        assert_eq!(of(value).as_deref(), key, "{value:?}");
    }
    assert!(relay_key(&headers("idempotency-key", &["a", "a"])).is_err());
    assert!(matches!(relay_key(&HeaderMap::new()), Ok(None)));
    // In other headers a quote is a part of the provider's key.
    let github = headers("x-github-delivery", &["\"a\""]);
    assert_eq!(
        event_key_in_header(&github, "X-GitHub-Delivery")
            .ok()
            .as_deref(),
        Some("\"a\"")
    );
}

proptest! {
    #[test]
    fn unquoting_reverts_quoting(key in "[ -~]{1,128}") {
        let quoted = format!("\"{}\"", key.replace('\\', r"\\").replace('"', "\\\""));
        let expected = Some(key.clone()).filter(|key| is_key(key, 128));
        let found = relay_key(&headers("idempotency-key", &[&quoted])).ok().flatten();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_pointer_panics(
        body in prop::collection::vec(any::<u8>(), 0..64),
        pointer in "(/[a-z0-9~]{0,3}){0,4}",
    ) {
        if let Ok(document) = serde_json::from_slice::<&RawValue>(&body) {
            let _ = event_key_in_body(document, &pointer);
        }
    }
}
