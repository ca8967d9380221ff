use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::model::request::document;

fn pointer(text: &str) -> OrderBy {
    OrderBy::Pointer(JsonPointer::parse(text).expect("a pointer"))
}

fn key_of(by: &OrderBy, body: &str) -> Option<OrderKey> {
    by.key(&KeySource {
        source: Some("github"),
        document: document(body.as_bytes()).ok(),
        header: &|name| (name == "x-account").then_some(Cow::Borrowed(b"acme".as_slice())),
    })
}

/// The key of a JSON value.
fn key(value: &str) -> Option<OrderKey> {
    key_of(&pointer("/id"), &format!("{{\"id\":{value}}}"))
}

#[test]
fn a_number_is_a_key_by_its_value() {
    for (one, other) in [
        ("1000", "1e3"),
        ("1000", "1000.0"),
        ("1000", "10.00E+2"),
        ("1000", "1e0000000000000000000000000003"),
        ("0", "-0.0e7"),
        ("0.5", "5e-1"),
        ("-120", "-1.2e2"),
        ("9007199254740993", "9007199254740993.0"),
    ] {
        assert_eq!(key(one), key(other), "{one} and {other}");
    }
    for (one, other) in [
        ("9007199254740993", "9007199254740992"),
        ("1", "-1"),
        ("1", "10"),
        ("0.1", "0.01"),
        ("1e9223372036854775806", "1e-9223372036854775806"),
        ("1.5", "15"),
    ] {
        assert_ne!(key(one), key(other), "{one} and {other}");
    }
}

#[test]
fn strings_numbers_and_booleans_are_keys_of_their_own_types() {
    let values = ["\"1\"", "1", "true", "\"true\"", "false", "\"\"", "\"1e0\""];
    let keys: HashSet<_> = values.map(|value| key(value).expect("a key")).into();
    assert_eq!(keys.len(), values.len());
    // The same text in another spelling.
    assert_eq!(key("\"caf\\u00e9\""), key("\"café\""));
}

#[test]
fn an_event_without_a_usable_value_is_unordered() {
    for body in [
        "{}",
        r#"{"id":null}"#,
        r#"{"id":{"a":1}}"#,
        r#"{"id":[1]}"#,
        r#"{"id":1,"id":null}"#,
        r#"{"id":"\ud800"}"#,
        "[1]",
        "no JSON",
        "",
    ] {
        assert_eq!(key_of(&pointer("/id"), body), None, "{body}");
    }
    assert_eq!(key_of(&OrderBy::Header("x-other".to_owned()), "{}"), None);
    let relay = KeySource {
        source: None,
        document: None,
        header: &|_| None,
    };
    assert_eq!(OrderBy::Source.key(&relay), None);
}

#[test]
fn the_last_of_a_repeated_member_is_the_key() {
    for (body, pointer_text) in [
        (r#"{"id":5,"id":8}"#, "/id"),
        (r#"{"id":null,"id":8}"#, "/id"),
        (r#"{"a":{"id":5},"a":{"id":5,"id":8}}"#, "/a/id"),
        // Escapes spell the same name.
        (r#"{"id":5,"\u0069d":8}"#, "/id"),
        // A name that is no text is another one.
        (r#"{"\ud800":1,"id":8}"#, "/id"),
    ] {
        let found = key_of(&pointer(pointer_text), body);
        assert_eq!(found, key("8"), "{body}");
    }
    assert_eq!(key_of(&pointer("/a/id"), r#"{"a":{"id":5},"a":{}}"#), None);
}

#[test]
fn a_header_a_source_and_all_are_keys_whatever_the_body_is() {
    let header = OrderBy::Header("x-account".to_owned());
    let keys = [&header, &OrderBy::Source, &OrderBy::All].map(|by| {
        let (one, other) = (key_of(by, "{}"), key_of(by, "no JSON"));
        assert_eq!(one, other, "{by:?}");
        one.expect("a key")
    });
    assert_eq!(HashSet::from(keys).len(), 3);
}

proptest! {
    /// An integer in any spelling of its value has one key, and another integer another key.
    #[test]
    fn spellings_of_an_integer_are_one_key(
        number in -1_000_000_000_000_000_000_000_i128..1_000_000_000_000_000_000_000,
        other in any::<i64>(),
        zeros in 0_usize..5,
        shift in 0_usize..25,
    ) {
        let plain = key(&number.to_string());
        prop_assert!(plain.is_some());
        let fraction = format!("{number}.{}", "0".repeat(zeros + 1));
        prop_assert_eq!(key(&fraction), plain);
        // The point moves left by `shift` digits, and the exponent makes up for it.
        let sign = if number < 0 { "-" } else { "" };
        let digits = format!("{:0>width$}", number.unsigned_abs(), width = shift + 1);
        let (whole, rest) = digits.split_at(digits.len() - shift);
        let shifted = if rest.is_empty() {
            format!("{sign}{whole}e0")
        } else {
            format!("{sign}{whole}.{rest}e{shift}")
        };
        prop_assert_eq!(key(&shifted), plain, "{}", shifted);
        prop_assert_eq!(key(&other.to_string()) == plain, i128::from(other) == number);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(body in "\\PC{0,40}", text in "(/[a-z~0-9]{0,3}){1,3}") {
        if let Some(pointer) = JsonPointer::parse(&text) {
            let _ = key_of(&OrderBy::Pointer(pointer), &body);
        }
    }
}
