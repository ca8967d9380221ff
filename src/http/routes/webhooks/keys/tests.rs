use std::collections::BTreeMap;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::model::request::{RequestView, document};

static NO_PARAMS: BTreeMap<String, String> = BTreeMap::new();

/// The key of a request; an error's text without one.
fn key(
    at: &IdempotencyKeyAt,
    query: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Option<String>, ApiError> {
    let request = RequestView {
        method: "POST",
        path: "/webhooks/a",
        query,
        public_url: None,
        headers,
        body,
        params: &NO_PARAMS,
    };
    let document = document(body).ok();
    event_key(
        at,
        &EventView {
            request,
            document,
            sent: body,
            signed_id: None,
        },
    )
}

fn in_body(body: &str, pointer: &str) -> Option<String> {
    let at = IdempotencyKeyAt::JsonPointer(pointer.to_owned());
    key(&at, None, &HeaderMap::new(), body.as_bytes())
        .ok()
        .flatten()
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
    // Blanks are a part of an id: these are two events.
    for id in [" k", "k ", "\u{a0}k", "k\u{3000}"] {
        let body = format!("{{\"id\":\"{id}\"}}");
        assert_eq!(in_body(&body, "/id").as_deref(), Some(id));
    }
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

#[test]
fn a_quote_is_a_part_of_a_providers_key() {
    let mut headers = HeaderMap::new();
    let name = HeaderName::from_static("x-github-delivery");
    headers.insert(name, HeaderValue::from_static("\"a\""));
    let at = IdempotencyKeyAt::Header("X-GitHub-Delivery".to_owned());
    assert_eq!(
        key(&at, None, &headers, b"").ok().flatten().as_deref(),
        Some("\"a\"")
    );
}

#[test]
fn the_first_header_or_pointer_of_a_list_is_stored_as_it_is() {
    let pointer = IdempotencyKeyAt::JsonPointer("/id".to_owned());
    let header = IdempotencyKeyAt::Header("X-Id".to_owned());
    let of = |places: [&IdempotencyKeyAt; 2]| {
        let at = IdempotencyKeyAt::FirstOf(places.into_iter().cloned().collect());
        key(&at, None, &HeaderMap::new(), br#"{"id":7}"#)
            .ok()
            .flatten()
    };
    assert_eq!(of([&pointer, &header]).as_deref(), Some("7"));
    assert_eq!(
        of([&header, &pointer]).as_deref(),
        Some("\u{1}json_pointer:1:7")
    );
    assert_eq!(
        of([&IdempotencyKeyAt::Query("id".to_owned()), &pointer]).as_deref(),
        Some("7")
    );
}

#[test]
fn keys_of_several_parts_are_told_apart() {
    let of = |a: &str, b: &str| marked("headers", &[a.to_owned(), b.to_owned()]);
    assert_ne!(of("a", "bc"), of("ab", "c"));
    assert_ne!(of("1:a", "b"), of("1", "a:1:b"));
}

proptest! {
    #[test]
    fn two_lists_of_parts_have_two_keys(
        one in prop::collection::vec("[0-9:a]{0,4}", 1..4),
        other in prop::collection::vec("[0-9:a]{0,4}", 1..4),
    ) {
        prop_assert_eq!(marked("headers", &one) == marked("headers", &other), one == other);
    }

    #[test]
    fn no_place_panics(
        body in prop::collection::vec(any::<u8>(), 0..64),
        query in "[a-z&=%+0-9]{0,32}",
        pointer in "(/[a-z0-9~]{0,3}){0,4}",
    ) {
        let at = IdempotencyKeyAt::FirstOf(vec![
            IdempotencyKeyAt::JsonPointer(pointer),
            IdempotencyKeyAt::Form("a".to_owned()),
            IdempotencyKeyAt::Query("a".to_owned()),
            IdempotencyKeyAt::Body,
        ]);
        let mut headers = HeaderMap::new();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert("content-type", form);
        let _ = key(&at, Some(&query), &headers, &body);
    }
}
