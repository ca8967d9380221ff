//! The operator's listener: metrics. Never on the public one.

use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};

use crate::http::api_error::{ApiError, ErrorFormat};
use crate::http::app::App;
use crate::http::body::Request;
use crate::http::request_context::{REQUEST_ID, RequestContext};
use crate::http::response::{Response, with_type};
use crate::http::routes::health;
use crate::model::Level;

impl App {
    /// Answers a request of the operator's listener.
    pub async fn answer_admin(self: Arc<Self>, request: Request) -> Response {
        let app = &*self;
        let context = RequestContext::begin(request.headers(), app.config.server.request_timeout);
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let mut response = match (request.uri().path(), is_read) {
            ("/metrics", true) => metrics(app).await,
            ("/healthz", true) => health::healthz(),
            ("/metrics" | "/healthz", false) => {
                ApiError::method_not_allowed("GET, HEAD").respond(ErrorFormat::Relay, context.id())
            }
            _ => {
                ApiError::not_found("there is nothing at this path: expected /metrics or /healthz")
                    .respond(ErrorFormat::Relay, context.id())
            }
        };
        response
            .headers_mut()
            .insert(REQUEST_ID, context.request_id);
        response
    }
}

/// Brings the gauges up to date and renders everything.
async fn metrics(app: &App) -> Response {
    // Until they are counted, right after a start, the gauges aren't there: 0 would be a lie.
    for (state, count) in app.store.deliveries().into_iter().flatten() {
        app.metrics.deliveries(state, count);
    }
    let config = Arc::clone(&app.config);
    match app
        .store
        .backlog(move |name| config.is_deliverable(name))
        .await
    {
        Ok(backlog) => {
            for (reason, count) in backlog.kept.into_iter().flatten() {
                app.metrics.deliveries_kept(reason, count);
            }
            let now = app.clock.now();
            // With the level off nothing should be going out.
            let is_delivering = app.config.level() != Level::Off;
            let oldest_due = backlog.oldest_due.filter(|_| is_delivering);
            app.metrics
                .oldest_due(oldest_due.map_or(Duration::ZERO, |due| now.since(due)));
        }
        // The counters are still worth having.
        Err(error) => log::warn!(error:% = error; "the backlog can't be read"),
    }
    let (database, wal) = app.store.file_sizes();
    app.metrics.file_sizes(database, wal);
    with_type(
        StatusCode::OK,
        "text/plain; version=0.0.4; charset=utf-8",
        app.metrics.render(),
    )
}
