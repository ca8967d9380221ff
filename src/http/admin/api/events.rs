//! `GET /api/events/{id}` and its payload, for the ids of both surfaces.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, HeaderValue};

use crate::http::admin::api::call::Call;
use crate::http::api_error::ApiError;
use crate::http::response::{Response, json, with_type};
use crate::model::IntentId;
use crate::ops::status_text::{DISCARDED, RelayState, payload_gone};
use crate::ops::views;
use crate::store::StoredIntent;

pub(super) async fn show(call: &Call<'_>, id: &str) -> Result<Response, ApiError> {
    let row = find(call, id).await?;
    let app = call.app;
    let (config, now, is_held) = (
        Arc::clone(&app.config),
        app.clock.now(),
        app.store.is_held(),
    );
    let bytes = row.size();
    let work = move || {
        let relay = RelayState {
            config: &config,
            now,
            is_held,
        };
        json(StatusCode::OK, &views::intent(&row, relay))
    };
    app.offload.run_if_large(call.context, bytes, work).await
}

/// The payload as a file. It comes from a stranger, so that a browser must neither show it nor run
/// a script in it.
pub(super) async fn payload(call: &Call<'_>, id: &str) -> Result<Response, ApiError> {
    let row = find(call, id).await?;
    if row.is_payload_gone() {
        let why = row.gone.map_or_else(|| DISCARDED.to_owned(), payload_gone);
        return Err(ApiError::not_found(why));
    }
    let name = format!(
        "attachment; filename=\"{}.bin\"",
        row.surface.public_id(row.id)
    );
    let mut response = with_type(StatusCode::OK, "application/octet-stream", row.payload);
    let headers = response.headers_mut();
    let name = HeaderValue::try_from(name).expect("an id has visible ASCII characters");
    headers.insert(CONTENT_DISPOSITION, name);
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    Ok(response)
}

async fn find(call: &Call<'_>, id: &str) -> Result<StoredIntent, ApiError> {
    let unknown = || ApiError::not_found("there is no relay or event of this id");
    let id: IntentId = id.parse().map_err(|_| unknown())?;
    let found = call.app.store.intent_of_any_surface(id);
    call.context.wait(found).await?.ok_or_else(unknown)
}
