//! The relay API: `/v1/relays`.
//!
//! - `create`: `POST /v1/relays`. `create_request`: reads its body.
//! - `show`: `GET /v1/relays/{id}`. `list`: `GET /v1/relays`. `page`: reads its query.
//! - `view`: a relay as the API shows it.

mod create;
mod create_request;
mod list;
mod page;
mod show;
mod view;

use hyper::Method;
use hyper::http::request::Parts;

use crate::http::api_error::{ApiError, ErrorFormat};
use crate::http::app::App;
use crate::http::body::Body;
use crate::http::request_context::RequestContext;
use crate::http::response::Response;
use crate::model::Surface;

/// Authenticates, takes a token, and answers. Every response to an authenticated request, errors
/// included, reports the state of the token bucket. `id` is none for the collection.
pub(in crate::http) async fn answer(
    app: &App,
    context: &RequestContext,
    id: Option<&str>,
    head: &Parts,
    body: &mut Body,
) -> Result<Response, ApiError> {
    let Some(key) = app.api_keys.authenticate(&head.headers) else {
        return Err(ApiError::unauthorized());
    };
    let rate = key.take_token(&head.method);
    let result = if !rate.is_allowed {
        app.metrics.rate_limited(Surface::Relay);
        if head.method == Method::POST {
            app.metrics.rollups.refused(Surface::Relay, "");
        }
        Err(ApiError::rate_limited(rate.reset))
    } else if let Some(id) = id {
        show::show(app, context, id).await
    } else if head.method == Method::POST {
        create::create(app, context, key, &head.headers, body).await
    } else {
        list::list(app, context, head.uri.query()).await
    };
    let mut response =
        result.unwrap_or_else(|error| error.respond(ErrorFormat::Relay, context.id()));
    rate.write_to(response.headers_mut());
    Ok(response)
}
