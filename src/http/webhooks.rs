//! The inbox for other people's webhooks: `POST /webhooks/{source}`.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, CONNECTION, HeaderMap, HeaderName};
use hyper::http::request::Parts;
use serde::Serialize;
use serde_json::value::RawValue;

use super::body::Body;
use super::exchange::{Exchange, json};
use super::problem::Problem;
use super::{App, Response, idempotency};
use crate::config::{IdempotencyKeyAt, Source};
use crate::model::{IntentId, Surface, is_name};
use crate::store::{Accept, Accepted, IdempotencyKey};

/// Headers that end here: between two hops only (RFC 9110, 7.6.1), about this server rather than
/// the event, or ours to set. `Cookie` and the keys are secrets of this hop.
fn ends_here(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        // What comes back to us is ours to unpack, and never goes back to the provider.
        "accept-encoding"
            | "connection"
            | "content-length"
            | "cookie"
            | "expect"
            | "host"
            | "keep-alive"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "user-agent"
            | "x-api-key"
    )
    // Ours: a stranger must not speak in our name.
    || name.as_str().starts_with("relay-")
}

#[derive(Serialize)]
struct Answer {
    event_id: String,
    status: &'static str,
}

pub(super) async fn accept(
    app: &App,
    exchange: &Exchange,
    name: &str,
    head: &Parts,
    body: &mut Body,
) -> Result<Response, Problem> {
    let source = Some(name)
        .filter(|name| is_name(name))
        .and_then(|name| app.config.source(name))
        .ok_or_else(|| {
            Problem::not_found(
                "there is no such source: expected the name of a configured one, of 1 to 64 characters out of A-Z a-z 0-9 . _ -",
            )
        })?;
    let headers = &head.headers;
    let read = body.read(source.max_body_bytes(), exchange.deadline);
    // Who has to sign is known once the body is there, and only then spends a token: strangers must
    // not empty a provider's bucket. Who hasn't is refused as early as can be.
    let (key, body) = if let Some(verifier) = app.ingress.verifier(name) {
        let claim = verifier.claim(headers, app.clock.wall());
        let claim = claim.ok_or_else(|| not_verified(app, exchange, name))?;
        let body = read.await?;
        if !verifier.holds(&claim, &body) {
            return Err(not_verified(app, exchange, name));
        }
        spend(app, name)?;
        (key_in_header(headers, source)?, body)
    } else {
        spend(app, name)?;
        (key_in_header(headers, source)?, read.await?)
    };
    let document = serde_json::from_slice::<&RawValue>(&body);
    if let Err(error) = &document
        && !source.accept_any_content
    {
        return Err(Problem::malformed(format!(
            "the body is not JSON ({error}): expected a JSON document"
        )));
    }
    let key = match (key, &source.idempotency, &document) {
        (Some(key), ..) => key,
        (None, IdempotencyKeyAt::JsonPointer(pointer), Ok(document)) => {
            idempotency::of_event_body(document, pointer)?
        }
        // The configuration's check rules out a pointer where bodies need not be JSON.
        _ => return Err(Problem::malformed("the body has no idempotency key")),
    };

    let op = Accept {
        surface: Surface::Event,
        label: name.to_owned(),
        url: None,
        destinations: Arc::from(source.destinations.as_slice()),
        owner: None,
        headers: headers_to_keep(headers, source),
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
        // An event has no owner, and so no such limit.
        Accepted::TooManyOrigins => return Err(Problem::overloaded("too many origins wait")),
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

/// Takes a token of the source's bucket, if it has one.
fn spend(app: &App, source: &str) -> Result<(), Problem> {
    match app.ingress.spend_of_source(source) {
        Some(standing) if !standing.passes => {
            app.metrics.rate_limited(Surface::Event);
            Err(Problem::rate_limited(standing.reset))
        }
        _ => Ok(()),
    }
}

/// The key, where it stands in a header: a missing one is known before the body is read.
fn key_in_header(headers: &HeaderMap, source: &Source) -> Result<Option<String>, Problem> {
    match &source.idempotency {
        IdempotencyKeyAt::Header(name) => idempotency::of_event(headers, name).map(Some),
        IdempotencyKeyAt::JsonPointer(_) => Ok(None),
    }
}

/// 401, and a word in the log now and then: an operator with the wrong secret should see it, and a
/// stranger should not be able to fill the disk with it.
fn not_verified(app: &App, exchange: &Exchange, source: &str) -> Problem {
    if app.ingress.may_complain() {
        log::warn!(request_id = exchange.id(), source; "a signature is missing or does not verify: somebody else's event, or the wrong secret in sources.….verify");
    }
    Problem::not_verified()
}

/// An event's id as it is shown.
pub(super) fn event_id(id: IntentId) -> String {
    format!("evt_{id}")
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
        let is_dropped = ends_here(name)
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
