//! The inbox for other people's webhooks: `POST /webhooks/{source}`.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, CONNECTION, HeaderMap, HeaderName};
use hyper::http::request::Parts;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::config::{IdempotencyKeyAt, Source};
use crate::http::admission::signatures::{SignatureClaim, Verifier};
use crate::http::api_error::ApiError;
use crate::http::app::App;
use crate::http::body::Body;
use crate::http::offload::INLINE;
use crate::http::request_context::RequestContext;
use crate::http::response::{Response, json};
use crate::http::routes::idempotency;
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

pub(in crate::http) async fn accept(
    app: &App,
    context: &RequestContext,
    name: &str,
    head: &Parts,
    body: &mut Body,
) -> Result<Response, ApiError> {
    let source = Some(name)
        .filter(|name| is_name(name))
        .and_then(|name| app.config.source(name))
        .ok_or_else(|| {
            ApiError::not_found(
                "there is no such source: expected the name of a configured one, of 1 to 64 characters out of A-Z a-z 0-9 . _ -",
            )
        })?;
    let headers = &head.headers;
    let read = body.read(source.max_body_bytes(), context.deadline);
    // Who has to sign is known once the body is there, and only then spends a token: strangers must
    // not empty a provider's bucket. Who hasn't is refused as early as can be.
    let (key, body) = if let Some(verifier) = app.source_gates.verifier(name) {
        let claim = verifier.read_headers(headers, app.clock.wall());
        let claim = claim.ok_or_else(|| not_verified(app, context, name))?;
        let body = read.await?;
        let check = check(app, context, source, &body, Some((verifier, claim))).await?;
        let key_in_body = check.ok_or_else(|| not_verified(app, context, name))?;
        spend(app, name)?;
        let key = key_in_header(headers, source)?;
        (key.or(key_in_body?), body)
    } else {
        spend(app, name)?;
        let key = key_in_header(headers, source)?;
        let body = read.await?;
        let key_in_body = check(app, context, source, &body, None).await?;
        (key.or(key_in_body.expect("nothing is verified")?), body)
    };
    // The configuration's check rules out a pointer where bodies need not be JSON.
    let key = key.ok_or_else(|| ApiError::malformed("the body has no idempotency key"))?;

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
    let (id, status) = match context.wait(app.store.accept(op)).await? {
        Accepted::New(id, _) => (id, "accepted"),
        Accepted::Duplicate(id) => (id, "duplicate"),
        // An event's key has no digest that could differ.
        Accepted::Conflict => return Err(ApiError::conflict()),
        // An event has no owner, and so no such limit.
        Accepted::TooManyOrigins => return Err(ApiError::overloaded("too many origins wait")),
    };
    log::debug!(event_id:% = event_id(id), request_id = context.id(), source = name, status; "a webhook event came in");
    Ok(json(
        StatusCode::ACCEPTED,
        &Answer {
            event_id: event_id(id),
            status,
        },
    ))
}

/// The result of checking a body: none if its signature doesn't verify; an error if the source doesn't
/// take it; otherwise the key in the body, if the source's keys stand in bodies.
type Checked = Option<Result<Option<String>, ApiError>>;

/// Checks a body against the source's settings, a large one on another thread.
async fn check(
    app: &App,
    context: &RequestContext,
    source: &Source,
    body: &Bytes,
    claim: Option<(&Arc<dyn Verifier>, SignatureClaim)>,
) -> Result<Checked, ApiError> {
    if body.len() <= INLINE {
        let claim = claim
            .as_ref()
            .map(|(verifier, claim)| (&***verifier, claim));
        return Ok(check_here(source, body, claim));
    }
    let claim = claim.map(|(verifier, claim)| (Arc::clone(verifier), claim));
    let (source, body) = (source.clone(), body.clone());
    let work = move || {
        let claim = claim.as_ref().map(|(verifier, claim)| (&**verifier, claim));
        check_here(&source, &body, claim)
    };
    app.offload.run(context, work).await
}

fn check_here(
    source: &Source,
    body: &[u8],
    claim: Option<(&dyn Verifier, &SignatureClaim)>,
) -> Checked {
    if let Some((verifier, claim)) = claim
        && !verifier.verifies(claim, body)
    {
        return None;
    }
    let document = serde_json::from_slice::<&RawValue>(body);
    Some(match (&source.idempotency, document) {
        (IdempotencyKeyAt::JsonPointer(pointer), Ok(document)) => {
            idempotency::of_event_body(document, pointer).map(Some)
        }
        (_, Err(error)) if !source.accept_any_content => Err(ApiError::malformed(format!(
            "the body is not JSON ({error}): expected a JSON document"
        ))),
        _ => Ok(None),
    })
}

/// Takes a token of the source's bucket, if it has one.
fn spend(app: &App, source: &str) -> Result<(), ApiError> {
    match app.source_gates.take_token(source) {
        Some(status) if !status.is_allowed => {
            app.metrics.rate_limited(Surface::Event);
            Err(ApiError::rate_limited(status.reset))
        }
        _ => Ok(()),
    }
}

/// The key, where it stands in a header: a missing one is known before the body is read.
fn key_in_header(headers: &HeaderMap, source: &Source) -> Result<Option<String>, ApiError> {
    match &source.idempotency {
        IdempotencyKeyAt::Header(name) => idempotency::of_event(headers, name).map(Some),
        IdempotencyKeyAt::JsonPointer(_) => Ok(None),
    }
}

/// 401, and a word in the log now and then: an operator with the wrong secret should see it, and a
/// stranger should not be able to fill the disk with it.
fn not_verified(app: &App, context: &RequestContext, source: &str) -> ApiError {
    if app.source_gates.may_warn() {
        log::warn!(request_id = context.id(), source; "a signature is missing or does not verify: somebody else's event, or the wrong secret in sources.….verify");
    }
    ApiError::not_verified()
}

/// An event's id as it is shown.
pub(in crate::http) fn event_id(id: IntentId) -> String {
    format!("evt_{id}")
}

/// The provider's end-to-end headers, as `name: value\r\n` each. A value can't hold CR or LF.
fn headers_to_keep(headers: &HeaderMap, source: &Source) -> Vec<u8> {
    let options = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim);
    let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    let named_by_connection = named(&names, options, compare);
    let mut kept = Vec::new();
    for (name, value) in headers {
        let is_dropped = ends_here(name)
            || (*name == AUTHORIZATION && !source.forward_authorization)
            || named_by_connection.contains(&name.as_str());
        if !is_dropped {
            kept.extend_from_slice(name.as_str().as_bytes());
            kept.extend_from_slice(b": ");
            kept.extend_from_slice(value.as_bytes());
            kept.extend_from_slice(b"\r\n");
        }
    }
    kept
}

/// The names that are among the connection's options, of which 16 KiB hold 8 000: each is looked up
/// in the sorted names, of which there are at most [`MAX_HEADERS`](crate::http::server::accept::MAX_HEADERS).
fn named<'a>(
    names: &[&'a str],
    options: impl Iterator<Item = &'a str>,
    mut compare: impl FnMut(&str, &str) -> Ordering,
) -> Vec<&'a str> {
    let mut is_named = vec![false; names.len()];
    for option in options {
        if let Ok(at) = names.binary_search_by(|name| compare(name, option)) {
            is_named[at] = true;
        }
    }
    let names = names.iter().zip(is_named);
    names
        .filter_map(|(name, is_named)| is_named.then_some(*name))
        .collect()
}

/// The order of two header names, the first in lower case.
fn compare(name: &str, option: &str) -> Ordering {
    let option = option.bytes().map(|byte| byte.to_ascii_lowercase());
    name.bytes().cmp(option)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn thousands_of_connection_options_are_each_looked_up_and_not_compared_with_every_header() {
        let names: Vec<String> = (10..74).map(|number| format!("x-{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut options = vec!["a"; 8_000];
        options[4_000] = "X-30";
        options.push("x-73");
        let mut comparisons = 0;
        let found = named(&names, options.iter().copied(), |name, option| {
            comparisons += 1;
            compare(name, option)
        });
        assert_eq!(found, ["x-30", "x-73"]);
        assert!(comparisons <= 8 * options.len(), "{comparisons}");
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
