//! The inbox for other people's webhooks: `POST /webhooks/{source}`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderMap,
    HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::exchange::{Exchange, json};
use super::problem::Problem;
use super::{App, Request, Response, body};
use crate::config::{IdempotencyKeyAt, Source};
use crate::model::{IntentId, Surface, is_name};
use crate::store::{Accept, Accepted, IdempotencyKey};

/// The longest key, in bytes: providers' are UUIDs and digests. It is stored and compared, so it
/// has a bound.
const MAX_KEY: usize = 256;

/// Headers that end here: between two hops only (RFC 9110, 7.6.1), about this server rather than
/// the event, or ours to set. `Cookie` and the keys are secrets of this hop.
const DROPPED: [HeaderName; 15] = [
    // What comes back to us is ours to unpack, and never goes back to the provider.
    ACCEPT_ENCODING,
    CONNECTION,
    CONTENT_LENGTH,
    COOKIE,
    EXPECT,
    HOST,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    USER_AGENT,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-authorization"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("x-api-key"),
];

#[derive(Serialize)]
struct Answer {
    event_id: String,
    status: &'static str,
}

pub(super) async fn accept(
    app: &App,
    exchange: &Exchange,
    name: &str,
    request: Request,
) -> Result<Response, Problem> {
    let source = Some(name)
        .filter(|name| is_name(name))
        .and_then(|name| app.config.source(name))
        .ok_or_else(|| {
            Problem::not_found(
                "there is no such source: expected the name of a configured one, of 1 to 64 characters out of A-Z a-z 0-9 . _ -",
            )
        })?;
    let is_declared = app.config.sources.contains_key(name);
    if let Some(standing) = app.ingress.spend_of_source(name, is_declared)
        && !standing.passes
    {
        app.metrics.rate_limited(Surface::Event);
        return Err(Problem::rate_limited(standing.reset));
    }

    let (head, incoming) = request.into_parts();
    // A missing key is known before the body is read.
    let header_key = match &source.idempotency {
        IdempotencyKeyAt::Header(header) => Some(key_in_header(&head.headers, header)?),
        IdempotencyKeyAt::JsonPointer(_) => None,
    };
    let body = body::read(incoming, source.max_body_bytes(), exchange.deadline).await?;
    let document = serde_json::from_slice::<&RawValue>(&body);
    if let Err(error) = &document
        && !source.accept_any_content
    {
        return Err(Problem::malformed(format!(
            "the body is not JSON ({error}): expected a JSON document"
        )));
    }
    let key = match (&source.idempotency, header_key, &document) {
        (IdempotencyKeyAt::JsonPointer(pointer), _, Ok(document)) => {
            key_in_body(document, pointer)?
        }
        (_, Some(key), _) => key,
        // The configuration's check rules out a pointer where bodies need not be JSON.
        _ => return Err(no_key("the body")),
    };

    let op = Accept {
        surface: Surface::Event,
        label: name.to_owned(),
        url: None,
        destinations: Arc::from(source.destinations.as_slice()),
        headers: headers_to_keep(&head.headers, source),
        metadata: None,
        key: Some(IdempotencyKey::of_event(name, key)),
        window: app.config.api.idempotency_window,
        body,
    };
    let (id, status) = match exchange.wait(app.store.accept(op)).await? {
        Accepted::New(id, _) => (id, "accepted"),
        Accepted::Duplicate(id) => (id, "duplicate"),
        // An event's key has no digest that could differ.
        Accepted::Conflict => return Err(Problem::conflict()),
    };
    log::debug!(event_id:% = event_id(id), request_id = exchange.id(), source = name, status; "a webhook event came in");
    Ok(json(
        StatusCode::ACCEPTED,
        &Answer {
            event_id: event_id(id),
            status,
        },
    ))
}

/// An event's id as it is shown.
pub(super) fn event_id(id: IntentId) -> String {
    format!("evt_{id}")
}

fn no_key(place: &str) -> Problem {
    Problem::malformed(format!(
        "there is no usable idempotency key: expected {place}, once, to name the event in 1 to {MAX_KEY} bytes without control characters"
    ))
}

fn checked_key(text: &str, place: &str) -> Result<String, Problem> {
    let is_fine = (1..=MAX_KEY).contains(&text.len()) && !text.chars().any(char::is_control);
    if is_fine {
        Ok(text.to_owned())
    } else {
        Err(no_key(place))
    }
}

fn key_in_header(headers: &HeaderMap, name: &str) -> Result<String, Problem> {
    let mut values = headers.get_all(name).iter();
    let text = values.next().and_then(|value| value.to_str().ok());
    // Two different keys would be two events; which one is not ours to guess.
    match (text, values.next()) {
        (Some(text), None) => checked_key(text.trim(), name),
        _ => Err(no_key(name)),
    }
}

/// The string, number or boolean at a JSON pointer (RFC 6901), as it stands in the body: a large
/// number is not rounded on the way.
fn key_in_body(document: &RawValue, pointer: &str) -> Result<String, Problem> {
    let missing = || no_key(&format!("the body at {pointer}"));
    let mut value = document.get();
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        value = if value.starts_with('{') {
            let members: HashMap<Cow<'_, str>, &RawValue> =
                serde_json::from_str(value).map_err(|_| missing())?;
            members.get(token.as_str()).ok_or_else(missing)?.get()
        } else if value.starts_with('[') {
            let elements: Vec<&RawValue> = serde_json::from_str(value).map_err(|_| missing())?;
            let at: usize = token.parse().map_err(|_| missing())?;
            elements.get(at).ok_or_else(missing)?.get()
        } else {
            return Err(missing());
        };
    }
    let place = format!("the body at {pointer}");
    match value.as_bytes().first() {
        Some(b'"') => {
            let text: String = serde_json::from_str(value).map_err(|_| missing())?;
            checked_key(text.trim(), &place)
        }
        Some(b'{' | b'[' | b'n') | None => Err(missing()),
        Some(_) => checked_key(value, &place),
    }
}

/// The provider's end-to-end headers, as `name: value\r\n` each. A value can't hold CR or LF.
fn headers_to_keep(headers: &HeaderMap, source: &Source) -> Vec<u8> {
    let named_by_connection: Vec<&str> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    let mut kept = Vec::new();
    for (name, value) in headers {
        let is_dropped = DROPPED.contains(name)
            // Ours: a stranger must not speak in our name.
            || name.as_str().starts_with("relay-")
            || (*name == AUTHORIZATION && !source.forward_authorization)
            || named_by_connection
                .iter()
                .any(|named| named.eq_ignore_ascii_case(name.as_str()));
        if !is_dropped {
            kept.extend_from_slice(name.as_str().as_bytes());
            kept.extend_from_slice(b": ");
            kept.extend_from_slice(value.as_bytes());
            kept.extend_from_slice(b"\r\n");
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn key(body: &str, pointer: &str) -> Option<String> {
        let document: &RawValue = serde_json::from_str(body).expect(body);
        key_in_body(document, pointer).ok()
    }

    #[test]
    fn keys_are_found_in_bodies_and_not_rounded() {
        assert_eq!(key(r#"{"id":"a b"}"#, "/id").as_deref(), Some("a b"));
        assert_eq!(
            key(r#"{"id":123456789012345678901234567890}"#, "/id").as_deref(),
            Some("123456789012345678901234567890")
        );
        assert_eq!(
            key(r#"{"a":[0,{"b/c":"x"}]}"#, "/a/1/b~1c").as_deref(),
            Some("x")
        );
        assert_eq!(key(r#"{"i\u0064":"x"}"#, "/id").as_deref(), Some("x"));
        for (body, pointer) in [
            (r#"{"id":""}"#, "/id"),
            (r#"{"id":null}"#, "/id"),
            (r#"{"id":{}}"#, "/id"),
            (r#"{"id":1}"#, "/other"),
            (r#"{"id":1}"#, "/id/x"),
            ("[1]", "/1"),
            ("5", "/id"),
        ] {
            assert_eq!(key(body, pointer), None, "{body} {pointer}");
        }
    }

    #[test]
    fn hop_by_hop_headers_and_secrets_end_here() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "relay"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("content-type", "application/json"),
            ("cookie", "a=b"),
            ("authorization", "Bearer x"),
            ("x-api-key", "k"),
            ("relay-event-type", "forged"),
            ("accept-encoding", "gzip"),
            ("x-github-event", "push"),
        ] {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        headers.append("x-multi", HeaderValue::from_static("1"));
        headers.append(
            "x-multi",
            HeaderValue::from_bytes(b"\xff").expect("obs-text"),
        );
        let mut source = Source::to(["a"]);
        let kept = headers_to_keep(&headers, &source);
        let lines: Vec<&[u8]> = kept.split(|&b| b == b'\n').collect();
        assert_eq!(
            lines,
            [
                &b"content-type: application/json\r"[..],
                b"x-github-event: push\r",
                b"x-multi: 1\r",
                b"x-multi: \xff\r",
                b"",
            ]
        );
        source.forward_authorization = true;
        let kept = String::from_utf8_lossy(&headers_to_keep(&headers, &source)).into_owned();
        assert!(kept.contains("authorization: Bearer x\r\n"));
    }
}
