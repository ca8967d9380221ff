//! The operator's listener: metrics. Never on the public one.

use hyper::{Method, StatusCode};

use super::exchange::{Exchange, REQUEST_ID, typed};
use super::problem::{Form, Problem};
use super::{App, Request, Response, health};
use crate::store::Backlog;

pub(super) async fn answer(app: &App, request: &Request) -> Response {
    let exchange = Exchange::begin(request.headers(), app.config.server.request_timeout);
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let mut response = match (request.uri().path(), is_read) {
        ("/metrics", true) => metrics(app).await,
        ("/healthz", true) => health::healthz(),
        ("/metrics" | "/healthz", false) => {
            Problem::method_not_allowed("GET, HEAD").respond(Form::Relay, exchange.id())
        }
        _ => Problem::not_found("there is nothing at this path: expected /metrics or /healthz")
            .respond(Form::Relay, exchange.id()),
    };
    response
        .headers_mut()
        .insert(REQUEST_ID, exchange.request_id);
    response
}

/// Brings the gauges up to date and renders everything.
async fn metrics(app: &App) -> Response {
    match app.store.read(Backlog::read).await {
        Ok(backlog) => {
            for (state, count) in backlog.counts {
                app.metrics.deliveries(state, count);
            }
            let now = app.clock.now();
            app.metrics.oldest_due(
                backlog
                    .oldest_due
                    .map_or(std::time::Duration::ZERO, |due| now.since(due)),
            );
        }
        // The counters are still worth having.
        Err(error) => log::warn!(error:% = error; "the backlog can't be counted"),
    }
    let (database, wal) = app.store.file_sizes();
    app.metrics.file_sizes(database, wal);
    typed(
        StatusCode::OK,
        "text/plain; version=0.0.4; charset=utf-8",
        app.metrics.render(),
    )
}
