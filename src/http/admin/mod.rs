//! The operator's listener. None of its routes is on the public one, except `/healthz`
//! and `/readyz`.
//!
//! - `access`: who may ask. `metrics`: `GET /metrics`. `api/`: the operator's API. `tails`: entries
//!   as they happen.
//! - `destination_actions`: pause, resume, probe and ping, for the API and the console. `pings`:
//!   tests of destinations.
//! - `console/`: the pages for people; `console_off` stands in for it in a build without the
//!   feature `console`. `results`: the results of its forms.

mod access;
mod api;
mod destination_actions;
mod metrics;
mod pings;
#[allow(dead_code, reason = "a build without the console has no form")]
mod results;
mod tails;

#[cfg(feature = "console")]
mod console;
#[cfg(not(feature = "console"))]
#[path = "console_off.rs"]
mod console;

use std::sync::Arc;

use hyper::header::{CACHE_CONTROL, CONNECTION, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

pub(super) use access::AdminAccess;
pub(super) use pings::Pings;
pub(super) use results::Results;
pub(super) use tails::Tails;

use crate::http::api_error::{ApiError, ErrorFormat};
use crate::http::app::App;
use crate::http::body::{Body, Request};
use crate::http::framing::check_head;
use crate::http::request_context::{REQUEST_ID, RequestContext};
use crate::http::response::{AdminBody, AdminResponse, with_type};
use crate::http::routes::health;

/// The contract of the operator's API, served at `/openapi.admin.yaml`.
const OPENAPI: &str = include_str!("../../../openapi.admin.yaml");

const NOSNIFF: (HeaderName, HeaderValue) = (
    HeaderName::from_static("x-content-type-options"),
    HeaderValue::from_static("nosniff"),
);

impl App {
    /// Answers a request of the operator's listener.
    pub async fn answer_admin(self: Arc<Self>, request: Request) -> AdminResponse {
        let (head, mut body) = request.into_parts();
        let timeout = self.config.server.request_timeout;
        let context = RequestContext::new(&head.headers, body.is_secure, timeout);
        let context = context.by(&head.method);
        let framing = check_head(&self.config.server, &head);
        let is_well_framed = framing.is_ok();
        let result = match framing {
            Ok(()) => dispatch(&self, &context, &head, &mut body).await,
            Err(error) => Err(error),
        };
        let mut response = result.unwrap_or_else(|error| {
            let response = error.respond(ErrorFormat::Relay, context.id());
            response.map(AdminBody::from)
        });
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, context.request_id);
        // Payloads come from strangers: a browser must not guess what they are, or keep them.
        headers.insert(NOSNIFF.0, NOSNIFF.1);
        headers
            .entry(CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
        // The bytes that follow on this connection might not be the next request.
        if !is_well_framed || !body.drain().await {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

async fn dispatch(
    app: &App,
    context: &RequestContext,
    head: &Parts,
    body: &mut Body,
) -> Result<AdminResponse, ApiError> {
    let is_read = matches!(head.method, Method::GET | Method::HEAD);
    let response = match (head.uri.path(), is_read) {
        ("/metrics", true) => {
            app.admin_access.check_metrics(head)?;
            Ok(metrics::render(app).await)
        }
        ("/healthz", true) => Ok(health::healthz()),
        ("/readyz", true) => health::readyz(app),
        ("/openapi.admin.yaml", true) => Ok(with_type(StatusCode::OK, "application/yaml", OPENAPI)),
        ("/metrics" | "/healthz" | "/readyz" | "/openapi.admin.yaml", false) => {
            Err(ApiError::method_not_allowed("GET, HEAD"))
        }
        (path, _) => match path.strip_prefix("/api/") {
            Some(path) => return api::answer(app, context, path, head, body).await,
            None => console::answer(app, context, head, body).await,
        },
    };
    response.map(|response| response.map(AdminBody::from))
}
