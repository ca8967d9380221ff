//! Admits an event: verifies, limits and reads its request.

use std::sync::Arc;

use bytes::Bytes;
use hyper::http::request::Parts;

use crate::config::{HandshakeMethod, SourcePolicy};
use crate::http::admission::SourceVerification;
use crate::http::admission::signatures::Rejection;
use crate::http::api_error::ApiError;
use crate::http::app::App;
use crate::http::body::Body;
use crate::http::request_context::RequestContext;
use crate::http::response::Response;
use crate::http::routes::webhooks::check::{Checked, EventFacts, Refusal, Request, check_body};
use crate::http::routes::webhooks::event_view::EventView;
use crate::http::routes::webhooks::keys::event_key;
use crate::http::routes::webhooks::learn::learn;
use crate::http::routes::webhooks::refusals::{not_allowed, not_verified};
use crate::model::Surface;

/// A request that was let in.
pub(super) enum Admitted {
    Event(EventFacts, Bytes),
    /// The answer to a handshake, which is no event.
    Handshake(Response),
}

/// Verifies, limits and reads an event.
///
/// A source that verifies takes a token only once the request was verified, so that unsigned
/// requests can't empty the provider's bucket. Other sources are limited before the body is read.
pub(super) async fn admit(
    app: &App,
    context: &RequestContext,
    name: &str,
    source: &Arc<SourcePolicy>,
    head: &Parts,
    body: &mut Body,
) -> Result<Admitted, ApiError> {
    let verification = app
        .source_gates
        .verification(name)
        .expect("the gates are made of the same sources as the policies");
    if !verification.allows(body.peer, &head.headers) {
        return Err(not_allowed(app, context, verification));
    }
    let handshakes = verification.handshakes();
    let view = verification.view(head, b"");
    if let Some(handshakes) = handshakes
        && let Some(rule) = handshakes.asked_in_head(HandshakeMethod::Post, &view)
    {
        take_handshake_token(app, name)?;
        if rule.brings_secret() {
            let answer = learn(app, context, name, verification, head).await;
            return answer.map(Admitted::Handshake);
        }
        let answer = rule.answer(&view, handshakes.first_key());
        return answer.map(Admitted::Handshake);
    }
    let mut request = Request::new(name, source, verification, head)?;
    let may_ask_in_body =
        handshakes.is_some_and(|all| all.may_be_asked_in_body(HandshakeMethod::Post, &view));
    let has_verifier = verification.has_verifier();
    if has_verifier {
        request.now = app.clock.wall();
        match verification.check_head(head, request.now) {
            Err(rejection) if may_ask_in_body => request.rejection = Some(rejection),
            Err(rejection) => return Err(not_verified(app, context, verification, &rejection)),
            Ok(()) => {}
        }
    } else {
        take_token(app, name)?;
        if !may_ask_in_body {
            request.early_key = early_key(source, verification, head)?;
        }
    }
    let body = body.read(source.max_body_bytes, context.deadline).await?;
    let checked = check(app, context, &request, &body).await?;
    if let Ok(Checked::UnsignedHandshake(answer)) = checked {
        take_handshake_token(app, name)?;
        return answer.map(Admitted::Handshake);
    }
    if has_verifier {
        take_token(app, name)?;
    }
    match checked? {
        Checked::Event(facts) => Ok(Admitted::Event(facts, body)),
        Checked::SignedHandshake(answer) | Checked::UnsignedHandshake(answer) => {
            answer.map(Admitted::Handshake)
        }
    }
}

/// Checks a request with its body, once more if a certificate has to be fetched for it. The inner
/// error is that of a verified request, which takes a token.
async fn check(
    app: &App,
    context: &RequestContext,
    request: &Request<'_>,
    body: &Bytes,
) -> Result<Result<Checked, ApiError>, ApiError> {
    let verification = &request.verification;
    let mut checked = check_body(app, context, request, body).await?;
    if let Err(Refusal::NotVerified(Rejection::NeedsCertificate(url))) = &checked {
        let gates = &app.source_gates;
        let url = url.clone();
        let fetch = gates.fetch_certificate(verification.label(), url.clone());
        // After the deadline the provider is asked to send the request again.
        let fetched = tokio::time::timeout_at(context.deadline, fetch).await;
        // Also if it wasn't fetched for this request: another one's fetch may just have ended.
        checked = check_body(app, context, request, body).await?;
        if let (Ok(false), Err(Refusal::NotVerified(rejection))) = (fetched, &mut checked)
            && matches!(rejection, Rejection::NeedsCertificate(_))
        {
            *rejection = Rejection::CertificateNotTried(url);
        }
    }
    let refusal = match checked {
        Ok(checked) => {
            if !matches!(checked, Checked::UnsignedHandshake(_)) {
                verification.count_verified();
            }
            return Ok(Ok(checked));
        }
        Err(refusal) => refusal,
    };
    match refusal {
        Refusal::NotVerified(rejection) => {
            Err(not_verified(app, context, verification, &rejection))
        }
        Refusal::Undecodable(error) => Err(error),
        Refusal::Unusable(error) => {
            verification.count_verified();
            Ok(Err(error))
        }
        Refusal::Unmet(condition) => {
            verification.count_verified();
            app.metrics.refused(verification.label(), "require");
            let label = verification.label();
            app.metrics.rollups.refused(Surface::Event, label);
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

/// The idempotency key, if it is found without the body: a request without one is refused early.
fn early_key(
    source: &SourcePolicy,
    verification: &SourceVerification,
    head: &Parts,
) -> Result<Option<String>, ApiError> {
    if !source.idempotency.is_before_body() {
        return Ok(None);
    }
    let event = EventView {
        request: verification.view(head, b""),
        document: None,
        sent: b"",
        signed_id: None,
    };
    event_key(&source.idempotency, &event)
}

/// Takes a token of the source's bucket for unsigned handshakes.
pub(super) fn take_handshake_token(app: &App, source: &str) -> Result<(), ApiError> {
    match app.source_gates.take_handshake_token(source) {
        Some(rate) if !rate.is_allowed => {
            app.metrics.rate_limited(Surface::Event);
            app.metrics.rollups.refused(Surface::Event, source);
            Err(ApiError::rate_limited(rate.reset))
        }
        _ => Ok(()),
    }
}

/// Takes a token of the source's bucket, if it has one.
fn take_token(app: &App, source: &str) -> Result<(), ApiError> {
    match app.source_gates.take_token(source) {
        Some(rate) if !rate.is_allowed => {
            app.metrics.rate_limited(Surface::Event);
            app.metrics.rollups.refused(Surface::Event, source);
            Err(ApiError::rate_limited(rate.reset))
        }
        _ => Ok(()),
    }
}
