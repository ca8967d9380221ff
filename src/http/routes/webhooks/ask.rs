//! Handshakes that are asked with another method than POST.

use hyper::Method;
use hyper::http::request::Parts;

use crate::config::HandshakeMethod;
use crate::http::api_error::ApiError;
use crate::http::app::App;
use crate::http::body::Body;
use crate::http::request_context::RequestContext;
use crate::http::response::Response;
use crate::http::routes::webhooks::admit::take_handshake_token;
use crate::http::routes::webhooks::refusals::{not_allowed, not_verified};
use crate::model::is_name;

/// Answers a handshake. A source that isn't asked one answers 405, like one without handshakes.
pub(in crate::http) fn ask(
    app: &App,
    context: &RequestContext,
    name: &str,
    head: &Parts,
    body: &Body,
) -> Result<Response, ApiError> {
    let no_handshake = || ApiError::method_not_allowed("POST");
    let method = match head.method {
        Method::GET | Method::HEAD => HandshakeMethod::Get,
        Method::OPTIONS => HandshakeMethod::Options,
        _ => return Err(no_handshake()),
    };
    let verification = app.source_gates.verification(name);
    let Some(verification) = verification.filter(|_| is_name(name)) else {
        return Err(no_handshake());
    };
    let Some(handshakes) = verification.handshakes() else {
        return Err(no_handshake());
    };
    if !verification.allows(body.peer, &head.headers) {
        return Err(not_allowed(app, context, verification));
    }
    let view = verification.view(head, b"");
    if let Some(rule) = handshakes.asked_in_head(method, &view) {
        take_handshake_token(app, name)?;
        return rule.answer(&view, handshakes.first_key());
    }
    if !handshakes.has_signed(method) {
        return Err(no_handshake());
    }
    let verified = verification
        .verify(head, b"", app.clock.wall())
        .map_err(|rejection| not_verified(app, context, verification, &rejection))?;
    let rule = handshakes.asked_by_provider(method, &view);
    let rule = rule.ok_or_else(no_handshake)?;
    rule.answer(&view, verified.key.as_deref())
}
