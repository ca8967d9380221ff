//! The operator's API, `/api`, as `openapi.admin.yaml` describes it.
//!
//! - `overview`: the relay at a glance. `deliveries`: lists of deliveries. `events`: a relay or an
//!   event, and its payload. `destinations`: their states, and what operators do to them.
//!   `operations`: replays and the like, of many relays and events.
//!   `configuration`: the settings that take effect, without secrets, and their reload. `rollups`:
//!   counts by minute or hour. `tail`: events and attempts as they happen. `nodes`: the processes
//!   that share the database.
//! - `call`: a request with its caller; reads its body. `query`: reads its parameters.

mod call;
mod configuration;
pub(in crate::http::admin) mod deliveries;
mod destinations;
mod events;
mod nodes;
mod operations;
mod overview;
pub(in crate::http::admin) mod query;
mod rollups;
mod tail;

use std::borrow::Cow;

use hyper::Method;
use hyper::http::request::Parts;
use percent_encoding::percent_decode_str;

use crate::http::admin::api::call::Call;
use crate::http::admin::api::query::Parameters;
use crate::http::admin::destination_actions::Action;
use crate::http::api_error::ApiError;
use crate::http::app::App;
use crate::http::body::Body;
use crate::http::request_context::RequestContext;
use crate::http::response::{AdminBody, AdminResponse};

/// The methods that a route answers.
const GET: &str = "GET, HEAD";
const POST: &str = "POST";
const GET_AND_POST: &str = "GET, HEAD, POST";

enum Route<'a> {
    Overview,
    Deliveries,
    Event(&'a str),
    Payload(&'a str),
    Destinations,
    Destination(Cow<'a, str>),
    DestinationAction(Cow<'a, str>, Action),
    Operations,
    Operation(&'a str),
    Cancel(&'a str),
    Configuration,
    Reload,
    Rollups,
    Nodes,
    Tail,
}

impl<'a> Route<'a> {
    fn find(path: &'a str) -> Option<Self> {
        let mut parts = path.split('/');
        let route = match (parts.next()?, parts.next(), parts.next()) {
            ("overview", None, _) => Self::Overview,
            ("deliveries", None, _) => Self::Deliveries,
            ("config", None, _) => Self::Configuration,
            ("reload", None, _) => Self::Reload,
            ("rollups", None, _) => Self::Rollups,
            ("nodes", None, _) => Self::Nodes,
            ("tail", None, _) => Self::Tail,
            ("events", Some(id), None) => Self::Event(id),
            ("events", Some(id), Some("payload")) => Self::Payload(id),
            ("operations", None, _) => Self::Operations,
            ("operations", Some(id), None) => Self::Operation(id),
            ("operations", Some(id), Some("cancel")) => Self::Cancel(id),
            ("destinations", None, _) => Self::Destinations,
            ("destinations", Some(name), None) => Self::Destination(decoded(name)?),
            ("destinations", Some(name), Some(action)) => {
                Self::DestinationAction(decoded(name)?, Action::parse(action)?)
            }
            _ => return None,
        };
        parts.next().is_none().then_some(route)
    }

    /// Whether it reads the parameters of a request.
    fn has_parameters(&self, method: &Method) -> bool {
        match self {
            Self::Deliveries | Self::Destinations | Self::Rollups | Self::Tail => true,
            Self::Operations => method != Method::POST,
            _ => false,
        }
    }

    fn allows(&self) -> &'static str {
        match self {
            Self::DestinationAction(..) | Self::Cancel(_) | Self::Reload => POST,
            Self::Operations => GET_AND_POST,
            _ => GET,
        }
    }
}

/// A segment of a path: the name of an ad hoc origin has slashes, which come encoded.
fn decoded(segment: &str) -> Option<Cow<'_, str>> {
    let name = percent_decode_str(segment).decode_utf8().ok()?;
    (!name.is_empty()).then_some(name)
}

/// Answers a request for `path`, below `/api/`.
pub(super) async fn answer(
    app: &App,
    context: &RequestContext,
    path: &str,
    head: &Parts,
    body: &mut Body,
) -> Result<AdminResponse, ApiError> {
    let route = Route::find(path);
    // Before the token: a browser's preflight has none, and nothing is granted to it.
    if let Some(route) = &route
        && head.method == Method::OPTIONS
    {
        app.admin_access.check_host(head)?;
        return Err(ApiError::method_not_allowed(route.allows()));
    }
    let caller = app.admin_access.authenticate(head)?;
    let Some(route) = route else {
        return Err(ApiError::not_found(
            "there is nothing at this path: /openapi.admin.yaml lists the routes",
        ));
    };
    match (route.allows(), &head.method) {
        (POST | GET_AND_POST, &Method::POST) => caller.check_change(head, context.is_secure)?,
        (GET | GET_AND_POST, &Method::GET | &Method::HEAD) => {}
        (allows, _) => return Err(ApiError::method_not_allowed(allows)),
    }
    if !route.has_parameters(&head.method) {
        Parameters::parse(head.uri.query()).end()?;
    }
    let call = Call {
        app,
        context,
        head,
        caller,
    };
    let response = match route {
        Route::Overview => overview::show(&call).await,
        Route::Deliveries => deliveries::list(&call).await,
        Route::Event(id) => events::show(&call, id).await,
        Route::Payload(id) => events::payload(&call, id).await,
        Route::Destinations => destinations::list(&call).await,
        Route::Destination(name) => destinations::show(&call, &name).await,
        Route::DestinationAction(name, action) => {
            destinations::act(&call, &name, action, body).await
        }
        Route::Operations if head.method == Method::POST => operations::create(&call, body).await,
        Route::Operations => operations::list(&call).await,
        Route::Operation(id) => operations::show(&call, id).await,
        Route::Cancel(id) => operations::cancel(&call, id, body).await,
        Route::Configuration => configuration::show(&call).await,
        Route::Reload => configuration::reload(&call, body).await,
        Route::Rollups => rollups::show(&call).await,
        Route::Nodes => nodes::list(&call).await,
        Route::Tail => return tail::follow(&call, body.connection()),
    };
    response.map(|response| response.map(AdminBody::from))
}
