//! Which path and method leads where.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode, Version};

use crate::http::api_error::{ApiError, ErrorFormat};
use crate::http::app::App;
use crate::http::body::{Body, Request};
use crate::http::request_context::{REQUEST_ID, RequestContext};
use crate::http::response::{Response, with_type};
use crate::http::routes::{events, health, relays, webhooks};
use crate::http::server::accept::{MAX_HEADER_BYTES, MAX_HEADERS};

/// The contract itself, as it is served.
const OPENAPI: &str = include_str!("../../openapi.yaml");

#[derive(Clone, Debug, PartialEq, Eq)]
enum Route<'a> {
    Relays,
    Relay(&'a str),
    Healthz,
    Readyz,
    OpenApi,
    Webhook(Cow<'a, str>),
    Event(&'a str),
    Health,
    Ready,
}

impl<'a> Route<'a> {
    fn find(path: &'a str) -> Option<Self> {
        Some(match path {
            "/v1/relays" => Self::Relays,
            "/healthz" => Self::Healthz,
            "/readyz" => Self::Readyz,
            "/openapi.yaml" => Self::OpenApi,
            "/health" => Self::Health,
            "/ready" => Self::Ready,
            _ => {
                let (kind, last) = path.rsplit_once('/')?;
                if last.is_empty() {
                    return None;
                }
                match kind {
                    "/v1/relays" => Self::Relay(last),
                    "/webhooks" => Self::Webhook(percent_decoded(last)),
                    "/events" => Self::Event(last),
                    _ => return None,
                }
            }
        })
    }

    fn allows(&self) -> &'static str {
        match self {
            Self::Relays => "GET, HEAD, POST",
            Self::Webhook(_) => "POST",
            _ => "GET, HEAD",
        }
    }

    /// Its name in the metrics: the template, so that there are few.
    fn template(&self) -> &'static str {
        match self {
            Self::Relays => "/v1/relays",
            Self::Relay(_) => "/v1/relays/{id}",
            Self::Healthz => "/healthz",
            Self::Readyz => "/readyz",
            Self::OpenApi => "/openapi.yaml",
            Self::Webhook(_) => "/webhooks/{source}",
            Self::Event(_) => "/events/{id}",
            Self::Health => "/health",
            Self::Ready => "/ready",
        }
    }
}

/// A part of a URL without its percent-encoding: a client may encode what it need not. What doesn't
/// decode is left as it is, and so is nothing of ours.
pub(super) fn percent_decoded(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return Cow::Borrowed(segment);
    }
    let mut decoded = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, ..] => char::from(*high)
                .to_digit(16)
                .zip(char::from(*low).to_digit(16))
                .and_then(|(high, low)| u8::try_from(high * 16 + low).ok()),
            _ => None,
        };
        if let Some(byte) = escaped {
            decoded.push(byte);
            rest = &rest[3..];
        } else {
            decoded.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(decoded).map_or(Cow::Borrowed(segment), Cow::Owned)
}

/// The error form of a path, known or not.
fn form(path: &str) -> ErrorFormat {
    let first = path.split(['/', '?']).nth(1).unwrap_or_default();
    match first {
        "webhooks" | "events" | "health" | "ready" => ErrorFormat::Hook,
        _ => ErrorFormat::Relay,
    }
}

/// The methods that metrics tell apart; a client can make up any other.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// What hyper lets pass and we don't: shapes by which two servers could read one request
/// differently (RFC 9112, 3.2 and 6.1).
fn check_shape(head: &Parts) -> Result<(), ApiError> {
    if head.method == Method::CONNECT || head.uri.scheme().is_some() {
        return Err(ApiError::malformed(
            "this is no proxy: expected a path such as /v1/relays as the request's target",
        ));
    }
    let hosts = head.headers.get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && head.version != Version::HTTP_10) {
        return Err(ApiError::invalid(
            "Host",
            "expected exactly one Host header",
        ));
    }
    let mut encodings = head.headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(encoding) = encodings.next()
        && (!encoding.as_bytes().eq_ignore_ascii_case(b"chunked") || encodings.next().is_some())
    {
        return Err(ApiError::invalid(
            "Transfer-Encoding",
            "expected chunked, once, or none",
        ));
    }
    Ok(())
}

impl App {
    /// Answers a request of the public listener.
    pub async fn answer(self: Arc<Self>, request: Request) -> Response {
        let app = &*self;
        let start = app.clock.monotonic();
        let (head, mut body) = request.into_parts();
        let context = RequestContext::begin(&head.headers, app.config.server.request_timeout);
        let method = method_label(&head.method);
        let form = form(head.uri.path());
        let shape = check_shape(&head);
        let is_sound = shape.is_ok();
        let (template, result) = match shape {
            Ok(()) => dispatch(app, &context, &head, &mut body).await,
            Err(problem) => ("other", Err(problem)),
        };
        let mut response = result.unwrap_or_else(|problem| problem.respond(form, context.id()));
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, context.request_id.clone());
        // What follows on this connection might not be the next request.
        if !is_sound || !body.is_over().await {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let took = app.clock.monotonic().saturating_sub(start);
        let status = response.status().as_u16();
        app.metrics.request(template, method, status, took);
        log::debug!(
            request_id = context.id(), method, route = template, status,
            duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            "request"
        );
        response
    }

    /// The answer to what hyper can't make a request of, on either listener; `start` is how it starts.
    pub fn refuse(&self, status: StatusCode, start: &[u8]) -> Response {
        let app = self;
        let start = String::from_utf8_lossy(start);
        let line = start.lines().next().unwrap_or_default();
        let form = form(line.split(' ').nth(1).unwrap_or_default());
        let context = RequestContext::begin(&HeaderMap::new(), app.config.server.request_timeout);
        let problem = if status == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE {
            ApiError::head_too_large(MAX_HEADER_BYTES, MAX_HEADERS)
        } else {
            ApiError::malformed("this is not an HTTP/1.1 request")
        };
        let mut response = problem.respond(form, context.id());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, context.request_id.clone());
        app.metrics
            .request("other", "other", status.as_u16(), Duration::ZERO);
        log::debug!(request_id = context.id(), status = status.as_u16(); "a request can't be read");
        response
    }
}

async fn dispatch(
    app: &App,
    context: &RequestContext,
    head: &Parts,
    body: &mut Body,
) -> (&'static str, Result<Response, ApiError>) {
    let path = head.uri.path();
    let Some(route) = Route::find(path) else {
        return (
            "other",
            Err(ApiError::not_found("there is nothing at this path")),
        );
    };
    let template = route.template();
    let method = match head.method {
        Method::HEAD => &Method::GET,
        ref other => other,
    };
    let result = match (route, method) {
        (Route::Relays | Route::Relay(_), &Method::GET) | (Route::Relays, &Method::POST) => {
            let id = path.strip_prefix("/v1/relays/");
            relays::answer(app, context, id, head, body).await
        }
        (Route::Webhook(source), &Method::POST) => {
            webhooks::accept(app, context, &source, head, body).await
        }
        (Route::Event(id), &Method::GET) => events::show(app, context, id, &head.headers).await,
        (Route::Healthz, &Method::GET) => Ok(health::healthz()),
        (Route::Readyz, &Method::GET) => health::readyz(app),
        (Route::Health, &Method::GET) => Ok(health::health(app)),
        (Route::Ready, &Method::GET) => Ok(health::ready(app)),
        (Route::OpenApi, &Method::GET) => {
            Ok(with_type(StatusCode::OK, "application/yaml", OPENAPI))
        }
        (route, _) => Err(ApiError::method_not_allowed(route.allows())),
    };
    (template, result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_lead_where_the_contract_says() {
        assert_eq!(Route::find("/v1/relays"), Some(Route::Relays));
        assert_eq!(Route::find("/v1/relays/x"), Some(Route::Relay("x")));
        assert_eq!(
            Route::find("/webhooks/git%68ub"),
            Some(Route::Webhook("github".into()))
        );
        assert_eq!(Route::find("/events/evt_1"), Some(Route::Event("evt_1")));
        for path in [
            "",
            "/",
            "*",
            "/v1",
            "/v1/relays/",
            "/v1/relays/x/y",
            "/webhooks",
            "/webhooks/",
            "/webhooks/a/b",
            "/health/",
            "/Health",
        ] {
            assert_eq!(Route::find(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_routed_without_a_panic(path in ".*") {
            let _ = Route::find(&path);
            let _ = form(&path);
        }
    }
}
