//! Handshakes that bring a secret. It is learned only while the source expects one, and once: the
//! first to come would otherwise decide whose requests are verified.

use hyper::http::request::Parts;

use crate::http::admission::SourceVerification;
use crate::http::admission::handshakes::{HandshakeAnswer, confirmation, hook_secret};
use crate::http::admission::signatures::Rejection;
use crate::http::api_error::ApiError;
use crate::http::app::App;
use crate::http::request_context::RequestContext;
use crate::http::routes::webhooks::refusals::not_verified;

/// Learns the secret that a request brings, and answers once it is durable and in use.
pub(super) async fn learn(
    app: &App,
    context: &RequestContext,
    name: &str,
    verification: &SourceVerification,
    head: &Parts,
) -> HandshakeAnswer {
    let unexpected = || not_verified(app, context, verification, &Rejection::UnexpectedSecret);
    // A stranger's request costs a read. That it is unexpected is all that it learns.
    let expects = app.store.expects_secret(name, app.clock.now());
    if !context.wait(expects).await? {
        return Err(unexpected());
    }
    let secret = hook_secret(&verification.view(head, b""))?;
    if !verification.can_learn(&secret) {
        return Err(ApiError::malformed(
            "the handshake's secret can't be used: expected one in the form of secret_encoding",
        ));
    }
    let learning = app.learned_secrets.learn(&app.store, name, &secret);
    if !context.wait(learning).await? {
        return Err(unexpected());
    }
    log::info!(
        request_id = context.id(), source = name;
        "a source learned a secret by a handshake: it expects no other"
    );
    Ok(confirmation(&secret))
}
