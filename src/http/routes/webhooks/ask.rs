//! Handshakes that are asked with another method than POST.

use hyper::Method;
use hyper::http::request::Parts;

use crate::config::HandshakeMethod;
use crate::http::admission::handshakes::Rule;
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
    let verification = app.source_gates.verification(name);
    let verification = verification.filter(|_| is_name(name));
    let handshakes = verification.as_ref().and_then(|one| one.handshakes());
    let no_handshake = || {
        let allow = handshakes.map_or("POST", |handshakes| handshakes.allow());
        ApiError::method_not_allowed(allow)
    };
    let method = match head.method {
        Method::GET | Method::HEAD => HandshakeMethod::Get,
        Method::OPTIONS => HandshakeMethod::Options,
        _ => return Err(no_handshake()),
    };
    let (Some(verification), Some(handshakes)) = (verification.as_ref(), handshakes) else {
        return Err(no_handshake());
    };
    if !verification.allows(body.peer, &head.headers) {
        return Err(not_allowed(app, context, verification));
    }
    let view = verification.view(head, b"");
    let unsigned = handshakes.asked_in_head(method, &view);
    let has_signed = handshakes.has_signed(method);
    // One that every request asks is tried last.
    if unsigned.is_none_or(Rule::matches_anything) && has_signed {
        match verification.verify(head, b"", app.clock.wall()) {
            Ok(verified) => {
                if let Some(rule) = handshakes.asked_by_provider(method, &view) {
                    return rule.answer(&view, verified.key.as_deref());
                }
            }
            Err(rejection) if unsigned.is_none() => {
                return Err(not_verified(app, context, verification, &rejection));
            }
            Err(_) => {}
        }
    }
    let rule = unsigned.ok_or_else(|| match &*handshakes.explain_head(method, &view) {
        "" => no_handshake(),
        why => ApiError::no_handshake(handshakes.allow(), &head.method, why),
    })?;
    take_handshake_token(app, name)?;
    rule.answer(&view, handshakes.first_key())
}
