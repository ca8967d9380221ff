//! `GET /api/config`: the settings that take effect, without secrets.

use hyper::StatusCode;

use crate::http::admin::api::call::Call;
use crate::http::response::{Response, json};

pub(super) fn show(call: &Call<'_>) -> Response {
    json(StatusCode::OK, &call.app.config.redacted())
}
