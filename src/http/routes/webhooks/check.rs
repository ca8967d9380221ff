//! Verifies a request with its body, and checks the body against its source's settings.

use std::sync::Arc;

use bytes::Bytes;
use hyper::http::request::Parts;
use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::config::{IdempotencyKeyAt, SourcePolicy};
use crate::http::admission::SourceVerification;
use crate::http::admission::signatures::{Rejection, Verified};
use crate::http::api_error::ApiError;
use crate::http::app::App;
use crate::http::offload::MAX_INLINE_BYTES;
use crate::http::request_context::RequestContext;
use crate::http::routes::idempotency;

/// A verified request.
pub(super) struct CheckedBody {
    /// How it was verified.
    #[allow(dead_code, reason = "for handshakes")]
    pub verified: Verified,
    /// The idempotency key, if the source's keys are in bodies; an error if the source refuses the
    /// body.
    pub key: Result<Option<String>, ApiError>,
}

/// The reason why a request is refused before its body is looked at.
pub(super) enum Refusal {
    /// It is not the provider's.
    NotVerified(Rejection),
    /// It is, and doesn't meet this condition of `require`.
    Unmet(String),
}

/// Verifies a request and checks its body, a large one on another thread. `now` is the time at
/// which its headers came.
pub(super) async fn check_body(
    app: &App,
    context: &RequestContext,
    source: &Arc<SourcePolicy>,
    verification: &Arc<SourceVerification>,
    head: &Parts,
    body: &Bytes,
    now: Timestamp,
) -> Result<Result<CheckedBody, Refusal>, ApiError> {
    if body.len() <= MAX_INLINE_BYTES {
        return Ok(check(source, verification, head, body, now));
    }
    let (source, verification) = (Arc::clone(source), Arc::clone(verification));
    let (head, body) = (head.clone(), body.clone());
    let work = move || check(&source, &verification, &head, &body, now);
    app.offload.run(context, work).await
}

fn check(
    source: &SourcePolicy,
    verification: &SourceVerification,
    head: &Parts,
    body: &[u8],
    now: Timestamp,
) -> Result<CheckedBody, Refusal> {
    let verified = verification
        .verify(head, body, now)
        .map_err(Refusal::NotVerified)?;
    if let Some(condition) = verification.unmet_requirement(head, body) {
        return Err(Refusal::Unmet(condition));
    }
    let document = serde_json::from_slice::<&RawValue>(body);
    let key = match (&source.idempotency, document) {
        (IdempotencyKeyAt::JsonPointer(pointer), Ok(document)) => {
            idempotency::event_key_in_body(document, pointer).map(Some)
        }
        (_, Err(error)) if !source.accept_any_content => Err(ApiError::malformed(format!(
            "the body is not JSON ({error}): expected a JSON document"
        ))),
        _ => Ok(None),
    };
    Ok(CheckedBody { verified, key })
}
