//! `/api/operations`: replays, retries, discards, reroutes and erasures of many relays and events.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{HeaderValue, LOCATION};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::admin::api::call::Call;
use crate::http::admin::api::query::Parameters;
use crate::http::api_error::ApiError;
use crate::http::body::Body;
use crate::http::response::{Response, json as json_response};
use crate::http::routes::idempotency::relay_key;
use crate::maintenance::ConfiguredRouting;
use crate::ops::operations::{self, Created, Invalid, OperationRequest, PlanError};
use crate::store::{BulkId, NewBulk, OperationsQuery, StoredOperation};

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;

/// The greatest number that a page may begin after: more operations than anybody creates.
const MAX_NUMBER: u32 = 1_000_000_000;

/// The body of a cancellation: nothing.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CancelRequest {}

pub(super) async fn create(call: &Call<'_>, body: &mut Body) -> Result<Response, ApiError> {
    let nonce = relay_key(&call.head.headers)?;
    let request: OperationRequest = call.document(body).await?;
    let new = plan(call, &request).await?;
    let (app, context) = (call.app, call.context);
    if request.dry_run {
        let routing = ConfiguredRouting(Arc::clone(&app.config));
        let preview = operations::preview(&app.store, new.clone(), routing);
        let preview = context.wait(preview).await?;
        let view = operations::preview_view(&new, &preview);
        return Ok(json_response(StatusCode::OK, &view));
    }
    let create = operations::create(&app.store, &call.caller.name, nonce, new);
    match context.wait(create).await? {
        Created::New(operation) | Created::Before(operation) => Ok(accepted(&operation)),
        Created::Conflict => Err(ApiError::conflict()),
    }
}

async fn plan(call: &Call<'_>, request: &OperationRequest) -> Result<NewBulk, ApiError> {
    let scope = (&*call.app.config, call.app.clock.now());
    let planned = async {
        match operations::plan(&call.app.store, scope, request).await {
            Ok(new) => Ok(Ok(new)),
            Err(PlanError::Invalid(invalid)) => Ok(Err(invalid)),
            Err(PlanError::Store(error)) => Err(error),
        }
    };
    call.context.wait(planned).await?.map_err(refused)
}

fn refused(invalid: Invalid) -> ApiError {
    let Invalid {
        member, problem, ..
    } = invalid;
    let message = if problem.starts_with(member) {
        problem
    } else {
        format!("{member}: {problem}")
    };
    ApiError::invalid(member, message)
}

fn accepted(operation: &StoredOperation) -> Response {
    let view = operations::operation(operation);
    let mut response = json_response(StatusCode::ACCEPTED, &view);
    let location = format!("/api/operations/{}", operation.id);
    let location = HeaderValue::try_from(location).expect("a number is visible ASCII");
    response.headers_mut().insert(LOCATION, location);
    response
}

pub(super) async fn list(call: &Call<'_>) -> Result<Response, ApiError> {
    let mut parameters = Parameters::parse(call.head.uri.query());
    let query = OperationsQuery {
        after: parameters.take_with("after", |text| {
            let is_number = text.parse::<u32>().is_ok_and(|number| number <= MAX_NUMBER);
            let number = text.parse().ok().filter(|_| is_number);
            number.ok_or_else(|| "expected the next of an earlier answer".to_owned())
        })?,
        limit: parameters.number("limit", DEFAULT_LIMIT, (1, MAX_LIMIT))?,
    };
    parameters.end()?;
    let page = call.app.store.operations_page(query);
    let page = call.context.wait(page).await?;
    let items = page.found.iter().map(|found| {
        let mut view = operations::operation(found);
        if let Some(members) = view.as_object_mut() {
            members.remove("parts");
        }
        view
    });
    let answer = json!({
        "items": items.collect::<Vec<Value>>(),
        "next": page.next.map(|next| next.to_string()),
    });
    Ok(json_response(StatusCode::OK, &answer))
}

pub(super) async fn show(call: &Call<'_>, id: &str) -> Result<Response, ApiError> {
    let found = call.app.store.operation(number(id)?);
    let found = call.context.wait(found).await?.ok_or_else(unknown)?;
    Ok(json_response(
        StatusCode::OK,
        &operations::operation(&found),
    ))
}

pub(super) async fn cancel(
    call: &Call<'_>,
    id: &str,
    body: &mut Body,
) -> Result<Response, ApiError> {
    let CancelRequest {} = call.document(body).await?;
    let cancel = operations::cancel(&call.app.store, &call.caller.name, number(id)?);
    let (is_changed, found) = call.context.wait(cancel).await?.ok_or_else(unknown)?;
    let mut view = operations::operation(&found);
    view["is_changed"] = is_changed.into();
    Ok(json_response(StatusCode::OK, &view))
}

fn number(id: &str) -> Result<BulkId, ApiError> {
    id.parse().map_err(|_| unknown())
}

fn unknown() -> ApiError {
    ApiError::not_found("there is no operation of this id, or it ended 30 days ago")
}
