//! Finding the idempotency key of a request: in a header, or in the body.

use std::borrow::Cow;

use hyper::header::HeaderMap;
use serde_json::value::RawValue;

use crate::http::api_error::ApiError;
use crate::http::raw_object::RawObject;

/// The one header of this kind with a specification (draft-ietf-httpapi-idempotency-key-header).
pub(in crate::http) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// The longest key of a relay, in characters: what the contract freezes.
const MAX_RELAY_KEY: usize = 128;
/// The longest key of an event, in bytes: providers' are UUIDs and digests. It is stored and
/// compared, so it has a bound.
const MAX_EVENT_KEY: usize = 256;

/// The key of a relay, if it has one.
pub(in crate::http) fn of_relay(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    if !headers.contains_key(IDEMPOTENCY_KEY) {
        return Ok(None);
    }
    in_header(headers, IDEMPOTENCY_KEY, MAX_RELAY_KEY)
        .map(Some)
        .ok_or_else(|| {
            ApiError::invalid(
                IDEMPOTENCY_KEY,
                format!(
                    "{IDEMPOTENCY_KEY}: expected one header of 1 to {MAX_RELAY_KEY} printable ASCII characters, bare or in double quotes"
                ),
            )
        })
}

/// The key of an event, in the header of this name.
pub(in crate::http) fn of_event(headers: &HeaderMap, name: &str) -> Result<String, ApiError> {
    in_header(headers, name, MAX_EVENT_KEY).ok_or_else(|| no_key(name))
}

/// The key of an event, at a JSON pointer (RFC 6901) into its body: a string, number or boolean, as
/// it stands there. A large number is not rounded on the way.
pub(in crate::http) fn of_event_body(
    document: &RawValue,
    pointer: &str,
) -> Result<String, ApiError> {
    let text = match value_at(document.get(), pointer) {
        Some(value) if value.starts_with('"') => serde_json::from_str(value).ok(),
        Some(value) if !value.starts_with(['{', '[', 'n']) => Some(value.to_owned()),
        _ => None,
    };
    text.map(|text: String| text.trim().to_owned())
        .filter(|text| is_key(text, MAX_EVENT_KEY))
        .ok_or_else(|| no_key(&format!("the body at {pointer}")))
}

fn no_key(place: &str) -> ApiError {
    ApiError::malformed(format!(
        "there is no usable idempotency key: expected {place}, once, to name the event in 1 to {MAX_EVENT_KEY} bytes without control characters"
    ))
}

fn is_key(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn in_header(headers: &HeaderMap, name: &str, max: usize) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let text = values.next()?.to_str().ok()?.trim();
    // Two keys would be two requests; which one is not ours to guess.
    if values.next().is_some() {
        return None;
    }
    let key = if name.eq_ignore_ascii_case(IDEMPOTENCY_KEY) {
        unquoted(text)?
    } else {
        text.into()
    };
    is_key(&key, max).then(|| key.into_owned())
}

/// The draft has the key as a structured field, in double quotes (RFC 8941, 3.3.3); most clients
/// send it bare. Both name the same key.
fn unquoted(text: &str) -> Option<Cow<'_, str>> {
    let Some(rest) = text.strip_prefix('"') else {
        return Some(text.into());
    };
    let inner = rest.strip_suffix('"')?;
    let mut key = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        key.push(match character {
            '\\' => characters.next().filter(|c| matches!(c, '"' | '\\'))?,
            '"' => return None,
            other => other,
        });
    }
    Some(key.into())
}

fn value_at<'a>(mut value: &'a str, pointer: &str) -> Option<&'a str> {
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        value = if value.starts_with('{') {
            // A member that is there twice means one thing to one reader, another to the next.
            let members: RawObject<'_> = serde_json::from_str(value).ok()?;
            members.only(&token)?.get()
        } else if value.starts_with('[') {
            let elements: Vec<&RawValue> = serde_json::from_str(value).ok()?;
            elements.get(token.parse::<usize>().ok()?)?.get()
        } else {
            return None;
        };
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn in_body(body: &str, pointer: &str) -> Option<String> {
        let document: &RawValue = serde_json::from_str(body).expect(body);
        of_event_body(document, pointer).ok()
    }

    #[test]
    fn keys_are_found_in_bodies_and_not_rounded() {
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
    fn a_member_that_is_there_twice_is_no_key() {
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
    fn quoted_and_bare_keys_are_the_same() {
        let of = |value: &str| {
            of_relay(&headers("idempotency-key", &[value]))
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
        assert!(of_relay(&headers("idempotency-key", &["a", "a"])).is_err());
        assert!(matches!(of_relay(&HeaderMap::new()), Ok(None)));
        // Other headers' quotes are their provider's own.
        let github = headers("x-github-delivery", &["\"a\""]);
        assert_eq!(
            of_event(&github, "X-GitHub-Delivery").ok().as_deref(),
            Some("\"a\"")
        );
    }

    proptest! {
        #[test]
        fn whatever_is_quoted_comes_back(key in "[ -~]{1,128}") {
            let quoted = format!("\"{}\"", key.replace('\\', r"\\").replace('"', "\\\""));
            let expected = Some(key.clone()).filter(|key| is_key(key, 128));
            let found = of_relay(&headers("idempotency-key", &[&quoted])).ok().flatten();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn no_pointer_panics(body in prop::collection::vec(any::<u8>(), 0..64), pointer in "(/[a-z0-9~]{0,3}){0,4}") {
            if let Ok(document) = serde_json::from_slice::<&RawValue>(&body) {
                let _ = of_event_body(document, &pointer);
            }
        }
    }
}
