//! `/api/config`: the settings that take effect, without secrets. `/api/reload`: reads them anew.

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::http::admin::api::call::Call;
use crate::http::api_error::ApiError;
use crate::http::body::Body;
use crate::http::response::{Response, json as json_response};
use crate::store::StoreError;

/// The body of a reload.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ReloadRequest {
    /// Only tells what would change.
    dry_run: bool,
}

pub(super) async fn show(call: &Call<'_>) -> Result<Response, ApiError> {
    let state = call.context.wait(call.app.store.config_state()).await?;
    let last = call.app.reload_file.last(&state.last);
    let mut view = call.app.config.redacted();
    view["fingerprint"] = state.last.fingerprint.into();
    view["generation"] = state.last.generation.into();
    view["last_reload"] = json!({ "at": last.at, "error": last.error });
    Ok(json_response(StatusCode::OK, &view))
}

/// Reads the configuration anew, on a thread that may block: the file, its secrets and certificates
/// are read and checked.
pub(super) async fn reload(call: &Call<'_>, body: &mut Body) -> Result<Response, ApiError> {
    let ReloadRequest { dry_run } = call.document(body).await?;
    let who = call.caller.name.as_str();
    log::info!(who, dry_run; "reload requested");
    let reload_file = call.app.reload_file.clone();
    let reload = tokio::task::spawn_blocking(move || reload_file.call(dry_run));
    let report = reload.await.map_err(|error| {
        let error = StoreError::Unexpected(format!("a reload panicked: {error}"));
        ApiError::from_store(&error, call.context.id())
    })?;
    match report {
        Ok(report) => {
            let answer = json!({ "is_reloaded": !dry_run, "report": report });
            Ok(json_response(StatusCode::OK, &answer))
        }
        Err(why) => Err(ApiError::changed(why)),
    }
}
