//! Requests that are refused before anything else is said of them, and the lines about them in the
//! log.

use crate::http::admission::SourceVerification;
use crate::http::admission::signatures::Rejection;
use crate::http::api_error::ApiError;
use crate::http::app::App;
use crate::http::request_context::RequestContext;
use crate::model::Surface;

/// 403, before the body is read.
pub(super) fn not_allowed(
    app: &App,
    context: &RequestContext,
    verification: &SourceVerification,
) -> ApiError {
    app.metrics.refused(verification.label(), "allow_ips");
    let rollups = &app.metrics.rollups;
    rollups.refused(Surface::Event, verification.label());
    if verification.may_warn(app.source_gates.seconds()) {
        log::warn!(
            request_id = context.id(), source = verification.label();
            "a request comes from an address that is not in allow_ips, or from behind a proxy \
             that is not in server.trusted_proxies"
        );
    }
    ApiError::forbidden("this address may not send to the source")
}

/// 401, or 503 for want of a certificate, with a line in the log once a minute and source: an
/// operator who configured the wrong secret must see it, and a stranger must not fill the disk with
/// such lines.
pub(super) fn not_verified(
    app: &App,
    context: &RequestContext,
    verification: &SourceVerification,
    rejection: &Rejection,
) -> ApiError {
    let result = rejection.result().name();
    let source = verification.label();
    app.metrics.rollups.refused(Surface::Event, source);
    log::debug!(
        request_id = context.id(), source, result, reason:% = rejection;
        "a request is not verified"
    );
    let is_logged = verification.count_rejection(rejection, app.source_gates.seconds());
    if let Rejection::NeedsCertificate(_) | Rejection::CertificateNotTried(_) = rejection {
        if is_logged {
            log::warn!(
                request_id = context.id(), source, result, reason:% = rejection;
                "a signature can't be verified without its certificate: 503, and the provider \
                 sends the request again"
            );
        }
        // The request may well be the provider's.
        return ApiError::overloaded("the provider's certificate could not be fetched: try again");
    }
    if is_logged {
        log::warn!(
            request_id = context.id(), source, result, reason:% = rejection;
            "a signature is missing or does not verify: somebody else's event, \
             or the wrong secret in sources.….verify"
        );
    }
    if verification.answers_without_body() {
        return ApiError::not_verified().without_body();
    }
    ApiError::not_verified()
}
