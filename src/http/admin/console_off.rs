//! Stands in for the console in a build without it.

use hyper::http::request::Parts;

use crate::http::api_error::ApiError;
use crate::http::app::App;
use crate::http::body::Body;
use crate::http::request_context::RequestContext;
use crate::http::response::Response;

/// There is no page.
#[expect(clippy::unused_async, reason = "the console's own waits for the store")]
pub(super) async fn answer(
    _app: &App,
    _context: &RequestContext,
    _head: &Parts,
    _body: &mut Body,
) -> Result<Response, ApiError> {
    Err(ApiError::not_found(
        "there is nothing at this path: expected /metrics, /healthz, /readyz, or /api/…",
    ))
}
