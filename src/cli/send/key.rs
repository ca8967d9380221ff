//! The idempotency key of a request that is made up.

use hyper::header::{HeaderName, HeaderValue};
use uuid::Uuid;

use crate::cli::send::draft::Draft;
use crate::config::IdempotencyKeyAt;
use crate::model::request::{JsonPointer, document, value_at};

/// A new key in the first place that can have one. A body keeps the key that it has.
pub(super) fn add(draft: &mut Draft, idempotency: &IdempotencyKeyAt) {
    for place in idempotency.places() {
        match place {
            IdempotencyKeyAt::Header(name) => add_headers(draft, std::slice::from_ref(name)),
            IdempotencyKeyAt::Headers(names) => add_headers(draft, names),
            IdempotencyKeyAt::Query(name) if draft.has_query_field(name) => {}
            IdempotencyKeyAt::Query(name) => draft.add_query_field(name, &new_key()),
            IdempotencyKeyAt::JsonPointer(pointer) if !has_value(&draft.body, pointer) => continue,
            _ => {}
        }
        return;
    }
}

/// Whether the key may come from a form.
pub(super) fn reads_form(idempotency: &IdempotencyKeyAt) -> bool {
    let places = idempotency.places().iter();
    places
        .filter(|place| matches!(place, IdempotencyKeyAt::Form(_)))
        .count()
        > 0
}

/// A new key, that no other request has.
pub(super) fn new_key() -> String {
    Uuid::from_bytes(rand::random()).to_string()
}

fn add_headers(draft: &mut Draft, names: &[String]) {
    for name in names {
        let name = HeaderName::try_from(name.as_str());
        let name = name.expect("a checked configuration's header names are valid");
        if !draft.headers.contains_key(&name) {
            let key = HeaderValue::try_from(new_key()).expect("a UUID is visible ASCII");
            draft.headers.insert(name, key);
        }
    }
}

fn has_value(body: &[u8], pointer: &str) -> bool {
    let Some(pointer) = JsonPointer::parse(pointer) else {
        return false;
    };
    document(body).is_ok_and(|document| value_at(document, &pointer).is_ok_and(|v| v.is_some()))
}
