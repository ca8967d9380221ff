//! `GET /api/nodes`: the processes that share the database.

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::http::admin::api::call::Call;
use crate::http::api_error::ApiError;
use crate::http::response::{Response, json as json_response};
use crate::ops::views;

pub(super) async fn list(call: &Call<'_>) -> Result<Response, ApiError> {
    let own = &call.app.config.node;
    let found = call.context.wait(call.app.store.nodes(own)).await?;
    let items = found.iter().map(|node| {
        let mut view = views::node(node);
        view["is_self"] = node.is_own.into();
        view
    });
    let answer = json!({ "items": items.collect::<Vec<Value>>() });
    Ok(json_response(StatusCode::OK, &answer))
}
