//! Checks an event's body against its source's settings.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::config::{IdempotencyKeyAt, SourcePolicy};
use crate::http::admission::signatures::{SignatureClaim, Verifier};
use crate::http::api_error::ApiError;
use crate::http::app::App;
use crate::http::offload::MAX_INLINE_BYTES;
use crate::http::request_context::RequestContext;
use crate::http::routes::idempotency;

/// The result of checking a body: none if its signature does not verify; an error if the source
/// refuses it; otherwise the idempotency key, if the source's keys are in bodies.
pub(super) type CheckedBody = Option<Result<Option<String>, ApiError>>;

/// Checks a body, a large one on another thread.
pub(super) async fn check_body(
    app: &App,
    context: &RequestContext,
    source: &Arc<SourcePolicy>,
    body: &Bytes,
    signed: Option<(&Arc<dyn Verifier>, SignatureClaim)>,
) -> Result<CheckedBody, ApiError> {
    if body.len() <= MAX_INLINE_BYTES {
        let signed = signed
            .as_ref()
            .map(|(verifier, claim)| (&***verifier, claim));
        return Ok(check(source, body, signed));
    }
    let signed = signed.map(|(verifier, claim)| (Arc::clone(verifier), claim));
    let (source, body) = (Arc::clone(source), body.clone());
    let work = move || {
        let signed = signed
            .as_ref()
            .map(|(verifier, claim)| (&**verifier, claim));
        check(&source, &body, signed)
    };
    app.offload.run(context, work).await
}

fn check(
    source: &SourcePolicy,
    body: &[u8],
    signed: Option<(&dyn Verifier, &SignatureClaim)>,
) -> CheckedBody {
    if let Some((verifier, claim)) = signed
        && !verifier.verifies(claim, body)
    {
        return None;
    }
    let document = serde_json::from_slice::<&RawValue>(body);
    Some(match (&source.idempotency, document) {
        (IdempotencyKeyAt::JsonPointer(pointer), Ok(document)) => {
            idempotency::event_key_in_body(document, pointer).map(Some)
        }
        (_, Err(error)) if !source.accept_any_content => Err(ApiError::malformed(format!(
            "the body is not JSON ({error}): expected a JSON document"
        ))),
        _ => Ok(None),
    })
}
