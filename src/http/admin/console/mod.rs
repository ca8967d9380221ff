//! The console: pages for operators, rendered here and complete without a script.
//!
//! - `visit`: a request with its caller; its form. `sign_in`: signing in and out.
//! - `page`: the frame and the headers of each page. `escape`: the escape of all texts. `assets`:
//!   style sheet, script and icon. `when`, `mark`, `chart`: times, states and charts.
//!   `last_hour`: the attempts of each destination. `link`: addresses.
//! - The pages: `overview`, `deliveries`, `event/`, `destinations`, `operations/`, `nodes`,
//!   `configuration`.
//!
//! The pages show what the API shows, and their forms do what it does.

mod assets;
mod chart;
mod configuration;
mod deliveries;
mod destinations;
mod escape;
mod event;
mod last_hour;
mod link;
mod mark;
mod nodes;
mod operations;
mod overview;
mod page;
mod sign_in;
mod visit;
mod when;

use askama::Template;
use hyper::Method;
use hyper::StatusCode;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::http::request::Parts;

use crate::http::admin::access::caller::Caller;
use crate::http::admin::access::has_bearer;
use crate::http::admin::destination_actions::Action;
use crate::http::api_error::{ApiError, ErrorFormat};
use crate::http::app::App;
use crate::http::body::Body;
use crate::http::request_context::RequestContext;
use crate::http::response::Response;
use page::Frame;
use visit::Visit;

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    frame: Frame,
    heading: &'static str,
    message: &'a str,
    status: u16,
    request_id: &'a str,
    back: &'a str,
}

/// Answers a request for a page. Programs get errors as JSON.
pub(in crate::http::admin) async fn answer(
    app: &App,
    context: &RequestContext,
    head: &Parts,
    body: &mut Body,
) -> Result<Response, ApiError> {
    let answered = respond(app, context, head, body).await;
    let accept = head
        .headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok());
    let wants_html = accept.is_some_and(|accept| accept.contains("text/html"));
    let mut response = match answered {
        Ok(response) => response,
        Err(refused) if wants_html => error_page(&refused, head, context, visit::has_nodes(app)),
        Err(Refused { error, .. }) => error.respond(ErrorFormat::Relay, context.id()),
    };
    page::secure(response.headers_mut());
    Ok(response)
}

/// An error, and the person whom it is told, if that is known.
struct Refused {
    error: ApiError,
    caller: Option<Caller>,
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self {
            error,
            caller: None,
        }
    }
}

fn error_page(
    refused: &Refused,
    head: &Parts,
    context: &RequestContext,
    has_nodes: bool,
) -> Response {
    let error = &refused.error;
    let heading = match error.status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::FORBIDDEN => "This may not be done",
        StatusCode::CONFLICT => "This can't be done as things are",
        StatusCode::BAD_REQUEST => "The request is wrong",
        status if status.is_server_error() => "This does not work now",
        _ => "The request is refused",
    };
    let path = head.uri.path();
    let end = path[1..].find('/').map_or(path.len(), |end| end + 1);
    let page = page::html(&ErrorPage {
        frame: refused.caller.as_ref().map_or_else(
            || Frame::of_stranger(heading),
            |caller| Frame::of_error(heading, &path[..end], caller).among_nodes(has_nodes),
        ),
        heading,
        message: error.message(),
        status: error.status.as_u16(),
        request_id: context.id(),
        back: &path[..end],
    });
    // The status, and headers such as Allow, are those of the API.
    let mut response = error.respond(ErrorFormat::Relay, context.id());
    for (name, value) in page.headers() {
        debug_assert_eq!(name, CONTENT_TYPE);
        response.headers_mut().insert(name, value.clone());
    }
    *response.body_mut() = page.into_body();
    response
}

/// The methods that a route answers.
const GET: &str = "GET, HEAD";
const POST: &str = "POST";
const BOTH: &str = "GET, HEAD, POST";

/// A path of the console, of somebody who has signed in.
enum Route<'a> {
    Overview,
    Deliveries,
    FindEvent,
    Event(&'a str),
    Destinations,
    Destination(String),
    DestinationAction(String, Action),
    Operations,
    NewOperation,
    CreateOperation,
    CancelOperation(&'a str),
    Nodes,
    Configuration,
    Reload,
    SignOut,
}

impl<'a> Route<'a> {
    fn find(path: &'a str, method: &Method) -> Option<Self> {
        let mut parts = path[1..].split('/');
        let route = match (parts.next()?, parts.next(), parts.next()) {
            ("", None, _) => Self::Overview,
            ("deliveries", None, _) => Self::Deliveries,
            ("events", None, _) => Self::FindEvent,
            ("events", Some(id), None) => Self::Event(id),
            ("destinations", None, _) => Self::Destinations,
            ("destinations", Some(name), None) => Self::Destination(destinations::decoded(name)?),
            ("destinations", Some(name), Some(action)) => {
                let action = Action::parse(action)?;
                Self::DestinationAction(destinations::decoded(name)?, action)
            }
            ("operations", None, _) if method == Method::POST => Self::CreateOperation,
            ("operations", None, _) => Self::Operations,
            ("operations", Some("new"), None) => Self::NewOperation,
            ("operations", Some(id), Some("cancel")) => Self::CancelOperation(id),
            ("nodes", None, _) => Self::Nodes,
            ("configuration", None, _) => Self::Configuration,
            ("configuration", Some("reload"), None) => Self::Reload,
            ("sign-out", None, _) => Self::SignOut,
            _ => return None,
        };
        parts.next().is_none().then_some(route)
    }

    fn allows(&self) -> &'static str {
        match self {
            Self::Operations | Self::CreateOperation => BOTH,
            Self::DestinationAction(..)
            | Self::CancelOperation(_)
            | Self::Reload
            | Self::SignOut => POST,
            _ => GET,
        }
    }
}

async fn respond(
    app: &App,
    context: &RequestContext,
    head: &Parts,
    body: &mut Body,
) -> Result<Response, Refused> {
    let is_read = matches!(head.method, Method::GET | Method::HEAD);
    if let Some(asset) = assets::find(head.uri.path()) {
        app.admin_access.check_host(head)?;
        return if is_read {
            Ok(asset.respond())
        } else {
            Err(ApiError::method_not_allowed(GET).into())
        };
    }
    if head.uri.path() == sign_in::PATH {
        return match head.method {
            Method::GET | Method::HEAD => Ok(sign_in::show(app, head)?),
            Method::POST => Ok(sign_in::sign_in(app, context, head, body).await?),
            _ => Err(ApiError::method_not_allowed(BOTH).into()),
        };
    }
    if head.method == Method::OPTIONS
        && let Some(route) = Route::find(head.uri.path(), &head.method)
    {
        app.admin_access.check_host(head)?;
        return Err(ApiError::method_not_allowed(route.allows()).into());
    }
    let caller = match app.admin_access.authenticate(head) {
        Err(error)
            if error.status == StatusCode::UNAUTHORIZED
                && !has_bearer(head)
                && (is_read || head.method == Method::POST) =>
        {
            return Ok(sign_in::first(head));
        }
        other => other?,
    };
    let visit = Visit {
        app,
        context,
        head,
        caller,
    };
    visited(&visit, body).await.map_err(|error| Refused {
        error,
        caller: Some(visit.caller),
    })
}

/// Answers somebody who is known.
async fn visited(visit: &Visit<'_>, body: &mut Body) -> Result<Response, ApiError> {
    let (head, is_secure) = (visit.head, visit.context.is_secure);
    let route = Route::find(head.uri.path(), &head.method);
    let route = route.ok_or_else(|| ApiError::not_found("There is nothing at this path."))?;
    match (route.allows(), &head.method) {
        (GET | BOTH, &Method::GET | &Method::HEAD) => {}
        (POST, &Method::POST) if matches!(route, Route::SignOut) => {
            visit.caller.check_page(head, is_secure)?;
        }
        (POST | BOTH, &Method::POST) => visit.caller.check_form(head, is_secure)?,
        (allows, _) => return Err(ApiError::method_not_allowed(allows)),
    }
    show(visit, route, body).await
}

async fn show(visit: &Visit<'_>, route: Route<'_>, body: &mut Body) -> Result<Response, ApiError> {
    match route {
        Route::Overview => overview::show(visit).await,
        Route::Deliveries => deliveries::list(visit).await,
        Route::FindEvent => deliveries::find(visit),
        Route::Event(id) => event::show(visit, id).await,
        Route::Destinations => destinations::list(visit).await,
        Route::Destination(name) => destinations::show(visit, &name).await,
        Route::DestinationAction(name, action) => {
            destinations::act(visit, &name, action, body).await
        }
        Route::Operations => operations::list(visit).await,
        Route::NewOperation => operations::new(visit).await,
        Route::CreateOperation => operations::create(visit, body).await,
        Route::CancelOperation(id) => operations::cancel(visit, id).await,
        Route::Nodes => nodes::list(visit).await,
        Route::Configuration => configuration::show(visit).await,
        Route::Reload => configuration::reload(visit, body).await,
        Route::SignOut => Ok(sign_in::sign_out(visit.app, visit.head)),
    }
}
