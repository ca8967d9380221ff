//! `GET /metrics`.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;

use crate::http::app::App;
use crate::http::response::{Response, with_type};
use crate::model::Level;

/// Brings the gauges up to date and renders all metrics.
pub(super) async fn render(app: &App) -> Response {
    let config = Arc::clone(&app.config);
    let backlog = app.store.backlog(move |name| config.is_deliverable(name));
    let (deliveries, backlog) = tokio::join!(app.store.deliveries(), backlog);
    // The gauges are absent until the counts are known, shortly after a start: 0 would be wrong.
    for (state, count) in deliveries.into_iter().flatten() {
        app.metrics.deliveries(state, count);
    }
    match backlog {
        Ok(backlog) => {
            for (reason, count) in backlog.kept.into_iter().flatten() {
                app.metrics.deliveries_kept(reason, count);
            }
            let now = app.clock.now();
            // With the level off nothing is delivered, so that nothing is overdue.
            let is_delivering = app.config.level() != Level::Off;
            let oldest_due = backlog.oldest_due.filter(|_| is_delivering);
            app.metrics
                .oldest_due(oldest_due.map_or(Duration::ZERO, |due| now.since(due)));
        }
        // The counters are useful without these gauges.
        Err(error) => log::warn!(error:% = error; "the backlog can't be read"),
    }
    match app.store.blocking_by_name().await {
        Ok(Some(counts)) => {
            let is_counted = |name: &str| counts.iter().any(|(known, _)| known == name);
            let ordered = app.config.destinations.iter();
            let ordered = ordered.filter(|(name, to)| to.order.is_some() && !is_counted(name));
            // Zero is shown, too, so that an alert can tell it from an absent gauge.
            let none = ordered.map(|(name, _)| (name.as_str(), 0));
            let counted = counts.iter().map(|(name, count)| (name.as_str(), *count));
            app.metrics.ordering_blocked(counted.chain(none));
        }
        Ok(None) => {}
        Err(error) => log::warn!(error:% = error; "the blocking dead letters can't be read"),
    }
    app.metrics.backup.held(app.store.is_held());
    if let Some(own) = app.store.own_lease() {
        app.metrics.own_lease(own);
    }
    let (database, wal) = app.store.file_sizes();
    app.metrics.file_sizes(database, wal);
    app.metrics.space.set(app.store.space_use());
    with_type(
        StatusCode::OK,
        "text/plain; version=0.0.4; charset=utf-8",
        app.metrics.render(),
    )
}
