//! The route that accepts events.

use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderMap;
use hyper::http::request::Parts;
use serde::Serialize;

use crate::config::{IdempotencyKeyAt, SourcePolicy};
use crate::http::api_error::ApiError;
use crate::http::app::App;
use crate::http::body::Body;
use crate::http::request_context::RequestContext;
use crate::http::response::{Response, json};
use crate::http::routes::events::event_id;
use crate::http::routes::idempotency;
use crate::http::routes::webhooks::check::check_body;
use crate::http::routes::webhooks::forwarded_headers::forwarded_headers;
use crate::model::{Surface, is_name};
use crate::store::{Accept, Accepted, IdempotencyKey};

#[derive(Serialize)]
struct AcceptedEvent {
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
                "there is no such source: expected the name of a configured one, \
                 of 1 to 64 characters out of A-Z a-z 0-9 . _ -",
            )
        })?;
    let headers = &head.headers;
    let (key, body) = admit(app, context, name, source, headers, body).await?;
    let op = Accept {
        surface: Surface::Event,
        label: name.to_owned(),
        url: None,
        destinations: Arc::clone(&source.destinations),
        owner: None,
        headers: forwarded_headers(headers, source),
        metadata: None,
        key: Some(IdempotencyKey::of_event(name, key)),
        window: source.idempotency_window,
        body,
    };
    let (id, status) = match context.wait(app.store.accept(op)).await? {
        Accepted::New(id, _) => (id, "accepted"),
        Accepted::Duplicate(id) => (id, "duplicate"),
        // An event's key is stored without a digest of the body, so that nothing can conflict.
        Accepted::Conflict => return Err(ApiError::conflict()),
        // Only events with an owner count towards the limit of origins, and these have none.
        Accepted::TooManyOrigins => return Err(ApiError::overloaded("too many origins wait")),
    };
    let event_id = event_id(id);
    log::debug!(
        event_id:% = event_id, request_id = context.id(), source = name, status;
        "a webhook event came in"
    );
    Ok(json(
        StatusCode::ACCEPTED,
        &AcceptedEvent { event_id, status },
    ))
}

/// Verifies, limits and reads an event. Returns its idempotency key and its body.
///
/// A source that verifies takes a token only once the signature was checked, so that unsigned
/// requests can't empty the provider's bucket. Other sources are limited before the body is read.
async fn admit(
    app: &App,
    context: &RequestContext,
    name: &str,
    source: &Arc<SourcePolicy>,
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<(String, Bytes), ApiError> {
    let read = body.read(source.max_body_bytes, context.deadline);
    let (key, body) = if let Some(verifier) = app.source_gates.verifier(name) {
        let claim = verifier.read_headers(headers, app.clock.wall());
        let claim = claim.ok_or_else(|| not_verified(app, context, name))?;
        let body = read.await?;
        let checked = check_body(app, context, source, &body, Some((verifier, claim))).await?;
        let key_in_body = checked.ok_or_else(|| not_verified(app, context, name))?;
        take_token(app, name)?;
        let key = key_in_header(headers, source)?;
        (key.or(key_in_body?), body)
    } else {
        take_token(app, name)?;
        let key = key_in_header(headers, source)?;
        let body = read.await?;
        let checked = check_body(app, context, source, &body, None).await?;
        let key_in_body = checked.expect("without a verifier nothing fails to verify");
        (key.or(key_in_body?), body)
    };
    // The configuration's check refuses a pointer for a source whose bodies need not be JSON.
    let key = key.ok_or_else(|| ApiError::malformed("the body has no idempotency key"))?;
    Ok((key, body))
}

/// Takes a token of the source's bucket, if it has one.
fn take_token(app: &App, source: &str) -> Result<(), ApiError> {
    match app.source_gates.take_token(source) {
        Some(rate) if !rate.is_allowed => {
            app.metrics.rate_limited(Surface::Event);
            Err(ApiError::rate_limited(rate.reset))
        }
        _ => Ok(()),
    }
}

/// The idempotency key, if the source's keys are in headers. Read before the body, so that a
/// request without one is refused early.
fn key_in_header(headers: &HeaderMap, source: &SourcePolicy) -> Result<Option<String>, ApiError> {
    match &source.idempotency {
        IdempotencyKeyAt::Header(name) => idempotency::event_key_in_header(headers, name).map(Some),
        IdempotencyKeyAt::JsonPointer(_) => Ok(None),
    }
}

/// 401, with a line in the log once a minute: an operator who configured the wrong secret must see
/// it, and a stranger must not fill the disk with such lines.
fn not_verified(app: &App, context: &RequestContext, source: &str) -> ApiError {
    if app.source_gates.may_warn() {
        log::warn!(
            request_id = context.id(), source;
            "a signature is missing or does not verify: somebody else's event, \
             or the wrong secret in sources.….verify"
        );
    }
    ApiError::not_verified()
}
