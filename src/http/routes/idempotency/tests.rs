use hyper::header::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

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
}

proptest! {
    #[test]
    fn unquoting_reverts_quoting(key in "[ -~]{1,128}") {
        let quoted = format!("\"{}\"", key.replace('\\', r"\\").replace('"', "\\\""));
        let expected = Some(key.clone()).filter(|key| is_key(key, 128));
        let found = relay_key(&headers("idempotency-key", &[&quoted])).ok().flatten();
        prop_assert_eq!(found, expected);
    }
}
