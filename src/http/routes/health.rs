//! Liveness and readiness, in the forms of both surfaces.

use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER};
use serde::Serialize;

use crate::clock::Timestamp;
use crate::http::api_error::ApiError;
use crate::http::app::App;
use crate::http::response::{Response, json};
use crate::store::Unready;

/// The relay API's form.
#[derive(Serialize)]
struct ProbeView {
    status: &'static str,
}

/// The webhook API's form.
#[derive(Serialize)]
struct HealthView {
    status: &'static str,
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<ChecksView>,
}

#[derive(Serialize)]
struct ChecksView {
    database: &'static str,
}

pub(in crate::http) fn healthz() -> Response {
    json(StatusCode::OK, &ProbeView { status: "ok" })
}

pub(in crate::http) fn readyz(app: &App) -> Result<Response, ApiError> {
    check(app)
        .map(|()| json(StatusCode::OK, &ProbeView { status: "ready" }))
        .map_err(ApiError::overloaded)
}

pub(in crate::http) fn health(app: &App) -> Response {
    json(
        StatusCode::OK,
        &HealthView {
            status: "healthy",
            timestamp: app.clock.wall(),
            checks: None,
        },
    )
}

pub(in crate::http) fn ready(app: &App) -> Response {
    let (code, status, database) = match check(app) {
        Ok(()) => (StatusCode::OK, "ready", "connected"),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, "unready", reason),
    };
    let mut response = json(
        code,
        &HealthView {
            status,
            timestamp: app.clock.wall(),
            checks: Some(ChecksView { database }),
        },
    );
    if code == StatusCode::SERVICE_UNAVAILABLE {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// Reads the state that the writer publishes, so that no number of requests costs a commit or a
/// reader.
fn check(app: &App) -> Result<(), &'static str> {
    if let Some(tls) = &app.tls
        && tls.identity().is_none()
    {
        return Err("the public listener has no certificate yet (server.acme): the log says why");
    }
    app.store.readiness().map_err(Unready::reason)
}
