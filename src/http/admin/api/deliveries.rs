//! `GET /api/deliveries`.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::http::admin::api::call::Call;
use crate::http::admin::api::query::Parameters;
use crate::http::api_error::ApiError;
use crate::http::response::{Response, json as json_response};
use crate::model::DeliveryState;
use crate::ops::views::listed_delivery;
use crate::store::{DeliveryCursor, ListQuery};

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;
/// Rows that a page without an index looks at, so that it costs the same however many are stored:
/// some 10 ms. Then the page is short, and the next one continues.
pub(in crate::http::admin) const MAX_ROWS: usize = 10_000;

pub(super) async fn list(call: &Call<'_>) -> Result<Response, ApiError> {
    let query = query(call)?;
    let listing = call
        .context
        .wait(call.app.store.deliveries_page(query))
        .await?;
    let config = Arc::clone(&call.app.config);
    let items = listing
        .found
        .iter()
        .map(|row| listed_delivery(row, &config));
    let page = json!({
        "items": items.collect::<Vec<Value>>(),
        "next": listing.next.map(|next| next.to_string()),
        "searched_to": listing.searched_to,
    });
    Ok(json_response(StatusCode::OK, &page))
}

fn query(call: &Call<'_>) -> Result<ListQuery, ApiError> {
    let now = call.app.clock.now();
    let mut parameters = Parameters::parse(call.head.uri.query());
    let status = parameters.take_with("status", Status::parse)?;
    let query = ListQuery {
        state: status.and_then(Status::state),
        is_blocked: status == Some(Status::Blocked),
        destination: parameters.take("destination")?,
        source: parameters.take("source")?,
        event_type: parameters.take("type")?,
        since: parameters.time("since", now)?,
        until: parameters.time("until", now)?,
        after: parameters.take_with("after", |text| {
            let cursor = DeliveryCursor::parse(text);
            cursor.ok_or_else(|| "expected the next of an earlier answer".to_owned())
        })?,
        limit: parameters.number("limit", DEFAULT_LIMIT, (1, MAX_LIMIT))?,
        max_rows: Some(MAX_ROWS),
    };
    parameters.end()?;
    Ok(query)
}

/// The wanted deliveries: in a state, or behind others in their order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::http::admin) enum Status {
    State(DeliveryState),
    Blocked,
}

impl Status {
    /// The state of the deliveries; none of those that are blocked.
    pub fn state(self) -> Option<DeliveryState> {
        match self {
            Self::State(state) => Some(state),
            Self::Blocked => None,
        }
    }

    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "blocked" {
            return Ok(Self::Blocked);
        }
        let mut all = DeliveryState::ALL.into_iter();
        let found = all.find(|state| state.name() == text);
        found.map(Self::State).ok_or_else(|| {
            let names = DeliveryState::ALL.map(DeliveryState::name).join(", ");
            format!("expected one of {names}, blocked")
        })
    }
}
