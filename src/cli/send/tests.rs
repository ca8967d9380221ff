use hyper::header::{HeaderName, HeaderValue};
use proptest::prelude::*;

use crate::cli::send::draft::Draft;
use crate::cli::send::key;
use crate::config::IdempotencyKeyAt;
use crate::model::request::Template;

fn draft(body: &str) -> Draft {
    Draft::new("s", body.as_bytes().to_vec())
}

fn filled(body: &str, place: &str, text: &str) -> Result<String, String> {
    let mut draft = draft(body);
    draft.fill(&Template::parse(place).expect(place), text)?;
    Ok(String::from_utf8(draft.body).expect("text"))
}

#[test]
fn a_value_in_the_body_is_replaced_and_every_other_byte_stays() {
    let body = "\u{feff}{ \"a\": 1.50, \"s\" : {\"time\":\"1\", \"at\": 7},\t\"b\":[ ] }\n";
    assert_eq!(
        filled(body, "{json./s/time}", "1700000000"),
        Ok(body.replace("\"1\"", "\"1700000000\""))
    );
    assert_eq!(
        filled(body, "{json./s/at}", "1700000000"),
        Ok(body.replace(": 7}", ": 1700000000}"))
    );
    assert_eq!(
        filled(body, "{json./s/at}", "a\"b"),
        Ok(body.replace(": 7}", ": \"a\\\"b\"}"))
    );
}

#[test]
fn a_place_that_cannot_be_filled_is_named() {
    let error = filled("{}", "{json./s}", "x").expect_err("there is no such member");
    assert!(error.contains("/s"), "{error}");
    assert!(filled("no JSON", "{json./s}", "x").is_err());
    let error = filled("{}", "{body_sha256}", "x").expect_err("it is computed");
    assert!(error.contains("{body_sha256}"), "{error}");
}

#[test]
fn a_request_is_masked_where_it_holds_a_secret() {
    let mut draft = draft("{}");
    draft.add_query_field("token", "s3 cret");
    draft.add_query_field("b", "2");
    assert_eq!(draft.target(), "/webhooks/s?token=s3+cret&b=2");
    draft.add_secret("s3cret");
    assert_eq!(draft.masked("Bearer s3cret"), "Bearer ***");
}

#[test]
fn a_secret_is_masked_in_every_form_in_which_it_is_sent() {
    let mut draft = draft(r#"{"a":{"token":"x"}}"#);
    let secret = "s+3/c=r&e t\"\\\u{e9}";
    for place in ["{query.token}", "{json./a/token}"] {
        let place = Template::parse(place).expect("a place");
        draft.fill(&place, secret).expect("it is there");
    }
    draft.add_secret(secret);
    let body = String::from_utf8(draft.body.clone()).expect("text");
    assert_eq!(draft.masked(&draft.target()), "/webhooks/s?token=***");
    assert_eq!(draft.masked(&body), r#"{"a":{"token":"***"}}"#);
    assert_eq!(draft.masked(&format!("Bearer {secret}")), "Bearer ***");
}

#[test]
fn a_field_of_the_query_that_was_given_is_there_once() {
    let mut draft = draft("{}");
    draft.set_query("a=1&to%6ben=2&token&b=3");
    let place = Template::parse("{query.token}").expect("a place");
    draft.fill(&place, "s").expect("a query");
    assert_eq!(draft.target(), "/webhooks/s?a=1&b=3&token=s");
    let mut draft = Draft::new("s", Vec::new());
    draft.set_query("id=7");
    key::add(&mut draft, &IdempotencyKeyAt::Query("id".to_owned()));
    assert_eq!(draft.target(), "/webhooks/s?id=7");
    key::add(&mut draft, &IdempotencyKeyAt::Query("key".to_owned()));
    assert!(draft.target().starts_with("/webhooks/s?id=7&key="));
}

#[test]
fn a_request_is_written_with_its_length() {
    let mut draft = draft("{}");
    let name = HeaderName::from_static("x-a");
    draft.headers.append(name, HeaderValue::from_static("1"));
    assert_eq!(
        String::from_utf8_lossy(&draft.to_bytes("127.0.0.1:1")),
        "POST /webhooks/s HTTP/1.1\r\nHost: 127.0.0.1:1\r\nConnection: close\r\n\
         Content-Length: 2\r\nx-a: 1\r\n\r\n{}"
    );
}

proptest! {
    #[test]
    fn no_body_and_no_pointer_panics(
        body in any::<Vec<u8>>(),
        pointer in "(/[a-z0-9~]{0,3}){1,3}",
    ) {
        if let Ok(place) = Template::parse(&format!("{{json.{pointer}}}")) {
            let mut draft = Draft::new("s", body);
            let _ = draft.fill(&place, "x");
        }
    }
}
