//! `GET /api/rollups`: counts by minute or hour.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::http::admin::api::call::Call;
use crate::http::admin::api::query::Parameters;
use crate::http::api_error::ApiError;
use crate::http::response::{Response, json as json_response};
use crate::ops::views::{destination_counts, source_counts};
use crate::store::{Rollup, RollupQuery};

/// The time that is shown by default: an hour, in minutes.
const DEFAULT_TIME: Duration = Duration::from_secs(3600);
const DEFAULT_STEP: Duration = Duration::from_secs(60);

pub(super) async fn show(call: &Call<'_>) -> Result<Response, ApiError> {
    let now = call.app.clock.now();
    let mut parameters = Parameters::parse(call.head.uri.query());
    let to = parameters.time("to", now)?.unwrap_or(now);
    let from = parameters.time("from", now)?;
    let from = from.unwrap_or_else(|| to.minus(DEFAULT_TIME));
    let step = parameters.take_with("step", |text| {
        let step = crate::config::parse_duration(text);
        step.map_err(|_| "expected a duration such as 1m or 1h".to_owned())
    })?;
    parameters.end()?;
    let query = RollupQuery::new(from, to, step.unwrap_or(DEFAULT_STEP), now);
    let query = query.map_err(|problem| {
        let member = problem.split(':').next().unwrap_or_default();
        ApiError::invalid(member, problem.as_str())
    })?;
    let rollups = call
        .context
        .wait(call.app.store.rollups(query.clone()))
        .await?;
    let sources = rollups
        .sources
        .iter()
        .map(|row| at(row, source_counts(row)));
    let destinations = rollups.destinations.iter();
    let destinations = destinations.map(|row| at(row, destination_counts(row)));
    let answer = json!({
        "from": query.from(),
        "to": to,
        "step_seconds": query.step().as_secs(),
        "sources": sources.collect::<Vec<_>>(),
        "destinations": destinations.collect::<Vec<_>>(),
        "is_cut_short": rollups.is_cut_short,
    });
    Ok(json_response(StatusCode::OK, &answer))
}

/// The counts with the beginning of their step.
fn at<C>(row: &Rollup<C>, mut counts: Value) -> Value {
    counts["at"] = json!(row.at);
    counts
}
