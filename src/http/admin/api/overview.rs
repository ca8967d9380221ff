//! `GET /api/overview`: the relay at a glance. It costs the same however long the backlog is.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::http::admin::api::call::Call;
use crate::http::admin::api::destinations::{all, state};
use crate::http::api_error::ApiError;
use crate::http::response::{Response, json as json_response};
use crate::model::Level;
use crate::store::Unready;

pub(super) async fn show(call: &Call<'_>) -> Result<Response, ApiError> {
    let app = call.app;
    let config = Arc::clone(&app.config);
    let is_deliverable = {
        let config = Arc::clone(&config);
        move |name: &str| config.is_deliverable(name)
    };
    let backlog = call.context.wait(app.store.backlog(is_deliverable));
    let (deliveries, backlog) = tokio::join!(app.store.deliveries(), backlog);
    let backlog = backlog?;
    let destinations = all(call, usize::MAX).await?;
    let now = app.clock.now();
    let mut by_state: BTreeMap<&str, usize> = BTreeMap::new();
    for one in &destinations.found {
        *by_state.entry(state(one, &config, now)).or_default() += 1;
    }
    let deliveries = deliveries.map(|counts| {
        let counts = counts.into_iter();
        let named = counts.map(|(state, count)| (state.name().to_owned(), Value::from(count)));
        named.collect::<serde_json::Map<_, _>>()
    });
    let kept = backlog.kept.map(|kept| {
        let named = kept
            .into_iter()
            .map(|(reason, count)| (reason.to_owned(), Value::from(count)));
        named.collect::<serde_json::Map<_, _>>()
    });
    let is_delivering = config.level() != Level::Off;
    let oldest_due = backlog.oldest_due.filter(|_| is_delivering);
    let (database_bytes, wal_bytes) = app.store.file_sizes();
    let space = app.store.space_use();
    let unready = app.store.readiness().err();
    let overview = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "delivery_level": config.level().to_string(),
        "now": now,
        "held": app.store.is_held(),
        "is_ready": unready.is_none(),
        "unready_reason": unready.map(Unready::reason),
        "deliveries": deliveries,
        "kept": kept,
        "oldest_due_at": oldest_due,
        "destinations": by_state,
        "database_bytes": database_bytes,
        "wal_bytes": wal_bytes,
        "database_used_bytes": space.used,
        "database_max_bytes": space.max,
        "full_in_seconds": space.full_in.map(|left| left.as_secs()),
    });
    Ok(json_response(StatusCode::OK, &overview))
}
