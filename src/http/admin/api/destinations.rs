//! `/api/destinations`: their states, and the actions of operators.

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::config::Resolved;
use crate::http::admin::api::call::Call;
use crate::http::admin::api::query::Parameters;
use crate::http::admin::destination_actions::{Action, Operator};
use crate::http::api_error::ApiError;
use crate::http::body::Body;
use crate::http::response::{Response, json as json_response};
use crate::ops::operations::known;
use crate::ops::views;
use crate::store::{
    DestinationOverview, DestinationsPage, DestinationsQuery, KeepReason, Obstacles,
};

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 200;
/// Destinations that a page may begin after: as many as a configuration sensibly has, and many
/// times the ad hoc origins that one looks at.
const MAX_OFFSET: usize = 1_000_000;
/// The body of a `POST`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ActionRequest {
    /// Why it is paused.
    reason: Option<String>,
    /// The pause to end, by its time: a later pause by somebody else stays.
    paused_at: Option<Timestamp>,
}

impl ActionRequest {
    /// Refuses members that an action doesn't have.
    fn check(&self, action: Action) -> Result<(), ApiError> {
        let members = [
            ("reason", self.reason.is_some(), Action::Pause),
            ("paused_at", self.paused_at.is_some(), Action::Resume),
        ];
        for (member, is_given, of) in members {
            if is_given && action != of {
                let message = format!("{member}: expected none here");
                return Err(ApiError::invalid(member, message));
            }
        }
        Ok(())
    }
}

pub(super) async fn list(call: &Call<'_>) -> Result<Response, ApiError> {
    let mut parameters = Parameters::parse(call.head.uri.query());
    let offset = parameters.number("after", 0, (0, MAX_OFFSET))?;
    let limit = parameters.number("limit", DEFAULT_LIMIT, (1, MAX_LIMIT))?;
    parameters.end()?;
    let query = DestinationsQuery {
        configured: call.app.config.destinations.keys().cloned().collect(),
        name: None,
        offset,
        limit,
    };
    let page = call
        .context
        .wait(call.app.store.destinations_page(query))
        .await?;
    let end = offset + page.found.len();
    let (config, now) = (&call.app.config, call.app.clock.now());
    let items = page.found.iter().map(|one| view(one, config, now));
    let answer = json!({
        "items": items.collect::<Vec<Value>>(),
        "total": page.total,
        "next": (end < page.total).then(|| end.to_string()),
    });
    Ok(json_response(StatusCode::OK, &answer))
}

pub(super) async fn show(call: &Call<'_>, name: &str) -> Result<Response, ApiError> {
    let found = find(call, name).await?;
    let (config, now) = (&call.app.config, call.app.clock.now());
    Ok(json_response(StatusCode::OK, &view(&found, config, now)))
}

/// Carries an action out, and says how the destination stands then.
pub(super) async fn act(
    call: &Call<'_>,
    name: &str,
    action: Action,
    body: &mut Body,
) -> Result<Response, ApiError> {
    let request: ActionRequest = call.document(body).await?;
    request.check(action)?;
    let name = &stored_name(call, name).await?;
    let operator = Operator {
        app: call.app,
        context: call.context,
        who: &call.caller.name,
    };
    let (before, is_changed) = match action {
        Action::Pause => {
            let reason = request.reason;
            let reason = reason.unwrap_or_else(|| format!("by {}", operator.who));
            let before = operator.pause(name, &reason).await?;
            let is_changed = before.is_none();
            (before, is_changed)
        }
        Action::Resume => (None, operator.resume(name, request.paused_at).await?),
        Action::Probe => (None, operator.probe(name).await?),
        Action::Ping => {
            let report = operator.ping(name).await?;
            return Ok(json_response(StatusCode::OK, &views::ping(name, &report)));
        }
    };
    let found = stored(call, name).await?;
    let found = found.unwrap_or_else(|| DestinationOverview::never_used(name));
    let (config, now) = (&call.app.config, call.app.clock.now());
    let mut answer = view(&found, config, now);
    answer["is_changed"] = is_changed.into();
    answer["paused_before"] = before.map_or(
        Value::Null,
        |pause| json!({ "at": pause.at, "reason": pause.reason }),
    );
    Ok(json_response(StatusCode::OK, &answer))
}

/// All destinations that are shown.
pub(super) async fn all(call: &Call<'_>, limit: usize) -> Result<DestinationsPage, ApiError> {
    let query = DestinationsQuery {
        configured: call.app.config.destinations.keys().cloned().collect(),
        name: None,
        offset: 0,
        limit,
    };
    call.context
        .wait(call.app.store.destinations_page(query))
        .await
}

/// The name under which an action's destination is stored. As for the commands, it may be an origin
/// to which nothing was sent yet.
async fn stored_name(call: &Call<'_>, name: &str) -> Result<String, ApiError> {
    let is_stored = call.app.store.is_destination(name.to_owned());
    let is_stored = call.context.wait(is_stored).await?;
    let known = known(&call.app.config, "destination", name, is_stored);
    known.map_err(|_| unknown(name))
}

async fn find(call: &Call<'_>, name: &str) -> Result<DestinationOverview, ApiError> {
    stored(call, name).await?.ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> ApiError {
    ApiError::not_found(format!("there is no destination {name:?}, and never was"))
}

async fn stored(call: &Call<'_>, name: &str) -> Result<Option<DestinationOverview>, ApiError> {
    let configured = call.app.config.destinations.contains_key(name);
    let query = DestinationsQuery {
        configured: configured.then(|| name.to_owned()).into_iter().collect(),
        name: Some(name.to_owned()),
        offset: 0,
        limit: 1,
    };
    let page = call
        .context
        .wait(call.app.store.destinations_page(query))
        .await?;
    Ok(page.found.into_iter().next())
}

fn keep_reason(one: &DestinationOverview, config: &Resolved, now: Timestamp) -> Option<KeepReason> {
    let obstacles = Obstacles {
        is_paused: one.paused.is_some(),
        held_until: one.held_until,
        probe_at: one.probe_at,
    };
    obstacles.reason(config.is_deliverable(&one.name), now)
}

/// The state's name: `active`, or why nothing is sent.
pub(super) fn state(one: &DestinationOverview, config: &Resolved, now: Timestamp) -> &'static str {
    keep_reason(one, config, now).map_or("active", KeepReason::name)
}

fn view(one: &DestinationOverview, config: &Resolved, now: Timestamp) -> Value {
    let policy = config.destinations.get(&one.name);
    let url = policy.and_then(|policy| policy.url.as_ref());
    let is_exact = one.dead_lettered <= DestinationOverview::MAX_COUNT;
    json!({
        "name": one.name,
        "is_configured": policy.is_some(),
        // The path may be a secret.
        "url": url.map(|url| format!("{}/…", url.origin())),
        "state": state(one, config, now),
        "paused_at": one.paused.as_ref().map(|pause| pause.at),
        "paused_reason": one.paused.as_ref().map(|pause| pause.reason.as_str()),
        "held_until": one.held_until.filter(|&until| until > now),
        "probe_at": one.probe_at,
        "waiting": one.waiting,
        "processing": one.processing,
        "dead_lettered": one.dead_lettered.min(DestinationOverview::MAX_COUNT),
        "dead_lettered_is_exact": is_exact,
        "oldest_due_at": one.oldest_due,
    })
}
