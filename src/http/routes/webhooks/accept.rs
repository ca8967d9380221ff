//! The route that accepts events.

use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderMap;
use hyper::http::request::Parts;
use serde::Serialize;

use crate::clock::Timestamp;
use crate::config::{IdempotencyKeyAt, SourcePolicy};
use crate::http::admission::SourceVerification;
use crate::http::admission::signatures::Rejection;
use crate::http::api_error::ApiError;
use crate::http::app::App;
use crate::http::body::Body;
use crate::http::request_context::RequestContext;
use crate::http::response::{Response, json};
use crate::http::routes::events::event_id;
use crate::http::routes::idempotency;
use crate::http::routes::webhooks::check::{CheckedBody, Refusal, check_body};
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
    let (key, body) = admit(app, context, name, source, head, body).await?;
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
/// A source that verifies takes a token only once the request was verified, so that unsigned
/// requests can't empty the provider's bucket. Other sources are limited before the body is read.
async fn admit(
    app: &App,
    context: &RequestContext,
    name: &str,
    source: &Arc<SourcePolicy>,
    head: &Parts,
    body: &mut Body,
) -> Result<(String, Bytes), ApiError> {
    let headers = &head.headers;
    let gates = &app.source_gates;
    let verification = gates
        .verification(name)
        .expect("the gates are made of the same sources as the policies");
    if !gates.allow(name, body.peer, headers) {
        return Err(not_allowed(app, context, verification));
    }
    let read = body.read(source.max_body_bytes, context.deadline);
    let (key, body) = if verification.has_verifier() {
        let now = app.clock.wall();
        verification
            .check_head(head, now)
            .map_err(|rejection| not_verified(app, context, verification, &rejection))?;
        let body = read.await?;
        let checked = verify(app, context, source, verification, head, &body, now).await?;
        take_token(app, name)?;
        let key = key_in_header(headers, source)?;
        (key.or(checked.key?), body)
    } else {
        take_token(app, name)?;
        let key = key_in_header(headers, source)?;
        let body = read.await?;
        let now = Timestamp::from_millis(0);
        let checked = verify(app, context, source, verification, head, &body, now).await?;
        (key.or(checked.key?), body)
    };
    // The configuration's check refuses a pointer for a source whose bodies need not be JSON.
    let key = key.ok_or_else(|| ApiError::malformed("the body has no idempotency key"))?;
    Ok((key, body))
}

/// Verifies a request with its body, once more if a certificate has to be fetched for it.
async fn verify(
    app: &App,
    context: &RequestContext,
    source: &Arc<SourcePolicy>,
    verification: &Arc<SourceVerification>,
    head: &Parts,
    body: &Bytes,
    now: Timestamp,
) -> Result<CheckedBody, ApiError> {
    let check = || check_body(app, context, source, verification, head, body, now);
    let mut checked = check().await?;
    if let Err(Refusal::NotVerified(Rejection::NeedsCertificate(url))) = &checked {
        let fetch = app.source_gates.fetch_certificate(url.clone());
        // After the deadline the provider is asked to send the request again.
        let _ = tokio::time::timeout_at(context.deadline, fetch).await;
        checked = check().await?;
    }
    match checked {
        Ok(checked) => {
            verification.count_verified();
            Ok(checked)
        }
        Err(Refusal::NotVerified(rejection)) => {
            Err(not_verified(app, context, verification, &rejection))
        }
        Err(Refusal::Unmet(condition)) => {
            verification.count_verified();
            app.metrics.refused(verification.label(), "require");
            if verification.may_warn(app.source_gates.seconds()) {
                log::warn!(
                    request_id = context.id(), source = verification.label(),
                    condition = condition.as_str();
                    "a request does not meet a condition of require"
                );
            }
            Err(ApiError::forbidden("the source does not take this event"))
        }
    }
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

/// 403, before the body is read.
fn not_allowed(app: &App, context: &RequestContext, verification: &SourceVerification) -> ApiError {
    app.metrics.refused(verification.label(), "allow_ips");
    if verification.may_warn(app.source_gates.seconds()) {
        log::warn!(
            request_id = context.id(), source = verification.label();
            "a request comes from an address that is not in allow_ips, or from behind a proxy \
             that is not in server.trusted_proxies"
        );
    }
    ApiError::forbidden("this address may not send to the source")
}

/// 401, with a line in the log once a minute and source: an operator who configured the wrong
/// secret must see it, and a stranger must not fill the disk with such lines.
fn not_verified(
    app: &App,
    context: &RequestContext,
    verification: &SourceVerification,
    rejection: &Rejection,
) -> ApiError {
    let result = rejection.result().name();
    let source = verification.label();
    log::debug!(
        request_id = context.id(), source, result, reason:% = rejection;
        "a request is not verified"
    );
    if verification.count_rejection(rejection, app.source_gates.seconds()) {
        log::warn!(
            request_id = context.id(), source, result, reason:% = rejection;
            "a signature is missing or does not verify: somebody else's event, \
             or the wrong secret in sources.….verify"
        );
    }
    match rejection {
        // The request may well be the provider's, which sends it again.
        Rejection::NeedsCertificate(_) => {
            ApiError::overloaded("the provider's certificate could not be fetched: try again")
        }
        _ => ApiError::not_verified(),
    }
}
