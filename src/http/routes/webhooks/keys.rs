//! Reads the idempotency key of an event, from the places that its source is configured to look in.
//!
//! The key of a header or of a JSON pointer is stored as it is. The keys of the other kinds begin
//! with a control character, which those can't have, and with the name of their kind: a value in
//! one place is never taken for the same value in another.

use std::borrow::Cow;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::config::IdempotencyKeyAt;
use crate::http::api_error::ApiError;
use crate::http::routes::idempotency::{IDEMPOTENCY_KEY, MAX_EVENT_KEY, is_key, unquoted};
use crate::http::routes::webhooks::event_view::EventView;
use crate::model::request::Lookup;

/// The first character of a key that isn't plain.
const MARK: char = '\u{1}';

/// The result of looking at one place.
enum Found {
    Key(String),
    /// The request is an event whatever its key.
    NoKeyWanted,
    Missing,
    /// A value that names no event: it is there twice, is too long, or is no text.
    Unusable,
}

/// The key of an event; none if each request of the source is an event.
pub(super) fn event_key(
    at: &IdempotencyKeyAt,
    event: &EventView<'_>,
) -> Result<Option<String>, ApiError> {
    let places = at.places();
    let plain = plain_kind(places);
    for place in places {
        match find(place, event) {
            Found::Missing => {}
            Found::NoKeyWanted => return Ok(None),
            Found::Unusable => return Err(no_key(place)),
            Found::Key(key) if kind(place) == plain => return Ok(Some(key)),
            // The digest of a body and a set of headers are marked already.
            Found::Key(key) if key.starts_with(MARK) => return Ok(Some(key)),
            Found::Key(key) => return Ok(Some(marked(kind(place), &[key]))),
        }
    }
    Err(no_key(at))
}

/// The kind whose keys are stored as they are: that of the first header or JSON pointer.
fn plain_kind(places: &[IdempotencyKeyAt]) -> &'static str {
    let is_plain = |kind: &&str| matches!(*kind, "header" | "json_pointer");
    places.iter().map(kind).find(is_plain).unwrap_or_default()
}

fn kind(place: &IdempotencyKeyAt) -> &'static str {
    match place {
        IdempotencyKeyAt::None => "none",
        IdempotencyKeyAt::Body => "body",
        IdempotencyKeyAt::Header(_) => "header",
        IdempotencyKeyAt::Headers(_) => "headers",
        IdempotencyKeyAt::JsonPointer(_) => "json_pointer",
        IdempotencyKeyAt::Form(_) => "form",
        IdempotencyKeyAt::Query(_) => "query",
        IdempotencyKeyAt::FirstOf(_) => "list",
    }
}

fn find(place: &IdempotencyKeyAt, event: &EventView<'_>) -> Found {
    let request = &event.request;
    match place {
        IdempotencyKeyAt::None => Found::NoKeyWanted,
        IdempotencyKeyAt::Body => {
            let digest = hex::encode(Sha256::digest(event.sent));
            Found::Key(marked("body", &[digest]))
        }
        IdempotencyKeyAt::Header(name) => in_header(event, name),
        IdempotencyKeyAt::Headers(names) => in_headers(event, names),
        IdempotencyKeyAt::JsonPointer(pointer) => of_text(event.scalar_at(pointer)),
        IdempotencyKeyAt::Form(name) => of_bytes(request.find_form_field(name)),
        IdempotencyKeyAt::Query(name) => of_bytes(request.find_query_field(name)),
        // A checked configuration has no list within a list.
        IdempotencyKeyAt::FirstOf(_) => Found::Missing,
    }
}

fn in_header(event: &EventView<'_>, name: &str) -> Found {
    // A copy of the request with another id in the header that isn't signed is the same event.
    let signed_id = event.signed_id.as_ref();
    let name = signed_id.map_or(name, |id| id.header(name));
    let mut values = event.request.headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Found::Missing;
    };
    // Two keys name two requests, and nothing says which of them is meant.
    let Some(text) = value.to_str().ok().filter(|_| values.next().is_none()) else {
        return Found::Unusable;
    };
    let key = if name.eq_ignore_ascii_case(IDEMPOTENCY_KEY) {
        unquoted(text.trim())
    } else {
        Some(Cow::Borrowed(text))
    };
    key.map_or(Found::Unusable, |key| of_text(Ok(Some(key))))
}

/// The values of all these headers, as one key.
fn in_headers(event: &EventView<'_>, names: &[String]) -> Found {
    let mut parts = Vec::with_capacity(names.len());
    for name in names {
        match in_header(event, name) {
            Found::Key(part) => parts.push(part),
            other => return other,
        }
    }
    Found::Key(marked("headers", &parts))
}

fn of_bytes(value: Lookup<Cow<'_, [u8]>>) -> Found {
    match value {
        Ok(Some(bytes)) => match std::str::from_utf8(&bytes) {
            Ok(text) => of_text(Ok(Some(Cow::Borrowed(text)))),
            Err(_) => Found::Unusable,
        },
        Ok(None) => Found::Missing,
        Err(_) => Found::Unusable,
    }
}

fn of_text(value: Lookup<Cow<'_, str>>) -> Found {
    match value {
        Ok(None) => Found::Missing,
        // A blank text names nothing. Blanks around another are a part of it: "k" and " k" are two
        // ids of the provider's, and a header's value comes without them.
        Ok(Some(text)) if text.trim().is_empty() => Found::Missing,
        Ok(Some(text)) if is_key(&text, MAX_EVENT_KEY) => Found::Key(text.into_owned()),
        Err(_) | Ok(Some(_)) => Found::Unusable,
    }
}

/// A key that isn't plain: each part with its length, so that no two lists of parts are the same.
fn marked(kind: &str, parts: &[String]) -> String {
    let mut key = format!("{MARK}{kind}");
    for part in parts {
        write!(key, ":{}:{part}", part.len()).expect("a text takes more text");
    }
    key
}

fn no_key(at: &IdempotencyKeyAt) -> ApiError {
    let places: Vec<String> = at.places().iter().map(place_name).collect();
    let is_header = |place: &IdempotencyKeyAt| matches!(kind(place), "header" | "headers");
    let expected = if at.places().iter().all(is_header) {
        "printable ASCII characters"
    } else {
        "bytes without control characters"
    };
    ApiError::malformed(format!(
        "there is no usable idempotency key: expected {}, once, to name the event \
         in 1 to {MAX_EVENT_KEY} {expected}",
        places.join(" or ")
    ))
}

fn place_name(place: &IdempotencyKeyAt) -> String {
    match place {
        IdempotencyKeyAt::None | IdempotencyKeyAt::FirstOf(_) => String::new(),
        IdempotencyKeyAt::Body => "the body".to_owned(),
        IdempotencyKeyAt::Header(name) => name.clone(),
        IdempotencyKeyAt::Headers(names) => names.join(" and "),
        IdempotencyKeyAt::JsonPointer(pointer) => format!("the body at {pointer}"),
        IdempotencyKeyAt::Form(name) => format!("the form's field {name}"),
        IdempotencyKeyAt::Query(name) => format!("the query's parameter {name}"),
    }
}

#[cfg(test)]
mod tests;
