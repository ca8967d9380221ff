//! Whether we live, and whether we can take anything.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER};
use serde::Serialize;

use super::exchange::{Exchange, json};
use super::problem::Problem;
use super::{App, Response};
use crate::clock::Timestamp;
use crate::store::Probe;

/// How long the store may take to answer a probe; a healthy one takes as long as a commit.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

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

pub(super) fn healthz() -> Response {
    json(StatusCode::OK, &Status { status: "ok" })
}

pub(super) async fn readyz(app: &App, exchange: &Exchange) -> Result<Response, Problem> {
    check(app, exchange)
        .await
        .map(|()| json(StatusCode::OK, &Status { status: "ready" }))
        .map_err(Problem::overloaded)
}

pub(super) fn health(app: &App) -> Response {
    json(
        StatusCode::OK,
        &Health {
            status: "healthy",
            timestamp: app.clock.wall(),
            checks: None,
        },
    )
}

pub(super) async fn ready(app: &App, exchange: &Exchange) -> Response {
    let (code, status, database) = match check(app, exchange).await {
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

/// Goes through the writer and a reader, so that neither can be dead behind a green light.
async fn check(app: &App, exchange: &Exchange) -> Result<(), &'static str> {
    if app.store.is_low_on_space() {
        return Err("too little free space on the database's disk (database.min_free_bytes)");
    }
    let probe = async {
        app.store.write(Probe).await?;
        app.store.read(Probe::read).await
    };
    match tokio::time::timeout(PROBE_TIMEOUT, probe).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            log::warn!(request_id = exchange.id(), error:% = error; "not ready");
            Err("the database does not answer")
        }
        Err(_) => Err("the database takes too long to answer"),
    }
}
