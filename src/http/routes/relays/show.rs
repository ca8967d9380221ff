//! `GET /v1/relays/{id}`.

use hyper::StatusCode;

use crate::http::api_error::ApiError;
use crate::http::app::App;
use crate::http::request_context::RequestContext;
use crate::http::response::{Response, json};
use crate::http::routes::relays::view::RelayView;
use crate::model::IntentId;
use crate::store::StoredRelay;

pub(super) async fn show(
    app: &App,
    context: &RequestContext,
    id: &str,
) -> Result<Response, ApiError> {
    let unknown = || ApiError::not_found("there is no relay of this id");
    // The `evt_` form names events only.
    if id.starts_with("evt_") {
        return Err(unknown());
    }
    let id = id.parse().map_err(|_| unknown())?;
    let row = find(app, context, id).await?.ok_or_else(unknown)?;
    respond(app, context, row, |relay| json(StatusCode::OK, relay)).await
}

pub(super) async fn find(
    app: &App,
    context: &RequestContext,
    id: IntentId,
) -> Result<Option<StoredRelay>, ApiError> {
    context.wait(app.store.relay(id)).await
}

/// Responds with a stored relay.
pub(super) async fn respond(
    app: &App,
    context: &RequestContext,
    row: StoredRelay,
    response: fn(&RelayView<'_>) -> Response,
) -> Result<Response, ApiError> {
    let bytes = row.size();
    let work = move || response(&RelayView::new(&row));
    app.offload.run_if_large(context, bytes, work).await
}
