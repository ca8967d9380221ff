//! Whether we live, and whether we can take anything.

use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER};
use serde::Serialize;

use crate::clock::Timestamp;
use crate::http::api_error::ApiError;
use crate::http::app::App;
use crate::http::response::{Response, json};
use crate::store::Unready;

#[derive(Serialize)]
struct Status {
    status: &'static str,
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Checks>,
}

#[derive(Serialize)]
struct Checks {
    database: &'static str,
}

pub(in crate::http) fn healthz() -> Response {
    json(StatusCode::OK, &Status { status: "ok" })
}

pub(in crate::http) fn readyz(app: &App) -> Result<Response, ApiError> {
    check(app)
        .map(|()| json(StatusCode::OK, &Status { status: "ready" }))
        .map_err(ApiError::overloaded)
}

pub(in crate::http) fn health(app: &App) -> Response {
    json(
        StatusCode::OK,
        &Health {
            status: "healthy",
            timestamp: app.clock.wall(),
            checks: None,
        },
    )
}

pub(in crate::http) fn ready(app: &App) -> Response {
    let (code, status, database) = match check(app) {
        Ok(()) => (StatusCode::OK, "ready", "connected"),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, "unready", why),
    };
    let mut response = json(
        code,
        &Health {
            status,
            timestamp: app.clock.wall(),
            checks: Some(Checks { database }),
        },
    );
    if code == StatusCode::SERVICE_UNAVAILABLE {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// Asks for what the writer has published, so that no number of requests costs a commit or a reader.
fn check(app: &App) -> Result<(), &'static str> {
    app.store.readiness().map_err(Unready::reason)
}
