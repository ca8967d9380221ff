//! The operator's listener. None of its routes is on the public one, except `/healthz`.
//!
//! - `metrics`: `GET /metrics`.

mod metrics;

use std::sync::Arc;

use hyper::Method;

use crate::http::api_error::{ApiError, ErrorFormat};
use crate::http::app::App;
use crate::http::body::Request;
use crate::http::request_context::{REQUEST_ID, RequestContext};
use crate::http::response::Response;
use crate::http::routes::health;

impl App {
    /// Answers a request of the operator's listener.
    pub async fn answer_admin(self: Arc<Self>, request: Request) -> Response {
        let context = RequestContext::new(request.headers(), self.config.server.request_timeout);
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let result = match (request.uri().path(), is_read) {
            ("/metrics", true) => Ok(metrics::render(&self).await),
            ("/healthz", true) => Ok(health::healthz()),
            ("/metrics" | "/healthz", false) => Err(ApiError::method_not_allowed("GET, HEAD")),
            _ => Err(ApiError::not_found(
                "there is nothing at this path: expected /metrics or /healthz",
            )),
        };
        let mut response =
            result.unwrap_or_else(|error| error.respond(ErrorFormat::Relay, context.id()));
        response
            .headers_mut()
            .insert(REQUEST_ID, context.request_id);
        response
    }
}
